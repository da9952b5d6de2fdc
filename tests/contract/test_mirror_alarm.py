"""Books of one market that contradict each other: paused, subscribed anew, checked by REST, then believed again."""

import asyncio
from pathlib import Path

import httpx

from pmarb.bus.memory import MemoryBroker, MemoryBus
from pmarb.domain.market import MarketInfo
from pmarb.domain.values import NANOS
from pmarb.runtime import Heartbeat
from pmarb.venue.public import sandbox
from services.scanner.service import ScannerService
from services.scanner.settings import ScannerSettings
from tests.starting import running_sandbox
from tests.waiting import until


def running_window(service: ScannerService, now: int) -> MarketInfo | None:
    """A window that the scanner follows and that has minutes left."""
    found = (
        market
        for market in service.markets()
        if market.family == "15m" and market.opens_at < now < market.closes_at - 600 * NANOS
    )
    return next(found, None)


async def test_a_token_whose_changes_are_lost_pauses_its_market_until_rest_has_spoken(tmp_path: Path) -> None:
    with running_sandbox("--seed", "5", "--scenario", "slow_makers", "--speed", "10") as ready:
        http = httpx.AsyncClient(timeout=5)
        urls, clock = await sandbox(http, ready["sandbox"].removesuffix("/sandbox"))
        bus = MemoryBus(MemoryBroker())
        service = ScannerService(
            bus=bus,
            urls=urls,
            clock=clock,
            http=http,
            limits=ScannerSettings().limits(),
            assets=("btc", "eth"),
            families=("5m", "15m"),
            heartbeat=Heartbeat(bus=bus, service="scanner", path=tmp_path / "heartbeat"),
        )
        stop = asyncio.Event()
        running = asyncio.create_task(service.run(stop))
        try:
            await until(lambda: running_window(service, clock.now()))
            market = running_window(service, clock.now())
            assert market is not None
            token = market.tokens[1]
            faults = f"{ready['sandbox']}/faults"
            halved = {"kind": "frame_halved", "channel": "market", "match": token, "seconds": 36_000}
            silent = {"kind": "error_500_before", "call": "other", "path": "/books", "rate": 1}
            async with httpx.AsyncClient(timeout=5) as control:
                for fault in (silent, halved):  # A quiet connection is compared with REST anyway: not now
                    (await control.post(faults, json=fault)).raise_for_status()
                await until(lambda: service.board.alarms)
                await until(lambda: "book_paused" in service.board.census()["15m"])
                assert service.healed == 0
                (await control.delete(f"{faults}/error_500_before")).raise_for_status()
                await until(lambda: service.healed)
                (await control.delete(faults)).raise_for_status()
            alarms = service.board.alarms
            await until(lambda: service.healed >= alarms and service.feed.book(token))
            up, down = (service.feed.kept(outcome.token) for outcome in market.sides or ())
            await until(lambda: abs(up.bid - (1 - down.ask)) < 1e-9 and abs(up.ask - (1 - down.bid)) < 1e-9)
        finally:
            stop.set()
            await running
