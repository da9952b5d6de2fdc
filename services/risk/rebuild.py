"""The portfolio after a restart, from the ledger's snapshot and the approvals still alive."""

from collections.abc import Iterable

from pmarb.db.portfolio import Snapshot, StoredOrder
from pmarb.domain.messages import Approval, Merge, Settlement
from services.risk.commitments import Commitment, MarketRef
from services.risk.portfolio import DAY, REMEMBERED, Portfolio


def rebuilt(snapshot: Snapshot, approvals: Iterable[Approval], *, now: int) -> Portfolio:
    """The same exposure, results and state as before the restart; ledger first, then what only the stream knows."""
    portfolio = Portfolio(
        capital=snapshot.capital,
        state=snapshot.state.state,
        state_why=snapshot.state.why,
        clears_at=snapshot.state.clears_at,
        today=now // DAY,
        resumed_at=snapshot.resumed_at,
    )
    for order in snapshot.orders:
        _restore(portfolio, order)
    for approval in approvals:
        portfolio.on_approval(approval)
    _adopt_orders(portfolio, snapshot)
    for at, reset in (
        (snapshot.rearmed_at, portfolio.rearm),
        (snapshot.resumed_at, portfolio.restart_counts),
    ):
        if at:
            _settle(portfolio, snapshot, until=at)
            reset(at)
    _settle(portfolio, snapshot, until=None)
    return portfolio


def adopt(portfolio: Portfolio, snapshot: Snapshot, *, now: int) -> None:
    """Fold the ledger's orders, trades, merges and settlements into a living portfolio; known ones change nothing."""
    for order in snapshot.orders:
        known = portfolio.commitments.get(order.update.opportunity_id)
        if (known is None or order.update.leg not in known.where) and order.expiry + REMEMBERED >= now:
            _restore(portfolio, order)
    _adopt_orders(portfolio, snapshot)
    _settle(portfolio, snapshot, until=None)


def _settle(portfolio: Portfolio, snapshot: Snapshot, *, until: int | None) -> None:
    results: list[Settlement | Merge] = [*snapshot.settlements, *snapshot.merges]
    for result in sorted(results, key=lambda result: result.ts_event):
        if until is not None and result.ts_event > until:
            continue
        if isinstance(result, Merge):
            portfolio.on_merge(result)
        else:
            portfolio.on_settlement(result)


def _adopt_orders(portfolio: Portfolio, snapshot: Snapshot) -> None:
    for order in snapshot.orders:
        portfolio.on_order(order.update)
    for fill in snapshot.fills:
        portfolio.on_fill(fill)


def _restore(portfolio: Portfolio, order: StoredOrder) -> None:
    update = order.update
    commitment = portfolio.commitments.get(update.opportunity_id)
    where = MarketRef(market=update.market, event=order.event, underlying=order.underlying, expiry=order.expiry)
    if commitment is None:
        commitment = Commitment(
            opportunity_id=update.opportunity_id,
            where={},
            approved_at=order.created_at,
            expires_at=order.created_at,
            approved={},
            strategy=order.strategy,
        )
        portfolio.commitments[update.opportunity_id] = commitment
        portfolio.approvals_at.append(order.created_at)
    commitment.restore(update, where)
