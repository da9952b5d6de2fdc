"""The ledger as evidence for the meter: every order of which the outcome is known, and what was sampled beside it.

Legs of sets are left out: no fair value of theirs was bet on.
"""

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from psycopg.rows import class_row

from pmarb.db.views import Connection
from pmarb.domain.evidence import Bet, Evidence, Paid
from pmarb.domain.orders import FillStatus
from pmarb.domain.values import ZERO

_ORDERS: Final = """
SELECT o.opportunity_id, o.slug, o.underlying, o.family, o.outcome, o.token, o.created_at, o.expiry, o.fair,
       (v.opportunity->>'fair_se')::numeric AS se, (v.opportunity->>'mid')::numeric AS mid,
       (v.opportunity->>'net_edge')::numeric AS expected,
       (v.opportunity->'legs'->o.leg->>'price')::numeric AS ask,
       (v.opportunity->>'ts_init')::bigint AS decided_at,
       t.shares, t.notional, t.fee, t.matched_at, s.won
FROM orders o
LEFT JOIN verdicts v USING (opportunity_id)
LEFT JOIN LATERAL (
    SELECT sum(shares) AS shares, sum(shares * price) AS notional, sum(fee) AS fee,
           min(ts_event) AS matched_at
    FROM trades WHERE trades.order_hash = o.order_hash AND status <> %(failed)s
) t ON true
LEFT JOIN settlements s ON s.token = o.token
WHERE o.side = 'BUY' AND NOT EXISTS (SELECT FROM sets WHERE sets.opportunity_id = o.opportunity_id)
ORDER BY o.created_at
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    opportunity_id: str
    slug: str
    underlying: str
    family: str
    outcome: str
    token: str
    created_at: int
    expiry: int
    fair: Decimal
    se: Decimal | None
    mid: Decimal | None
    expected: Decimal | None
    ask: Decimal | None
    decided_at: int | None
    shares: Decimal | None
    notional: Decimal | None
    fee: Decimal | None
    matched_at: int | None
    won: bool | None


def evidence(connection: Connection) -> Evidence:
    """Orders in order of time. An order without its verdict (pruned) or outcome (not settled) is only counted."""
    with connection.cursor(row_factory=class_row(_Row)) as cursor:
        rows = cursor.execute(_ORDERS, {"failed": FillStatus.FAILED}).fetchall()
    outcomes = _outcomes(rows)
    bets, unsettled = [], 0
    for row in rows:
        won = row.won if row.won is not None else outcomes.get((row.slug, row.outcome))
        if won is None:
            unsettled += 1
            continue
        bets.append(_bet(row, won))
    return Evidence(bets=tuple(bets), unsettled=unsettled)


def _outcomes(rows: list[_Row]) -> dict[tuple[str, str], bool]:
    """What settled positions say of unfilled orders in the same market: one outcome won, the others lost."""
    winners: dict[str, str] = {}
    losers: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.won:
            winners[row.slug] = row.outcome
        elif row.won is False:
            losers[row.slug].add(row.outcome)
    found: dict[tuple[str, str], bool] = {}
    for row in rows:
        if row.slug in winners:
            found[row.slug, row.outcome] = winners[row.slug] == row.outcome
        elif row.outcome in losers[row.slug]:
            found[row.slug, row.outcome] = False
        elif losers[row.slug]:
            found[row.slug, row.outcome] = True  # Of two outcomes the other one lost
    return found


def _bet(row: _Row, won: bool) -> Bet:
    paid = None
    if row.shares and row.notional is not None and row.fee is not None:
        paid = Paid(shares=row.shares, price=row.notional / row.shares, fee=row.fee)
    ask = row.ask if row.ask is not None else paid.price if paid is not None else row.fair
    return Bet(
        bet_id=row.opportunity_id,
        window=row.slug,
        underlying=row.underlying,
        family=row.family,
        outcome=row.outcome,
        decided_at=row.decided_at or row.created_at,
        closes_at=row.expiry,
        fair=row.fair,
        se=row.se or ZERO,
        ask=ask,
        mid=row.mid,
        expected=row.expected if row.expected is not None else row.fair - ask,
        won=won,
        token=row.token,
        matched_at=row.matched_at or row.created_at,
        filled=paid,
    )
