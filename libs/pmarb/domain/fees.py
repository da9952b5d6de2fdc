"""What the venue charges a taker, exactly, and what we set aside for it.

    fee = shares * rate * (price * (1 - price)) ** exponent      pUSD, takers only

charged on top of a BUY and out of the proceeds of a SELL (venue.md 4.1, 4.2). The rate belongs to the market
(`feeSchedule` at Gamma, else `fd` at the CLOB); a paying market without one has an *unknown fee* and is not traded.
`takerBaseFee`, `/fee-rate` and a trade's `fee_rate_bps` are not the rate (venue.md 4.3).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext
from typing import Final, Protocol

from pmarb.domain.values import EXACT, ONE, ZERO

FEE_GRID: Final = Decimal("0.00001")
"""The venue books fees in steps of 1e-5 pUSD; smaller fees are zero."""


def _exact(value: object, name: str) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    raise TypeError(f"fee {name} was {value!r}; give a Decimal")


def _check(shares: Decimal, price: Decimal) -> None:
    if shares < ZERO:
        raise ValueError(f"shares were {shares}, below 0")
    if not ZERO <= price <= ONE:
        raise ValueError(f"price was {price}, not in [0, 1]")


class Fees(Protocol):
    """Anything that can say what a match costs its taker."""

    def fee(self, *, shares: Decimal, price: Decimal) -> Decimal:
        """The exact fee in pUSD."""

    def charged(self, *, shares: Decimal, price: Decimal) -> Decimal:
        """The fee the venue books: the exact one rounded down to 5 decimals."""

    def reserved(self, *, shares: Decimal, price: Decimal) -> Decimal:
        """The fee we set aside: the exact one rounded up to 5 decimals."""


class _Rounding(ABC):
    """The two roundings every schedule shares."""

    __slots__ = ()

    @abstractmethod
    def fee(self, *, shares: Decimal, price: Decimal) -> Decimal:
        """See `Fees`."""

    def charged(self, *, shares: Decimal, price: Decimal) -> Decimal:
        return self.fee(shares=shares, price=price).quantize(FEE_GRID, rounding=ROUND_FLOOR, context=EXACT)

    def reserved(self, *, shares: Decimal, price: Decimal) -> Decimal:
        return self.fee(shares=shares, price=price).quantize(FEE_GRID, rounding=ROUND_CEILING, context=EXACT)


@dataclass(frozen=True, slots=True)
class FeeSchedule(_Rounding):
    """A market's own schedule. `rate` and `exponent` are the venue's `rate`/`r` and `exponent`/`e`.

    Raises:
        ValueError: a rate outside [0, 1] or a negative exponent: corrupt data is worse than none.
        TypeError: a float, whose decimal value nobody stated.
    """

    rate: Decimal
    exponent: Decimal = ONE

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", _exact(self.rate, "rate"))
        object.__setattr__(self, "exponent", _exact(self.exponent, "exponent"))
        if not ZERO <= self.rate <= ONE:
            raise ValueError(f"fee rate was {self.rate}, not in [0, 1]")
        if self.exponent < ZERO:
            raise ValueError(f"fee exponent was {self.exponent}, below 0")

    def fee(self, *, shares: Decimal, price: Decimal) -> Decimal:
        """The exact fee in pUSD for `shares` matched at `price` (a VWAP when several levels matched)."""
        _check(shares, price)
        with localcontext(EXACT):
            spread = price * (ONE - price)
            if self.exponent != ONE:
                spread = spread**self.exponent if spread else ZERO
            return shares * self.rate * spread


@dataclass(frozen=True, slots=True)
class LegacyTent(_Rounding):
    """The tent of early 2026, `0.0312 * (0.5 - |p - 0.5|)` a share: kept only to be compared with.

    It understates today's crypto fee at every price (quant.md 3.2), so it is never used alone: `at_least`
    gives the dearer of the two at each price.
    """

    slope: Decimal = Decimal("0.0312")

    def fee(self, *, shares: Decimal, price: Decimal) -> Decimal:
        _check(shares, price)
        with localcontext(EXACT):
            return shares * self.slope * min(price, ONE - price)

    def at_least(self, schedule: FeeSchedule) -> "Dearer":
        """This tent, but never below the market's real schedule."""
        return Dearer(self, schedule)


@dataclass(frozen=True, slots=True)
class Dearer(_Rounding):
    """The higher of two fees at every price."""

    one: Fees
    other: Fees

    def fee(self, *, shares: Decimal, price: Decimal) -> Decimal:
        return max(self.one.fee(shares=shares, price=price), self.other.fee(shares=shares, price=price))


LEGACY_TENT: Final = LegacyTent()
FREE: Final = FeeSchedule(ZERO)

_CATEGORY_RATES: Final = {
    "crypto": "0.07",
    "sports": "0.05",
    "economics": "0.05",
    "culture": "0.05",
    "weather": "0.05",
    "other": "0.05",
    "finance": "0.04",
    "politics": "0.04",
    "mentions": "0.04",
    "tech": "0.04",
    "geopolitics": "0",
}


def for_category(name: str) -> FeeSchedule:
    """The published schedule of a category (venue.md 4.1), for display and comparison; trading reads the market.

    Raises:
        ValueError: for a category the venue does not publish.
    """
    try:
        return FeeSchedule(Decimal(_CATEGORY_RATES[name.lower()]))
    except KeyError:
        raise ValueError(f"fee category was {name!r}; known: {', '.join(sorted(_CATEGORY_RATES))}") from None
