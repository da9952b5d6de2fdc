"""What risk needs to know after a restart, read from the ledger: losses and limits are never kept in memory only."""

from dataclasses import dataclass
from decimal import Decimal

from psycopg.rows import TupleRow

from pmarb.db.pool import Connection
from pmarb.domain.messages import Fill, Merge, MergedPart, OrderUpdate, Settlement, TradingState
from pmarb.domain.orders import FillStatus, OrderState
from pmarb.domain.values import ZERO, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredOrder:
    """An order with what risk must know of its market."""

    update: OrderUpdate
    event: str
    underlying: str
    expiry: int
    created_at: int
    strategy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredState:
    state: TradingState
    who: str
    why: str
    since: int
    clears_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The ledger's view at one moment: capital put in, orders since `since`, their trades, all settlements and merges.

    `resumed_at` is when a person last resumed trading, `rearmed_at` when one last did so after a kill; 0 for never.
    """

    capital: Decimal
    orders: tuple[StoredOrder, ...]
    fills: tuple[Fill, ...]
    settlements: tuple[Settlement, ...]
    state: StoredState
    resumed_at: int
    rearmed_at: int = 0
    merges: tuple[Merge, ...] = ()


async def load(connection: Connection, *, since: int) -> Snapshot:
    """Read everything in one transaction. Orders and fills younger than `since` or not settled yet."""
    async with connection.transaction():
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        resumed_at, rearmed_at = await resumes(connection)
        return Snapshot(
            capital=await capital(connection),
            orders=await _orders(connection, since),
            fills=await _fills(connection, since),
            settlements=await _settlements(connection),
            merges=await _merges(connection),
            state=await read_state(connection),
            resumed_at=resumed_at,
            rearmed_at=rearmed_at,
        )


async def read_state(connection: Connection) -> StoredState:
    """The state of trading, the truth of every halt and kill."""
    cursor = await connection.execute("SELECT state, who, why, since, clears_at FROM trading_state WHERE id = 1")
    row = await cursor.fetchone()
    if row is None:
        return StoredState(
            state=TradingState.HALTED, who="database", why="no trading state stored", since=0, clears_at=0
        )
    return StoredState(state=TradingState(row[0]), who=row[1], why=row[2], since=row[3], clears_at=row[4])


_TIGHTEN = """
WITH changed AS (
    UPDATE trading_state SET state = %(state)s, who = %(who)s, why = %(why)s, since = %(ts)s, clears_at = %(clears_at)s
    WHERE id = 1 AND (
        array_position(%(strictness)s::text[], %(state)s) > array_position(%(strictness)s::text[], state)
        OR (state = %(state)s AND clears_at > 0 AND (%(clears_at)s = 0 OR %(clears_at)s > clears_at)))
    RETURNING 1
)
INSERT INTO state_log (state, who, why, ts_event) SELECT %(state)s, %(who)s, %(why)s, %(ts)s FROM changed RETURNING 1
"""

_CLEAR = """
WITH changed AS (
    UPDATE trading_state SET state = 'ACTIVE', who = %(who)s, why = %(why)s, since = %(now)s, clears_at = 0
    WHERE id = 1 AND state <> 'KILLED' AND clears_at > 0 AND clears_at <= %(now)s RETURNING 1
)
INSERT INTO state_log (state, who, why, ts_event) SELECT 'ACTIVE', %(who)s, %(why)s, %(now)s FROM changed RETURNING 1
"""


async def tighten(connection: Connection, state: StoredState) -> bool:
    """Store a stricter state, or a longer stop, and log it; whether it changed. It never softens what stands."""
    values = {
        "state": str(state.state),
        "who": state.who,
        "why": state.why,
        "ts": state.since,
        "clears_at": state.clears_at,
        "strictness": [str(state) for state in TradingState],
    }
    return await (await connection.execute(_TIGHTEN, values)).fetchone() is not None


async def clear(connection: Connection, *, who: str, why: str, now: int) -> bool:
    """End a stop whose time is over; whether there was one. What needs a person stays."""
    return await (await connection.execute(_CLEAR, {"who": who, "why": why, "now": now})).fetchone() is not None


async def capital(connection: Connection) -> Decimal:
    """Dollars put in, by every deposit booked."""
    cursor = await connection.execute("SELECT -coalesce(sum(amount), 0) FROM postings WHERE account = 'capital'")
    row = await cursor.fetchone()
    return Decimal(row[0]) if row else ZERO


_RESUMES = """
WITH log AS (SELECT state, who, ts_event, lag(state) OVER (ORDER BY id) AS before FROM state_log),
resumed AS (SELECT ts_event, before FROM log WHERE state = 'ACTIVE' AND who <> 'risk'),
moved AS (SELECT max(ts_event) AS at FROM entries WHERE kind = 'deposit' AND starts_with(ref, 'mode:'))
SELECT greatest(0, (SELECT max(ts_event) FROM resumed), (SELECT at FROM moved)),
    greatest(0, (SELECT max(ts_event) FROM resumed WHERE before = 'KILLED'), (SELECT at FROM moved))
