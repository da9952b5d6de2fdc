"""The portfolio after a restart, from the ledger's snapshot and the approvals still alive."""

from collections.abc import Iterable

from pmarb.db.portfolio import Snapshot, StoredOrder
from pmarb.domain.messages import Approval
from services.risk.portfolio import DAY, REMEMBERED, Commitment, MarketRef, Portfolio


def rebuilt(snapshot: Snapshot, approvals: Iterable[Approval], *, now: int) -> Portfolio:
    """The same exposure, results and state as before the restart; ledger first, then what only the stream knows."""
    portfolio = Portfolio(
        capital=snapshot.capital,
        state=snapshot.state.state,
        state_why=snapshot.state.why,
        clears_at=snapshot.state.clears_at,
        # Where a clock was set back, the ledger knows a later day, and its losses still count
        day=max([now, *(settlement.ts_event for settlement in snapshot.settlements)]) // DAY,
    )
    for order in snapshot.orders:
        _restore(portfolio, order)
    for approval in approvals:
        portfolio.on_approval(approval)
    _adopt_orders(portfolio, snapshot)
    for settlement in snapshot.settlements:
        if settlement.ts_event <= snapshot.resumed_at:
            portfolio.on_settlement(settlement)
    if snapshot.resumed_at:
        portfolio.rearm()
    for settlement in snapshot.settlements:
        portfolio.on_settlement(settlement)
    return portfolio


def adopt(portfolio: Portfolio, snapshot: Snapshot, *, now: int) -> None:
    """Fold the ledger's orders, trades and settlements into a living portfolio; what it knows changes nothing."""
    for order in snapshot.orders:
        if order.update.opportunity_id not in portfolio.commitments and order.expiry + REMEMBERED >= now:
            _restore(portfolio, order)
    _adopt_orders(portfolio, snapshot)
    for settlement in snapshot.settlements:
        portfolio.on_settlement(settlement)


def _adopt_orders(portfolio: Portfolio, snapshot: Snapshot) -> None:
    for order in snapshot.orders:
        portfolio.on_order(order.update)
    for fill in snapshot.fills:
        portfolio.on_fill(fill)


def _restore(portfolio: Portfolio, order: StoredOrder) -> None:
    update = order.update
    commitment = portfolio.commitments.get(update.opportunity_id)
    if commitment is None:
        where = MarketRef(market=update.market, event=order.event, underlying=order.underlying, expiry=order.expiry)
        commitment = Commitment(
            opportunity_id=update.opportunity_id,
            where=where,
            approved_at=order.created_at,
            expires_at=order.created_at,
            approved={},
        )
        portfolio.commitments[update.opportunity_id] = commitment
        portfolio.approvals_at.append(order.created_at)
    commitment.approved[update.leg] = update.reserved
