"""The one clock of every service. Rules get the time as an argument; only the shell asks a clock.

Against the sandbox the venue's time may run faster than the real one, from a shared anchor:
venue = anchor + (real - anchor) * speed. Windows, holds and deadlines are in venue time; latencies are
measured with `real`, which nothing scales.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Protocol

from pmarb.domain.values import NANOS


class Clock(Protocol):
    def now(self) -> int:
        """Venue time, nanoseconds UTC."""

    def real(self) -> int:
        """This machine's time, nanoseconds UTC, for latencies."""

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds` of venue time."""

    def in_real(self, seconds: float) -> float:
        """How long `seconds` of venue time last here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledClock:
    """The system's clock, `speed` times as fast since `anchor` (nanoseconds UTC)."""

    speed: float = 1.0
    anchor: int = 0

    def now(self) -> int:
        real = time.time_ns()
        return real if self.speed == 1 else self.anchor + int((real - self.anchor) * self.speed)

    def real(self) -> int:
        return time.time_ns()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(self.in_real(seconds))

    def in_real(self, seconds: float) -> float:
        return seconds / self.speed


@dataclass(slots=True)
class ManualClock:
    """A clock that moves when told: for replays and simulations. `sleep` advances it."""

    time_ns: int = 0

    def now(self) -> int:
        return self.time_ns

    def real(self) -> int:
        return self.time_ns

    async def sleep(self, seconds: float) -> None:
        self.time_ns += int(seconds * NANOS)
        await asyncio.sleep(0)

    def in_real(self, seconds: float) -> float:
        return seconds
