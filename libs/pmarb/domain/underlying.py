"""What is known of one asset's price: the fast spot, the slow oracle that settles, and the distance between them.

    nowcast = spot(now) * exp(average over 300 s of ln oracle(s) - ln spot(s))           quant.md 2

The oracle is seconds late and a few basis points away; markets settle on it and not on the spot. Floats: these are
estimates, not money. Seconds are Unix seconds of the venue's clock; `real` stamps are the receiver's own clock.
"""

import math
from dataclasses import dataclass
from typing import Final

from pmarb.domain.volatility import DAILY, HOURLY, BlendedVolatility

LONGEST_HOLE: Final = 5
"""Seconds a tick may stand in for its successors before the seconds after it count as unseen."""

KEPT: Final = 7200
"""Seconds of prices kept: two hours hold the opening of every window of up to an hour."""

SHORT_S: Final = 1800.0
HOURLY_S: Final = 7200.0
"""Horizons, in seconds, up to which the short and the hourly blend of the volatility speak (quant.md 2.4)."""

BASIS_HALF_LIFE: Final = 300.0
BASIS_WARMUP: Final = 15
"""Oracle ticks that must have met a spot price before the basis is believed."""


class SecondPrices:
    """The last price of every second, and means over them by the rule of the previous tick."""

    __slots__ = ("_prices", "last")

    def __init__(self) -> None:
        self._prices: dict[int, float] = {}
        self.last: int | None = None

    def put(self, second: int, price: float) -> None:
        """Later values of a second correct earlier ones."""
        if not (price > 0 and math.isfinite(price)):
            raise ValueError(f"price was {price}; a price is above 0")
        self._prices[second] = price
        if self.last is None or second > self.last:
            self.last = second
            if len(self._prices) > 2 * KEPT:  # Rarely, because it copies what is kept
                self._prices = {s: p for s, p in self._prices.items() if s > second - KEPT}

    def exactly(self, second: int) -> float | None:
        return self._prices.get(second)

    def at(self, second: int, *, hole: int = LONGEST_HOLE) -> float | None:
        """The price in force at `second`: its own or the last one at most `hole` seconds older."""
        prices = self._prices
        for back in range(hole + 1):
            found = prices.get(second - back)
            if found is not None:
                return found
        return None

    def mean(self, start: int, end: int) -> float | None:
        """Mean over the whole seconds of [start, end), a missing second repeating the one before it.

        None if a hole is longer than `LONGEST_HOLE`, if nothing precedes the first second, or if the last tick
        is older than the last second wanted by more than that: an average of guesses is not a reference.
        """
        if end <= start:
            return None
        total, prices = 0.0, self._prices
        current, age = self.at(start), 0
        for second in range(start, end):
            own = prices.get(second)
            if own is not None:
                current, age = own, 0
            elif current is None or age >= LONGEST_HOLE:
                return None
            age += 1
            total += current
        return total / (end - start)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """When a price was learnt: venue time it is of, venue time we received it, our real clock at that moment."""

    ts_event: int = 0
    ts_init: int = 0
    real: int = 0


class Underlying:
    """All state of one asset. Fed by whoever listens, asked by the rules; it does neither by itself."""

    def __init__(self, name: str, *, volatility: BlendedVolatility | None = None) -> None:
        self.name = name
        self.price: float | None = None
        self.spot_stamp = Stamp()
        self.oracle_stamp = Stamp()
        self.seconds = SecondPrices()
        self.oracle = SecondPrices()
        self.volatility = volatility or BlendedVolatility()
        self.hourly = BlendedVolatility(HOURLY)
        self.daily = BlendedVolatility(DAILY)
        self._long_second = 0
        self._basis = 0.0
        self._basis_seen = 0
        self._basis_second: int | None = None

    def on_spot(self, price: float, *, second: int, stamp: Stamp) -> None:
        """A trade or quote at the fast exchange."""
        self.put_spot(second, price)
        self.price = price
        self.spot_stamp = stamp

    def put_spot(self, second: int, price: float) -> None:
        """A price of the past, for warming up; seconds must not go backwards to count."""
        self.seconds.put(second, price)
        self.volatility.update(second=second, price=price)
        if second > self._long_second:  # Over hours the first price of a second is as good as its last
            self._long_second = second
            self.hourly.update(second=second, price=price)
            self.daily.update(second=second, price=price)

    def sigma(self, horizon: float) -> float | None:
        """The volatility that speaks for the next `horizon` seconds; None while that estimate warms up."""
        if horizon <= SHORT_S:
            return self.volatility.sigma()
        return (self.hourly if horizon <= HOURLY_S else self.daily).sigma()

    def on_oracle(self, value: float, *, second: int, stamp: Stamp) -> None:
        """A tick of the settlement stream stamped `second`; history batches come through here too."""
        self.oracle.put(second, value)
        if stamp.real >= self.oracle_stamp.real and second == self.oracle.last:
            self.oracle_stamp = stamp
        self._learn_basis(second, value)

    @property
    def basis(self) -> float | None:
        """ln oracle - ln spot, averaged; None until enough ticks have met."""
        return self._basis if self._basis_seen >= BASIS_WARMUP else None

    @property
    def nowcast(self) -> float | None:
        """What the settlement stream would say now."""
        basis = self.basis
        return None if self.price is None or basis is None else self.price * math.exp(basis)

    def elapsed_mean(self, start: int, end: int) -> float | None:
        """Mean of the settlement stream over [start, end); seconds it has not told yet are nowcast from the spot."""
        last, basis = self.oracle.last, self.basis
        if last is None or basis is None or end <= start:
            return None
        told = min(end, max(start, last + 1))
        known = self.oracle.mean(start, told) if told > start else 0.0
        if known is None:
            return None
        ahead = 0.0
        for second in range(told, end):
            spot = self.seconds.at(second)
            if spot is None:
                return None
            ahead += spot
        return (known * (told - start) + ahead * math.exp(basis)) / (end - start)

    def _learn_basis(self, second: int, value: float) -> None:
        before = self._basis_second
        if before is not None and second <= before:
            return
        spot = self.seconds.at(second)
        if spot is None:
            return
        self._basis_second = second
        self._basis_seen += 1
        passed = 1 if before is None else min(second - before, BASIS_HALF_LIFE)
        decay = 0.5 ** (passed / BASIS_HALF_LIFE)
        weight = max(1 - decay, 1 / self._basis_seen)  # The plain mean until the average has a past
        self._basis += weight * (math.log(value / spot) - self._basis)
