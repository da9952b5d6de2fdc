"""What others did in our wallet: told apart from what we did, counted when two sides are compared, never adopted."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Final, LiteralString

import psycopg
from psycopg.rows import class_row

from pmarb.db.pool import Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """A trade, redemption, merge or holding that no order of ours explains.

    `shares` and `usd` are what it added to the wallet; a trade that failed added nothing.
    """

    movement_id: str
    kind: str
    order_hash: str
    market: str
    token: str
    outcome: str
    shares: Decimal
    usd: Decimal
    ts_event: int


def listed(connection: psycopg.Connection[Any], *, limit: int = 50) -> list[Movement]:
    """For people: newest first."""
    query: LiteralString = """
        SELECT movement_id, kind, order_hash, market, token, outcome, shares, usd, ts_event
        FROM foreign_movements ORDER BY ts_event DESC, movement_id LIMIT %s"""
    with connection.cursor(row_factory=class_row(Movement)) as cursor:
        return cursor.execute(query, (limit,)).fetchall()


_SEEN: Final[LiteralString] = """
    INSERT INTO foreign_movements
        (movement_id, kind, order_hash, market, token, outcome, shares, usd, ts_event, seen_at)
    SELECT %(movement_id)s, %(kind)s, %(order_hash)s, %(market)s, %(token)s, %(outcome)s, %(shares)s, %(usd)s,
        %(ts_event)s, %(now)s
    WHERE %(ts_event)s >= coalesce((SELECT min(ts_event) FROM entries WHERE kind = 'deposit'), 0)
    ON CONFLICT (movement_id) DO UPDATE SET shares = excluded.shares, usd = excluded.usd
    WHERE (foreign_movements.shares, foreign_movements.usd) IS DISTINCT FROM (excluded.shares, excluded.usd)
    RETURNING (xmax = 0)
"""
"""What happened before the first deposit was booked is part of that deposit."""


class ForeignMovements:
    """The foreign_movements table."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def see(self, movements: Sequence[Movement], *, now: int) -> list[Movement]:
        """Write them down; those that were not known before."""
        new = []
        async with self._pool.connection() as connection, connection.transaction():
            for each in movements:
                cursor = await connection.execute(_SEEN, {**asdict(each), "now": now})
                row = await cursor.fetchone()
                if row is not None and row[0]:
                    new.append(each)
        return new

    async def usd(self) -> Decimal:
        """What they changed of the wallet's pUSD."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute("SELECT coalesce(sum(usd), 0) FROM foreign_movements")).fetchone()
        assert row is not None
        return Decimal(row[0])

    async def by_market(self) -> dict[str, dict[str, Decimal]]:
        """Market -> token -> shares they left in the wallet."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT market, token, sum(shares) FROM foreign_movements GROUP BY market, token"
            )
            found: dict[str, dict[str, Decimal]] = {}
            for market, token, shares in await cursor.fetchall():
                found.setdefault(market, {})[token] = shares
            return found

    async def known(self, prefixes: Sequence[str]) -> set[str]:
        """Those with which the id of a movement begins."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT prefix FROM unnest(%s::text[]) AS prefix "
                "WHERE EXISTS (SELECT FROM foreign_movements WHERE starts_with(movement_id, prefix))",
                (list(prefixes),),
            )
            return {str(row[0]) for row in await cursor.fetchall()}

    async def shares(self) -> dict[str, Decimal]:
        """Token -> shares they left in the wallet."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute("SELECT token, sum(shares) FROM foreign_movements GROUP BY token")
            return dict(await cursor.fetchall())
