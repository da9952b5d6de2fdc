"""Sets of legs on the sandbox with injected misses: whatever misses, no set loses more than was stated before its first
leg, every book agrees, and nothing is bought later."""

import asyncio
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pmarb.bus.streams import RedisBus
from pmarb.db.control import kill
from pmarb.domain.messages import Alert, AlertKind, Approval, OrderUpdate, Stream
from pmarb.domain.orders import OrderState
from tests.executors import ExecutorProcess, Ground, disagreements, executor, rows
from tests.starting import running_sandbox
from tests.waiting import until

SPEED = 20
KILLED_FOK = "order couldn't be fully filled. FOK orders are fully filled or killed."
KILLED_FAK = "no orders found to match with FAK order."
pytestmark = pytest.mark.timeout(400)


def still(folder: Path) -> Path:
    """A scenario of makers who never move, so that nothing misses but what is made to."""
    knobs = {"maker_hysteresis": 0.99, "noise_takes_per_minute": 0, "competitors": False, "failed_prob": 0}
    scenario = folder / "still.json"
    scenario.write_text(json.dumps({"name": "still", "knobs": knobs}))
    return scenario


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    options = ("--seed", "21", "--scenario", str(still(tmp_path)), "--bankroll", "1000", "--families", "5m,15m")
    with running_sandbox(*options, "--speed", str(SPEED)) as ready, Ground(ready=ready) as found:
        yield found


@pytest.fixture
def process(ground: Ground, redis_url: str, database_url: str, tmp_path: Path) -> Iterator[ExecutorProcess]:
    with executor(
        ground, redis_url=redis_url, database_url=database_url, log=tmp_path / "log", ANSWER_WITHIN_S="1.5",
        MAX_LEG_SKEW_MS="60000",
    ) as found:  # fmt: skip
        yield found


async def a_set(ground: Ground, size: int = 2, **more: Any) -> Approval:
    found: Approval = await until(lambda: ground.a_set(size, **more))
    return found


def fault(ground: Ground, **spec: Any) -> None:
    ground.http.post(f"{ground.ready['sandbox']}/faults", json=spec).raise_for_status()


async def comes_true(true: Callable[[], bool]) -> bool:
    """Whether it does within some seconds: a trade that fails on chain does so after a while."""
    for _ in range(400):
        if true():
            return True
        await asyncio.sleep(0.05)
    return False


def calm(ground: Ground) -> None:
    ground.http.delete(f"{ground.ready['sandbox']}/faults").raise_for_status()


def ending(database_url: str, approval: Approval) -> str:
    found = rows(database_url, f"SELECT ending FROM sets WHERE opportunity_id = '{approval.opportunity_id}'")
    return str(found[0][0]) if found else ""


async def ended(
    ground: Ground, process: ExecutorProcess, bus: RedisBus, database_url: str, legs: int, worth: Decimal | None = None,
    spec: dict[str, Any] | None = None,
) -> Approval:  # fmt: skip
    """A set that was begun, under the fault if one is given, and is over; one whose books have moved meanwhile is not
    begun at all."""

    def refused(approval: Approval) -> bool:
        words, of = process.words(), f"opportunity_id={approval.opportunity_id}"
        return f"event=order_cancelled {of}" in words and f"event=set_begun {of}" not in words

    for _ in range(40):
        approval = await a_set(ground, legs, fair=worth)
        if spec is not None:
            fault(ground, **spec)
        await bus.publish(approval)
        await until(lambda a=approval: ending(database_url, a) or refused(a))  # type: ignore[misc]
        calm(ground)
        if ending(database_url, approval):
            return approval
        await asyncio.sleep(0.5)
    pytest.fail("no set was begun")


def bought(database_url: str, approval: Approval) -> dict[int, Decimal]:
    """Shares that each order of the set brought."""
    return dict(
        rows(
            database_url,
            "SELECT leg, sum(t.shares) FROM orders o JOIN trades t USING (order_hash) WHERE t.status <> 'failed' "
            f"AND opportunity_id = '{approval.opportunity_id}' GROUP BY leg",
        )
    )


def lost(database_url: str, approval: Approval) -> Decimal | None:
    """What the set lost once all its markets are over; None before. A pair that was merged is a dollar too.

    These markets prove nothing about each other, so a share of all legs counts as the dollar that a set is sure of.
    """
    won = dict(rows(database_url, "SELECT token, won FROM settlements"))
    shares = bought(database_url, approval)
    whole = min(shares.get(leg, Decimal(0)) for leg in range(len(approval.legs)))
    result = -whole
    for leg, token, cost in rows(
        database_url,
        "SELECT leg, o.token, sum(round(t.shares * t.price, 6) + t.fee) FROM orders o JOIN trades t USING (order_hash) "
        f"WHERE t.status <> 'failed' AND opportunity_id = '{approval.opportunity_id}' GROUP BY leg, o.token",
    ):
        if token not in won:
            return None
        beyond = shares[leg] - (whole if leg < 100 else 0)
        result += cost - (beyond if won[token] else 0)
    return result


