"""Tells risk of the venue's contracts, and halts where we would sign for one that the venue does not name."""

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Final, Protocol

from pmarb import logs
from pmarb.db.pool import Unavailable
from pmarb.domain.messages import CONTRACTS, MarketRules
from pmarb.runtime import every
from pmarb.venue.port import VenueUnavailable
from services.executor.inspection import Inspection
from services.executor.mismatch import HaltReason
from services.executor.shop import Shop

log = logs.get(__name__)

LOOK_EVERY: Final = 5.0  # Seconds, real: a request each
SIGNED_FOR: Final = ("exchange", "neg_risk_exchange")


class Names(Protocol):
    """Who knows the contracts: name and address, and `spenders`, all that the venue names."""

    def contracts(self) -> Awaitable[Mapping[str, str]]: ...


class Contracts:
    """A follower of an executor that signs. What was told is told again only when it is another."""

    def __init__(self, shop: Shop, names: Names, inspection: Inspection) -> None:
        self._shop = shop
        self._names = names
        self._inspection = inspection
        self._told: Mapping[str, str] | None = None

    async def run(self, stop: asyncio.Event) -> None:
        await every(LOOK_EVERY, self.look, stop)

    async def look(self) -> None:
        try:
            found = dict(await self._names.contracts())
        except VenueUnavailable as error:
            log.warning("contracts_unread", reason=str(error))
            return
        if found == self._told:
            return
        now = self._shop.clock.now()
        await self._shop.publish(
            MarketRules(slug=CONTRACTS, market=CONTRACTS, series=CONTRACTS, rules=found, ts_event=now, ts_init=now)
        )
        try:
            await self._compare(found)
        except Unavailable as error:
            log.error("halt_not_written", error=str(error), next="looks again")
            return
        self._told = found

    async def _compare(self, found: Mapping[str, str]) -> None:
        spenders = found["spenders"].split(",")
        wrong = [f"{name} {found[name]}" for name in SIGNED_FOR if found[name] not in spenders]
        if wrong:
            words = f"we sign for {', '.join(wrong)}, the venue names {', '.join(spenders)}"
            await self._inspection.halt(HaltReason.WRONG_CONTRACT, words)
