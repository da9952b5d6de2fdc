"""Venue time: the wall clock stretched by a speed factor around an anchor.

`now_ns()` is `anchor_ns + (wall_ns - anchor_ns) * speed`. Windows, holds, delays and settlement all run in venue time:
a sandbox at speed 10 lives ten venue seconds per real second. All times are integer nanoseconds UTC.
"""

from __future__ import annotations

import asyncio
import time

SECOND_NS = 1_000_000_000
MS_NS = 1_000_000


class VenueClock:
    """Maps wall time to venue time. `speed` must be positive."""

    def __init__(self, *, anchor_ns: int, speed: float) -> None:
        self.anchor_ns = anchor_ns
        self.speed = speed

    def now_ns(self) -> int:
        return self.anchor_ns + int((time.time_ns() - self.anchor_ns) * self.speed)

    def now_ms(self) -> int:
        return self.now_ns() // MS_NS

    def now_s(self) -> int:
        return self.now_ns() // SECOND_NS

    def real_seconds(self, venue_seconds: float) -> float:
        return venue_seconds / self.speed

    async def sleep(self, venue_seconds: float) -> None:
        if venue_seconds > 0:
            await asyncio.sleep(venue_seconds / self.speed)

    async def sleep_until(self, venue_ns: int) -> None:
        await self.sleep((venue_ns - self.now_ns()) / SECOND_NS)


def wall_seconds() -> float:
    """The real clock: clients stamp their authentication headers with it."""
    return time.time()
