"""Double entry in Postgres. The database refuses an entry that does not sum to zero, and one id twice."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, LiteralString

from psycopg.cursor_async import AsyncCursor
from psycopg.rows import TupleRow

from pmarb.db.pool import Pool
from pmarb.domain.ledger import Account, Entry
from pmarb.domain.messages import Settlement
from pmarb.domain.values import ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Confirmed shares, not merged, of a token whose market has not been settled; `cost` is without the fees.

    `opened_at` is when the first of them was bought, `changed_at` when its trades last changed (venue time).
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
    opened_at: int = 0
    changed_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A settled token that the venue has not paid in full yet; `dispute` says what is wrong with it."""

    token: str
    market: str
    payout: Decimal
    resolved_at: int
    paid: Decimal
    dispute: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BookedFee:
    """What a confirmed trade was booked to cost in fees, and of what."""

    trade_id: str
    fee: Decimal
    shares: Decimal
    price: Decimal


_HOLDINGS: Final[LiteralString] = """
    SELECT o.token, o.market, min(o.slug), min(o.outcome),
        sum(t.shares) FILTER (WHERE t.status = 'confirmed') - coalesce(min(m.shares), 0),
        sum(round(t.shares * t.price, 6)) FILTER (WHERE t.status = 'confirmed') - coalesce(min(m.cost), 0),
        sum(t.fee) FILTER (WHERE t.status = 'confirmed') - coalesce(min(m.fees), 0),
        max(o.expiry),
        count(*) FILTER (WHERE o.state IN ('SUBMITTING', 'LIVE', 'DELAYED', 'UNKNOWN', 'MATCHED')),
        min(t.ts_event) FILTER (WHERE t.status = 'confirmed'), max(t.updated_at)
    FROM orders o LEFT JOIN trades t USING (order_hash)
        LEFT JOIN (SELECT token, sum(shares) AS shares, sum(cost) AS cost, sum(fees) AS fees FROM merges GROUP BY token)
            AS m USING (token)
    WHERE NOT EXISTS (SELECT FROM settlements s WHERE s.token = o.token)
    GROUP BY o.token, o.market
    HAVING bool_or(t.status = 'confirmed')
"""

_CLAIMS: Final[LiteralString] = """
    SELECT token, market, payout, resolved_at, coalesce((
        SELECT sum(amount) FROM postings JOIN entries USING (entry_id)
        WHERE kind = 'redeem' AND account = 'cash' AND (ref = token OR starts_with(ref, token || ':'))), 0), dispute
    FROM settlements WHERE redeemed_at = 0
"""

_FEES_BOOKED: Final[LiteralString] = """
    SELECT o.token, t.trade_id, t.fee, t.shares, t.price FROM trades t JOIN orders o USING (order_hash)
    WHERE t.status = 'confirmed' AND NOT EXISTS (SELECT FROM settlements s WHERE s.token = o.token)
        AND NOT EXISTS (SELECT FROM merges m WHERE m.token = o.token)
        AND o.token IN (SELECT token FROM orders JOIN trades USING (order_hash) WHERE trades.updated_at >= %s)
        AND NOT EXISTS (SELECT FROM orders p WHERE p.token = o.token
            AND p.state IN ('SUBMITTING', 'LIVE', 'DELAYED', 'UNKNOWN', 'MATCHED'))
    ORDER BY t.ts_event, t.trade_id
"""

_FEES_UNSHOWN: Final[LiteralString] = """
    SELECT t.trade_id, t.fee, t.shares, t.price FROM trades t JOIN orders o USING (order_hash)
    WHERE t.status = 'confirmed' AND t.fee > 0 AND t.updated_at >= %(since)s
        AND NOT EXISTS (SELECT FROM entries e WHERE e.kind = 'deposit' AND e.ts_event >= %(since)s)
        AND (EXISTS (SELECT FROM settlements s WHERE s.token = o.token)
            OR EXISTS (SELECT FROM merges m WHERE m.token = o.token) OR o.token = ANY(%(shared)s))
    ORDER BY t.ts_event, t.trade_id
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
        """Confirmed shares that no settlement has ended; a token whose shares were all merged stays until then."""
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
                opened_at=row[9],
                changed_at=row[10],
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
        """Settled tokens that pay something and were not paid in full yet."""
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(_CLAIMS)).fetchall()
        return [
            Claim(token=row[0], market=row[1], payout=row[2], resolved_at=row[3], paid=row[4], dispute=row[5])
            for row in rows
        ]

    async def redeem(self, token: str, entry: Entry) -> bool:
        """The venue paid for `token`, in part or in full: only a full payment ends the claim. Whether it was new."""
        async with self._pool.connection() as connection, connection.transaction(), connection.cursor() as cursor:
            new = await post(cursor, (entry,))
            await cursor.execute(
                "UPDATE settlements SET redeemed_at = %(at)s, dispute = '' WHERE token = %(token)s AND redeemed_at = 0 "
                "AND payout <= (SELECT coalesce(sum(amount), 0) FROM postings JOIN entries USING (entry_id) "
                "WHERE kind = 'redeem' AND account = 'cash' AND (ref = token OR starts_with(ref, token || ':')))",
                {"at": entry.ts_event, "token": token},
            )
            return new == 1

    async def dispute(self, token: str, why: str) -> bool:
        """What the token pays is in doubt: its result counts as disputed until it is paid. Whether that was new."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "UPDATE settlements SET dispute = %s WHERE token = %s AND redeemed_at = 0 AND dispute = ''",
                (why, token),
            )
            return cursor.rowcount == 1

    async def fees_booked(self, since: int) -> dict[str, tuple[BookedFee, ...]]:
        """Confirmed trades of tokens neither settled nor merged and last changed since then, by token, oldest first."""
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(_FEES_BOOKED, (since,))).fetchall()
        found: dict[str, tuple[BookedFee, ...]] = {}
        for token, *row in rows:
            found[token] = (*found.get(token, ()), _booked_fee(row))
        return found

    async def fees_unshown(self, since: int, shared: Collection[str]) -> list[BookedFee]:
        """Confirmed trades last changed since then whose fees the venue does not show by themselves: their token was
        settled or merged, or is `shared` with others. Oldest first; none where money was said to have come or gone
        since then, for that may be on its way."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_FEES_UNSHOWN, {"since": since, "shared": list(shared)})
            return [_booked_fee(row) for row in await cursor.fetchall()]

    async def correct_fee(self, fee: BookedFee, *, charged: Decimal, entry: Entry) -> bool:
        """Book what the venue really charged, unless the fee was changed meanwhile. Whether it was new."""
        async with self._pool.connection() as connection, connection.transaction(), connection.cursor() as cursor:
            await cursor.execute(
                "UPDATE trades SET fee = %s WHERE trade_id = %s AND fee = %s", (charged, fee.trade_id, fee.fee)
            )
            return cursor.rowcount == 1 and await post(cursor, (entry,)) == 1


def _booked_fee(row: Sequence[Any]) -> BookedFee:
    trade_id, fee, shares, price = row
    return BookedFee(trade_id=trade_id, fee=fee, shares=shares, price=price)
