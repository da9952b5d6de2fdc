"""The price that each market compares with, learnt when it can be and never guessed; and how wrong ours were.

An oracle's price to beat comes from its own ticks, a candle from the exchange's REST with the time of its row checked,
a level's extreme so far from the candles of its period, those from before our start included. Once the venue tells the
prices of a market that closed, ours are compared with them (quant.md 1.2).
"""

import asyncio
import statistics
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from pmarb import logs
from pmarb.clock import Clock
from pmarb.domain import updown
from pmarb.domain.market import NOON_CANDLE_S, HourCandle, MarketInfo, NoonToNoon, SpotTick, Touch, Twap
from pmarb.domain.underlying import Underlying
from pmarb.domain.values import NANOS
from pmarb.venue.candles import Candle
from pmarb.venue.parse import ParseError
from pmarb.venue.port import VenueUnavailable
from pmarb.venue.public import Ended

log = logs.get(__name__)

RETRY_S: Final = 2.0  # Real
EXTREMES_EVERY: Final = 15.0  # Real: how often the candles of a level's period are read again
ASK_AFTER_S: Final = 60  # Venue seconds after the end before the venue is asked for its prices
ASK_EVERY: Final = 5.0  # Real
GIVE_UP_S: Final = 1800  # Venue
FORGET_AFTER: Final = 3600 * NANOS
KEPT_ERRORS: Final = 500


class CandleSource(Protocol):
    """The exchange's REST. Raises VenueUnavailable or ParseError."""

    async def candle(self, asset: str, interval: str, *, opens: int) -> Candle | None: ...
    async def candles_since(self, asset: str, interval: str, *, second: int) -> list[Candle]: ...


class Verdicts(Protocol):
    """What the venue says of closed markets. Raises VenueUnavailable or ParseError."""

    async def ended(self, slug: str) -> Ended | None: ...


@dataclass(slots=True)
class _Over:
    """A market that ended, until the venue tells its prices."""

    market: MarketInfo
    strike: float
    final: float | None = None
    asked: float = 0.0


Period = tuple[str, int, int]
"""Asset, beginning and end, nanoseconds: all levels of a day share its extremes."""


@dataclass(slots=True)
class _Extremes:
    high: float
    low: float
    next_second: int
    read: float

    def take(self, high: float, low: float) -> None:
        self.high, self.low = max(self.high, high), min(self.low, low)


