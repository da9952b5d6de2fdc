"""The executor as a process: what it does with approvals, faults, stops and kills. Real bus, database and sandbox."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pmarb.bus.streams import RedisBus
from pmarb.db.control import kill, resume
from pmarb.domain.messages import Approval, Fill, Kill, OrderUpdate, Stream
from pmarb.domain.orders import OrderState
from tests.executors import ExecutorProcess, Ground, balance, disagreements, executor, rows
from tests.starting import running_sandbox
from tests.waiting import until

SPEED = 8
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def ground() -> Iterator[Ground]:
    options = ("--seed", "11", "--speed", str(SPEED), "--scenario", "slow_makers", "--bankroll", "1000")
    with running_sandbox(*options) as ready, Ground(ready=ready) as found:
        yield found


@pytest.fixture
def process(ground: Ground, redis_url: str, database_url: str, tmp_path: Path) -> Iterator[ExecutorProcess]:
    with executor(
        ground, redis_url=redis_url, database_url=database_url, log=tmp_path / "log", ANSWER_WITHIN_S="1.5"
    ) as found:
        found.start()
        found.ready()
        yield found


async def one_approval(ground: Ground, *, lives_s: float = 30) -> Approval:
    for _ in range(100):
        for approval in ground.approvals(lives_s=lives_s):
            return approval
        await asyncio.sleep(0.2)
    pytest.fail("nothing is offered at a middle price")


async def test_an_approval_becomes_one_filled_order_and_the_books_agree(
    ground: Ground, process: ExecutorProcess, redis_bus: RedisBus, database_url: str
) -> None:
    approval = await one_approval(ground)
    await redis_bus.publish(approval, approval)  # Risk may say it twice
    await until(lambda: rows(database_url, "SELECT 1 FROM orders WHERE state = 'FILLED'"))
    await until(lambda: not disagreements(ground, database_url))
    assert list(ground.truth()["post_count_by_order_id"].values()) == [1]
    fills = [m for m in await redis_bus.tail(Stream.FILLS, since_ns=0) if isinstance(m, Fill)]
    assert (fills[0].status, fills[-1].status) == ("provisional", "confirmed")
    ((tick, judged, sent, answered),) = rows(
        database_url, "SELECT tick_real, judged_real, sent_real, answered_real FROM orders"
    )
    assert 0 < tick <= judged <= sent <= answered


async def test_an_approval_of_yesterday_is_not_carried_out(
    ground: Ground, process: ExecutorProcess, redis_bus: RedisBus, database_url: str
) -> None:
    await redis_bus.publish(await one_approval(ground, lives_s=-1))
    told: list[OrderUpdate] = []
    for _ in range(500):  # It says so in its log first
        told = [m for m in await redis_bus.tail(Stream.ORDERS, since_ns=0) if isinstance(m, OrderUpdate)]
        if told:
            break
        await asyncio.sleep(0.05)
    (update,) = told
    assert (update.state, update.order_hash) == (OrderState.CANCELLED, "")
    assert update.cause.startswith("skipped: expired")
    assert rows(database_url, "SELECT 1 FROM orders") == []


@pytest.mark.parametrize("fault", ["timeout_after_accept", "error_500_after", "lost_reply", "error_500_before"])
async def test_an_unknown_outcome_keeps_its_reservation_until_the_venue_tells(
    ground: Ground, process: ExecutorProcess, redis_bus: RedisBus, database_url: str, fault: str
) -> None:
    ground.fault(fault, call="order")  # Not a question of the reconciler
    for _ in range(10):  # The price may have moved, or a busy machine have let the approval expire
        await redis_bus.publish(await one_approval(ground, lives_s=200))
        await asyncio.sleep(2)
        if rows(database_url, "SELECT 1 FROM orders"):
            break
    if fault != "timeout_after_accept":  # There the user stream may tell of the match before the reply is overdue
        await until(lambda: "order_unknown" in process.words())
    await until(lambda: not disagreements(ground, database_url))
    ((state,),) = rows(database_url, "SELECT state FROM orders")
    assert state == ("ABSENT" if fault == "error_500_before" else "FILLED")
    assert balance(database_url, "reserved") == 0


async def test_a_ghost_fill_is_reversed(
    ground: Ground, process: ExecutorProcess, redis_bus: RedisBus, database_url: str
) -> None:
    ground.fault("ghost_fill")
    await redis_bus.publish(await one_approval(ground))
    await until(lambda: rows(database_url, "SELECT 1 FROM orders WHERE state = 'FAILED'"))
    await until(lambda: not disagreements(ground, database_url))
    assert balance(database_url, "cash") == 1000
    assert balance(database_url, "fees") == 0


async def test_a_stop_leaves_a_receipt_with_nothing_open(
    ground: Ground, process: ExecutorProcess, database_url: str
) -> None:
    began = time.monotonic()
    assert process.stop() == 0
    assert time.monotonic() - began < 5
    ((who, after, unverified, verified),) = rows(
        database_url, "SELECT who, open_after, unverified, verified_real FROM receipts"
    )
    assert (who, after, unverified) == ("signal", [], "")
    assert verified > 0
    assert "kill_receipt" in process.words()


async def test_a_kill_latches_until_a_person_resumes(
    ground: Ground, process: ExecutorProcess, redis_bus: RedisBus, database_url: str
) -> None:
    now = ground.clock.now()
    await redis_bus.publish(Kill(who="test", why="enough", ts_event=now, ts_init=now))
    await until(lambda: "kill_receipt" in process.words())
    await redis_bus.publish(await one_approval(ground))
    await until(lambda: "skipped: halted" in process.words())
    assert rows(database_url, "SELECT 1 FROM orders") == []
    process.kill9()
    process.start()
    process.ready()
    await redis_bus.publish(await one_approval(ground))
    await until(lambda: process.words().count("skipped: halted") == 2)
    assert rows(database_url, "SELECT state FROM trading_state") == [("KILLED",)], "a restart re-armed it"
    resume(database_url, who="test", why="again", now=now)
    await redis_bus.publish(await one_approval(ground))
    await until(lambda: rows(database_url, "SELECT 1 FROM orders"))
    assert rows(database_url, "SELECT 1 FROM orders") != []


async def test_a_state_written_by_hand_is_noticed(ground: Ground, process: ExecutorProcess, database_url: str) -> None:
    kill(database_url, who="person", why="by hand", now=ground.clock.now())
    await until(lambda: rows(database_url, "SELECT 1 FROM receipts"))
    assert rows(database_url, "SELECT who, open_after FROM receipts") == [("state", [])]


async def test_servers_that_are_away_are_one_line_each_and_a_stop_still_works(ground: Ground, tmp_path: Path) -> None:
    nowhere = {"redis_url": "redis://127.0.0.1:9/0", "database_url": "postgresql://a:b@127.0.0.1:9/c"}
    with executor(ground, log=tmp_path / "log", **nowhere) as process:
        process.start()
        await until(lambda: "server_unavailable" in process.words())
        await asyncio.sleep(0.5)
        assert process.stop() == 0
        assert process.words().count("server_unavailable") == 1
        assert "Traceback" not in process.words()
