"""What is known of one asset's price: the fast spots, the slow oracle that settles, and the distance between them.

    nowcast = spot(now) * exp(average over 300 s of ln oracle(s) - ln spot(s))           quant.md 2

The oracle is seconds late and a few basis points away; markets settle on it and not on the spot. A second exchange
checks the first and stands in for it while that is silent, moved by the usual distance between the two. Floats: these
are estimates, not money. Seconds are Unix seconds of the venue's clock; `real` stamps are the receiver's own clock.
"""

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from pmarb.domain.values import NANOS
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
"""Oracle ticks, or seconds of a second exchange, that must have met a spot price before a basis is believed."""

SPOT_SILENT: Final = NANOS
"""Real nanoseconds without the first exchange after which the second stands in; both younger: they check each other."""


class Distance:
    """The average of ln a - ln b of two feeds, half-life 300 s; the plain mean until it has a past."""

    __slots__ = ("_second", "_seen", "_value")

    def __init__(self) -> None:
        self._value = 0.0
        self._seen = 0
        self._second: int | None = None

    @property
    def value(self) -> float | None:
        """None until enough prices have met."""
        return self._value if self._seen >= BASIS_WARMUP else None

    def learn(self, second: int, a: float, b: float) -> None:
        """Two prices of the same second; one sample a second, and none of the past."""
        before = self._second
        if before is not None and second <= before:
            return
        self._second = second
        self._seen += 1
        passed = 1 if before is None else min(second - before, BASIS_HALF_LIFE)
        weight = max(1 - 0.5 ** (passed / BASIS_HALF_LIFE), 1 / self._seen)
        self._value += weight * (math.log(a / b) - self._value)


class SecondPrices:
    """The last price of every second, and means over them by the rule of the previous tick."""

    __slots__ = ("_prices", "last")

    def __init__(self) -> None:
        self._prices: dict[int, float] = {}
        self.last: int | None = None

    def put(self, second: int, price: float) -> None:
        """Later values of a second correct earlier ones."""
        if not 0 < price < math.inf:
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
        own = prices.get(second)
        if own is not None:
            return own
        for back in range(1, hole + 1):
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


class Stamp(NamedTuple):
    """When a price was learnt: venue time it is of, venue time we received it, our real clock at that moment."""

    ts_event: int = 0
    ts_init: int = 0
    real: int = 0


class Underlying:
    """All state of one asset. Fed by whoever listens, asked by the rules; it does neither by itself.

    `price` and `spot_stamp` are those in force, whoever gave them; `first_stamp` is that of the exchange whose candles
    settle markets, which nobody can stand in for. `averages` are the oracle's means of the 60 s before a second, as a
    feed tells them ready-made.
    """

    def __init__(self, name: str, *, volatility: BlendedVolatility | None = None) -> None:
        self.name = name
        self.price: float | None = None
        self.spot_stamp = Stamp()
        self.first_stamp = Stamp()
        self.oracle_stamp = Stamp()
        self.seconds = SecondPrices()
        self.oracle = SecondPrices()
        self.averages = SecondPrices()
        self.stood_in = 0
        self.volatility = volatility or BlendedVolatility()
        self.hourly = BlendedVolatility(HOURLY)
        self.daily = BlendedVolatility(DAILY)
        self._long_second = 0
        self._first = 0.0
        self._other = 0.0
        self._other_stamp = Stamp()
        self._cross = Distance()
        self._basis = Distance()
        self._before_hole: _BeforeHole | None = None

    def on_spot(self, price: float, *, second: int, stamp: Stamp) -> None:
        """A trade or quote at the exchange that settles."""
        self.put_spot(second, price)
        self._first = self.price = price
        self.first_stamp = self.spot_stamp = stamp

    def on_other_spot(self, price: float, *, second: int, stamp: Stamp) -> None:
        """A trade at the exchange that checks: learns the distance, or stands in while the first is silent."""
        self._other, self._other_stamp = price, stamp
        if stamp.real - self.first_stamp.real <= SPOT_SILENT:
            self._cross.learn(second, price, self._first)
            return
        cross = self._cross.value
        if cross is None:
            return
        self.price = price * math.exp(-cross)
        self.spot_stamp = stamp
        self.seconds.put(second, self.price)  # Not into the volatility: a step between exchanges is no move
        self.stood_in += 1

    @property
    def standing_in(self) -> bool:
        """Whether the price in force is the second exchange's."""
        return self.spot_stamp.real > self.first_stamp.real

    def disagreement(self, *, real: int) -> float:
        """How far the two exchanges are from their usual distance, as a log; 0 unless both spoke just now."""
        cross = self._cross.value
        if cross is None or real - min(self.first_stamp.real, self._other_stamp.real) > SPOT_SILENT:
            return 0.0
        return abs(math.log(self._other / self._first) - cross)

    def put_spot(self, second: int, price: float) -> None:
        """A price of the past, for warming up; seconds must not go backwards to count."""
        self._note_hole(second)
        self.seconds.put(second, price)
        self._estimate(second, price)

    def _estimate(self, second: int, price: float) -> None:
        log_price = math.log(price)
        self.volatility.put(second, log_price)
        if second > self._long_second:  # Over hours the first price of a second is as good as its last
            self._long_second = second
            self.hourly.put(second, log_price)
            self.daily.put(second, log_price)

    def _note_hole(self, second: int) -> None:
        """Keep the estimators as they were before a hole that they cannot bridge, until it is refilled or too old."""
        kept, last = self._before_hole, self._long_second
        if kept is not None and second - kept.second > KEPT:
            kept = self._before_hole = None
        if kept is None and last and second > last + LONGEST_HOLE:
            estimators = copy.deepcopy((self.volatility, self.hourly, self.daily))
            self._before_hole = _BeforeHole(second=last, estimators=estimators)

    def refill(self, prices: Iterable[tuple[int, float]]) -> None:
        """Prices of unseen seconds, learnt afterwards: means hold them, and the volatility is as if it had seen them.

        Estimators go back to where the first unfilled hole began and take every second since then again, up to a hole
        that is still to be refilled.
        """
        put = self.seconds.put
        for second, price in prices:
            put(second, price)
        kept, self._before_hole = self._before_hole, None
        if kept is None:
            return
        last = self._long_second
        self.volatility, self.hourly, self.daily = kept.estimators
        self._long_second = kept.second
        for second in range(kept.second + 1, last + 1):
            known = self.seconds.exactly(second)
            if known is not None:
                self._note_hole(second)
                self._estimate(second, known)

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
        spot = self.seconds.at(second)
        if spot is not None:
            self._basis.learn(second, value, spot)

    @property
    def basis(self) -> float | None:
        """ln oracle - ln spot, averaged; None until enough ticks have met."""
        return self._basis.value

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _BeforeHole:
    """The last second seen, and the estimators as they then were."""

    second: int
    estimators: tuple[BlendedVolatility, BlendedVolatility, BlendedVolatility]
