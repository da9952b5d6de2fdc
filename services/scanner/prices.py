"""The price feeds of a scanner, wired to its board: two spot exchanges, the oracle's ticks, its averages.

One rule for the spots: the exchange that settles is the price. The other checks it (both are believed only within 10 bp
of their usual distance, else `spot_disputed`), and stands in for it after a second of silence, in markets that the
oracle decides. Trades that were not seen are asked for afterwards, second by second.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

import httpx

from pmarb import logs
from pmarb.clock import Clock
from pmarb.runtime import Backoff
from pmarb.venue.coinbase import CoinbaseFeed
from pmarb.venue.parse import ParseError
from pmarb.venue.polybolt import PolyBoltFeed, PriceKeys
from pmarb.venue.port import VenueUnavailable
from pmarb.venue.prices import OracleFeed, SpotFeed
from pmarb.venue.public import VenueUrls
from services.scanner.board import Board

log = logs.get(__name__)

REFILL_TRIES: Final = 5
LONGEST_REFILL_S: Final = 7200


class Prices:
    """Feeds a board. Without `keys` the averages are not read; without an address neither is the second exchange."""

    def __init__(
        self,
        *,
        board: Board,
        urls: VenueUrls,
        assets: tuple[str, ...],
        clock: Clock,
        http: httpx.AsyncClient,
        history_s: int,
        keys: PriceKeys | None,
    ) -> None:
        self.refilled = 0
        self.unfilled = 0
        self._board = board
        self._assets = assets
        self._clock = clock
        self._history_s = history_s
        self._holes = asyncio.Queue[tuple[str, int, int]]()
        self._backoff = Backoff("spot exchange")
        self.spot = SpotFeed(
            ws_url=urls.spot_ws,
            rest_url=urls.spot_rest,
            assets=assets,
            clock=clock,
            http=http,
            on_ticks=board.on_spot,
            on_hole=self._on_hole,
        )
        self.oracle = OracleFeed(url=urls.rtds, assets=assets, clock=clock, on_ticks=board.on_oracle)
        self.other = (
            CoinbaseFeed(url=urls.other_spot, assets=assets, clock=clock, on_ticks=board.on_other_spot)
            if urls.other_spot
            else None
        )
        self.averages = (
            PolyBoltFeed(url=urls.averages, keys=keys, assets=assets, clock=clock, on_ticks=board.on_averages)
            if urls.averages and keys is not None
            else None
        )

    def running(self, stop: asyncio.Event) -> list[Coroutine[Any, Any, None]]:
        """What must run until `stop`."""
        return [*(feed.run(stop) for feed in self._feeds()), self._refill(stop)]

    async def warm_up(self, stop: asyncio.Event) -> None:
        """Fill the volatility from the exchange's own candles; without them it warms up live, in half an hour."""
        for asset in self._assets:
            history = await self._history(asset, stop)
            for second, price in history:
                self._board.underlyings[asset].put_spot(second, price)
            if history:
                self.spot.continues(asset, second=history[-1][0], price=history[-1][1])
            log.info("history_loaded", underlying=asset, seconds=len(history))

    def summary(self) -> dict[str, int]:
        """What went wrong so far: by feed, messages left out and silences; what was refilled and what not."""
        feeds = self._feeds()
        known = self._board.underlyings.values()
        return {
            "malformed": sum(feed.malformed for feed in feeds),
            "silences": sum(feed.socket.silences for feed in feeds),
            **{f"gaps_{feed.socket.name}": feed.gaps for feed in feeds},
            "holes_refilled": self.refilled,
            "holes_unfilled": self.unfilled,
            "stood_in": sum(underlying.stood_in for underlying in known),
        }

    def _feeds(self) -> list[SpotFeed | CoinbaseFeed | OracleFeed | PolyBoltFeed]:
        feeds = (self.spot, self.other, self.oracle, self.averages)
        return [feed for feed in feeds if feed is not None]

    async def _history(self, asset: str, stop: asyncio.Event) -> list[tuple[int, float]]:
        """Ask until answered; empty when stopped."""
        while not stop.is_set():
            try:
                answer = await self.spot.history(asset, now=self._clock.now(), seconds=self._history_s)
            except (VenueUnavailable, ParseError) as error:
                await self._backoff.wait(error)
            else:
                self._backoff.recovered()
                return answer
        return []

    def _on_hole(self, asset: str, before: int, after: int) -> None:
        self._holes.put_nowait((asset, max(before, after - LONGEST_REFILL_S), after))

    async def _refill(self, stop: asyncio.Event) -> None:
        stopping = asyncio.create_task(stop.wait())
        while not stop.is_set():
            waiting = asyncio.create_task(self._holes.get())
            await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                waiting.cancel()
                return
            await self._fill(*waiting.result(), stop)
        stopping.cancel()

    async def _fill(self, asset: str, before: int, after: int, stop: asyncio.Event) -> None:
        """Learn the seconds from `before` to before `after`, the half-seen first one included."""
        for _ in range(REFILL_TRIES):
            if stop.is_set():
                return
            try:
                found = await self.spot.between(asset, start=before, end=after)
            except (VenueUnavailable, ParseError) as error:
                await self._backoff.wait(error)
                continue
            self._backoff.recovered()
            self._board.underlyings[asset].refill(found)
            self.refilled += 1
            log.info("hole_refilled", underlying=asset, seconds=after - before - 1, found=len(found))
            return
        self.unfilled += 1
        log.warning("hole_not_refilled", underlying=asset, seconds=after - before - 1, since=before)
