"""Edges in probability points (dollars a share), always after the taker's fee (quant.md 3.3, 3.4)."""

from collections.abc import Callable
from decimal import Decimal

from pmarb.domain.fees import Fees
from pmarb.domain.values import ONE, ZERO, Side


def net_edge(*, side: Side, fair: Decimal, price: Decimal, fees: Fees) -> Decimal:
    """What one share taken at `price` is expected to earn when it is worth `fair`."""
    gross = fair - price if side is Side.BUY else price - fair
    return gross - fees.fee(shares=ONE, price=price)


def break_even(*, side: Side, price: Decimal, fees: Fees) -> Decimal:
    """The fair value at which taking at `price` earns nothing: price + fee on a BUY, price - fee on a SELL."""
    fee = fees.fee(shares=ONE, price=price)
    return price + fee if side is Side.BUY else price - fee


def max_buy_price(*, fair: Decimal, min_edge: Decimal, fees: Fees, tick: Decimal) -> Decimal | None:
    """The highest price on the tick grid that still leaves `min_edge`; None if not even one tick does.

    Rounds down: a price between two ticks becomes the cheaper one.
    """
    found = _last_that_holds(tick, lambda price: net_edge(side=Side.BUY, fair=fair, price=price, fees=fees) >= min_edge)
    return None if found == 0 else found * tick


def min_sell_price(*, fair: Decimal, min_edge: Decimal, fees: Fees, tick: Decimal) -> Decimal | None:
    """The lowest price on the tick grid that still leaves `min_edge`; None if not even the last tick does.

    Rounds up: a price between two ticks becomes the dearer one.
    """
    found = _last_that_holds(
        tick, lambda price: net_edge(side=Side.SELL, fair=fair, price=ONE - price, fees=fees) >= min_edge
    )
    return None if found == 0 else ONE - found * tick


def _last_that_holds(tick: Decimal, holds: Callable[[Decimal], bool]) -> int:
    """The greatest n with `holds(n * tick)`, for a test that is true up to some tick and false beyond; 0 if never.

    The cost of a share, price plus fee, rises with the price for every schedule the venue has published.
    """
    if not ZERO < tick < ONE:
        raise ValueError(f"tick was {tick}, not in (0, 1)")
    low, high = 0, int(ONE / tick) - 1
    while low < high:
        middle = (low + high + 1) // 2
        if holds(middle * tick):
            low = middle
        else:
            high = middle - 1
    return low
