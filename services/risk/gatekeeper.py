"""Real money stays locked until the ledger itself has earned it, and is locked again when real results fall below."""

import asyncio
from typing import Final

from pmarb.clock import Clock
from pmarb.db import gate, modes
from pmarb.db.gate import Finding
from pmarb.domain.gate import LIVE

LOOK_EVERY: Final = 1.0  # Seconds, real
NOT_READ: Final = "the ledger has not been asked yet"


class Gatekeeper:
    """Asks the ledger. Where no real money is traded there is nothing to lock."""

    def __init__(self, *, dsn: str, venue: str, execution: str, clock: Clock) -> None:
        self._dsn = dsn
        self._mode = (venue, execution)
        self._clock = clock
        self._watch = gate.Watch(dsn, clock)

    @property
    def guards(self) -> bool:
        """Whether this is real money."""
        return self._mode == LIVE

    async def enter(self) -> None:
        """Note where the ledger trades from now on: what it does in a sandbox will never count as evidence."""
        await asyncio.to_thread(self._enter)

    async def look(self) -> Finding:
        """What stands between an approval and real money now."""
        return await self._watch.look() if self.guards else Finding(locked="")

    def _enter(self) -> None:
        venue, execution = self._mode
        with gate.writer(self._dsn) as connection:
            modes.enter(connection, venue=venue, execution=execution, now_real=self._clock.real())
