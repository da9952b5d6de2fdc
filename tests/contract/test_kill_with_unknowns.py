"""A kill while nobody knows what became of an order: the receipt names it, and a clean one follows."""

import asyncio
from pathlib import Path

import pytest

from pmarb.bus.streams import RedisBus
from pmarb.db import control
from tests.conftest import running_sandbox
from tests.executors import Ground, executor, rows

pytestmark = pytest.mark.timeout(300)


async def test_a_clean_receipt_follows_once_the_outcome_is_known(
    redis_bus: RedisBus, redis_url: str, database_url: str, tmp_path: Path
) -> None:
    options = ("--seed", "33", "--speed", "10", "--scenario", "slow_makers", "--bankroll", "1000")
    with (
        running_sandbox(*options) as ready,
        Ground(ready=ready) as ground,
        executor(ground, redis_url=redis_url, database_url=database_url, log=tmp_path / "log") as process,
    ):
        process.start()
        process.ready()
        ground.fault("error_500_before", count=50)
        for _ in range(200):
            if rows(database_url, "SELECT 1 FROM orders WHERE state = 'UNKNOWN'"):
                break
            for approval in list(ground.approvals(lives_s=60))[:1]:
                await redis_bus.publish(approval)
            await asyncio.sleep(0.1)
        control.kill(database_url, who="test", why="in the dark", now=ground.clock.now())
        said: list[tuple[str, int]] = []
        for _ in range(400):
            said = rows(database_url, "SELECT unverified, verified_real FROM receipts ORDER BY id")
            if said and not said[-1][0]:
                break
            await asyncio.sleep(0.05)
    assert "outcome not known yet: 0x" in said[0][0]
    assert all(verified for _, verified in said)
    assert said[-1][0] == ""
    assert {row[0] for row in rows(database_url, "SELECT state FROM orders")} <= {"ABSENT", "REJECTED", "FILLED"}
