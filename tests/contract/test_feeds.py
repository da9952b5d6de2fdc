"""The public feeds and the scanner against a running sandbox."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from pmarb.bus.memory import MemoryBroker, MemoryBus
from pmarb.clock import ScaledClock
from pmarb.domain.market import MarketInfo, Twap
from pmarb.domain.messages import Opportunity, Stream
from pmarb.domain.values import NANOS
from pmarb.runtime import Heartbeat
from pmarb.venue import gamma
from pmarb.venue.feed import FROZEN_AFTER, MarketFeed
from pmarb.venue.port import VenueUnavailable
from pmarb.venue.prices import OracleFeed, SpotFeed
from pmarb.venue.public import Discovery, VenueUrls, sandbox
from services.scanner.service import ScannerService
from services.scanner.settings import ScannerSettings
from tests.starting import running_sandbox
from tests.waiting import PATIENCE_S, until

SPEED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Venue:
    ready: dict[str, Any]
    urls: VenueUrls
    clock: ScaledClock
    http: httpx.AsyncClient

    async def market(self, asset: str = "btc", family: str = "15m", ahead: int = 0) -> MarketInfo:
        width = gamma.WINDOW_S[family]
        start = self.clock.now() // NANOS // width * width + ahead * width
        found = await Discovery(urls=self.urls, http=self.http).market(
            gamma.slug(asset=asset, family=family, start=start)
        )
        assert found is not None
        return found

    async def markets(self) -> list[MarketInfo]:
        """The current and next windows of everything: some of their books always move."""
        wanted = [(asset, family, ahead) for asset in ("btc", "eth") for family in ("5m", "15m") for ahead in (0, 1)]
        return [await self.market(asset, family, ahead) for asset, family, ahead in wanted]

    async def freeze(self, venue_seconds: float) -> None:
        body = {"kind": "ws_freeze", "count": 1, "seconds": venue_seconds}
        (await self.http.post(f"{self.ready['sandbox']}/faults", json=body)).raise_for_status()


@pytest.fixture(scope="module")
def ready() -> Iterator[dict[str, Any]]:
    with running_sandbox("--seed", "5", "--scenario", "slow_makers", "--speed", str(SPEED)) as found:
        yield found


@pytest.fixture
async def venue(ready: dict[str, Any]) -> AsyncIterator[Venue]:
    async with httpx.AsyncClient(timeout=5) as http:
        urls, clock = await sandbox(http, ready["sandbox"].removesuffix("/sandbox"))
        yield Venue(ready=ready, urls=urls, clock=clock, http=http)


async def test_a_computed_slug_gives_a_confirmed_market(venue: Venue) -> None:
    market = await venue.market()
    assert market.settlement == Twap(lookback=60)
    assert market.two_sided
    assert market.accepting
    assert market.taker_delay
    assert {market.template} <= ScannerSettings().limits().templates
    assert await Discovery(urls=venue.urls, http=venue.http).market("btc-updown-5m-1000000200") is None


async def test_an_absent_sandbox_is_unavailable(venue: Venue) -> None:
    with pytest.raises(VenueUnavailable):
        await sandbox(venue.http, "http://127.0.0.1:9")


async def test_books_follow_the_venue(venue: Venue) -> None:
    market = await venue.market(ahead=1)
    feed = MarketFeed(ws_url=venue.urls.ws_market, clob_url=venue.urls.clob, clock=venue.clock, http=venue.http)
    stop = asyncio.Event()
    running = asyncio.create_task(feed.run(stop))
    await feed.watch(token for one in await venue.markets() for token in one.tokens)
    await feed.watch(market.tokens)
    await until(lambda: all(feed.book(token) for token in market.tokens))
    await until(lambda: feed.counters.frames > 20)
    assert (feed.counters.malformed, feed.counters.disagreed) == (0, 0)
    up, down = (feed.book(token) for token in market.tokens)
    assert up is not None
    assert down is not None
    assert up.best_bid is not None
    assert down.best_ask is not None
    assert up.best_bid.price == 1 - down.best_ask.price
    await feed.unwatch(market.tokens)
    assert feed.book(market.tokens[0]) is None
    stop.set()
    await running


@pytest.mark.long
async def test_a_frozen_socket_is_noticed_and_recovers(venue: Venue) -> None:
    market = await venue.market(asset="eth", ahead=1)
    others = await venue.markets()
    feed = MarketFeed(ws_url=venue.urls.ws_market, clob_url=venue.urls.clob, clock=venue.clock, http=venue.http)
    stop = asyncio.Event()
    running = asyncio.create_task(feed.run(stop))
    await feed.watch(market.tokens)
    await feed.watch(token for one in others for token in one.tokens)
    await until(lambda: feed.proven(market.tokens[0]) and feed.counters.frames > 5)
    await venue.freeze(5 * SPEED)
    await until(lambda: feed.counters.frozen)
    assert FROZEN_AFTER <= 2
    await until(lambda: feed.proven(market.tokens[0]) == 0)
    await until(lambda: venue.clock.real() - feed.proven(market.tokens[0]) < NANOS // 2)
    stop.set()
    await running


async def test_a_stream_that_is_a_moment_behind_rest_is_not_frozen(tmp_path: Path) -> None:
    """Nothing moves for two seconds, then REST shows it 0.3 s before the stream does, as often as one likes."""
    quiet = {"maker_hysteresis": 0.99, "noise_takes_per_minute": 0, "competitors": False, "clob_ws_ms": 300}
    (tmp_path / "quiet.json").write_text(json.dumps({"name": "quiet", "knobs": quiet}))
    options = ("--seed", "5", "--families", "15m", "--scenario", str(tmp_path / "quiet.json"))
    with running_sandbox(*options) as ready:
        async with httpx.AsyncClient(timeout=5) as http:
            urls, clock = await sandbox(http, ready["sandbox"].removesuffix("/sandbox"))
            market = await Venue(ready=ready, urls=urls, clock=clock, http=http).market(ahead=1)
            feed = MarketFeed(ws_url=urls.ws_market, clob_url=urls.clob, clock=clock, http=http)
            stop = asyncio.Event()
            running = asyncio.create_task(feed.run(stop))
            await feed.watch(market.tokens)
            await until(lambda: feed.book(market.tokens[0]) and feed.counters.frames)
            for times in range(1, 5):
                snapshots, frames = feed.counters.snapshots, feed.counters.frames
                await asyncio.sleep(2)
                assert feed.counters.frames == frames, "it was quiet"
                moved = {"kind": "market_mispriced", "market": market.slug, "by": 0.05 * times, "seconds": 600}
                (await http.post(f"{ready['sandbox']}/faults", json=moved)).raise_for_status()
                await until(lambda: feed.counters.frames > frames)  # noqa: B023 - asked at once
                assert feed.counters.snapshots > snapshots, "REST showed it first"
            assert (feed.counters.frozen, feed.counters.disagreed) == (0, 0)
            stop.set()
            await running


async def test_prices_arrive_with_history(venue: Venue) -> None:
    spots: list[str] = []
    ticks: list[int] = []
    spot = SpotFeed(
        ws_url=venue.urls.spot_ws,
        rest_url=venue.urls.spot_rest,
        assets=("btc", "eth"),
        clock=venue.clock,
        http=venue.http,
        on_ticks=lambda found, _real: spots.extend(tick.asset for tick in found),
    )
    oracle = OracleFeed(
        url=venue.urls.rtds,
        assets=("btc", "eth"),
        clock=venue.clock,
        on_ticks=lambda found, _real: ticks.extend(tick.ts_event // NANOS for tick in found),
    )
    history = await spot.history("btc", now=venue.clock.now(), seconds=2400)
    assert len(history) >= 2390
    assert [second for second, _ in history] == sorted(second for second, _ in history)
    stop = asyncio.Event()
    running = [asyncio.create_task(feed.run(stop)) for feed in (spot, oracle)]
    await until(lambda: len(ticks) > 130 and {"btc", "eth"} <= set(spots))
    assert (spot.malformed, oracle.malformed) == (0, 0)
    stop.set()
    await asyncio.gather(*running)


def a_scanner(venue: Venue, bus: MemoryBus, member: str, heartbeat: Path) -> ScannerService:
    return ScannerService(
        bus=bus,
        urls=venue.urls,
        clock=venue.clock,
        http=httpx.AsyncClient(timeout=5),
        limits=ScannerSettings().limits(),
        assets=("btc", "eth"),
        families=("5m", "15m"),
        heartbeat=Heartbeat(bus=bus, service="scanner", path=heartbeat, member=member),
        member=member,
    )


async def test_two_scanners_share_find_and_hand_over(venue: Venue, tmp_path: Path) -> None:
    broker = MemoryBroker()
    stops = [asyncio.Event(), asyncio.Event()]
    scanners = [a_scanner(venue, MemoryBus(broker), name, tmp_path / name) for name in ("a", "b")]
    running = [asyncio.create_task(one.run(stop)) for one, stop in zip(scanners, stops, strict=True)]
    first, second = (one.board for one in scanners)
    await until(lambda: first.slugs and second.slugs and first.slugs.isdisjoint(second.slugs))
    bus = MemoryBus(broker)
    found: list[Opportunity] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < 3:
            await asyncio.sleep(0.5)
            found = [m for m in await bus.tail(Stream.OPPORTUNITIES, since_ns=0) if isinstance(m, Opportunity)]
    for one in found:
        assert one.net_edge >= one.threshold
        assert 0 < one.tick_real <= one.found_real
        assert one.opens_at < one.ts_init < one.expiry
    stops[1].set()
    await running[1]
    await until(lambda: len(first.slugs) >= 6)
    stops[0].set()
    await running[0]


@pytest.mark.long
async def test_fair_values_are_calibrated_against_the_venues_outcomes(venue: Venue, tmp_path: Path) -> None:
    """A sanity check on few windows: what came true is within four deviations of what was said, a window one vote."""
    bus, stop = MemoryBus(), asyncio.Event()
    running = asyncio.create_task(a_scanner(venue, bus, "solo", tmp_path / "beat").run(stop))
    await asyncio.sleep(45)
    stop.set()
    await running
    found = [m for m in await bus.tail(Stream.OPPORTUNITIES, since_ns=0) if isinstance(m, Opportunity)]
    outcomes = await _outcomes(venue, found)
    said = {(one.slug, one.legs[0].outcome): float(one.fair) for one in found if one.slug in outcomes}
    if not said:
        pytest.skip("no window ended in the time this test has")
    surprise = sum(float(outcomes[slug][label]) - fair for (slug, label), fair in said.items())
    deviation = math.sqrt(sum(fair * (1 - fair) for fair in said.values()))
    assert abs(surprise) < 4 * deviation + 0.5


async def _outcomes(venue: Venue, found: list[Opportunity]) -> dict[str, dict[str, Any]]:
    """Outcomes of the windows that have ended, settled at once."""
    known = {}
    for slug in sorted({one.slug for one in found if one.expiry + 2 * NANOS < venue.clock.now()}):
        await venue.http.post(f"{venue.ready['sandbox']}/markets/{slug}/resolve")
        body = (await venue.http.get(f"{venue.urls.gamma}/markets/slug/{slug}")).json()
        if body.get("closed"):
            known[slug] = gamma.outcome_prices(body)
    return known
