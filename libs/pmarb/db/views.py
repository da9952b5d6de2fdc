"""What people ask the ledger, read only. Every function takes an open connection and returns plain frozen rows.

Times are venue nanoseconds UTC unless the name ends in `_real`. Newest first wherever there is a limit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg.rows import class_row, scalar_row

from pmarb.domain.ledger import Account, realised_pnl
from pmarb.domain.messages import TradingState
from pmarb.domain.values import ZERO

Connection = psycopg.Connection[Any]
Row = TypeVar("Row")

DAY_NS = 86_400 * 1_000_000_000


def connect(dsn: str) -> Connection:
    """A connection that cannot write.

    Raises:
        psycopg.OperationalError: the database does not answer within 3 s.
    """
    return psycopg.connect(dsn, autocommit=True, connect_timeout=3, options="-c default_transaction_read_only=on")


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Whether trading is allowed, who said so and why; `clears_at` is 0 for a stop that needs a person."""

    state: TradingState
    who: str
    why: str
    since: int
    clears_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Shares held. `status` is open, or redeemable once the market resolved and the venue has not paid yet.

    `provisional` shares are matched but not confirmed; `cost` is without the fees.
    """

    token: str
    slug: str
    outcome: str
    shares: Decimal
    provisional: Decimal
    cost: Decimal
    fees: Decimal
    fair: Decimal
    expiry: int
    opened_at: int
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRow:
    """An order we sent or were about to send."""

    order_hash: str
    opportunity_id: str
    slug: str
    outcome: str
    side: str
    order_type: str
    limit_price: Decimal
    shares: Decimal
    reserved: Decimal
    filled: Decimal
    state: str
    cause: str
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeRow:
    """A match of one of our orders."""

    trade_id: str
    order_hash: str
    opportunity_id: str
    slug: str
    token: str
    outcome: str
    side: str
    shares: Decimal
    price: Decimal
    fee: Decimal
    status: str
    ts_event: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementRow:
    """What was left of a position at its end; `redeemed_at` is 0 until the venue paid (a loser is never paid)."""

    token: str
    slug: str
    outcome: str
    won: bool
    shares: Decimal
    cost: Decimal
    fees: Decimal
    payout: Decimal
    pnl: Decimal
    resolved_at: int
    redeemed_at: int
    dispute: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What risk said of an opportunity."""

    opportunity_id: str
    verdict: str
    reason: str
    detail: str
    slug: str
    judged_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """One line of the funnel."""

    name: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DayPnl:
    """What settled or was merged on one UTC day, after fees; merges are in the sums, not in the counts."""

    day: str
    settled: int
    won: int
    fees: Decimal
    pnl: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Pnl:
    """`confirmed` is of pairs merged, and of positions that ended and were paid, after their fees. `disputed` is of
    positions that ended and whose payment is overdue, or was not what they were worth. `provisional` is everything else
    that has touched the money so far: results the venue has not paid yet, and the fees of positions still open (held at
    cost).
    """

    confirmed: Decimal
    provisional: Decimal
    disputed: Decimal
    fees: Decimal
    settled: int
    by_day: tuple[DayPnl, ...]
    merged: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Milliseconds on this machine's clock; zeros when `n` is 0."""

    p50: float
    p99: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Proof of a kill: what was open, what was cancelled, and what was still open afterwards."""

    id: int
    who: str
    why: str
    open_before: list[str]
    cancelled: dict[str, str]
    open_after: list[str]
    unverified: str
    started_real: int
    verified_real: int


def state(connection: Connection) -> State:
    found = _rows(connection, State, "SELECT state, who, why, since, clears_at FROM trading_state WHERE id = 1")[0]
    return replace(found, state=TradingState(found.state))


def balances(connection: Connection) -> dict[Account, Decimal]:
    """Every account, also those without a posting."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT account, sum(amount) FROM postings GROUP BY account")
        found = {Account(account): amount for account, amount in cursor.fetchall()}
    return {account: found.get(account, ZERO) for account in Account}


def unbalanced_entries(connection: Connection) -> int:
    """Entries whose postings do not sum to zero: none, ever."""
    return _count(
        connection,
        "SELECT count(*) FROM (SELECT entry_id FROM postings GROUP BY entry_id HAVING sum(amount) <> 0) AS bad",
    )


def positions(connection: Connection) -> Sequence[Position]:
    """What we hold, from trades that have not failed, until it is merged, or settled and paid."""
    return _rows(connection, Position, _POSITIONS)


