"""How many scanners the load needs: found from what they say, and told to a person when they are too few."""

import pytest

from pmarb import codec
from pmarb.bus.memory import MemoryBroker, MemoryBus
from pmarb.clock import ManualClock
from pmarb.domain.messages import Alert, AlertKind, Stream
from pmarb.domain.scanners import ScannerReport, scanners_needed
from services.scanner.load import SHORT_FOR, Muster


def a_report(share: float, *, lag_ms: float = 5.0) -> ScannerReport:
    return ScannerReport(cpu_share=share, lag_ms=lag_ms, frames_per_s=100.0, markets=10)


@pytest.mark.parametrize(
    ("shares", "needed"),
    [([], 0), ([0.0], 1), ([0.69], 1), ([0.71], 2), ([1.0], 2), ([0.5, 0.5], 2), ([0.9, 0.9], 3), ([0.1, 0.1], 1)],
)
def test_the_shares_of_all_are_spread_to_seven_tenths_of_a_core(shares: list[float], needed: int) -> None:
    assert scanners_needed([a_report(share) for share in shares]) == needed


def test_one_that_is_late_needs_another_however_idle_it_looks() -> None:
    assert scanners_needed([a_report(0.2, lag_ms=400.0), a_report(0.2)]) == 3


async def test_too_few_are_told_once_by_the_first_of_them() -> None:
    broker, clock = MemoryBroker(), ManualClock(10**18)
    buses = [MemoryBus(broker), MemoryBus(broker)]
    musters = [Muster(bus=bus, clock=clock, member=name) for bus, name in zip(buses, ("a", "b"), strict=True)]
    busy = a_report(0.95)
    for bus, name in zip(buses, ("a", "b"), strict=True):
        await bus.beat(service="scanner", member=name, ttl_ms=60_000, says=codec.encode_value(busy))
    for _ in range(SHORT_FOR + 2):
        assert [await muster.look(busy) for muster in musters] == [(2, 3), (2, 3)]
    alerts = [m for m in await buses[0].tail(Stream.ALERTS, since_ns=0) if isinstance(m, Alert)]
    assert [(alert.kind, alert.title) for alert in alerts] == [
        (AlertKind.SCANNERS_SHORT, "3 scanners are needed, 2 run")
    ]
    assert "--scale scanner=3" in alerts[0].body


async def test_a_busy_start_is_nobodys_concern() -> None:
    bus = MemoryBus(MemoryBroker())
    muster = Muster(bus=bus, clock=ManualClock(10**18), member="a")
    await bus.beat(service="scanner", member="a", ttl_ms=60_000)
    for share in (0.95, 0.95, 0.3, 0.95, 0.95):
        await muster.look(a_report(share))
    assert await bus.tail(Stream.ALERTS, since_ns=0) == []
