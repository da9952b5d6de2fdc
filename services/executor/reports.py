"""What the other services are told of an order. Pure."""

from pmarb.db.orders import Context, Stored
from pmarb.domain.messages import Approval, ApprovedLeg, Fill, OrderUpdate
from pmarb.domain.orders import Order, OrderState, Trade
from services.executor.decide import Skip


def skipped(approval: Approval, index: int, leg: ApprovedLeg, skip: Skip, *, now: int) -> OrderUpdate:
    """Nothing was sent for this leg, and nothing is reserved any more."""
    return OrderUpdate(
        opportunity_id=approval.opportunity_id,
        leg=index,
        order_hash="",
        state=OrderState.CANCELLED,
        cause=skip.cause,
        slug=leg.leg.slug or approval.slug,
        market=leg.leg.market,
        token=leg.leg.token,
        outcome=leg.leg.outcome,
        side=leg.leg.side,
        price=leg.limit,
        shares=leg.shares,
        reserved=leg.reserved * 0,
        filled=leg.shares * 0,
        ts_event=now,
        ts_init=now,
    )


def standing(stored: Stored, *, now: int) -> list[OrderUpdate | Fill]:
    """All there is to say about an order as it stands."""
    fills = [fill(stored.order, stored.context, trade, now=now) for trade in stored.order.trades]
    return [update(stored.order, stored.context, now=now), *fills]


def changes(before: Order, after: Order, context: Context, *, now: int) -> list[OrderUpdate | Fill]:
    """What is new in `after`: its state, and each trade that appeared or changed its standing."""
    told: list[OrderUpdate | Fill] = []
    if (after.state, after.cause, after.filled_shares) != (before.state, before.cause, before.filled_shares):
        told.append(update(after, context, now=now))
    known = {trade.trade_id: trade.status for trade in before.trades}
    told += [
        fill(after, context, trade, now=now) for trade in after.trades if known.get(trade.trade_id) != trade.status
    ]
    return told


def update(order: Order, context: Context, *, now: int) -> OrderUpdate:
    return OrderUpdate(
        opportunity_id=order.opportunity_id,
        leg=order.leg,
        order_hash=order.order_hash,
        state=order.state,
        cause=order.cause,
        slug=context.slug,
        market=order.market,
        token=order.token,
        outcome=context.outcome,
        side=order.side,
        price=order.limit_price,
        shares=order.shares,
        reserved=order.reserved,
        filled=order.filled_shares,
        ts_event=now,
        ts_init=now,
    )


def fill(order: Order, context: Context, trade: Trade, *, now: int) -> Fill:
    return Fill(
        trade_id=trade.trade_id,
        order_hash=order.order_hash,
        opportunity_id=order.opportunity_id,
        slug=context.slug,
        market=order.market,
        token=order.token,
        outcome=context.outcome,
        side=order.side,
        shares=trade.shares,
        price=trade.price,
        fee=trade.fee,
        status=trade.status,
        ts_event=trade.ts_event,
        ts_init=now,
    )
