"""The executor's own fresh books: a feed of every market it may trade, and a REST read where it does not vouch."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import httpx

from pmarb import logs
from pmarb.clock import Clock
from pmarb.domain.book import Book
from pmarb.domain.market import MarketInfo
from pmarb.domain.values import NANOS
from pmarb.venue.books import LocalBook
from pmarb.venue.parse import ParseError, rest_books
from pmarb.venue.port import VenueUnavailable
from pmarb.venue.public import LIST_EVERY, Discovery, MarketFeed
from pmarb.venue.schedule import LISTED, Slot, slots
from pmarb.waiting import until_set

log = logs.get(__name__)

FRESH: Final = NANOS
"""A feed's book older than this is read by REST instead (real nanoseconds, as the feed dates its books)."""

LOOK_EVERY: Final = 2.0  # Seconds, real
AT_ONCE: Final = 8
KEPT_AFTER_END: Final = 60 * NANOS  # Venue time


class BookSource(Protocol):
    async def book(self, token: str) -> Book | None:
        """The token's book as of a moment ago, or None."""


class LiveBooks:
    """Books of the running and the next market of every computed family, and of all that the listed ones hold."""

    def __init__(
        self,
        *,
        feed: MarketFeed,
        discovery: Discovery,
        http: httpx.AsyncClient,
        clob_url: str,
        clock: Clock,
        assets: Sequence[str],
        families: Sequence[str],
        prepare: Callable[[Sequence[str]], Awaitable[None]],
    ) -> None:
        self._feed = feed
        self._discovery = discovery
        self._http = http
        self._clob = clob_url.rstrip("/")
        self._clock = clock
        self._assets = tuple(assets)
        self._computed = [family for family in families if family not in LISTED]
        self._listed = {family for family in families if family in LISTED}
        self._last_listing = -LIST_EVERY
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._prepare = prepare
        self._markets: dict[str, MarketInfo] = {}

    def followed(self) -> MarketInfo | None:
        """Any market whose books are followed."""
        return next(iter(self._markets.values()), None)

    async def book(self, token: str) -> Book | None:
        found = self._feed.book(token)
        if found is not None and self._clock.now() - found.ts_init <= FRESH:
            return found
        return await self._fetch(token)

    async def run(self, stop: asyncio.Event) -> None:
        """Follow the windows until `stop`."""
        feeding = asyncio.create_task(self._feed.run(stop))
        while not stop.is_set():
            await self.look()
            await until_set(stop, within=LOOK_EVERY)
        await feeding

    async def look(self) -> None:
        """Find markets that opened or will, forget those that ended."""
        now, real = self._clock.now(), self._clock.real() / NANOS
        for slug, market in list(self._markets.items()):
            if market.closes_at + KEPT_AFTER_END < now:
                del self._markets[slug]
                await self._feed.unwatch(market.tokens)
        wanted = [slot for slot in self._slots(now) if self._markets.keys().isdisjoint((slot.slug, *slot.spellings))]
        await asyncio.gather(*(self._find(slot) for slot in wanted))
        if self._listed and real - self._last_listing >= LIST_EVERY:
            self._last_listing = real
            await asyncio.gather(*(self._list(asset, now) for asset in self._assets))

    def _slots(self, now: int) -> list[Slot]:
        second = now // NANOS
        return [slot for asset in self._assets for family in self._computed for slot in slots(asset, family, second)]

    async def _find(self, slot: Slot) -> None:
        for slug in (slot.slug, *slot.spellings):
            try:
                async with self._gate:
                    market = await self._discovery.market(slug)
            except (VenueUnavailable, ParseError) as error:
                log.debug("market_not_ready", slug=slug, error=str(error))
                return
            if market is not None and market.closes_at // NANOS == slot.ends:
                await self._follow(market)
                return

    async def _list(self, asset: str, now: int) -> None:
        try:
            listing = await self._discovery.listed(asset, self._listed, now=now)
        except (VenueUnavailable, ParseError) as error:
            log.debug("markets_not_listed", underlying=asset, error=str(error))
            return
        fresh = [market for market in listing.markets if market.slug not in self._markets]
        await asyncio.gather(*(self._confirm(market) for market in fresh))

    async def _confirm(self, market: MarketInfo) -> None:
        try:
            async with self._gate:
                confirmed = await self._discovery.confirmed(market)
        except (VenueUnavailable, ParseError) as error:
            log.debug("market_not_ready", slug=market.slug, error=str(error))
            return
        if confirmed is not None and confirmed.accepting and not confirmed.closed:
            await self._follow(confirmed)

    async def _follow(self, market: MarketInfo) -> None:
        try:
            await self._prepare(market.tokens)
        except (VenueUnavailable, ParseError) as error:
            log.debug("market_not_ready", slug=market.slug, error=str(error))
            return
        self._markets[market.slug] = market
        await self._feed.watch(market.tokens)

    async def _fetch(self, token: str) -> Book | None:
        asked = self._clock.now()
        try:
            reply = await self._http.post(f"{self._clob}/books", json=[{"token_id": token}])
            reply.raise_for_status()
            frames = rest_books(reply.content)
        except (httpx.HTTPError, ParseError) as error:
            log.warning("book_not_read", token=token[:12], error=str(error) or type(error).__name__)
            return None
        for frame in frames:
            if frame.asset_id == token:
                book = LocalBook(token)
                book.snapshot(frame, ts_init=asked)
                return book.book()
        return None
