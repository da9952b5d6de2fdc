"""The venue's rules for amounts: pure functions that return the refusal text or None (venue.md 3.4, 3.5)."""

from __future__ import annotations

from collections.abc import Sequence

from services.sandbox.book import Fill, Side
from services.sandbox.markets import FINE_TICK
from services.sandbox.money import MICRO, decimals, text
from services.sandbox.orders import Order, OrderType

MIN_MARKETABLE_BUY = MICRO
GTD_MARGIN_S = 180
GTD_ENDS_EARLY_S = 60
FOK_MISSED = "order couldn't be fully filled. FOK orders are fully filled or killed."
FAK_MISSED = "no orders found to match with FAK order. FAK orders are partially filled or killed if no match is found."
POST_ONLY_CROSSES = "invalid post-only order: order crosses book"
INVALID_EXPIRATION = "invalid expiration"
# One step of the fourth decimal: the error that cutting the shares of a market BUY may leave in the implied price.
MARKET_SHARE_STEP = 100


def limit_price(*, side: Side, maker_amount: int, taker_amount: int) -> int:
    """Worst price a share: dollars over shares, rounded against the order so that it never trades beyond its ratio."""
    if side is Side.BUY:
        return maker_amount * MICRO // taker_amount
    return -(-taker_amount * MICRO // maker_amount)


def accuracy_refusal(order: Order) -> str | None:
    """Decimal places by order type: FOK/FAK 2 and 4 at every tick, GTC/GTD 4 (5 at tick .001) and 2."""
    dollar_places = 5 if order.market.tick == FINE_TICK else 4
    if order.side is Side.BUY:
        maker, taker = (dollar_places, 2) if order.order_type.rests else (2, 4)
    elif order.order_type.rests:
        maker, taker = 2, dollar_places
    else:
        maker, taker = 4, dollar_places
    if decimals(order.maker_amount) <= maker and decimals(order.taker_amount) <= taker:
        return None
    kind = f"{'' if order.order_type.rests else 'market '}{order.side.lower()}"
    return (
        f"invalid amounts, the {kind} orders maker amount supports a max accuracy of {maker} decimals, "
        f"taker amount a max of {taker} decimals"
    )


def tick_refusal(order: Order) -> str | None:
    """The price implied by the two amounts must lie on the tick grid, between one tick and one minus a tick."""
    tick = order.market.tick
    dollars, shares = order.maker_amount, order.taker_amount
    if order.side is Side.SELL:
        dollars, shares = shares, dollars
    nearest = (2 * dollars * MICRO + shares * tick) // (2 * shares * tick) * tick
    off = abs(dollars * MICRO - shares * nearest)
    allowed = 0
    if not order.order_type.rests:
        # Amounts cut to four decimals leave the ratio up to one step of shares (or dollars) away from the tick.
        allowed = max(nearest * MARKET_SHARE_STEP, MARKET_SHARE_STEP * MICRO if order.side is Side.SELL else 0)
    if tick <= nearest <= MICRO - tick and off <= allowed:
        return None
    return f"order {order.id} is invalid. Price ({_ratio(dollars, shares)}) breaks minimum tick size rule: {text(tick)}"


def size_refusal(order: Order, *, marketable: bool) -> str | None:
    """Five shares for resting types, one dollar for a marketable BUY."""
    if order.order_type.rests and order.size < order.market.min_size:
        least = text(order.market.min_size)
        return f"order {order.id} is invalid. Size ({text(order.size)}) lower than the minimum: {least}"
    if marketable and order.side is Side.BUY and order.maker_amount < MIN_MARKETABLE_BUY:
        return small_buy_refusal(order.maker_amount)
    return None


def small_buy_refusal(dollars: int) -> str:
    return f"invalid amount for a marketable BUY order (${text(dollars)}), min size: $1"


def expiration_refusal(order: Order, *, now_s: int) -> str | None:
    """GTD must end three minutes ahead or later; the other types carry no expiration."""
    if order.order_type is OrderType.GTD:
        return None if order.expiration >= now_s + GTD_MARGIN_S else INVALID_EXPIRATION
    return None if order.expiration == 0 else INVALID_EXPIRATION


def balance_refusal(*, balance: int, active: int, matched: int, amount: int) -> str:
    """Text of a refusal for want of money or shares; all in micro-units, `balance` before what was matched."""
    orders = f", sum of active orders: {active}" if active else ""
    matches = f", sum of matched orders: {matched}" if matched else ""
    amounts = f"balance: {balance}{orders}{matches}, order amount: {amount}"
    return f"not enough balance / allowance: the balance is not enough -> {amounts}"


def completes(order: Order, fills: Sequence[Fill]) -> bool:
    """A FOK BUY must spend its dollars (up to what cannot buy a millionth of a share), a SELL must sell its shares."""
    if not order.spends_dollars:
        return sum(fill.shares for fill in fills) == order.size
    return order.maker_amount - sum(fill.dollars for fill in fills) <= 1


def _ratio(dollars: int, shares: int) -> str:
    return f"{dollars / shares:.8f}".rstrip("0").rstrip(".")
