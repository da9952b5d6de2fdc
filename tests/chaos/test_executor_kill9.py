"""kill -9 of the executor in mid-trade, again and again: no order twice, no fill lost, and the books agree."""

import asyncio
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from pmarb.bus.streams import RedisBus
from pmarb.domain.messages import Approval
from tests.executors import Ground, balance, disagreements, executor, rows
from tests.starting import running_sandbox
from tests.waiting import until

KILLS = 20
PATIENCE = 150  # As many turns as it may take until two windows at once are offered at a middle price, for a set
SPEED = 4

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]


@pytest.mark.long
async def test_twenty_kills_in_mid_trade_lose_and_double_nothing(
    redis_bus: RedisBus, redis_url: str, database_url: str, tmp_path: Path
) -> None:
    """SIGKILL at a random moment after approvals were published, so that it falls between any two of plan, write,
    send, answer, write, publish and acknowledge."""
    chance = random.Random(7)
    sent: list[Approval] = []
    options = ("--seed", "7", "--speed", str(SPEED), "--scenario", "slow_makers", "--bankroll", "20000")
    with (
        running_sandbox(*options) as ready,
        Ground(ready=ready) as ground,
        executor(ground, redis_url=redis_url, database_url=database_url, log=tmp_path / "executor.log") as process,
    ):
        process.start()
        for turn in range(PATIENCE):
            if turn >= KILLS and rows(database_url, "SELECT 1 FROM sets"):
                break
            process.ready()
            a_set = ground.a_set(2, lives_s=60)
            batch = [*((a_set,) if a_set else ()), *ground.approvals(lives_s=60)]
            await redis_bus.publish(*batch)
            sent += batch
            await _something_happens(database_url, batch)
            await asyncio.sleep(chance.uniform(0.0, 0.15))
            process.kill9()
            process.start()
        await until(lambda: not rows(database_url, "SELECT 1 FROM sets WHERE ending = ''"))
        await until(lambda: not disagreements(ground, database_url))  # While it runs: markets end, and are settled
        process.ready()  # All of that may have been over before the last start was
        assert process.stop() == 0
        truth = ground.truth()
        posted = Counter(truth["post_count_by_order_id"])
        orders = rows(database_url, "SELECT order_hash, opportunity_id, leg, state FROM orders")

        assert len(orders) > KILLS, "too little happened to prove anything"
        assert max(posted.values()) == 1, "an order was posted twice"
        assert set(posted) <= {row[0] for row in orders}, "an order was posted that is not in the table"
        assert len({(row[1], row[2]) for row in orders}) == len(orders), "two orders for one (opportunity, leg)"
        assert {row[1] for row in orders} <= {approval.opportunity_id for approval in sent}
        assert rows(database_url, "SELECT 1 FROM sets"), "no set was begun"
        assert balance(database_url, "reserved") == 0
        assert "service_crashed" not in process.words()


async def _something_happens(database_url: str, batch: list[Approval]) -> None:
    """Wait until the executor has begun with this batch."""
    newest = {approval.opportunity_id for approval in batch}
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        seen = {row[0] for row in rows(database_url, "SELECT opportunity_id FROM orders")}
        if seen & newest:
            return
        await asyncio.sleep(0.002)
