"""References: learnt from the right place at the right time, never guessed, and checked against the venue's."""

from dataclasses import replace
from datetime import date

import pytest

from pmarb.clock import ManualClock
from pmarb.domain.market import HourCandle, MarketInfo, NoonToNoon, Settlement, Touch
from pmarb.domain.underlying import Underlying
from pmarb.domain.values import NANOS
from pmarb.venue import rules
from pmarb.venue.candles import Candle
from pmarb.venue.port import VenueUnavailable
from pmarb.venue.public import Ended
from services.scanner.references import EXTREMES_EVERY, References
from tests.scanning import START, a_market, an_underlying

NOON, MIDNIGHT = rules.noon(date(2026, 11, 25)), rules.midnight(date(2026, 11, 26))


class Exchange:
    """Minute and hour candles whose prices say which they are; `highs` are spikes by second."""

    def __init__(self) -> None:
        self.down = False
        self.first = 0
        self.late = 0
        self.highs: dict[int, float] = {}
        self.asked: list[tuple[str, int]] = []

    async def candle(self, asset: str, interval: str, *, opens: int) -> Candle | None:
        self.asked.append((interval, opens))
        if self.down:
            raise VenueUnavailable("down")
        return None if self.late else Candle(opens, 100.0, 103.0, 99.0, 102.0)

    async def candles_since(self, asset: str, interval: str, *, second: int) -> list[Candle]:
        self.asked.append((interval, second))
        if self.down:
            raise VenueUnavailable("down")
        start = max(second, self.first)
        found = [Candle(start + 60 * n, 100.0, 101.0, 99.0, 100.0) for n in range(1000)]
        return [candle._replace(high=self.highs.get(candle.second, candle.high)) for candle in found]


class Venue:
    """What it will say of closed markets."""

    def __init__(self) -> None:
        self.says: Ended | None = None

    async def ended(self, slug: str) -> Ended | None:
        return self.says


class Scene:
    """References of one market, with time in our hands."""

    def __init__(self, rule: Settlement, *, opens: int, closes: int, underlying: Underlying | None = None) -> None:
        self.clock, self.exchange, self.venue = ManualClock(opens), Exchange(), Venue()
        self.market: MarketInfo = replace(a_market(), settlement=rule, opens_at=opens, closes_at=closes)
        self.references = References(
            underlyings={"btc": underlying or Underlying("btc")},
            candles=self.exchange,
            verdicts=self.venue,
            clock=self.clock,
        )

    async def after(self, seconds: float) -> float | None:
        await self.clock.sleep(seconds)
        await self.references.step([self.market])
        return self.references.values.get(self.market.slug)


