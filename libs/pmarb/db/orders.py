"""Orders and their trades. The insert is the gate: an order that is not in the table was never sent."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, LiteralString

from psycopg.cursor_async import AsyncCursor
from psycopg.rows import TupleRow

from pmarb.db.bare import BareStatement, Row
from pmarb.db.ledger import post
from pmarb.db.pool import Pool
from pmarb.domain.fees import FeeSchedule
from pmarb.domain.ledger import Entry
from pmarb.domain.orders import FillStatus, Order, OrderState, OrderType, Trade
from pmarb.domain.values import Side


class Gate(StrEnum):
    """What the insert decided."""

    INSERTED = "inserted"
    DUPLICATE = "duplicate"
    HALTED = "halted"
    LOCKED = "locked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What an order row keeps besides the order: what it was for, and the times of its making on the real clock."""

    slug: str
    event: str
    underlying: str
    family: str
    outcome: str
    fees: FeeSchedule
    fair: Decimal
    expiry: int
    created_at: int
    tick_real: int = 0
    judged_real: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An order as the table has it."""

    order: Order
    context: Context


Change = Callable[[Order, bool], tuple[Order, Sequence[Entry]]]
"""From an order, and whether its reservation was released, to the order afterwards and what that books."""

_GATE: Final[LiteralString] = """
    WITH key AS (
        SELECT %(opening)s::bigint < 0 OR %(opening)s::bigint = (SELECT max(id) FROM gate_log) AS fits
    ), gate AS MATERIALIZED (
        SELECT state, clears_at FROM trading_state WHERE id = 1 FOR SHARE
    ), allowed AS (
        SELECT 1 FROM gate, key
        WHERE fits AND (state = 'ACTIVE' OR (state <> 'KILLED' AND clears_at > 0 AND clears_at <= %(created_at)s)
            OR (state = 'REDUCING' AND %(shares)s::numeric <= (  -- Only what is held of the market's other outcome
                SELECT coalesce(sum(CASE WHEN o.token = %(token)s THEN -t.shares ELSE t.shares END), 0)
                FROM trades t JOIN orders o USING (order_hash)
                WHERE o.market = %(market)s AND o.side = 'BUY' AND t.status <> 'failed')))
    ), placed AS (
        INSERT INTO orders (order_hash, opportunity_id, leg, slug, event, underlying, family, market, token, outcome,
            side, order_type, limit_price, shares, usd, reserved, fee_rate, fee_exponent, fair, expiry, expires_at,
            state, tick_real, judged_real, created_at, updated_at)
        SELECT %(order_hash)s, %(opportunity_id)s, %(leg)s, %(slug)s, %(event)s, %(underlying)s, %(family)s, %(market)s,
            %(token)s, %(outcome)s, %(side)s, %(order_type)s, %(limit_price)s, %(shares)s, %(usd)s, %(reserved)s,
            %(fee_rate)s, %(fee_exponent)s, %(fair)s, %(expiry)s, %(expires_at)s, 'SUBMITTING', %(tick_real)s,
            %(judged_real)s, %(created_at)s, %(created_at)s
        FROM allowed
        ON CONFLICT DO NOTHING RETURNING order_hash
    ), entry AS (
        INSERT INTO entries (entry_id, kind, ref, ts_event)
        SELECT 'reserve:' || order_hash, 'reserve', order_hash, %(created_at)s FROM placed RETURNING entry_id
    ), lines AS (
        INSERT INTO postings (entry_id, account, amount)
        SELECT entry_id, account, amount FROM entry,
            (VALUES ('reserved', %(reserved)s::numeric), ('cash', -%(reserved)s::numeric)) AS line (account, amount)
    )
    SELECT EXISTS (SELECT FROM allowed), EXISTS (SELECT FROM placed), coalesce((SELECT fits FROM key), false)
"""

NO_REAL_MONEY: Final = -1
"""In place of an opening, where there is no gate to ask."""

_ORDER: Final[LiteralString] = """
    SELECT order_hash, opportunity_id, leg, market, token, side, order_type, limit_price, shares, usd, reserved,
        expires_at, state, cause, slug, event, underlying, family, outcome, fee_rate, fee_exponent, fair, expiry,
        created_at, tick_real, judged_real
    FROM orders