"""


async def resumes(connection: Connection) -> tuple[int, int]:
    """When a person last resumed trading, and when one last did so after a kill; 0 for never.

    Where the ledger went on with another wallet both begin anew: what was lost on paper is nobody's loss.
    """
    cursor = await connection.execute(_RESUMES)
    row = await cursor.fetchone()
    return (0, 0) if row is None else (int(row[0]), int(row[1]))


_RECENT = "(o.created_at >= %s OR NOT EXISTS (SELECT 1 FROM settlements s WHERE s.token = o.token))"


async def _orders(connection: Connection, since: int) -> tuple[StoredOrder, ...]:
    cursor = await connection.execute(
        "SELECT o.opportunity_id, o.leg, o.order_hash, o.state, o.cause, o.slug, o.market, o.token, o.outcome, o.side,"  # noqa: S608
        " o.limit_price, o.shares, o.reserved, o.updated_at, o.event, o.underlying, o.expiry, o.created_at,"
        " coalesce(v.opportunity->>'strategy', '')"
        f" FROM orders o LEFT JOIN verdicts v USING (opportunity_id) WHERE {_RECENT} ORDER BY o.created_at",
        (since,),
    )
    return tuple([_order(row) async for row in cursor])


def _order(row: TupleRow) -> StoredOrder:
    update = OrderUpdate(
        opportunity_id=row[0],
        leg=row[1],
        order_hash=row[2],
        state=OrderState(row[3]),
        cause=row[4],
        slug=row[5],
        market=row[6],
        token=row[7],
        outcome=row[8],
        side=Side(row[9]),
        price=row[10],
        shares=row[11],
        reserved=row[12],
        filled=ZERO,
        ts_event=row[13],
        ts_init=row[13],
    )
    return StoredOrder(
        update=update, event=row[14], underlying=row[15], expiry=row[16], created_at=row[17], strategy=row[18]
    )


async def _fills(connection: Connection, since: int) -> tuple[Fill, ...]:
    cursor = await connection.execute(
        "SELECT t.trade_id, t.order_hash, o.opportunity_id, o.slug, o.market, o.token, o.outcome, o.side, t.shares,"  # noqa: S608
        " t.price, t.fee, t.status, t.ts_event, t.updated_at"
        f" FROM trades t JOIN orders o USING (order_hash) WHERE {_RECENT} ORDER BY t.ts_event",
        (since,),
    )
    return tuple(
        [
            Fill(
                trade_id=row[0],
                order_hash=row[1],
                opportunity_id=row[2],
                slug=row[3],
                market=row[4],
                token=row[5],
                outcome=row[6],
                side=Side(row[7]),
                shares=row[8],
                price=row[9],
                fee=row[10],
                status=FillStatus(row[11]),
                ts_event=row[12],
                ts_init=row[13],
            )
            async for row in cursor
        ]
    )


async def _settlements(connection: Connection) -> tuple[Settlement, ...]:
    cursor = await connection.execute(
        "SELECT token, market, slug, outcome, won, shares, cost, fees, payout, pnl, resolved_at"
        " FROM settlements ORDER BY resolved_at, token"
    )
    return tuple(
        [
            Settlement(
                token=row[0],
                market=row[1],
                slug=row[2],
                outcome=row[3],
                won=row[4],
                shares=row[5],
                cost=row[6],
                fees=row[7],
                payout=row[8],
                pnl=row[9],
                equity=ZERO,
                ts_event=row[10],
                ts_init=row[10],
            )
            async for row in cursor
        ]
    )


async def _merges(connection: Connection) -> tuple[Merge, ...]:
    cursor = await connection.execute(
        "SELECT merge_id, market, slug, merged_at, token, outcome, shares, cost, fees, payout"
        " FROM merges ORDER BY merged_at, merge_id, token"
    )
    parts: dict[tuple[str, str, str, int], tuple[MergedPart, ...]] = {}
    async for row in cursor:
        part = MergedPart(token=row[4], outcome=row[5], shares=row[6], cost=row[7], fees=row[8], payout=row[9])
        parts[row[:4]] = (*parts.get(row[:4], ()), part)
    return tuple(
        Merge(
            merge_id=merge_id,
            market=market,
            slug=slug,
            parts=found,
            payout=sum((part.payout for part in found), ZERO),
            pnl=sum((part.pnl for part in found), ZERO),
            equity=ZERO,
            ts_event=at,
            ts_init=at,
        )
        for (merge_id, market, slug, at), found in parts.items()
    )