_POSITIONS: LiteralString = """
    WITH held AS (
        SELECT o.token, min(o.slug) AS slug, min(o.outcome) AS outcome,
               sum(CASE o.side WHEN 'BUY' THEN t.shares ELSE -t.shares END) AS shares,
               sum(CASE WHEN t.status = 'provisional' THEN t.shares ELSE 0 END) AS provisional,
               sum(CASE o.side WHEN 'BUY' THEN t.shares * t.price ELSE -t.shares * t.price END) AS cost,
               sum(t.fee) AS fees, min(o.fair) AS fair, max(o.expiry) AS expiry, min(t.ts_event) AS opened_at
        FROM trades t JOIN orders o USING (order_hash)
        WHERE t.status <> 'failed' GROUP BY o.token
    ), merged AS (
        SELECT token, sum(shares) AS shares, sum(cost) AS cost, sum(fees) AS fees FROM merges GROUP BY token)
    SELECT token, h.slug, h.outcome, h.shares - coalesce(m.shares, 0) AS shares, provisional,
        h.cost - coalesce(m.cost, 0) AS cost, h.fees - coalesce(m.fees, 0) AS fees, fair, expiry, opened_at,
        CASE WHEN s.token IS NULL THEN 'open' ELSE 'redeemable' END AS status
    FROM held h LEFT JOIN merged m USING (token) LEFT JOIN settlements s USING (token)
    WHERE h.shares <> coalesce(m.shares, 0) AND (s.token IS NULL OR (s.payout > 0 AND s.redeemed_at = 0))
    ORDER BY h.opened_at DESC
"""


def orders(connection: Connection, *, limit: int = 50) -> Sequence[OrderRow]:
    return _rows(connection, OrderRow, _ORDERS + " ORDER BY created_at DESC LIMIT %s", limit)


def open_orders(connection: Connection) -> Sequence[OrderRow]:
    """Orders that may still match at the venue."""
    states = " WHERE state IN ('SUBMITTING', 'LIVE', 'DELAYED', 'UNKNOWN') ORDER BY created_at DESC"
    return _rows(connection, OrderRow, _ORDERS + states)


_ORDERS: LiteralString = """
    SELECT order_hash, opportunity_id, slug, outcome, side, order_type, limit_price, shares, reserved, state, cause,
           created_at, updated_at,
           (SELECT coalesce(sum(shares), 0) FROM trades t
             WHERE t.order_hash = orders.order_hash AND t.status <> 'failed') AS filled
    FROM orders
"""


def order_hashes(connection: Connection) -> set[str]:
    with connection.cursor(row_factory=scalar_row) as cursor:
        return {str(order_hash) for order_hash in cursor.execute("SELECT order_hash FROM orders")}


def trades(connection: Connection, *, limit: int = 50) -> Sequence[TradeRow]:
    return _rows(connection, TradeRow, _TRADES + " ORDER BY t.ts_event DESC, t.trade_id LIMIT %s", limit)


def all_trades(connection: Connection) -> Sequence[TradeRow]:
    """For the audit: every trade, oldest first."""
    return _rows(connection, TradeRow, _TRADES + " ORDER BY t.ts_event, t.trade_id")


_TRADES: LiteralString = """
    SELECT t.trade_id, t.order_hash, o.opportunity_id, o.slug, o.token, o.outcome, o.side, t.shares, t.price, t.fee,
           t.status, t.ts_event
    FROM trades t JOIN orders o USING (order_hash)
"""


def settlements(connection: Connection) -> Sequence[SettlementRow]:
    query: LiteralString = """
        SELECT token, slug, outcome, won, shares, cost, fees, payout, pnl, resolved_at, redeemed_at,
            dispute
        FROM settlements ORDER BY resolved_at DESC"""
    return _rows(connection, SettlementRow, query)


def verdicts(connection: Connection, *, limit: int = 50) -> Sequence[Verdict]:
    query: LiteralString = """
        SELECT opportunity_id, verdict, reason, detail, slug, judged_at
        FROM verdicts ORDER BY judged_at DESC LIMIT %s"""
    return _rows(connection, Verdict, query, limit)


def verdict_counts(connection: Connection) -> Sequence[Count]:
    query: LiteralString = "SELECT verdict AS name, count(*) AS count FROM verdicts GROUP BY 1 ORDER BY 2 DESC"
    return _rows(connection, Count, query)


def rejection_counts(connection: Connection) -> Sequence[Count]:
    """Why they were rejected, the commonest reason first."""
    query: LiteralString = """
        SELECT reason AS name, count(*) AS count FROM verdicts
        WHERE approval IS NULL GROUP BY 1 ORDER BY 2 DESC, 1"""
    return _rows(connection, Count, query)


