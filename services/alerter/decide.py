"""Which messages a person should hear of, and in what words."""

from decimal import Decimal

from pmarb.domain.messages import Alert, AlertKind, Fill, Halt, Kill, Merge, Message, OrderUpdate, Priority, Settlement
from pmarb.domain.orders import FillStatus, OrderState

NO_MATCH = "no_match: "
PAUSED = "paused: "
STOPPED = "trading_stopped"
_TROUBLE = {
    OrderState.REJECTED: "the venue refused an order",
    OrderState.UNKNOWN: "an order's outcome is unknown",
    OrderState.FAILED: "every trade of an order failed",
}


def alert_for(message: Message, *, large_loss_usd: Decimal, now: int) -> Alert | None:
    """The alert this message deserves, None for everyday life.

    An order that found nothing to match (cause `no_match: ...`) is everyday life, and that the venue takes no orders
    (`paused: ...`) has an alert of its own.
    """
    match message:
        case Alert():
            return message
        case Halt() | Kill():
            return _stopped(message, now)
        case Settlement():
            return _settled(message, large_loss_usd, now)
        case Merge():
            return _merged(message, now)
        case OrderUpdate(state=state, cause=cause) if state in _TROUBLE and not cause.startswith((NO_MATCH, PAUSED)):
            return _order_trouble(message, now)
        case Fill(status=FillStatus.CONFIRMED | FillStatus.FAILED):
            return _traded(message, now)
        case _:
            return None


def _stopped(message: Halt | Kill, now: int) -> Alert:
    killed = isinstance(message, Kill)
    until = "; clears by itself" if isinstance(message, Halt) and message.clears_at else "; resume by hand"
    return Alert(
        kind=AlertKind.TRADING_STOPPED,
        priority=Priority.CRITICAL,
        dedupe_key=f"{STOPPED}:{type(message).__name__}:{message.who}:{message.why}",
        title="Trading KILLED" if killed else "Trading halted",
        body=f"{message.why} (by {message.who}){until}",
        ts_event=message.ts_event,
        ts_init=now,
    )


def _settled(message: Settlement, large_loss_usd: Decimal, now: int) -> Alert:
    large = message.pnl < -large_loss_usd
    result = "won" if message.won else "lost"
    return Alert(
        kind=AlertKind.LARGE_LOSS if large else AlertKind.TRADE,
        priority=Priority.HIGH if large else Priority.NORMAL,
        dedupe_key=f"settled:{message.token}",
        title=f"{'Large loss' if large else 'Settled'}: {_signed(message.pnl)} on {message.slug}",
        body=(
            f"{message.shares.normalize():f} {message.outcome} {result}: cost {_usd(message.cost)}, "
            f"fees {_usd(message.fees)}, paid {_usd(message.payout)}, P&L {_signed(message.pnl)}, "
            f"equity {_usd(message.equity)}"
        ),
        ts_event=message.ts_event,
        ts_init=now,
    )


def _merged(message: Merge, now: int) -> Alert:
    """Two sides of one market are a dollar whatever happens: no loss of it comes as a surprise."""
    return Alert(
        kind=AlertKind.TRADE,
        priority=Priority.NORMAL,
        dedupe_key=f"merged:{message.merge_id}",
        title=f"Merged: {_signed(message.pnl)} on {message.slug}",
        body=(
            f"{message.payout.normalize():f} pairs became {_usd(message.payout)}, "
            f"P&L {_signed(message.pnl)}, equity {_usd(message.equity)}"
        ),
        ts_event=message.ts_event,
        ts_init=now,
    )


def _order_trouble(message: OrderUpdate, now: int) -> Alert:
    return Alert(
        kind=AlertKind.ORDER_REJECTED,
        priority=Priority.HIGH,
        dedupe_key=f"order:{message.order_hash or message.opportunity_id}:{message.state}",
        title=f"Order {message.state}: {message.slug}",
        body=(
            f"{_TROUBLE[message.state]}: {message.side} {message.shares} {message.outcome} at {message.price}. "
            f"Cause: {message.cause or 'not given'}. Trace: {message.opportunity_id}"
        ),
        ts_event=message.ts_event,
        ts_init=now,
    )


def _traded(message: Fill, now: int) -> Alert:
    failed = message.status is FillStatus.FAILED
    what = f"{message.shares.normalize():f} {message.outcome} at {message.price}, fee {_usd(message.fee)}"
    after = "the position never was, its cost came back" if failed else "P&L follows when the market settles"
    return Alert(
        kind=AlertKind.ORDER_REJECTED if failed else AlertKind.TRADE,
        priority=Priority.HIGH if failed else Priority.NORMAL,
        dedupe_key=f"trade:{message.trade_id}:{message.status}",
        title=f"{'Trade FAILED' if failed else 'Trade'}: {message.side} {message.slug}",
        body=f"{what}; {after}. Trace: {message.opportunity_id}",
        ts_event=message.ts_event,
        ts_init=now,
    )


def _usd(amount: Decimal) -> str:
    return f"${amount:.2f}"


def _signed(amount: Decimal) -> str:
    return f"{'-' if amount < 0 else '+'}${abs(amount):.2f}"
