"""Money and shares as integers of one millionth (micro-units), prices as micro-dollars a share.

Every conversion names its rounding. `500_000` is 0.5 USD, 0.5 shares or a price of 50 cents.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

MICRO = 1_000_000


def to_micro(value: str | float | Decimal) -> int:
    """Whole micro-units of a decimal amount, cut down. Raises ValueError on text that is no number."""
    try:
        return int(Decimal(str(value)) * MICRO)
    except InvalidOperation as error:
        raise ValueError(f"not a decimal amount: {value!r}") from error


def text(micro: int) -> str:
    """Shortest decimal text, as the venue writes prices and sizes: 500000 -> "0.5", 12000000 -> "12"."""
    sign = "-" if micro < 0 else ""
    whole, fraction = divmod(abs(micro), MICRO)
    if not fraction:
        return f"{sign}{whole}"
    return f"{sign}{whole}.{fraction:06d}".rstrip("0")


def number(micro: int) -> float:
    """For JSON fields that the venue sends as numbers."""
    return micro / MICRO


def notional_up(*, shares: int, price: int) -> int:
    """Dollars a buyer pays: rounded up, never below the exact product."""
    return -(-shares * price // MICRO)


def notional_down(*, shares: int, price: int) -> int:
    """Dollars a seller gets: rounded down, never above the exact product."""
    return shares * price // MICRO


def decimals(micro: int) -> int:
    """Number of decimal places that a micro amount uses (0 to 6)."""
    for places in range(6):
        if micro % 10 ** (6 - places) == 0:
            return places
    return 6


def vwap_text(*, value: int, shares: int) -> str:
    """Volume-weighted price with up to nine decimals; `value` is the sum of shares times price in micro times micro."""
    if shares == 0:
        return "0"
    price = (Decimal(value) / Decimal(shares) / MICRO).quantize(Decimal("1e-9"))
    return f"{price.normalize():f}"