"""


class Orders:
    """The orders and trades tables.

    `opening` is the row of the gate's log that was proven to allow real orders: after any later word there, and with 0,
    none is written.
    """

    def __init__(self, pool: Pool, *, opening: int = NO_REAL_MONEY) -> None:
        self._pool = pool
        self.opening = opening
        assert isinstance(pool.conninfo, str)
        self._gate = BareStatement(pool.conninfo, _GATE)  # A connection of its own, so that it stays warm

    def wake(self) -> None:
        """An order is about to be written."""
        self._gate.wake()

    async def rehearse(self, order: Order, context: Context) -> None:
        """Do all that `insert` does and take it back: the next real one finds plans, pages and caches ready."""
        await self._gate.rehearse(_parameters(order, context) | {"opening": self.opening})

    def insert(self, order: Order, context: Context) -> Coroutine[Any, Any, Gate]:
        """Write `order` as SUBMITTING and move its reservation out of cash, in one statement, unless its (opportunity,
        leg) is there already, trading is stopped or real money locked; while it is REDUCING only what lowers exposure
        passes. A change of the trading state waits for it and it for that.

        The statement is on its way when this returns, if nothing else is under way; await what it decides."""
        return _decided(self._gate.launch(_parameters(order, context) | {"opening": self.opening}))

    def close(self) -> None:
        """Let go of the gate's connection."""
        self._gate.close()

    async def change(
        self, order_hash: str, change: Change, *, now: int, answered_real: int = 0, sent_real: int = 0
    ) -> tuple[Stored, Order] | None:
        """Fold into the row what `change` makes of it, with its trades and ledger entries, in one transaction.

        Returns the row as it was and the order as it is; None for a hash that is not ours. Two at once take turns.
        """
        async with self._pool.connection() as connection, connection.transaction(), connection.cursor() as cursor:
            stored = await _load(cursor, order_hash)
            if stored is None:
                return None
            await cursor.execute("SELECT EXISTS (SELECT FROM entries WHERE entry_id = %s)", (f"release:{order_hash}",))
            released = await cursor.fetchone()
            after, entries = change(stored.order, bool(released and released[0]))
            await _save(cursor, stored.order, after, now=now)
            await post(cursor, entries)
            if sent_real or answered_real:
                await cursor.execute(
                    "UPDATE orders SET sent_real = %s, answered_real = %s WHERE order_hash = %s",
                    (sent_real, answered_real, order_hash),
                )
            return stored, after

    async def find(self, opportunity_id: str, leg: int) -> Stored | None:
        """The order of an approval, if it was ever about to be sent."""
        found = await self._select("WHERE opportunity_id = %s AND leg = %s", (opportunity_id, leg))
        return found[0] if found else None

    async def of_opportunity(self, opportunity_id: str) -> list[Stored]:
        """Every order of an approval, exits too, in the order in which they were written."""
        return await self._select("WHERE opportunity_id = %s ORDER BY created_at", (opportunity_id,))

    async def open(self) -> list[Stored]:
        """Every order that still holds funds, oldest first."""
        states = [state.value for state in OrderState if not state.terminal]
        return await self._select("WHERE state = ANY(%s) ORDER BY created_at", (states,))

    async def changed_since(self, since: int) -> list[Stored]:
        """Orders that changed at or after that venue time, oldest change first."""
        return await self._select("WHERE updated_at >= %s ORDER BY updated_at", (since,))

    async def by_hash(self, hashes: Sequence[str]) -> dict[str, Stored]:
        """Those of the hashes that are ours."""
        found = await self._select("WHERE order_hash = ANY(%s)", (list(hashes),))
        return {stored.order.order_hash: stored for stored in found}

    async def tokens(self, wanted: Sequence[str]) -> set[str]:
        """Those of the tokens in which we ever had an order."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT DISTINCT token FROM orders WHERE token = ANY(%s)", (list(wanted),)
            )
            return {str(row[0]) for row in await cursor.fetchall()}

    async def last_change(self) -> int:
        """When anything of ours last changed (venue time), 0 if never."""
        async with self._pool.connection() as connection:
            row = await (await connection.execute("SELECT coalesce(max(updated_at), 0) FROM orders")).fetchone()
        return int(row[0]) if row else 0

    async def _select(self, where: LiteralString, values: tuple[Any, ...]) -> list[Stored]:
        async with self._pool.connection() as connection, connection.cursor() as cursor:
            await cursor.execute(_ORDER + where, values)
            rows = await cursor.fetchall()
            trades = await _trades(cursor, [row[0] for row in rows])
        return [_stored(row, trades.get(row[0], ())) for row in rows]


async def _decided(answer: Coroutine[Any, Any, Row]) -> Gate:
    allowed, placed, fits = await answer
    if placed == b"t":
        return Gate.INSERTED
    if allowed == b"t":
        return Gate.DUPLICATE
    return Gate.HALTED if fits == b"t" else Gate.LOCKED


def _parameters(order: Order, context: Context) -> dict[str, Any]:
    return {
        "order_hash": order.order_hash,
        "opportunity_id": order.opportunity_id,
        "leg": order.leg,
        "slug": context.slug,
        "event": context.event,
        "underlying": context.underlying,
        "family": context.family,
        "market": order.market,
        "token": order.token,
        "outcome": context.outcome,
        "side": order.side.value,
        "order_type": order.order_type.value,
        "limit_price": order.limit_price,
        "shares": order.shares,
        "usd": order.usd,
        "reserved": order.reserved,
        "fee_rate": context.fees.rate,
        "fee_exponent": context.fees.exponent,
        "fair": context.fair,
        "expiry": context.expiry,
        "expires_at": order.expires_at,
        "tick_real": context.tick_real,
        "judged_real": context.judged_real,
        "created_at": context.created_at,
    }


async def _load(cursor: AsyncCursor[TupleRow], order_hash: str) -> Stored | None:
    await cursor.execute(_ORDER + "WHERE order_hash = %s FOR UPDATE", (order_hash,))
    row = await cursor.fetchone()
    if row is None:
        return None
    return _stored(row, (await _trades(cursor, [order_hash])).get(order_hash, ()))


async def _trades(cursor: AsyncCursor[TupleRow], hashes: list[str]) -> dict[str, tuple[Trade, ...]]:
    if not hashes:
        return {}
    await cursor.execute(
        "SELECT order_hash, trade_id, shares, price, fee, status, ts_event FROM trades "
        "WHERE order_hash = ANY(%s) ORDER BY ts_event, trade_id",
        (hashes,),
    )
    found: dict[str, tuple[Trade, ...]] = {}
    for order_hash, trade_id, shares, price, fee, status, ts_event in await cursor.fetchall():
        trade = Trade(
            trade_id=trade_id, shares=shares, price=price, fee=fee, status=FillStatus(status), ts_event=ts_event
        )
        found[order_hash] = (*found.get(order_hash, ()), trade)
    return found


async def _save(cursor: AsyncCursor[TupleRow], before: Order, after: Order, *, now: int) -> None:
    if after == before:
        return
    await cursor.execute(
        "UPDATE orders SET state = %s, cause = %s, updated_at = greatest(updated_at, %s) WHERE order_hash = %s",
        (after.state.value, after.cause, now, after.order_hash),
    )
    for trade in after.trades:
        await cursor.execute(
            "INSERT INTO trades (trade_id, order_hash, shares, price, fee, status, ts_event, updated_at) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (trade_id) DO UPDATE "
            "SET status = excluded.status, updated_at = excluded.updated_at WHERE trades.status <> excluded.status",
            (
                trade.trade_id,
                after.order_hash,
                trade.shares,
                trade.price,
                trade.fee,
                trade.status.value,
                trade.ts_event,
                now,
            ),
        )


def _stored(row: TupleRow, trades: tuple[Trade, ...]) -> Stored:
    order = Order(
        order_hash=row[0],
        opportunity_id=row[1],
        leg=row[2],
        market=row[3],
        token=row[4],
        side=Side(row[5]),
        order_type=OrderType(row[6]),
        limit_price=row[7],
        shares=row[8],
        usd=row[9],
        reserved=row[10],
        expires_at=row[11],
        state=OrderState(row[12]),
        cause=row[13],
        trades=trades,
    )
    context = Context(
        slug=row[14],
        event=row[15],
        underlying=row[16],
        family=row[17],
        outcome=row[18],
        fees=FeeSchedule(row[19], row[20]),
        fair=row[21],
        expiry=row[22],
        created_at=row[23],
        tick_real=row[24],
        judged_real=row[25],
    )
    return Stored(order=order, context=context)
