"""What happens at a venue time, in the order of these times, however slow the host is.

Steps of makers and settlement, and orders on their way to the engine, all wait here. Whatever comes due late is done
late but at its own venue time: the clock stands at that time while it is done, so books, fills and stamps of a run
depend on the seed and on when requests came, not on the machine.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable

from services.sandbox.clock import SECOND_NS, VenueClock
from services.sandbox.eventlog import log_event

# Beyond this the host was asleep, not slow: recurring steps then go on from the present.
BACKLOG_MAX_S = 300
Entry = Callable[[], None] | asyncio.Future[None]


class Agenda:
    """A queue of things to do by venue time; ties are done in the order of their registration."""

    def __init__(self, clock: VenueClock) -> None:
        self._clock = clock
        self._heap: list[tuple[int, int, Entry]] = []
        self._serial = 0
        self._sooner = asyncio.Event()

    def at(self, due_ns: int, entry: Entry) -> None:
        """Do `entry` at a venue time; a future is resolved then, and its waiter runs at that time."""
        self._serial += 1
        heapq.heappush(self._heap, (due_ns, self._serial, entry))
        self._sooner.set()

    def every(self, step_ns: int, work: Callable[[int], None], *, first_ns: int) -> None:
        """Call `work` with its venue time on a grid of `step_ns`, from the first grid point at or after `first_ns`."""
        self._repeat(step_ns, work, -(-first_ns // step_ns) * step_ns)

    async def reach(self, due_ns: int) -> None:
        """Continue at `due_ns`, to the nanosecond, up to the caller's next wait."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.at(due_ns, waiter)
        await waiter

    async def run(self) -> None:
        """Work through the queue as the clock goes on. Ends only by cancellation or a defect."""
        while True:
            await self.catch_up()
            self._sooner.clear()
            due_ns = self._heap[0][0] if self._heap else self._clock.now_ns() + SECOND_NS
            wait_s = self._clock.real_seconds((due_ns - self._clock.now_ns()) / SECOND_NS)
            try:
                async with asyncio.timeout(max(0.0, wait_s)):
                    await self._sooner.wait()
            except TimeoutError:
                continue

    async def catch_up(self) -> None:
        """Do everything that is due by now."""
        while self._heap and self._heap[0][0] <= self._clock.now_ns():
            due_ns, _, entry = heapq.heappop(self._heap)
            self._clock.stand_at(due_ns)
            try:
                if isinstance(entry, asyncio.Future):
                    if not entry.done():
                        entry.set_result(None)
                    # The waiter was made ready before us, so it runs now, while the clock stands.
                    await asyncio.sleep(0)
                else:
                    entry()
            finally:
                self._clock.go_on()
            await asyncio.sleep(0)

    def _repeat(self, step_ns: int, work: Callable[[int], None], due_ns: int) -> None:
        def step() -> None:
            work(due_ns)
            following, behind_ns = due_ns + step_ns, self._clock.flow_ns() - due_ns
            if behind_ns > BACKLOG_MAX_S * SECOND_NS:
                log_event("steps_skipped", level="warning", behind_s=behind_ns // SECOND_NS)
                following += behind_ns // step_ns * step_ns
            self._repeat(step_ns, work, following)

        self.at(due_ns, step)
