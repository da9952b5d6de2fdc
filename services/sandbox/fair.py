"""What a market is worth: the makers' value while it trades, and the answer when it ends (quant.md 1.1 and 2).

The house knows the true law of the price; its error comes from looking late and from noise, not from the formula.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from services.sandbox.clock import SECOND_NS
from services.sandbox.digital import Spreads, normal_cdf, steepest, up_probability, up_probability_before_open
from services.sandbox.markets import Market, Markets
from services.sandbox.prices import IndexPath, Oracle
from services.sandbox.terms import MINUTE_S, TWAP_S, Rule

# Hidden log-odds of declared outcomes take a step this often, of this size.
STEP_S = 60
STEP_SD = 0.03
# So many seconds of markets are kept before all are forgotten.
KNOWN_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Known:
    """What stays the same within a second of a window that settles on averages; no `strike` before its start.

    `scale` is the oracle's distance from the index, `seen` the mean of the part of the average that has passed, and
    `ends` the second from which the index no longer counts: the last tick is of a second before the end, and late.
    """

    scale: float
    spreads: Spreads
    ends: float
    strike: float | None
    seen: float | None


class Values:
    """Fair values and answers of all markets of a run; pure functions of seed, market and time."""

    def __init__(
        self, *, paths: Mapping[str, IndexPath], oracles: Mapping[str, Oracle], markets: Markets, seed: int
    ) -> None:
        self._paths = paths
        self._oracles = oracles
        self._markets = markets
        self._seed = seed
        self._known: dict[tuple[str, int], Known] = {}
        self._walks: dict[str, tuple[int, float]] = {}
        self._touched: dict[str, int] = {}
        self._extremes: dict[tuple[str, int], tuple[int, float, float]] = {}

    def fair(self, market: Market, at_ns: int) -> float:
        """Probability of the first outcome seen from venue time `at_ns`."""
        terms = market.terms
        if terms.rule is Rule.DECLARED:
            return self._declared(market, at_ns // SECOND_NS)
        if terms.rule is Rule.TWAP:
            return self._average(market, at_ns)
        path = self._path(market)
        spot, second = path.at(at_ns), at_ns / SECOND_NS
        left_s = max(terms.known - second, 1e-3)
        deviation = math.sqrt(path.expected_variance(at_ns, left_s) * left_s)
        if terms.rule in (Rule.TOUCH_HIGH, Rule.TOUCH_LOW):
            level = terms.high if terms.rule is Rule.TOUCH_HIGH else terms.low
            if self.touched(market, at_ns // SECOND_NS) or level is None:
                return 1.0
            return min(1.0, 2 * (1 - normal_cdf(abs(math.log(level / spot)) / deviation)))
        if terms.rule in (Rule.CANDLE, Rule.NOON):
            strike = self.reference(market) if second >= terms.start else spot
            return normal_cdf(math.log(spot / strike) / deviation)
        low = 1.0 if terms.low is None else normal_cdf(math.log(spot / terms.low) / deviation)
        high = 0.0 if terms.high is None else normal_cdf(math.log(spot / terms.high) / deviation)
        return low - high

    def spot(self, market: Market, at_ns: int) -> float:
        """Index price that decides the market, 0 where none does."""
        asset = market.terms.asset
        return 0.0 if asset is None else self._paths[asset.code].at(at_ns)

    def calm(self, market: Market, at_ns: int, fair: float, within: tuple[float, float]) -> tuple[float, float]:
        """Index prices between which the fair value, now `fair`, stays `within` these bounds until this second ends.

        An empty range where that is not known: whoever wants to know must look.
        """
        if market.terms.rule is not Rule.TWAP or at_ns < market.start * SECOND_NS:
            return 0.0, 0.0
        path, second = self._path(market), at_ns // SECOND_NS
        known = self._known_at(market, path, second)
        spot, tau = path.at(at_ns), known.ends - second - 1
        if tau <= TWAP_S:
            return 0.0, 0.0
        by_itself = 0.13 / (tau - TWAP_S * 2 / 3)  # z * phi(z) is below 0.25, and twice the variance passes
        dollars = 0.98 / steepest(spot=spot, tau=tau, spreads=known.spreads)
        low, high = within
        return spot - max(0.0, fair - low - by_itself) * dollars, spot + max(0.0, high - fair - by_itself) * dollars

    def answer(self, market: Market) -> int | None:
        """Winning outcome once the market is decided; None is a 50-50 resolution."""
        terms = market.terms
        if terms.rule is Rule.DECLARED:
            return self._drawn(market)
        if terms.rule in (Rule.TOUCH_HIGH, Rule.TOUCH_LOW):
            return 0 if self.touched(market, terms.end) else 1
        final, strike = self.final(market), self.reference(market)
        if terms.rule is Rule.NOON:
            return None if final == strike else int(final < strike)
        if terms.rule is Rule.ABOVE:
            return int(final <= strike)
        if terms.rule is Rule.RANGE:
            inside = (terms.low is None or final >= terms.low) and (terms.high is None or final < terms.high)
            return int(not inside)
        return int(final < strike)

    def reference(self, market: Market) -> float:
        """Price to beat, in cents where it comes from a candle."""
        terms = market.terms
        if terms.rule is Rule.TWAP and terms.asset is not None:
            return self._oracles[terms.asset.code].twap(terms.start)
        if terms.rule is Rule.CANDLE:
            return round(self._path(market).at(terms.start * SECOND_NS), 2)
        if terms.rule is Rule.NOON:
            return self._close(market, terms.start)
        return terms.low or terms.high or 0.0

    def final(self, market: Market) -> float:
        terms = market.terms
        if terms.rule is Rule.TWAP and terms.asset is not None:
            return self._oracles[terms.asset.code].twap(terms.end)
        if terms.rule is Rule.CANDLE:
            return round(self._path(market).at(terms.end * SECOND_NS - 1), 2)
        return self._close(market, terms.end)

    def touched(self, market: Market, second: int) -> bool:
        """Has the level been reached before `second`?"""
        terms = market.terms
        known = self._touched.get(market.slug)
        if known is None:
            extremes = self._extremes_until(market, min(second, terms.end))
            if extremes is None:
                return False
            low, high = extremes
            if (terms.high is None or high < terms.high) and (terms.low is None or low > terms.low):
                return False
            known = self._touched[market.slug] = second
        return second >= known

    def _extremes_until(self, market: Market, second: int) -> tuple[float, float] | None:
        """(low, high) since the start, looked at once for all markets of the day; None for a time before the last."""
        key = (market.terms.event_slug, market.terms.start)
        done, low, high = self._extremes.get(key, (market.terms.start, math.inf, -math.inf))
        if second < done:
            return None
        prices = self._path(market).span(done * SECOND_NS, second * SECOND_NS)
        if prices:
            low, high = min(low, round(min(prices), 2)), max(high, round(max(prices), 2))
        self._extremes[key] = (second, low, high)
        return low, high

    def _close(self, market: Market, minute: int) -> float:
        """Close of the one-minute candle that begins at `minute`."""
        return round(self._path(market).at((minute + MINUTE_S) * SECOND_NS - 1), 2)

    def _path(self, market: Market) -> IndexPath:
        asset = market.terms.asset
        if asset is None:
            raise ValueError(f"{market.slug} has no price")
        return self._paths[asset.code]

    def _average(self, market: Market, at_ns: int) -> float:
        path = self._path(market)
        at_ns = max(at_ns, path.origin_ns + 2 * TWAP_S * SECOND_NS)
        known = self._known_at(market, path, at_ns // SECOND_NS)
        spot, tau = path.at(at_ns) * known.scale, known.ends - at_ns / SECOND_NS
        seen = spot if known.seen is None else known.seen
        if known.strike is None:
            window = market.end - market.start
            until_open = max(0.0, tau - window)
            return up_probability_before_open(
                spot=spot, elapsed_mean=seen, until_open=until_open, window=window, spreads=known.spreads
            )
        return up_probability(spot=spot, strike=known.strike, elapsed_mean=seen, tau=tau, spreads=known.spreads)

    def _known_at(self, market: Market, path: IndexPath, second: int) -> Known:
        known = self._known.get((market.slug, second))
        if known is None:
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            known = self._known_in(market, path, self._oracles[path.asset.code], second)
            self._known[(market.slug, second)] = known
        return known

    def _known_in(self, market: Market, path: IndexPath, oracle: Oracle, second: int) -> Known:
        opened = second >= market.start
        last = market.end if opened else market.start
        first, ends = last - TWAP_S, market.end - path.oracle_late_s
        return Known(
            scale=math.exp(path.basis(second * SECOND_NS)),
            spreads=path.spreads(second * SECOND_NS, ends - second),
            ends=ends,
            strike=oracle.twap(market.start) if opened else None,
            seen=oracle.partial(start=first, end=min(second + 1, last)) if second >= first else None,
        )

    # --- declared outcomes -------------------------------------------------------------------------------------------

    def _declared(self, market: Market, second: int) -> float:
        terms = market.terms
        second = min(second, terms.end)
        if not terms.group:
            return 1 / (1 + math.exp(-self._standing(market, second)))
        members = [self._markets.by_slug[slug] for slug in terms.group if slug in self._markets.by_slug]
        weights = {member.slug: math.exp(self._standing(member, second)) for member in members}
        return weights[market.slug] / sum(weights.values())

    def _standing(self, market: Market, second: int) -> float:
        """Hidden log-odds: the weight plus one Gaussian step a minute since the start of the event."""
        wanted = max(0, second - market.created_ns // SECOND_NS) // STEP_S
        done, value = self._walks.get(market.slug, (0, market.terms.weight))
        if wanted < done:
            done, value = 0, market.terms.weight
        for step in range(done, wanted):
            value += Random(f"{self._seed}:{market.slug}:{step}").gauss(0.0, STEP_SD)
        self._walks[market.slug] = (wanted, value)
        return value

    def _drawn(self, market: Market) -> int:
        terms = market.terms
        if not terms.group:
            draw = Random(f"{self._seed}:{market.slug}:answer").random()
            return int(draw >= self._declared(market, terms.end))
        draw = Random(f"{self._seed}:{terms.event_slug}:answer").random()
        for slug in terms.group:
            draw -= self._declared(self._markets.by_slug[slug], terms.end)
            if draw < 0:
                return int(slug != market.slug)
        return int(terms.group[-1] != market.slug)
