"""The executor's own fresh books: a feed of the live windows, and a REST read where the feed does not vouch."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import httpx

from pmarb import logs
from pmarb.clock import Clock
from pmarb.domain.book import Book
from pmarb.domain.market import MarketInfo
from pmarb.domain.values import NANOS
from pmarb.venue import gamma
from pmarb.venue.books import LocalBook
from pmarb.venue.parse import ParseError, rest_books
from pmarb.venue.port import VenueUnavailable
from pmarb.venue.public import Discovery, MarketFeed

log = logs.get(__name__)

FRESH: Final = NANOS
"""A feed's book older than this is read by REST instead (real nanoseconds, as the feed dates its books)."""

LOOK_EVERY: Final = 2.0  # Seconds, real
KEPT_AFTER_END: Final = 60 * NANOS  # Venue time


class BookSource(Protocol):
    async def book(self, token: str) -> Book | None:
        """The token's book as of a moment ago, or None."""


class LiveBooks:
    """Books of every window that is open or opens next, for the assets and families given."""

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
        self._wanted = [(asset, family) for asset in assets for family in families]
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
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), LOOK_EVERY)
        await feeding

    async def look(self) -> None:
        """Find windows that opened or will, forget those that ended."""
        now = self._clock.now()
        for slug, market in list(self._markets.items()):
            if market.closes_at + KEPT_AFTER_END < now:
                del self._markets[slug]
                await self._feed.unwatch(market.tokens)
        await asyncio.gather(*(self._find(slug) for slug in self._slugs(now) if slug not in self._markets))

    def _slugs(self, now: int) -> list[str]:
        found = []
        for asset, family in self._wanted:
            length = gamma.WINDOW_S[family]
            start = now // NANOS // length * length
            found += [gamma.slug(asset=asset, family=family, start=s) for s in (start, start + length)]
        return found

    async def _find(self, slug: str) -> None:
        try:
            market = await self._discovery.market(slug)
            if market is None:
                return
            await self._prepare(market.tokens)
        except (VenueUnavailable, ParseError) as error:
            log.debug("market_not_ready", slug=slug, error=str(error))
            return
        self._markets[slug] = market
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
