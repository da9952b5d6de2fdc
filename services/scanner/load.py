"""How busy this scanner is, by its process's own accounting, and whether as many of them run as the load needs."""

import asyncio
import time
from typing import Final

from pmarb import codec, logs
from pmarb.bus.port import Bus, BusUnavailable
from pmarb.clock import Clock
from pmarb.domain.messages import Alert, AlertKind, Priority
from pmarb.domain.scanners import ScannerReport, scanners_needed

log = logs.get(__name__)

SAMPLE_EVERY: Final = 0.1  # Seconds, real
SHORT_FOR: Final = 3
"""Summaries in a row that must find too few scanners before anybody is told: a start is busy by nature."""


class Load:
    """Samples the loop's lateness while `run` runs; `taken` gives what was since the last time it was asked."""

    def __init__(self) -> None:
        self._lag = 0.0
        self._cpu = time.process_time()
        self._at = time.perf_counter()

    async def run(self, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            due = loop.time() + SAMPLE_EVERY
            await asyncio.sleep(SAMPLE_EVERY)
            self._lag = max(self._lag, loop.time() - due)

    def taken(self) -> tuple[float, float, float]:
        """CPU seconds a second, the worst lateness in milliseconds, and the seconds these are of."""
        cpu, at, lag = time.process_time(), time.perf_counter(), self._lag
        passed = max(at - self._at, 1e-9)
        share = (cpu - self._cpu) / passed
        self._cpu, self._at, self._lag = cpu, at, 0.0
        return share, lag * 1000, passed


class Muster:
    """Compares the scanners that are with those that the load needs, and has a person told if they are too few."""

    def __init__(self, *, bus: Bus, clock: Clock, member: str) -> None:
        self._bus = bus
        self._clock = clock
        self._member = member
        self._short = 0

    async def look(self, own: ScannerReport) -> tuple[int, int]:
        """(how many are alive, how many are needed), this one included whatever the bus says."""
        try:
            said = await self._bus.said("scanner")
        except BusUnavailable:
            said = {}
        reports = {self._member: own}
        for member, raw in said.items():
            if raw and member != self._member:
                reports[member] = codec.decode_value(raw, ScannerReport)
        alive, needed = max(len(said), 1), scanners_needed(reports.values())
        self._short = self._short + 1 if needed > alive else 0
        if self._short == SHORT_FOR and self._member == min(reports):
            await self._tell(alive, needed, reports)
        return alive, needed

    async def _tell(self, alive: int, needed: int, reports: dict[str, ScannerReport]) -> None:
        shares = ", ".join(f"{r.cpu_share:.0%} of a core, {r.lag_ms:.0f} ms late" for r in reports.values())
        log.warning("scanners_short", alive=alive, needed=needed)
        now = self._clock.now()
        alert = Alert(
            kind=AlertKind.SCANNERS_SHORT,
            priority=Priority.HIGH,
            dedupe_key=f"scanners_short:{needed}",
            title=f"{needed} scanners are needed, {alive} run",
            body=f"Busy: {shares}. With compose: docker compose up -d --scale scanner={needed}",
            ts_event=now,
            ts_init=now,
        )
        try:
            await self._bus.publish(alert)
        except BusUnavailable:
            self._short -= 1  # Told next time
