"""Venue time: the wall clock stretched by a speed factor around an anchor.

The time is `origin_ns + (wall_ns - anchor_ns) * speed`; the origin is the anchor unless a recording begins elsewhere.
Windows, holds, delays and settlement all run in venue time: a sandbox at speed 10 lives ten venue seconds per real
second. All times are integer nanoseconds UTC.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

SECOND_NS = 1_000_000_000
MS_NS = 1_000_000


class VenueClock:
    """Maps wall time to venue time. `speed` must be positive.

    While something is done that was due at a certain time, the clock stands at that time (see `agenda`). `skew_ns` is
    what the venue's own stamps are off by: `stamp_ns`, `now_ms` and `now_s` are what clients get to see.
    """

    def __init__(self, *, anchor_ns: int, speed: float, origin_ns: int | None = None) -> None:
        self.anchor_ns = anchor_ns
        self.origin_ns = anchor_ns if origin_ns is None else origin_ns
        self.speed = speed
        self.skew_ns = 0
        self.reach: Callable[[int], Awaitable[None]] = self.sleep_until
        self._standing_ns: int | None = None

    def now_ns(self) -> int:
        return self.flow_ns() if self._standing_ns is None else self._standing_ns

    def flow_ns(self) -> int:
        """Venue time by the wall clock alone."""
        return self.origin_ns + int((time.time_ns() - self.anchor_ns) * self.speed)

    def stamp_ns(self) -> int:
        return self.now_ns() + self.skew_ns

    def now_ms(self) -> int:
        return self.stamp_ns() // MS_NS

    def now_s(self) -> int:
        return self.stamp_ns() // SECOND_NS

    def stand_at(self, venue_ns: int) -> None:
        self._standing_ns = venue_ns

    def go_on(self) -> None:
        self._standing_ns = None

    def real_seconds(self, venue_seconds: float) -> float:
        return venue_seconds / self.speed

    async def sleep(self, venue_seconds: float) -> None:
        if venue_seconds > 0:
            await asyncio.sleep(venue_seconds / self.speed)

    async def sleep_until(self, venue_ns: int) -> None:
        await self.sleep((venue_ns - self.flow_ns()) / SECOND_NS)


def wall_seconds() -> float:
    """The real clock: clients stamp their authentication headers with it."""
    return time.time()