class References:
    """References by slug. `step` about once a real second; it never raises for what the network does."""

    def __init__(
        self, *, underlyings: Mapping[str, Underlying], candles: CandleSource, verdicts: Verdicts, clock: Clock
    ) -> None:
        self.values: dict[str, float] = {}
        self.errors_bps: deque[float] = deque(maxlen=KEPT_ERRORS)
        self.checked = 0
        self.large = 0
        self.disputed = 0
        self._underlyings = underlyings
        self._candles = candles
        self._verdicts = verdicts
        self._clock = clock
        self._tried: dict[str, float] = {}
        self._extremes: dict[Period, _Extremes] = {}
        self._over: dict[str, _Over] = {}
        self._ended: set[str] = set()
        self._disputed: set[str] = set()

    async def step(self, markets: Collection[MarketInfo]) -> None:
        """Learn what can be learnt now."""
        now = self._clock.now()
        await asyncio.gather(*(self._learn(market, now) for market in markets if self._to_learn(market, now)))
        for market in markets:
            if market.closes_at <= now and market.slug in self.values:
                self._note_end(market)
        for over in tuple(self._over.values()):
            await self._compare(over, now)
        self._forget({market.slug for market in markets}, now)

    def _to_learn(self, market: MarketInfo, now: int) -> bool:
        """Whether anything may be learnt of this market now: of most of a thousand nothing."""
        if market.opens_at > now:
            return False
        match market.settlement:
            case Touch():
                return True
            case Twap() | SpotTick() | HourCandle() | NoonToNoon():
                return market.slug not in self.values or now <= market.opens_at + updown.DISPUTABLE_S * NANOS
            case _:
                return False

    def summary(self) -> dict[str, float | int]:
        """How far our prices were from the venue's, in basis points."""
        errors = self.errors_bps
        return {
            "references_checked": self.checked,
            "reference_error_median_bps": round(statistics.median(errors), 4) if errors else 0.0,
            "reference_error_max_bps": round(max(errors), 4) if errors else 0.0,
            "references_far_off": self.large,
            "references_disputed": self.disputed,
        }

    async def _learn(self, market: MarketInfo, now: int) -> None:
        if isinstance(market.settlement, Twap) and now <= market.opens_at + updown.DISPUTABLE_S * NANOS:
            self._compare_feeds(market)
        match market.settlement:
            case Twap() | SpotTick() if market.slug not in self.values:
                found = updown.reference(market, self._underlyings[market.underlying])
            case HourCandle() if market.slug not in self.values:
                candle = await self._candle(market, "1h", opens=market.opens_at)
                found = None if candle is None else candle.open
            case NoonToNoon() if market.slug not in self.values and now >= market.opens_at + NOON_CANDLE_S * NANOS:
                candle = await self._candle(market, "1m", opens=market.opens_at)
                found = None if candle is None else candle.close
            case Touch(up=up):
                found = await self._extreme(market, now, up=up)
            case _:
                return
        if found is not None:
            self.values[market.slug] = found

    def _compare_feeds(self, market: MarketInfo) -> None:
        """Forget a price to beat that the oracle's ready-made average contradicts: nobody knows which is wrong."""
        if market.slug not in self.values or market.slug in self._disputed:
            return
        if updown.reference(market, self._underlyings[market.underlying]) is None:
            self.disputed += 1
            self._disputed.add(market.slug)
            log.warning("reference_disputed", slug=market.slug, ours=self.values.pop(market.slug))

    async def _candle(self, market: MarketInfo, interval: str, *, opens: int) -> Candle | None:
        if not self._may_try(market.slug, RETRY_S):
            return None
        try:
            return await self._candles.candle(market.underlying, interval, opens=opens // NANOS)
        except (VenueUnavailable, ParseError) as error:
            log.warning("reference_not_read", slug=market.slug, error=str(error))
            return None

    async def _extreme(self, market: MarketInfo, now: int, *, up: bool) -> float | None:
        """The highest (lowest) price of the period so far; None until all of its candles have been read once."""
        period = (market.underlying, market.opens_at, market.closes_at)
        known, underlying = self._extremes.get(period), self._underlyings[market.underlying]
        if known is None or self._clock.real() / NANOS - known.read >= EXTREMES_EVERY:
            await self._read_period(period, now)
            known = self._extremes.get(period)
        if known is None:
            return None
        if underlying.price is not None and not underlying.standing_in and now <= market.closes_at:
            known.take(underlying.price, underlying.price)
        return known.high if up else known.low

    async def _read_period(self, period: Period, now: int) -> None:
        """Read the minutes since the last reading; what cannot be read is read again later, from the same place."""
        asset, opens, closes = period
        if not self._may_try(f"{asset} {opens} {closes}", RETRY_S):
            return
        known, end = self._extremes.get(period), min(now, closes) // NANOS
        second = opens // NANOS if known is None else known.next_second
        try:
            while second < end:
                page = await self._candles.candles_since(asset, "1m", second=second)
                inside = [candle for candle in page if candle.second < end]
                if not inside or inside[0].second != second:
                    return  # A hole could hide the touch
                for candle in inside:
                    if known is None:
                        known = _Extremes(candle.high, candle.low, second, 0.0)
                    known.take(candle.high, candle.low)
                second = inside[-1].second + NOON_CANDLE_S
        except (VenueUnavailable, ParseError) as error:
            log.warning("reference_not_read", underlying=asset, error=str(error))
            return
        if known is not None:
            known.next_second, known.read = (
                second - NOON_CANDLE_S,
                self._clock.real() / NANOS,
            )  # The last one still runs
            self._extremes[period] = known

    def _may_try(self, slug: str, pause: float) -> bool:
        real = self._clock.real() / NANOS
        if real - self._tried.get(slug, -pause) < pause:
            return False
        self._tried[slug] = real
        return True

    def _note_end(self, market: MarketInfo) -> None:
        """Keep what we knew for the comparison; only rules with a price to beat have one."""
        if not isinstance(market.settlement, Twap | SpotTick | HourCandle | NoonToNoon):
            return
        if market.slug not in self._ended:
            self._ended.add(market.slug)
            self._over[market.slug] = _Over(market, self.values[market.slug])
        over = self._over.get(market.slug)
        if over is None:
            return
        if over.final is None and isinstance(market.settlement, Twap | SpotTick):
            over.final = updown.final(market, self._underlyings[market.underlying])

    async def _compare(self, over: _Over, now: int) -> None:
        market, real = over.market, self._clock.real() / NANOS
        since = (now - market.decided_at) / NANOS
        if since > GIVE_UP_S:
            del self._over[market.slug]
            log.warning("reference_never_confirmed", slug=market.slug)
            return
        if since < ASK_AFTER_S or real - over.asked < ASK_EVERY:
            return
        over.asked = real
        try:
            theirs = await self._verdicts.ended(market.slug)
        except (VenueUnavailable, ParseError):
            return
        if theirs is None or theirs.price_to_beat is None:
            return
        del self._over[market.slug]
        self._note_error(over, theirs.price_to_beat, theirs.final_price)

    def _note_error(self, over: _Over, strike: float, final: float | None) -> None:
        error = abs(over.strike / strike - 1) * 1e4
        self.checked += 1
        self.errors_bps.append(error)
        final_error = None if final is None or over.final is None else abs(over.final / final - 1) * 1e4
        far = error > updown.LARGE_BPS
        self.large += far
        (log.warning if far else log.info)(
            "reference_checked",
            slug=over.market.slug,
            ours=over.strike,
            theirs=strike,
            error_bps=round(error, 4),
            final_error_bps=None if final_error is None else round(final_error, 4),
        )

    def _forget(self, current: Collection[str], now: int) -> None:
        for slug in [slug for slug in self.values if slug not in current]:
            del self.values[slug]
        self._ended.intersection_update(current)
        self._disputed.intersection_update(current)
        for period in [period for period in self._extremes if period[2] < now - FORGET_AFTER]:
            del self._extremes[period]
        real = self._clock.real() / NANOS
        self._tried = {key: at for key, at in self._tried.items() if real - at < RETRY_S}