def order_counts(connection: Connection) -> Sequence[Count]:
    return _rows(connection, Count, "SELECT state AS name, count(*) AS count FROM orders GROUP BY 1 ORDER BY 2 DESC, 1")


def no_matches(connection: Connection) -> int:
    """Orders the venue refused because nothing was left to match: the everyday end of a race."""
    return _count(connection, "SELECT count(*) FROM orders WHERE state = 'REJECTED' AND cause LIKE 'no_match: %%'")


def fills(connection: Connection) -> int:
    """Trades that have not failed."""
    return _count(connection, "SELECT count(*) FROM trades WHERE status <> 'failed'")


def pnl(connection: Connection) -> Pnl:
    of_accounts = balances(connection)
    final, disputed = _final_pnl(connection)
    return Pnl(
        confirmed=final,
        provisional=realised_pnl(of_accounts) - final - disputed,
        disputed=disputed,
        fees=of_accounts[Account.FEES],
        settled=_count(connection, "SELECT count(*) FROM settlements WHERE shares > 0"),
        merged=_count(connection, "SELECT count(DISTINCT merge_id) FROM merges"),
        by_day=tuple(_rows(connection, DayPnl, _BY_DAY)),
    )


def _final_pnl(connection: Connection) -> tuple[Decimal, Decimal]:
    """(of pairs merged and positions that are over and paid, of those whose payment is in doubt)"""
    query: LiteralString = """
        SELECT coalesce(sum(pnl) FILTER (WHERE payout = 0 OR redeemed_at > 0), 0)
                   + (SELECT coalesce(sum(pnl), 0) FROM merges),
               coalesce(sum(pnl) FILTER (WHERE payout > 0 AND redeemed_at = 0 AND dispute <> ''), 0)
        FROM settlements"""
    row = connection.execute(query).fetchone()
    assert row is not None
    return Decimal(row[0]), Decimal(row[1])


_BY_DAY: LiteralString = """
    SELECT to_char(to_timestamp(resolved_at / 1000000000) AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day,
           count(*) FILTER (WHERE won IS NOT NULL) AS settled, count(*) FILTER (WHERE won) AS won, sum(fees) AS fees,
           sum(pnl) AS pnl
    FROM (SELECT resolved_at, won, fees, pnl FROM settlements WHERE shares > 0
          UNION ALL SELECT merged_at, NULL, fees, pnl FROM merges) AS results
    GROUP BY 1 ORDER BY 1 DESC
"""


def trades_between(connection: Connection, *, start: int, end: int) -> int:
    """Trades matched in [start, end) that have not failed."""
    query: LiteralString = "SELECT count(*) FROM trades WHERE status <> 'failed' AND ts_event >= %s AND ts_event < %s"
    return _count(connection, query, start, end)


def verdicts_between(connection: Connection, *, start: int, end: int) -> int:
    """Opportunities that risk judged in [start, end)."""
    return _count(connection, "SELECT count(*) FROM verdicts WHERE judged_at >= %s AND judged_at < %s", start, end)


def tick_to_wire(connection: Connection) -> Latency:
    """From the tick that showed the opportunity to the signed order's first byte out."""
    query: LiteralString = """
        SELECT coalesce(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms), 0)::float8 AS p50,
               coalesce(percentile_cont(0.99) WITHIN GROUP (ORDER BY ms), 0)::float8 AS p99, count(*) AS n
        FROM (SELECT (sent_real - tick_real) / 1e6 AS ms FROM orders WHERE tick_real > 0 AND sent_real > 0) AS sent"""
    return _rows(connection, Latency, query)[0]


def receipts(connection: Connection, *, limit: int = 10, since_real: int = 0) -> Sequence[Receipt]:
    query: LiteralString = """
        SELECT id, who, why, open_before, cancelled, open_after, unverified, started_real, verified_real
        FROM receipts WHERE started_real >= %s ORDER BY id DESC LIMIT %s"""
    return _rows(connection, Receipt, query, since_real, limit)


def _rows(connection: Connection, row: type[Row], query: LiteralString, *values: object) -> list[Row]:
    with connection.cursor(row_factory=class_row(row)) as cursor:
        return cursor.execute(query, values).fetchall()


def _count(connection: Connection, query: LiteralString, *values: object) -> int:
    with connection.cursor(row_factory=scalar_row) as cursor:
        return int(cursor.execute(query, values).fetchone() or 0)
