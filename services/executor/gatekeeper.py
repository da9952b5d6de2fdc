"""The executor's own question at the gate to real money: it takes neither risk's word nor anybody's row for it."""

import asyncio
import sys
from typing import Final

from pmarb import logs
from pmarb.clock import Clock
from pmarb.db import gate, modes
from pmarb.db.gate import Finding
from pmarb.db.orders import NO_REAL_MONEY
from pmarb.domain.gate import LIVE, PAPER, UNKNOWN, demoted
from pmarb.domain.messages import Halt
from pmarb.runtime import every
from pmarb.settings import WrongSettings
from services.executor.settings import ExecutorSettings
from services.executor.shop import Shop

log = logs.get(__name__)

LOOK_EVERY: Final = 1.0  # Seconds, real


class Gatekeeper:
    """A follower of an executor of real money. What it finds is part of the statement that writes an order."""

    def __init__(self, shop: Shop, watch: gate.Watch) -> None:
        self._shop = shop
        self._watch = watch
        self._locked = ""

    async def run(self, stop: asyncio.Event) -> None:
        await every(LOOK_EVERY, self.look, stop)

    async def look(self) -> None:
        """Ask; where it is locked nothing new is written, and what is open is settled all the same."""
        found = await self._watch.look()
        self._shop.orders.opening = found.opening
        if found.locked != self._locked:
            log.warning("gate", locked=found.locked or "no: real money may be traded")
        self._locked = found.locked
        if found.shut:
            now, why = self._shop.clock.now(), f"demoted to paper: {found.locked}"
            log.error("demoted_to_paper", why=found.locked)
            halt = Halt(who="risk", why=why, clears_at=0, ts_event=now, ts_init=now)
            await self._shop.publish(halt, demoted(found.locked, now=now))


async def admitted(settings: ExecutorSettings, clock: Clock) -> tuple[gate.Watch | None, int]:
    """Enter the mode of the settings. Who watches the gate, and the opening proven now: none and NO_REAL_MONEY where no
    real money is traded.

    Behind a locked gate real orders and positions that are left are still settled, with an opening that allows nothing.

    Raises:
        WrongSettings: the gate is locked and nothing real is left, or what is left belongs to the other execution.
    """
    if settings.venue != "polymarket":
        return None, NO_REAL_MONEY
    mode = (settings.venue, settings.execution)
    left = await asyncio.to_thread(_left, settings.dsn)
    for (venue, execution), count in left.items():
        ours = (mode, UNKNOWN) if mode == PAPER else (mode,)  # Of a ledger older than its list of modes
        if (venue, execution) not in ours:
            _refuse(
                f"{count} orders or positions of VENUE={venue} EXECUTION={execution} are not settled yet, and "
                f"EXECUTION={settings.execution} would take them for its own: run that until pm-arb positions is empty."
            )
    if mode != LIVE:
        return None, NO_REAL_MONEY
    watch = gate.Watch(settings.dsn, clock)
    found = await watch.look()
    if not found.locked:
        return watch, found.opening
    if not left:
        _refuse(locked_words(found))
    log.warning(
        "real_money_locked", why=found.locked, left=left.total(), next="what is left is settled, nothing is opened"
    )
    return watch, 0


def locked_words(found: Finding) -> str:
    """Why real money is locked and what to do, for a terminal."""
    return (
        f"VENUE=polymarket with EXECUTION=live is locked: {found.locked}. `pm-arb gate show` lists all it takes, and "
        "once that is there `pm-arb gate open` opens it. Until then: EXECUTION=paper, or VENUE=sandbox."
    )


def _left(dsn: str) -> modes.Unfinished:
    with gate.writer(dsn) as connection:
        return modes.unfinished(connection)


def _refuse(words: str) -> None:
    sys.stderr.write(f"error: {words}\n")
    raise WrongSettings(2)
