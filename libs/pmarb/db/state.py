"""The trading state as the executor reads and latches it. The row in Postgres is the truth."""

from pmarb.db.pool import Connection, Pool
from pmarb.domain.messages import TradingState

RECONCILER = 7003
"""Advisory lock: whoever holds it reconciles."""

FOREVER = 2**62
"""Later than any time: what is said now cannot be too old, whatever a clock says."""


class StateRow:
    """The trading_state table."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def read(self) -> TradingState:
        async with self._pool.connection() as connection:
            row = await (await connection.execute("SELECT state FROM trading_state WHERE id = 1")).fetchone()
        return TradingState.KILLED if row is None else TradingState(row[0])

    async def look(self) -> tuple[TradingState, int]:
        """The state and the number of its last change: two kills are two, though a resume between them was not seen."""
        async with self._pool.connection() as connection:
            row = await (
                await connection.execute(
                    "SELECT state, (SELECT coalesce(max(id), 0) FROM state_log) FROM trading_state WHERE id = 1"
                )
            ).fetchone()
        return (TradingState.KILLED, 0) if row is None else (TradingState(row[0]), int(row[1]))

    async def kill(self, *, who: str, why: str, now: int, said_at: int = FOREVER) -> bool:
        """Latch KILLED, unless somebody set the state after `said_at` (venue time): an old message changes nothing.

        Waits for inserts that were let through before. Whether it was not latched already.
        """
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "WITH latched AS (UPDATE trading_state SET state = 'KILLED', who = %(who)s, why = %(why)s, "
                "since = %(now)s, clears_at = 0 "
                "WHERE id = 1 AND state <> 'KILLED' AND since <= %(said_at)s RETURNING state) "
                "INSERT INTO state_log (state, who, why, ts_event) "
                "SELECT state, %(who)s, %(why)s, %(now)s FROM latched RETURNING id",
                {"who": who, "why": why, "said_at": said_at, "now": now},
            )
            return await cursor.fetchone() is not None

    async def halt(self, *, who: str, why: str, now: int) -> bool:
        """Stop opening until a person resumes; a stop that needs one already says enough. Whether it was new."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "WITH halted AS (UPDATE trading_state SET state = 'HALTED', who = %(who)s, why = %(why)s, "
                "since = %(now)s, clears_at = 0 "
                "WHERE id = 1 AND state <> 'KILLED' AND NOT (state = 'HALTED' AND clears_at = 0) RETURNING state) "
                "INSERT INTO state_log (state, who, why, ts_event) "
                "SELECT state, %(who)s, %(why)s, %(now)s FROM halted RETURNING id",
                {"who": who, "why": why, "now": now},
            )
            return await cursor.fetchone() is not None


async def try_lead(connection: Connection) -> bool:
    """Take the reconciler's lock on this connection if nobody has it; it lasts as long as the connection."""
    row = await (await connection.execute("SELECT pg_try_advisory_lock(%s)", (RECONCILER,))).fetchone()
    return bool(row and row[0])
