"""Real money stays locked until the ledger itself has earned it, and is locked again when real results fall below."""

import asyncio
import random
from dataclasses import dataclass
from typing import Final

from pmarb.clock import Clock
from pmarb.db import evidence as records
from pmarb.db import gate as stored
from pmarb.domain import gate
from pmarb.domain.gate import LIVE, mode_at

LOOK_EVERY: Final = 60.0  # Seconds, real
NOT_READ: Final = "the ledger has not been asked yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`locked` says why nothing real may be traded, empty if it may; `shut` whether it was open until now."""

    locked: str
    shut: bool = False


class Gatekeeper:
    """Asks the ledger, on a connection of its own. Where no real money is traded there is nothing to lock."""

    def __init__(self, *, dsn: str, venue: str, execution: str, clock: Clock) -> None:
        self._dsn = dsn
        self._mode = (venue, execution)
        self._clock = clock

    @property
    def guards(self) -> bool:
        """Whether this is real money."""
        return self._mode == LIVE

    async def enter(self) -> None:
        """Note where the ledger trades from now on: what it does in a sandbox will never count as evidence."""
        await asyncio.to_thread(self._enter)

    async def look(self) -> Finding:
        """What stands between an approval and real money now."""
        return await asyncio.to_thread(self._look) if self.guards else Finding(locked="")

    def _enter(self) -> None:
        venue, execution = self._mode
        with stored.writer(self._dsn) as connection:
            stored.enter(connection, venue=venue, execution=execution, now_real=self._clock.real())

    def _look(self) -> Finding:
        with stored.writer(self._dsn) as connection:
            state, modes = stored.state(connection), stored.modes(connection)
            if not state.opened:
                return Finding(locked=f"{state.why}: pm-arb gate")
            evidence = records.evidence(connection)
            earned = gate.recorded(gate.of_paper(evidence, modes, since=state.closed_at), modes)
            if gate.missing(earned):
                return Finding(locked=gate.missing(earned))
            real = [
                bet
                for bet in evidence.bets
                if bet.decided_at >= state.at_real and mode_at(modes, bet.decided_at) == LIVE
            ]
            why = gate.shut_by(real, random.Random(1))  # noqa: S311 - a repeatable bootstrap
            if not why:
                return Finding(locked="")
            stored.note(connection, opened=False, who="risk", why=why, criteria=earned, now_real=self._clock.real())
            return Finding(locked=why, shut=True)
