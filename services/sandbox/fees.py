"""The taker fee: `shares * rate * (p * (1 - p)) ** exponent` on the VWAP of a match (venue.md 4.1)."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal

from services.sandbox.money import MICRO

FEE_STEP = Decimal("0.00001")


@dataclass(frozen=True, kw_only=True, slots=True)
class FeeSchedule:
    """Per-market schedule. Takers only; makers pay nothing."""

    rate: Decimal = Decimal("0.07")
    exponent: int = 1
    rebate_rate: Decimal = Decimal("0.2")


def taker_fee(*, shares: int, value: int, schedule: FeeSchedule) -> int:
    """Fee in micro-dollars of one match, floored to five decimals of a dollar.

    `value` is the exact sum of shares times price (micro-shares times micro-dollars), so that rounding of the cash
    does not move the average price.
    """
    if shares <= 0:
        return 0
    price = Decimal(value) / Decimal(shares) / MICRO
    exact = Decimal(shares) / MICRO * schedule.rate * (price * (1 - price)) ** schedule.exponent
    return int(exact.quantize(FEE_STEP, rounding=ROUND_FLOOR) * MICRO)