WORTHS = (None, Decimal("0.95"))
"""What a leg alone is said to be worth: nobody says, so that it is left; and a lot, so that it is held."""

TRIES = 3
"""Of one miss: on a busy machine a leg may come too late after the first, and then it is another miss."""

MISSES: list[tuple[str, dict[str, Any], str, str]] = [
    ("the first is refused", {"kind": "order_refused", "text": KILLED_FOK}, "nothing", "nothing"),
    ("the second is refused", {"kind": "order_refused", "text": KILLED_FAK, "after": 1}, "exited", "held"),
    ("the third is refused", {"kind": "order_refused", "text": KILLED_FAK, "after": 2}, "exited", "held"),
    ("nobody answers the second", {"kind": "error_500_after", "after": 1, "call": "order"}, "complete", "complete"),
    ("the second never arrives", {"kind": "error_500_before", "after": 1, "call": "order"}, "exited", "held"),
    ("nobody answers the first", {"kind": "lost_reply", "call": "order"}, "exited", "held"),
    ("the second fails on chain", {"kind": "ghost_fill", "after": 1}, "exited", "held"),
    ("the market of one closes", {"kind": "market_closed_mid_order", "after": 1}, "exited", "held"),
    ("the venue pauses", {"kind": "restart_425", "after": 1, "call": "order"}, "exited", "held"),
    ("the exit is refused too", {"kind": "order_refused", "text": KILLED_FAK, "after": 1, "count": 2}, "held", "held"),
    ("nothing", {"kind": "order_refused", "text": KILLED_FOK, "after": 99}, "complete", "complete"),
]


@pytest.mark.long
async def test_whatever_leg_misses_no_set_loses_more_than_was_stated_before_its_first_leg(
    ground: Ground, process: ExecutorProcess, redis_bus: RedisBus, database_url: str
) -> None:
    process.start()
    process.ready()
    done: dict[str, Approval] = {}
    left: set[str] = set()
    for worth, which in zip(WORTHS, (2, 3), strict=True):
        for miss in MISSES:
            name, spec, *_ = miss
            legs = 3 if "third" in name else 2
            for number in range(TRIES):
                approval = await ended(ground, process, redis_bus, database_url, legs, worth, {"count": 1, **spec})
                done[f"{name}, worth {worth}, try {number}"] = approval
                if await comes_true(lambda a=approval, e=miss[which]: ending(database_url, a) == e):  # type: ignore[misc]
                    left |= {approval.opportunity_id} if miss[which] in ("held", "exited") else set()
                    break
            else:
                pytest.fail(f"{name}, worth {worth}: {TRIES} times it did not end {miss[which]}")
    await until(lambda: not disagreements(ground, database_url))
    await until(lambda: all(lost(database_url, approval) is not None for approval in done.values()))
    for name, approval in done.items():
        loss = lost(database_url, approval)
        assert loss is not None
        assert loss <= approval.worst_loss, f"{name} lost {loss}, stated was {approval.worst_loss}"
        assert max((leg for leg in bought(database_url, approval)), default=0) < 200
    await until(lambda: not disagreements(ground, database_url))  # Markets end meanwhile
    alerts = [m for m in await redis_bus.tail(Stream.ALERTS, since_ns=0) if isinstance(m, Alert)]
    missed = [m for m in alerts if m.kind is AlertKind.LEG_MISSED]
    assert {m.dedupe_key for m in missed} >= {f"set:{opportunity_id}" for opportunity_id in left}
    posts = ground.truth()["post_count_by_order_id"]
    assert set(posts.values()) == {1}


async def test_an_exit_leaves_pairs_that_become_dollars(
    ground: Ground, process: ExecutorProcess, redis_bus: RedisBus, database_url: str
) -> None:
    process.start()
    process.ready()
    approval = await a_set(ground)
    fault(ground, kind="order_refused", text=KILLED_FAK, after=1, count=1)
    await redis_bus.publish(approval)
    await until(lambda: ending(database_url, approval) == "exited")
    held = await until(lambda: (found := bought(database_url, approval)) and len(found) == 2 and found)
    leg, exit_leg = sorted(held)
    assert exit_leg == leg + 100
    assert held[leg] >= 10
    assert held[exit_leg] >= 9
    await until(lambda: rows(database_url, "SELECT 1 FROM merges"))
    await until(lambda: not disagreements(ground, database_url))


