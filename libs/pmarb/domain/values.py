"""Small shared values: sides, grids, and rounding whose direction is in its name."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from enum import StrEnum

ZERO = Decimal(0)
ONE = Decimal(1)

SHARE_GRID = Decimal("0.01")
"""Sizes of orders are multiples of this (venue.md 3.4: size 2 dp at every tick)."""

CENT = Decimal("0.01")

MICRO = Decimal("0.000001")
"""The chain's unit of both pUSD and outcome shares."""

MIN_ORDER_SHARES = Decimal(5)
"""Least shares of an order that may rest (venue.md 3.5)."""

MIN_ORDER_USD = Decimal(1)
"""Least dollars of a marketable BUY (venue.md 3.5)."""

NANOS = 1_000_000_000
"""Nanoseconds in a second; every time in messages is integer nanoseconds UTC."""

EXACT = Context(prec=60)
"""A context wide enough that products of prices, sizes and rates do not round."""


class Side(StrEnum):
    """What the taker does with outcome shares."""

    BUY = "BUY"
    SELL = "SELL"


def round_down(value: Decimal, step: Decimal) -> Decimal:
    """The greatest multiple of `step` that is not above `value`."""
    return (value / step).to_integral_value(rounding=ROUND_FLOOR) * step


def round_up(value: Decimal, step: Decimal) -> Decimal:
    """The least multiple of `step` that is not below `value`."""
    return (value / step).to_integral_value(rounding=ROUND_CEILING) * step


def on_grid(value: Decimal, step: Decimal) -> bool:
    """Whether `value` is a whole multiple of `step`."""
    return value % step == 0
