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


def taker_fee(*, shares: int, notional: int, schedule: FeeSchedule) -> int:
    """Fee in micro-dollars of one match of `shares` for `notional`, floored to five decimals of a dollar."""
    if shares <= 0:
        return 0
    price = Decimal(notional) / Decimal(shares)
    exact = Decimal(shares) / MICRO * schedule.rate * (price * (1 - price)) ** schedule.exponent
    return int(exact.quantize(FEE_STEP, rounding=ROUND_FLOOR) * MICRO)
