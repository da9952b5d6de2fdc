"""Tells the venue that we live while an order of ours rests: when we fall silent it cancels everything by itself.

The heart beats only while what guards a resting order is well: risk, the books, the clock. Whoever falls ill falls
silent. A late beat is an alert and a halt, for then the venue may be cancelling already.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

from pmarb import logs
from pmarb.bus.port import BusUnavailable
from pmarb.db.pool import Unavailable
from pmarb.domain.orders import Order
from pmarb.domain.values import NANOS
from pmarb.venue.port import VenueUnavailable, WrongHeartbeat
from pmarb.waiting import until_set
from services.executor.books import BookSource
from services.executor.inspection import Inspection
from services.executor.mismatch import HaltReason
from services.executor.shop import Shop

log = logs.get(__name__)

BEAT_EVERY: Final = 4.0
"""Seconds of the venue; it expects one every 5 and cancels after 10 (venue.md 3.8)."""

LATE_AFTER: Final = 8 * NANOS  # Venue time
CLOCK_JUMP: Final = NANOS
"""Real time and the process's own clock may part by so much between two beats."""


class Pulse:
    """A follower of the executor; of several executors the one that reconciles beats."""

    def __init__(self, shop: Shop, books: BookSource, inspection: Inspection, *, leads: Callable[[], bool]) -> None:
        self._shop = shop
        self._books = books
        self._inspection = inspection
        self._leads = leads
        self._id = ""
        self._last = 0
        self._clocks: tuple[int, float] | None = None
        self._ill = ""

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            with contextlib.suppress(Unavailable):  # Silence is the answer while the ledger is away
                await self.turn()
            await until_set(stop, within=self._shop.clock.in_real(BEAT_EVERY))

    async def turn(self) -> None:
        """Beat once if an order rests and all is well."""
        ill_clock = self._clock_jumped()
        resting = [each.order for each in await self._shop.orders.open() if _rests(each.order)]
        if not resting or not self._leads():
            self._last = 0
            return
        now = self._shop.clock.now()
        if not self._last:
            self._last = now
        illness = ill_clock or await self._illness(resting)
        if illness:
            self._say_ill(illness)
        elif await self._beat():
            self._last, self._ill = now, ""
        if self._shop.clock.now() - self._last > LATE_AFTER:
            words = f"no heartbeat was accepted for {(now - self._last) / NANOS:.0f} s, {len(resting)} orders rest"
            await self._inspection.halt(HaltReason.HEARTBEAT_LATE, f"{words}; {self._ill or 'the venue is away'}")

    async def _beat(self) -> bool:
        """Whether the venue accepted; a wrong id is corrected and sent again at once."""
        for _ in range(2):
            try:
                self._id = await self._shop.venue.heartbeat(self._id)
            except WrongHeartbeat as error:
                self._id = error.expected
            except VenueUnavailable as error:
                log.warning("heartbeat_lost", error=str(error))
                return False
            else:
                return True
        return False

    async def _illness(self, resting: Sequence[Order]) -> str:
        try:
            if not await self._shop.bus.members("risk"):
                return "risk is silent"
        except BusUnavailable:
            return "redis is away, risk cannot be heard"
        for token in {order.token for order in resting}:
            if await self._books.book(token) is None:
                return f"no fresh book of {token[:12]}"
        return ""

    def _say_ill(self, illness: str) -> None:
        if illness != self._ill:
            log.error("heartbeat_withheld", why=illness)
        self._ill = illness

    def _clock_jumped(self) -> str:
        real, own = self._shop.clock.real(), asyncio.get_running_loop().time()
        before, self._clocks = self._clocks, (real, own)
        if before is None:
            return ""
        apart = abs((real - before[0]) - int((own - before[1]) * NANOS))
        return f"the clock jumped by {apart / NANOS:.1f} s" if apart > CLOCK_JUMP else ""


def _rests(order: Order) -> bool:
    return order.order_type.rests and not order.state.terminal