@pytest.mark.long
async def test_a_death_between_two_legs_is_ended_by_the_next_start_which_buys_no_other_leg(
    ground: Ground, process: ExecutorProcess, redis_bus: RedisBus, database_url: str
) -> None:
    process.module = "tests.chaos.dying_executor"
    for point, legs in (("before_write:2", 1), ("after_write:2", 2), ("after_post:2", 2), ("before_fold:1", 1)):
        process.env["CHAOS_DIE_AT"] = point
        process.start()
        process.ready()
        approval = await a_set(ground)
        await redis_bus.publish(approval)
        assert process.process is not None
        await asyncio.to_thread(process.process.wait, 60)
        assert ending(database_url, approval) == ""
        sent = rows(database_url, f"SELECT leg FROM orders WHERE opportunity_id = '{approval.opportunity_id}'")
        assert len(sent) == legs
        process.env["CHAOS_DIE_AT"] = "never:1"
        process.start()
        await until(lambda a=approval: ending(database_url, a))  # type: ignore[misc]
        after = rows(
            database_url,
            f"SELECT leg FROM orders WHERE opportunity_id = '{approval.opportunity_id}' AND leg < 100",
        )
        assert sorted(after) == sorted(sent), f"a leg was bought after a death {point}"
        await until(lambda: not disagreements(ground, database_url))
        assert process.stop() == 0
    assert set(ground.truth()["post_count_by_order_id"].values()) == {1}


async def test_a_kill_in_the_midst_of_a_set_sends_no_other_leg_and_no_exit(
    ground: Ground, process: ExecutorProcess, redis_bus: RedisBus, database_url: str
) -> None:
    process.env["ANSWER_WITHIN_S"] = "10"
    process.start()
    process.ready()
    approval = await a_set(ground)
    fault(ground, kind="timeout_after_accept", count=1, call="order", delay_ms=2500)
    await redis_bus.publish(approval)
    await until(lambda: rows(database_url, "SELECT 1 FROM orders"))
    kill(database_url, who="test", why="enough", now=ground.clock.now())
    await until(lambda: ending(database_url, approval) == "held")
    assert len(rows(database_url, "SELECT 1 FROM orders")) == 1
    told = [m for m in await redis_bus.tail(Stream.ORDERS, since_ns=0) if isinstance(m, OrderUpdate)]
    assert any(m.state is OrderState.CANCELLED and "halted" in m.cause for m in told)
    assert "trading is stopped" in str(rows(database_url, "SELECT detail FROM sets"))


async def test_a_set_that_is_told_twice_is_bought_once(
    ground: Ground, process: ExecutorProcess, redis_bus: RedisBus, database_url: str
) -> None:
    process.start()
    process.ready()
    approval = await a_set(ground)
    await redis_bus.publish(approval, approval)
    await until(lambda: ending(database_url, approval) == "complete")
    await until(lambda: not disagreements(ground, database_url))
    assert len(rows(database_url, "SELECT 1 FROM orders")) == 2
    (skew,) = rows(database_url, "SELECT skew FROM sets")[0]
    assert 0 < skew <= 60_000 * 1_000_000


async def test_a_leg_that_would_come_too_late_is_not_sent(
    ground: Ground, process: ExecutorProcess, redis_bus: RedisBus, database_url: str
) -> None:
    process.env["MAX_LEG_SKEW_MS"] = "1"
    process.start()
    process.ready()
    approval = await a_set(ground)
    await redis_bus.publish(approval)
    await until(lambda: ending(database_url, approval) == "exited")
    ((detail,),) = rows(database_url, "SELECT detail FROM sets")
    assert "skipped: set_late" in detail
    assert len(bought(database_url, approval)) == 2  # A leg and its exit


async def test_on_paper_a_set_goes_the_same_way(
    ground: Ground, process: ExecutorProcess, redis_bus: RedisBus, database_url: str
) -> None:
    process.env |= {"EXECUTION": "paper", "BANKROLL_USD": "1000"}
    process.start()
    process.ready()
    approval = await ended(ground, process, redis_bus, database_url, legs=2)
    while ending(database_url, approval) == "nothing":  # The offer was gone when the first leg met the book
        approval = await ended(ground, process, redis_bus, database_url, legs=2)
    assert ending(database_url, approval) == "complete"
    assert sorted(bought(database_url, approval)) == [0, 1]
    assert min(bought(database_url, approval).values()) >= approval.legs[0].shares
    assert ground.truth()["trades"] == []
