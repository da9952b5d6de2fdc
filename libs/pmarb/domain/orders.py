"""The life of an order: its states, what can happen to it, and one function that folds the two together.

    SUBMITTING -> LIVE | DELAYED | MATCHED | UNKNOWN | REJECTED
    UNKNOWN    -> whatever the venue turns out to have done, or ABSENT once it is proven to know nothing
    MATCHED    -> FILLED (every trade confirmed) | FAILED (every trade failed)
    LIVE, DELAYED -> MATCHED | CANCELLED | EXPIRED
    MATCHED    -> LIVE (every trade settled, but the rest of a GTC or GTD still rests)

An order holds its reservation until its state is terminal. Events may come twice, late or out of order: a trade
is known by its id and climbs its own ladder (provisional -> confirmed | failed), and what is terminal stays so unless
a trade shows up that proves it wrong.
"""

from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from typing import Final

from pmarb.domain.values import EXACT, MICRO, ZERO, Side

EXIT_LEG: Final = 100
"""The exit of leg n is the order of leg n + this: it buys as much of the other outcome, and each pair is a dollar."""


def is_exit(leg: int) -> bool:
    return leg >= EXIT_LEG


class OrderType(StrEnum):
    """How long an order may live (venue.md 3.3)."""

    FAK = "FAK"
    FOK = "FOK"
    GTC = "GTC"
    GTD = "GTD"

    @property
    def rests(self) -> bool:
        """Whether what does not match at once stays in the book."""
        return self in (OrderType.GTC, OrderType.GTD)


class OrderState(StrEnum):
    """Where an order stands. The first five hold funds; the rest are final."""

    SUBMITTING = "SUBMITTING"
    LIVE = "LIVE"
    DELAYED = "DELAYED"
    UNKNOWN = "UNKNOWN"
    MATCHED = "MATCHED"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"
    FAILED = "FAILED"
    ABSENT = "ABSENT"

    @property
    def terminal(self) -> bool:
        return self not in _OPEN

    @property
    def unsettled(self) -> bool:
        """Whether the venue must still be asked what became of it."""
        return self in (OrderState.SUBMITTING, OrderState.LIVE, OrderState.DELAYED, OrderState.UNKNOWN)


_OPEN = frozenset((OrderState.SUBMITTING, OrderState.LIVE, OrderState.DELAYED, OrderState.UNKNOWN, OrderState.MATCHED))


class FillStatus(StrEnum):
    """A trade's standing: only CONFIRMED is final good news (venue.md 3.9)."""

    PROVISIONAL = "provisional"
    CONFIRMED = "confirmed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """One match of an order as the venue reports it; `fee` in pUSD as booked."""

    trade_id: str
    shares: Decimal
    price: Decimal
    fee: Decimal
    status: FillStatus
    ts_event: int

    @property
    def notional(self) -> Decimal:
        """Dollars against the shares. A match pays whole millionths; a VWAP may have no end, so its product is rounded
        to the nearest one, which is what was paid."""
        return (self.shares * self.price).quantize(MICRO, rounding=ROUND_HALF_EVEN, context=EXACT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order we may have sent. `order_hash` is its EIP-712 hash, the venue's id, known before sending.

    `usd` is what a marketable BUY may spend without the fee; `reserved` is all it may cost, fee included.
    """

    order_hash: str
    opportunity_id: str
    leg: int
    market: str
    token: str
    side: Side
    order_type: OrderType
    limit_price: Decimal
    shares: Decimal
    usd: Decimal
    reserved: Decimal
    expires_at: int
    state: OrderState = OrderState.SUBMITTING
    cause: str = ""
    trades: tuple[Trade, ...] = ()

    @property
    def filled_shares(self) -> Decimal:
        """Shares of trades that have not failed."""
        return sum((t.shares for t in self.trades if t.status is not FillStatus.FAILED), ZERO)

    @property
    def spent(self) -> Decimal:
        """Cash of trades that have not failed, fee included."""
        return sum((t.notional + t.fee for t in self.trades if t.status is not FillStatus.FAILED), ZERO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The venue took the order: resting, held for its taker delay, or matched at once."""

    state: OrderState


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The venue proved that it did not take the order."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeUnknown:
    """Time-out, reset, 5xx or an odd body: placed or not, nobody told us."""

    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Traded:
    """A trade of this order, at whatever standing the venue now gives it."""

    trade: Trade


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The venue will match no more of it: cancelled or expired, in part or in full."""

    state: OrderState
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenAbsent:
    """No open order, no trade, no event under this hash, long after it could have arrived."""


OrderEvent = Accepted | Refused | OutcomeUnknown | Traded | Ended | ProvenAbsent


def fold(order: Order, event: OrderEvent) -> Order:
    """The order after the event. Seen twice or late, an event changes nothing that is already better known."""
    match event:
        case Traded(trade=trade):
            return _with_trade(order, trade)
        case Accepted(state=state):
            return _moved(order, state, "", unless=order.state.terminal or order.state is OrderState.MATCHED)
        case OutcomeUnknown(detail=detail):
            return _moved(order, OrderState.UNKNOWN, detail, unless=order.state is not OrderState.SUBMITTING)
        case Refused(reason=reason):
            return _moved(order, OrderState.REJECTED, reason, unless=order.state.terminal or bool(order.trades))
        case ProvenAbsent():
            return _moved(
                order,
                OrderState.ABSENT,
                "the venue never knew it",
                unless=order.state not in (OrderState.SUBMITTING, OrderState.UNKNOWN) or bool(order.trades),
            )
        case Ended(state=state, detail=detail):
            return _ended(order, state, detail)


def _moved(order: Order, state: OrderState, cause: str, *, unless: bool) -> Order:
    return order if unless else replace(order, state=state, cause=cause)


def _ended(order: Order, state: OrderState, detail: str) -> Order:
    if order.state.terminal:
        return order
    if order.trades:
        return replace(order, state=_state_of_trades(order.trades), cause=detail or order.cause)
    return replace(order, state=state, cause=detail)


def _with_trade(order: Order, trade: Trade) -> Order:
    known = {t.trade_id: t for t in order.trades}
    before = known.get(trade.trade_id)
    if before is not None and before.status is not FillStatus.PROVISIONAL:
        return order
    if before == trade:
        return order
    known[trade.trade_id] = trade if before is None else replace(before, status=trade.status)
    trades = tuple(sorted(known.values(), key=lambda t: (t.ts_event, t.trade_id)))
    after = replace(order, trades=trades, state=_state_of_trades(trades))
    remainder = order.order_type.rests and not order.state.terminal and after.filled_shares < order.shares
    return replace(after, state=OrderState.LIVE) if remainder and after.state.terminal else after


def _state_of_trades(trades: tuple[Trade, ...]) -> OrderState:
    statuses = {t.status for t in trades}
    if FillStatus.PROVISIONAL in statuses:
        return OrderState.MATCHED
    return OrderState.FILLED if FillStatus.CONFIRMED in statuses else OrderState.FAILED
