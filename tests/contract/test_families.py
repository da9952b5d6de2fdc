"""Every family on a running sandbox: found, read, given its reference, and priced or refused with a reason."""

import asyncio
from pathlib import Path

import httpx

from pmarb.bus.memory import MemoryBroker, MemoryBus
from pmarb.runtime import Heartbeat
from pmarb.venue.gamma import FAMILIES
from pmarb.venue.public import sandbox
from services.scanner.service import ScannerService
from services.scanner.settings import ScannerSettings
from tests.conftest import running_sandbox

DECIDED = {"found", "edge_too_thin", "price_band", "depth_too_thin", "cooldown", "near_tie"}
"""What only a market with a fair value can come to."""

LATER = {"4h"}
"""Its price to beat was made before the test began, so it must be refused."""


async def test_every_family_is_priced_or_refused_with_a_reason(tmp_path: Path) -> None:
    with running_sandbox("--seed", "5", "--scenario", "slow_makers", "--speed", "20", "--families", "all") as ready:
        http = httpx.AsyncClient(timeout=5)
        urls, clock = await sandbox(http, ready["sandbox"].removesuffix("/sandbox"))
        bus = MemoryBus(MemoryBroker())
        settings = ScannerSettings(families=",".join(FAMILIES))
        service = ScannerService(
            bus=bus,
            urls=urls,
            clock=clock,
            http=http,
            limits=settings.limits(),
            assets=("btc",),
            families=settings.family_list,
            heartbeat=Heartbeat(bus=bus, service="scanner", path=tmp_path / "heartbeat"),
        )
        stop, reasons = asyncio.Event(), dict[str, set[str]]()
        running = asyncio.create_task(service.run(stop))
        try:
            async with asyncio.timeout(60):
                while not _all_decided(reasons):
                    assert not running.done() or running.result() is None
                    await asyncio.sleep(0.2)
                    for family, census in service.board.census().items():
                        reasons.setdefault(family, set()).update(census)
        finally:
            stop.set()
            await running
    assert set(reasons) == set(FAMILIES)
    assert "reference_missing" in reasons["4h"]
    assert not reasons["4h"] & DECIDED
    assert not any(reason.startswith("unknown") for found in reasons.values() for reason in found)


def _all_decided(reasons: dict[str, set[str]]) -> bool:
    return all(reasons.get(family, set()) & DECIDED for family in set(FAMILIES) - LATER) and "4h" in reasons
