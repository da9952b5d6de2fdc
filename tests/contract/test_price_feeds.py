"""The price feeds against a running sandbox: two spots, the oracle's ticks and averages, and what befalls them."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx
import pytest

from pmarb.clock import ScaledClock
from pmarb.domain.underlying import Underlying
from pmarb.domain.values import NANOS
from pmarb.venue.coinbase import CoinbaseFeed
from pmarb.venue.parse import PriceTick
from pmarb.venue.polybolt import PolyBoltFeed, PriceKeys
from pmarb.venue.prices import OracleFeed
from pmarb.venue.public import VenueUrls, sandbox, sandbox_keys
from services.scanner.board import Board
from services.scanner.decide import Limits
from services.scanner.prices import Prices
from tests.starting import running_sandbox

SPEED = 10
ASSETS = ("btc", "eth")


@dataclass(frozen=True, slots=True, kw_only=True)
class Venue:
    urls: VenueUrls
    clock: ScaledClock
    http: httpx.AsyncClient
    keys: PriceKeys
    control: str

    async def fault(self, kind: str, **body: Any) -> None:
        (await self.http.post(f"{self.control}/faults", json={"kind": kind, **body})).raise_for_status()

    async def knob(self, **values: float) -> None:
        (await self.http.post(f"{self.control}/knobs", json=values)).raise_for_status()

    async def heal(self) -> None:
        (await self.http.delete(f"{self.control}/faults")).raise_for_status()


@dataclass(slots=True)
class Heard:
    """What a feed told, asset by asset."""

    ticks: dict[str, list[PriceTick]] = field(default_factory=lambda: defaultdict(list))
    batches: list[int] = field(default_factory=list)

    def __call__(self, ticks: Sequence[PriceTick], _real: int) -> None:
        self.batches.append(len(ticks))
        for tick in ticks:
            self.ticks[tick.asset].append(tick)


@pytest.fixture(scope="module")
def ready() -> Iterator[dict[str, Any]]:
    with running_sandbox("--seed", "7", "--scenario", "spot_gap", "--speed", str(SPEED)) as found:
        yield found


@pytest.fixture
async def venue(ready: dict[str, Any]) -> AsyncIterator[Venue]:
    root = ready["sandbox"].removesuffix("/sandbox")
    async with httpx.AsyncClient(timeout=5) as http:
        urls, clock = await sandbox(http, root)
        found = Venue(
            urls=urls, clock=clock, http=http, keys=await sandbox_keys(http, root), control=str(ready["sandbox"])
        )
        yield found
        await found.heal()


async def until(true: Callable[[], object], *, within: float = 60) -> None:
    async with asyncio.timeout(within):
        while not true():  # noqa: ASYNC110 - what is waited for knows no event
            await asyncio.sleep(0.02)


class Running:
    """Runs a feed inside `async with`."""

    def __init__(self, feed: CoinbaseFeed | OracleFeed | PolyBoltFeed) -> None:
        self._stop = asyncio.Event()
        self._feed = feed

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._feed.run(self._stop))

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await self._task


def coinbase(venue: Venue, heard: Heard) -> CoinbaseFeed:
    return CoinbaseFeed(url=venue.urls.other_spot, assets=ASSETS, clock=venue.clock, on_ticks=heard)


def polybolt(venue: Venue, heard: Heard, keys: PriceKeys | None = None) -> PolyBoltFeed:
    return PolyBoltFeed(
        url=venue.urls.averages, keys=keys or venue.keys, assets=ASSETS, clock=venue.clock, on_ticks=heard
    )


async def test_the_second_spot_tells_numbered_trades_and_heartbeats_prove_the_last(venue: Venue) -> None:
    heard = Heard()
    feed = coinbase(venue, heard)
    async with Running(feed):
        await until(lambda: all(len(heard.ticks[asset]) > 20 for asset in ASSETS))
    numbers = [tick.trade for tick in heard.ticks["btc"]]
    assert numbers == sorted(numbers)
    assert set(range(numbers[0], numbers[-1] + 1)) == set(numbers)
    assert (feed.malformed, feed.gaps) == (0, 0)


async def test_an_asset_that_the_second_spot_does_not_have_costs_no_other(venue: Venue) -> None:
    heard = Heard()
    feed = CoinbaseFeed(url=venue.urls.other_spot, assets=("nope", *ASSETS), clock=venue.clock, on_ticks=heard)
    async with Running(feed):
        await until(lambda: all(len(heard.ticks[asset]) > 20 for asset in ASSETS))
    assert (feed.refused, feed.malformed, feed.gaps) == (1, 0, 0)


async def test_averages_are_those_of_the_oracles_own_ticks(venue: Venue) -> None:
    averages, ticks, underlying = Heard(), Heard(), Underlying("btc")
    oracle = OracleFeed(url=venue.urls.rtds, assets=ASSETS, clock=venue.clock, on_ticks=ticks)
    feed = polybolt(venue, averages)
    async with Running(feed), Running(oracle):
        await until(lambda: len(averages.ticks["btc"]) > 130 and len(ticks.ticks["btc"]) > 130)
    assert averages.batches[0] == 120
    assert (feed.malformed, feed.refused, oracle.malformed) == (0, 0, 0)
    for tick in ticks.ticks["btc"]:
        underlying.oracle.put(tick.ts_event // NANOS, tick.price)
    compared = 0
    for tick in averages.ticks["btc"]:
        second = tick.ts_event // NANOS
        own = underlying.oracle.mean(second - 60, second)
        if own is not None and second <= (underlying.oracle.last or 0):
            assert own == pytest.approx(tick.price, rel=1e-9)
            compared += 1
    assert compared > 50


@pytest.mark.parametrize("channel", ["coinbase", "bolt", "rtds"])
async def test_silence_is_noticed_though_pings_are_answered_and_the_feed_comes_back_whole(
    venue: Venue, channel: str
) -> None:
    heard = Heard()
    feeds: dict[str, CoinbaseFeed | OracleFeed | PolyBoltFeed] = {
        "coinbase": coinbase(venue, heard),
        "bolt": polybolt(venue, heard),
        "rtds": OracleFeed(url=venue.urls.rtds, assets=ASSETS, clock=venue.clock, on_ticks=heard),
    }
    feed = feeds[channel]
    async with Running(feed):
        await until(lambda: all(len(heard.ticks[asset]) > 2 for asset in ASSETS))
        connects = feed.socket.connects
        await venue.fault("ws_freeze", channel=channel, seconds=600)
        await until(lambda: feed.socket.silences)
        await until(lambda: feed.socket.connects > connects)
        await venue.heal()
        before = {asset: len(heard.ticks[asset]) for asset in ASSETS}
        await until(lambda: all(len(heard.ticks[asset]) > before[asset] + 5 for asset in ASSETS))
        if channel != "coinbase":  # A snapshot holds the seconds that were missed; on a busy machine it comes later
            newest = max(tick.ts_event // NANOS for tick in heard.ticks["btc"])
            due = set(range(newest - 60, newest))
            await until(lambda: due <= {tick.ts_event // NANOS for tick in heard.ticks["btc"]})


async def test_matches_alone_that_fall_silent_are_told_by_the_heartbeats(venue: Venue) -> None:
    heard = Heard()
    feed = coinbase(venue, heard)
    async with Running(feed):
        await until(lambda: all(len(heard.ticks[asset]) > 2 for asset in ASSETS))
        connects = feed.socket.connects
        await venue.fault("ws_freeze", channel="coinbase", seconds=600, match="match")
        await until(lambda: feed.gaps and feed.socket.connects > connects)
        assert feed.socket.silences == 0
        await venue.heal()
        before = len(heard.ticks["btc"])
        await until(lambda: len(heard.ticks["btc"]) > before + 5)


async def test_a_number_left_out_is_a_gap_and_a_snapshot_heals_it(venue: Venue) -> None:
    heard, trades = Heard(), Heard()
    feed, spot = polybolt(venue, heard), coinbase(venue, trades)
    async with Running(feed), Running(spot):
        await until(lambda: len(heard.batches) > 4 and len(trades.batches) > 4)
        snapshots = sum(size > 1 for size in heard.batches)
        await venue.fault("frame_missing", channel="bolt", match="price.crypto.twap")
        await venue.fault("frame_missing", channel="coinbase", match='"match"')
        await until(lambda: feed.gaps and spot.gaps)
        await until(lambda: sum(size > 1 for size in heard.batches) > snapshots)


async def test_refused_credentials_are_not_offered_again(venue: Venue) -> None:
    feed = polybolt(venue, Heard(), PriceKeys(key="x", secret="eA==", passphrase="x"))
    async with asyncio.timeout(30):
        await feed.run(asyncio.Event())
    assert (feed.refused, feed.socket.connects) == (1, 1)


@dataclass(slots=True)
class Unproven:
    """There are no books here."""

    def proven(self, token: str) -> int:
        return 0


async def watched_prices(venue: Venue, stop: asyncio.Event) -> tuple[Prices, Board, list[asyncio.Task[None]]]:
    board = Board(
        assets=ASSETS,
        limits=Limits(order_usd=Decimal(3)),
        clock=venue.clock,
        proofs=Unproven(),
        on_found=lambda _found: None,
    )
    prices = Prices(
        board=board,
        urls=venue.urls,
        assets=ASSETS,
        clock=venue.clock,
        http=venue.http,
        history_s=2400,
        keys=venue.keys,
    )
    await prices.warm_up(stop)
    await asyncio.sleep(1)  # Ten seconds of the venue: connecting can take longer than a mean can bridge
    return prices, board, [asyncio.create_task(work) for work in prices.running(stop)]


async def test_a_silent_spot_is_stood_in_for_and_what_it_missed_is_refilled(venue: Venue) -> None:
    """The index gaps by 20 bp every 90 s of the venue: the silence spans a gap that candles alone can tell of."""
    stop = asyncio.Event()
    prices, board, tasks = await watched_prices(venue, stop)
    btc = board.underlyings["btc"]
    await until(lambda: btc.basis is not None and btc.disagreement(real=venue.clock.real()) > 0)
    await until(lambda: prices.refilled >= len(ASSETS))  # Between the history and the first trade
    since = venue.clock.now() // NANOS
    assert btc.seconds.mean(since - 600, since - 1) is not None
    await venue.fault("ws_freeze", channel="spot", seconds=100)
    await until(lambda: btc.standing_in)
    assert btc.price == pytest.approx(btc.seconds.at(btc.seconds.last or 0), rel=1e-9)
    await until(lambda: prices.refilled >= 2 * len(ASSETS) and not btc.standing_in)
    till = venue.clock.now() // NANOS - 1
    stop.set()
    await asyncio.gather(*tasks)
    assert prices.spot.socket.silences
    assert till - since > 90
    truth = await prices.spot.between("btc", start=since - 1800, end=till)
    missed = [(second, price) for second, price in truth if since + 2 <= second < till - 5]
    assert [btc.seconds.exactly(second) for second, _ in missed] == [pytest.approx(p, rel=1e-4) for _, p in missed]
    saw_all = Underlying("btc")
    for second, price in await prices.spot.between("btc", start=since - 2400, end=till):
        saw_all.put_spot(second, price)
    expected = saw_all.sigma(300)
    assert expected is not None
    assert btc.sigma(300) == pytest.approx(expected, rel=0.1)


async def test_two_spots_that_part_are_believed_neither(venue: Venue) -> None:
    stop = asyncio.Event()
    _, board, tasks = await watched_prices(venue, stop)
    btc = board.underlyings["btc"]
    await until(lambda: btc.disagreement(real=venue.clock.real()) > 0)
    await venue.knob(coinbase_basis_bps=43)
    await until(lambda: btc.disagreement(real=venue.clock.real()) > 20e-4)
    await venue.knob(coinbase_basis_bps=3)
    await until(lambda: 0 < btc.disagreement(real=venue.clock.real()) < 10e-4)
    stop.set()
    await asyncio.gather(*tasks)
