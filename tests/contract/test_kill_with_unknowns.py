"""A kill while nobody knows what became of an order: the receipt names it, and a clean one follows."""

import asyncio
from pathlib import Path

import pytest

from pmarb.bus.streams import RedisBus
from pmarb.db import control
from tests.executors import Ground, executor, rows
from tests.starting import running_sandbox
from tests.waiting import until

pytestmark = pytest.mark.timeout(300)


@pytest.mark.long
@pytest.mark.parametrize(
    ("state", "doubt"), [("UNKNOWN", "outcome not known yet: 0x"), ("ABSENT", "may still arrive: 0x")]
)
async def test_a_clean_receipt_follows_once_nothing_is_in_doubt(
    redis_bus: RedisBus, redis_url: str, database_url: str, tmp_path: Path, state: str, doubt: str
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
            if rows(database_url, f"SELECT 1 FROM orders WHERE state = '{state}'"):
                break
            for approval in list(ground.approvals(lives_s=60))[:1]:
                await redis_bus.publish(approval)
            await asyncio.sleep(0.1)
        control.kill(database_url, who="test", why="in the dark", now=ground.clock.now())
        read = "SELECT unverified, verified_real FROM receipts ORDER BY id"
        await until(lambda: rows(database_url, f"SELECT 1 FROM ({read}) AS said WHERE unverified = ''"))
        said: list[tuple[str, int]] = rows(database_url, read)
    assert doubt in said[0][0]
    assert all(verified for _, verified in said)
    assert said[-1][0] == ""
    assert {row[0] for row in rows(database_url, "SELECT state FROM orders")} <= {"ABSENT", "REJECTED", "FILLED"}
