"""Everything the public feeds say, with its time of receipt, onto tapes. A process of its own: nobody waits for it."""

import asyncio
import contextlib
from functools import partial
from pathlib import Path
from typing import Final

import httpx

from pmarb import logs
from pmarb.clock import Clock
from pmarb.domain.market import MarketInfo
from pmarb.domain.values import NANOS
from pmarb.runtime import BEAT_EVERY, Backoff, every
from pmarb.venue import gamma
from pmarb.venue.parse import ParseError
from pmarb.venue.polybolt import PriceKeys
from pmarb.venue.port import VenueUnavailable
from pmarb.venue.prices import history_s
from pmarb.venue.public import LIST_EVERY, Discovery, VenueUrls
from pmarb.venue.schedule import LISTED, slots
from services.recorder.candles import CandleTape
from services.recorder.market import MarketChannel
from services.recorder.prices import PriceChannels
from services.recorder.spool import Received, Spool

log = logs.get(__name__)

DISCOVER_EVERY: Final = 0.5  # Real seconds
CONCLUDE_EVERY: Final = 2.0
CANDLES_EVERY: Final = 2.0
SUMMARY_EVERY: Final = 10.0
ASKED_AT_ONCE: Final = 8
GIVE_UP_AFTER: Final = 3600 * NANOS
"""A market without an outcome so long after its end is asked about no more."""


class RecorderService:
    """One recording. `seconds` of venue time, None until stopped; without `keys` the averages are not read.

    `heartbeat_file` is touched every second while the loop turns.
    """

    def __init__(
        self,
        *,
        urls: VenueUrls,
        clock: Clock,
        http: httpx.AsyncClient,
        spool: Spool,
        assets: tuple[str, ...],
        families: tuple[str, ...],
        keys: PriceKeys | None = None,
        seconds: float | None = None,
        heartbeat_file: Path | None = None,
    ) -> None:
        self._heartbeat_file = heartbeat_file
        self._urls = urls
        self._clock = clock
        self._http = http
        self._spool = spool
        self._assets = assets
        self._families = families
        self._listed = {family for family in families if family in LISTED}
        self._ends = None if seconds is None else clock.now() + int(seconds * NANOS)
        self._open: dict[str, MarketInfo] = {}
        self._seen: set[str] = set()
        self._unreadable: dict[str, str] = {}
        self._gate = asyncio.Semaphore(ASKED_AT_ONCE)
        self._backoff = Backoff("gamma")
        self._discovery = Discovery(urls=urls, http=http)
        self._market = MarketChannel(url=urls.ws_market, clock=clock, keep=partial(self._keep, "clob.market"))
        self._prices = PriceChannels(urls=urls, clock=clock, http=http, assets=assets, keys=keys, keep=self._keep)
        keep_candles = partial(self._keep, "spot.candles")
        self._candles = CandleTape(exchange=self._prices.exchange, clock=clock, keep=keep_candles)

    async def run(self, stop: asyncio.Event) -> None:
        """Record until `stop`; the tape is finished before it returns."""
        self._spool.start()
        try:
            await self._prices.warm_up(history_s(self._families))
            async with asyncio.TaskGroup() as group:
                for part in (self._market.run(stop), *self._prices.running(stop)):
                    group.create_task(part)
                group.create_task(every(DISCOVER_EVERY, self._discover, stop))
                group.create_task(every(LIST_EVERY, self._list, stop))
                group.create_task(every(CONCLUDE_EVERY, self._conclude, stop))
                group.create_task(every(CANDLES_EVERY, self._read_candles, stop))
                group.create_task(every(SUMMARY_EVERY, self._summary, stop))
                group.create_task(every(BEAT_EVERY, self._beat, stop))
                group.create_task(every(0.1, lambda: self._until_the_end(stop), stop))
        finally:
            await asyncio.to_thread(self._spool.close)
            await self._http.aclose()

    def _keep(self, src: str, raw: bytes) -> None:
        self._spool.put(Received(t=self._clock.now(), src=src, raw=raw))

    async def _discover(self) -> None:
        """Announce the windows whose slugs can be computed."""
        second = self._clock.now() // NANOS
        wanted = [slot for asset in self._assets for family in self._families for slot in slots(asset, family, second)]
        for slot in wanted:
            spellings = (slot.slug, *slot.spellings)
            for slug in spellings:
                if self._seen.isdisjoint(spellings):
                    await self._announce(slug)

    async def _list(self) -> None:
        """Announce the markets that only the events of their asset's tag tell of."""
        for asset in self._assets if self._listed else ():
            try:
                listing = await self._discovery.listed(asset, self._listed, now=self._clock.now())
            except VenueUnavailable as error:
                await self._backoff.wait(error)
                continue
            except ParseError as error:
                log.warning("markets_not_listed", underlying=asset, reason=str(error))
                continue
            for slug, why in listing.unread.items():
                self._note_unreadable(slug, why)
            fresh = {market.slug for market in listing.markets} - self._seen
            await asyncio.gather(*(self._announce(slug) for slug in sorted(fresh)))

    async def _announce(self, slug: str) -> None:
        raw = await self._ask(slug)
        if raw is None:
            return
        try:
            market = gamma.market(raw)
        except ParseError as error:
            self._seen.add(slug)
            self._keep("gamma", raw)  # It cannot be followed, but it was received
            self._note_unreadable(slug, str(error))
            return
        if market.sides is None or not market.accepting:
            return
        self._seen.add(slug)
        self._open[slug] = market
        self._keep("gamma", raw)
        await self._market.watch(market.tokens)

    def _note_unreadable(self, slug: str, why: str) -> None:
        if self._unreadable.get(slug) != why:
            self._unreadable[slug] = why
            log.warning("market_unreadable", slug=slug, reason=why)

    async def _conclude(self) -> None:
        """Ask about ended markets until their outcome is known."""
        now = self._clock.now()
        for slug, market in list(self._open.items()):
            if now > market.closes_at:
                await self._ask_outcome(slug, market, now)

    async def _read_candles(self) -> None:
        await self._candles.step(list(self._open.values()))

    async def _ask_outcome(self, slug: str, market: MarketInfo, now: int) -> None:
        raw = await self._ask(slug)
        try:
            over = raw is not None and gamma.market(raw).closed
        except ParseError:
            over = False
        if raw is not None and over:
            self._keep("gamma", raw)
        if over or now > market.closes_at + GIVE_UP_AFTER:
            del self._open[slug]
            await self._market.unwatch(market.tokens)

    async def _ask(self, slug: str) -> bytes | None:
        """Gamma's own words; None while it does not know the market or does not answer."""
        try:
            async with self._gate:
                reply = await self._http.get(f"{self._urls.gamma}/markets/slug/{slug}")
        except httpx.HTTPError as error:
            await self._backoff.wait(VenueUnavailable(str(error) or type(error).__name__))
            return None
        self._backoff.recovered()
        return reply.content if reply.status_code == httpx.codes.OK else None

    async def _until_the_end(self, stop: asyncio.Event) -> None:
        if self._spool.failure is not None:
            raise self._spool.failure
        if self._ends is not None and self._clock.now() >= self._ends:
            stop.set()

    async def _beat(self) -> None:
        if self._heartbeat_file is not None:
            with contextlib.suppress(OSError):
                self._heartbeat_file.touch()

    async def _summary(self) -> None:
        log.info(
            "recording",
            lines=self._spool.lines,
            waiting=self._spool.waiting,
            markets=len(self._open),
            tapes=len(self._spool.tapes),
            undecodable=self._spool.undecodable,
            silences=self._prices.silences,
            withheld=self._prices.withheld,
        )
