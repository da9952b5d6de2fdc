"""Every family on a running sandbox: found, read, given its reference, and priced or refused with a reason."""

import asyncio
import time
from pathlib import Path

import httpx
import pytest

from pmarb.bus.memory import MemoryBroker, MemoryBus
from pmarb.domain.values import NANOS
from pmarb.runtime import Heartbeat
from pmarb.venue.gamma import FAMILIES
from pmarb.venue.public import sandbox
from pmarb.venue.schedule import slots
from services.scanner.service import ScannerService
from services.scanner.settings import ScannerSettings
from tests.starting import running_sandbox
from tests.waiting import PATIENCE_S

DECIDED = {"found", "edge_too_thin", "price_band", "depth_too_thin", "cooldown", "near_tie"}
"""What only a market with a fair value can come to."""

CLEAR = {"daily": {"one_sided", "too_late"}}
"""Of the one market a day nothing may be left to say in its last hours."""

LATER = {"4h"}
"""Its price to beat was made before the test began, so it must be refused."""


@pytest.mark.long
async def test_every_family_is_priced_or_refused_with_a_reason(tmp_path: Path) -> None:
    options = ("--seed", "5", "--scenario", "slow_makers", "--speed", "20", "--families", "all")
    with running_sandbox(*options) as ready:
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
        window = slots("btc", "4h", clock.now() // NANOS)[0]
        stop, reasons = asyncio.Event(), dict[str, set[str]]()
        running = asyncio.create_task(service.run(stop))
        deadline = time.monotonic() + PATIENCE_S
        try:
            while not _all_decided(reasons) and time.monotonic() < deadline:
                assert not running.done() or running.result() is None
                await asyncio.sleep(0.2)
                for family, census in service.board.census().items():
                    reasons.setdefault(family, set()).update(census)
        finally:
            stop.set()
            await running
    assert _all_decided(reasons), str(reasons)
    assert set(reasons) == set(FAMILIES)
    if slots("btc", "4h", clock.now() // NANOS)[0] == window:  # Else a new one has opened meanwhile
        assert not any(reasons[family] & DECIDED for family in LATER)
    assert not any(reason.startswith("unknown") for found in reasons.values() for reason in found)


def _all_decided(reasons: dict[str, set[str]]) -> bool:
    decided = all(reasons.get(family, set()) & (DECIDED | CLEAR.get(family, set())) for family in set(FAMILIES) - LATER)
    return decided and all("reference_missing" in reasons.get(family, set()) for family in LATER)