async def test_an_hours_open_is_the_candle_that_begins_with_it() -> None:
    scene = Scene(HourCandle(), opens=NOON, closes=NOON + 3600 * NANOS)
    assert await scene.after(1) == 100.0
    assert scene.exchange.asked == [("1h", NOON // NANOS)]
    assert await scene.after(1) == 100.0
    assert len(scene.exchange.asked) == 1


async def test_a_day_compares_with_the_close_of_noon_a_minute_later() -> None:
    scene = Scene(NoonToNoon(), opens=NOON, closes=NOON + 86_400 * NANOS)
    assert await scene.after(30) is None
    assert scene.exchange.asked == []
    assert await scene.after(31) == 102.0
    assert scene.exchange.asked == [("1m", NOON // NANOS)]


async def test_an_exchange_that_does_not_answer_leaves_the_reference_missing() -> None:
    scene = Scene(HourCandle(), opens=NOON, closes=NOON + 3600 * NANOS)
    scene.exchange.down = True
    assert await scene.after(1) is None
    assert await scene.after(0.5) is None
    assert len(scene.exchange.asked) == 1
    scene.exchange.down = False
    assert await scene.after(2) == 100.0


async def test_a_level_counts_what_was_touched_before_we_came() -> None:
    scene = Scene(Touch(level=110.0, up=True), opens=MIDNIGHT, closes=MIDNIGHT + 86_400 * NANOS)
    scene.exchange.highs[MIDNIGHT // NANOS + 1200 * 60] = 111.0
    assert await scene.after(3600) == 101.0
    assert await scene.after(EXTREMES_EVERY) == 101.0
    assert await scene.after(1300 * 60) == 111.0
    assert len(scene.exchange.asked) == 4  # The last reading took two pages, from where the one before had ended
    assert scene.exchange.asked[2][1] > MIDNIGHT // NANOS + 3000


async def test_a_period_whose_beginning_is_not_told_is_no_reference() -> None:
    scene = Scene(Touch(level=90.0, up=False), opens=MIDNIGHT, closes=MIDNIGHT + 86_400 * NANOS)
    scene.exchange.first = MIDNIGHT // NANOS + 120
    assert await scene.after(3600) is None


async def test_a_trade_between_two_readings_counts_at_once() -> None:
    underlying = Underlying("btc")
    scene = Scene(Touch(level=90.0, up=False), opens=MIDNIGHT, closes=MIDNIGHT + 86_400 * NANOS, underlying=underlying)
    assert await scene.after(3600) == 99.0
    underlying.price = 89.5
    assert await scene.after(1) == 89.5


async def test_our_price_to_beat_is_compared_with_the_venues() -> None:
    opens, closes = START * NANOS, (START + 300) * NANOS
    underlying = an_underlying(now=(START + 310) * NANOS)
    market = a_market()
    scene = Scene(market.settlement, opens=opens, closes=closes, underlying=underlying)
    ours = await scene.after(5)
    assert ours is not None
    await scene.clock.sleep(300)
    assert await scene.after(0) == ours
    scene.venue.says = Ended(price_to_beat=ours * 1.0002, final_price=None)
    await scene.after(30)
    assert scene.references.summary()["references_checked"] == 0  # It is not asked before a minute has passed
    await scene.after(60)
    summary = scene.references.summary()
    assert summary["references_checked"] == 1
    assert 1.99 < summary["reference_error_median_bps"] == summary["reference_error_max_bps"] < 2.01
    assert summary["references_far_off"] == 1
    await scene.after(60)
    assert scene.references.summary()["references_checked"] == 1


async def test_what_was_never_seen_stays_missing_for_the_windows_life() -> None:
    late = an_underlying(now=(START + 3000) * NANOS)
    scene = Scene(a_market().settlement, opens=START * NANOS, closes=(START + 300) * NANOS, underlying=late)
    assert await scene.after(100) is None
    assert await scene.after(199) is None


async def test_a_price_to_beat_that_was_missed_is_taken_from_the_oracles_ready_made_average() -> None:
    underlying = Underlying("btc")
    scene = Scene(a_market().settlement, opens=START * NANOS, closes=(START + 300) * NANOS, underlying=underlying)
    underlying.averages.put(START - 1, 83_000.0)
    assert await scene.after(100) is None
    underlying.averages.put(START, 84_000.0)
    assert await scene.after(1) == 84_000.0


@pytest.mark.parametrize(("apart_bps", "believed"), [(0.5, True), (1.5, False)])
async def test_a_price_to_beat_that_the_average_contradicts_is_taken_back(apart_bps: float, believed: bool) -> None:
    underlying = an_underlying(now=(START + 310) * NANOS)
    scene = Scene(a_market().settlement, opens=START * NANOS, closes=(START + 300) * NANOS, underlying=underlying)
    ours = await scene.after(3)
    assert ours is not None
    underlying.averages.put(START, ours * (1 + apart_bps * 1e-4))
    assert (await scene.after(2) == ours) is believed
    assert (await scene.after(2) == ours) is believed
    assert scene.references.summary()["references_disputed"] == (0 if believed else 1)
