"""Which markets there are: the windows whose slugs can be computed, and what the events of an asset's tag hold."""

import asyncio
from collections.abc import Sequence
from typing import Final

from pmarb import logs
from pmarb.clock import Clock
from pmarb.domain.market import MarketInfo
from pmarb.domain.values import NANOS
from pmarb.runtime import Backoff
from pmarb.venue.parse import ParseError
from pmarb.venue.port import VenueUnavailable
from pmarb.venue.public import LIST_EVERY, Discovery, Listing
from pmarb.venue.rules import NAMES
from pmarb.venue.schedule import LISTED, Slot, slots

log = logs.get(__name__)

NAMED_PAUSE: Final = 5.0  # Between two questions for a market that is known by its date alone
KEEP_AFTER_END_S: Final = 65
"""The minute's candle that decides a noon, and a little."""
AT_ONCE: Final = 8


class Catalogue:
    """Knows the markets of the wanted families. Real seconds for its own pace, venue time for the markets'."""

    def __init__(self, *, discovery: Discovery, clock: Clock, assets: Sequence[str], families: Sequence[str]) -> None:
        self.known: dict[str, MarketInfo] = {}
        self.refused: dict[str, str] = {}
        self._discovery = discovery
        self._clock = clock
        self._assets = assets
        self._computed = [family for family in families if family not in LISTED]
        self._listed = {family for family in families if family in LISTED}
        self._asked: dict[str, float] = {}
        self._last_listing = -LIST_EVERY
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._backoff = Backoff("venue")

    async def look(self) -> list[str]:
        """Learn of new markets; the slugs of those that are over, which are forgotten."""
        now, real = self._clock.now(), self._clock.real() / NANOS
        over = [slug for slug, market in self.known.items() if market.closes_at + KEEP_AFTER_END_S * NANOS < now]
        for slug in over:
            del self.known[slug]
        wanted = [slot for slot in self._slots(now) if slot.slug not in self.known and self._due(slot, real)]
        await asyncio.gather(*(self._learn(slot) for slot in wanted))
        if self._listed and real - self._last_listing >= LIST_EVERY:
            self._last_listing = real
            await asyncio.gather(*(self._list(asset, now) for asset in self._assets))
        return over

    def _slots(self, now: int) -> list[Slot]:
        second = now // NANOS
        return [slot for asset in self._assets for family in self._computed for slot in slots(asset, family, second)]

    def _due(self, slot: Slot, real: float) -> bool:
        """Whether to ask (again) for a market; those with several spellings less often."""
        if any(spelling in self.known for spelling in slot.spellings):
            return False
        if real - self._asked.get(slot.slug, -NAMED_PAUSE) < (NAMED_PAUSE if slot.spellings else 0.0):
            return False
        self._asked = {slug: at for slug, at in self._asked.items() if real - at < NAMED_PAUSE} | {slot.slug: real}
        return True

    async def _learn(self, slot: Slot) -> None:
        for slug in (slot.slug, *slot.spellings):
            market = await self._asked_for(slug, slot)
            if market is not None:
                self._admit(market)
                return

    async def _asked_for(self, slug: str, slot: Slot) -> MarketInfo | None:
        try:
            async with self._gate:
                market = await self._discovery.market(slug)
        except VenueUnavailable as error:
            await self._backoff.wait(error)
            return None
        except ParseError as error:
            self._refuse(slug, str(error))
            return None
        self._backoff.recovered()
        if market is not None and market.closes_at // NANOS != slot.ends:
            self._refuse(slug, "the market ends at another time than its name says")  # Last year's, without a year
            return None
        return market

    async def _list(self, asset: str, now: int) -> None:
        try:
            listing = await self._discovery.listed(asset, self._listed, now=now)
        except VenueUnavailable as error:
            await self._backoff.wait(error)
            return
        except ParseError as error:
            self._refuse(f"tag {NAMES[asset]}", str(error))
            return
        self._note_unread(listing)
        fresh = [market for market in listing.markets if market.slug not in self.known]
        await asyncio.gather(*(self._confirm(market) for market in fresh))

    def _note_unread(self, listing: Listing) -> None:
        for slug, why in listing.unread.items():
            self._refuse(slug, why)

    async def _confirm(self, market: MarketInfo) -> None:
        try:
            async with self._gate:
                confirmed = await self._discovery.confirmed(market)
        except VenueUnavailable:
            return  # The next listing asks again
        except ParseError as error:
            self._refuse(market.slug, str(error))
            return
        if confirmed is not None:
            self._admit(confirmed)

    def _admit(self, market: MarketInfo) -> None:
        if market.accepting and market.sides is not None and not market.closed and market.underlying in self._assets:
            self.known[market.slug] = market

    def _refuse(self, slug: str, why: str) -> None:
        if self.refused.get(slug) != why:
            self.refused[slug] = why
            log.warning("market_refused", slug=slug, reason=why)
