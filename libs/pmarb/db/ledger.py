"""Double entry in Postgres. The database refuses an entry that does not sum to zero, and one id twice."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, LiteralString

from psycopg.cursor_async import AsyncCursor
from psycopg.rows import TupleRow

from pmarb.db.pool import Pool
from pmarb.domain.ledger import Account, Entry
from pmarb.domain.messages import Settlement
from pmarb.domain.values import ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Confirmed shares of a token whose market has not been settled; `cost` is without the fees.

    `pending` counts its orders and trades that may still change: such a token is not settled yet.
    """

    token: str
    market: str
    slug: str
    outcome: str
    shares: Decimal
    cost: Decimal
    fees: Decimal
    expiry: int
    pending: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A settled token that the venue has not paid for yet."""

    token: str
    market: str
    payout: Decimal
    resolved_at: int


_HOLDINGS: Final[LiteralString] = """
    SELECT o.token, o.market, min(o.slug), min(o.outcome),
        coalesce(sum(t.shares) FILTER (WHERE t.status = 'confirmed'), 0),
        coalesce(sum(round(t.shares * t.price, 6)) FILTER (WHERE t.status = 'confirmed'), 0),
        coalesce(sum(t.fee) FILTER (WHERE t.status = 'confirmed'), 0),
        max(o.expiry),
        count(*) FILTER (WHERE o.state IN ('SUBMITTING', 'LIVE', 'DELAYED', 'UNKNOWN', 'MATCHED'))
    FROM orders o LEFT JOIN trades t USING (order_hash)
    WHERE NOT EXISTS (SELECT FROM settlements s WHERE s.token = o.token)
    GROUP BY o.token, o.market
    HAVING bool_or(t.status = 'confirmed')
"""


async def post(cursor: AsyncCursor[TupleRow], entries: Sequence[Entry]) -> int:
    """Write entries within the caller's transaction; those written before are passed over. How many were new."""
    new = 0
    for entry in entries:
        await cursor.execute(
            "INSERT INTO entries (entry_id, kind, ref, ts_event) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (entry.entry_id, entry.kind.value, entry.ref, entry.ts_event),
        )
        if cursor.rowcount != 1:
            continue
        new += 1
        for posting in entry.postings:
            await cursor.execute(
                "INSERT INTO postings (entry_id, account, amount) VALUES (%s, %s, %s)",
                (entry.entry_id, posting.account.value, posting.amount),
            )
    return new


class LedgerBook:
    """The entries, postings and settlements tables."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def post(self, *entries: Entry) -> int:
        """Write entries in one transaction; how many were new."""
        async with self._pool.connection() as connection, connection.transaction(), connection.cursor() as cursor:
            return await post(cursor, entries)

    async def empty(self) -> bool:
        """Whether nothing was ever booked."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute("SELECT NOT EXISTS (SELECT FROM entries)")).fetchone()
        return bool(row and row[0])

    async def balances(self) -> dict[Account, Decimal]:
        """Every account's sum."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute("SELECT account, sum(amount) FROM postings GROUP BY account")
            rows: dict[str, Decimal] = dict(await cursor.fetchall())
        return {account: rows.get(account.value, ZERO) for account in Account}

    async def holdings(self) -> list[Holding]:
        """Confirmed shares that no settlement has ended."""
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(_HOLDINGS)).fetchall()
        return [
            Holding(
                token=row[0],
                market=row[1],
                slug=row[2],
                outcome=row[3],
                shares=row[4],
                cost=row[5],
                fees=row[6],
                expiry=row[7],
                pending=row[8],
            )
            for row in rows
        ]

    async def settle(self, settlement: Settlement, entry: Entry) -> bool:
        """Write how a token ended, and its entry. Whether that was new."""
        paid_at = settlement.ts_event if settlement.payout == ZERO else 0
        async with self._pool.connection() as connection, connection.transaction(), connection.cursor() as cursor:
            await cursor.execute(
                "INSERT INTO settlements (token, market, slug, outcome, won, shares, cost, fees, payout, pnl, "
                "resolved_at, redeemed_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
                "ON CONFLICT DO NOTHING",
                (
                    settlement.token,
                    settlement.market,
                    settlement.slug,
                    settlement.outcome,
                    settlement.won,
                    settlement.shares,
                    settlement.cost,
                    settlement.fees,
                    settlement.payout,
                    settlement.pnl,
                    settlement.ts_event,
                    paid_at,
                ),
            )
            if cursor.rowcount != 1:
                return False
            await post(cursor, (entry,))
            return True

    async def claims(self) -> list[Claim]:
        """Settled tokens that pay something and were not paid yet."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT token, market, payout, resolved_at FROM settlements WHERE redeemed_at = 0"
            )
            rows = await cursor.fetchall()
        return [Claim(token=row[0], market=row[1], payout=row[2], resolved_at=row[3]) for row in rows]

    async def redeem(self, token: str, entry: Entry) -> None:
        """The venue paid for `token`."""
        async with self._pool.connection() as connection, connection.transaction(), connection.cursor() as cursor:
            await cursor.execute(
                "UPDATE settlements SET redeemed_at = %s WHERE token = %s AND redeemed_at = 0", (entry.ts_event, token)
            )
            await post(cursor, (entry,))
