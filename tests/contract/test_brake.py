"""Every way to stop, against real processes: file, console, direct, with a server dead, with two executors."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from pmarb.bus.port import Bus
from pmarb.bus.streams import RedisBus
from pmarb.db import control
from pmarb.db.migrate import upgrade
from pmarb.db.orders import Context, Orders
from pmarb.db.pool import open_pool
from pmarb.domain.fees import FREE
from pmarb.domain.market import MarketInfo
from pmarb.domain.orders import Accepted, Order, OrderState, OrderType, fold
from pmarb.domain.values import MIN_ORDER_SHARES, Side
from pmarb.embedded import EmbeddedServers
from pmarb.venue import sdk
from pmarb.venue.port import Intent, PostAccepted
from pmarb.venue.trading import SdkVenue, Wallet
from services.executor.decide import exact_step
from tests.executors import ExecutorProcess, Ground, executor, pids_of, rows
from tests.starting import ROOT, finished, running_sandbox
from tests.waiting import until

SPEED = 10
pytestmark = [pytest.mark.timeout(300), pytest.mark.long]


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    options = ("--seed", "31", "--speed", str(SPEED), "--scenario", "slow_makers", "--bankroll", "5000")
    with running_sandbox(*options) as ready, Ground(ready=ready) as found:
        yield found


@pytest.fixture
async def maker(ground: Ground) -> AsyncIterator[SdkVenue]:
    """The wallet that the executor trades with too, with the same key."""
    names = ("clob", "gamma", "data", "relayer", "rpc", "ws_market", "ws_user", "rtds")
    entry = ground.ready["accounts"][0]
    wallet = Wallet(
        private_key=SecretStr(entry["private_key"]), funder=entry["wallet"], api_key=SecretStr(entry["api_key"]),
        api_secret=SecretStr(entry["secret"]), api_passphrase=SecretStr(entry["passphrase"]),
    )  # fmt: skip
    venue = await SdkVenue.connect(sdk.Urls(**{name: ground.ready[name] for name in names}), wallet, ground.clock)
    yield venue
    await venue.cancel_all()
    await venue.close()


async def resting(ground: Ground, maker: SdkVenue) -> tuple[str, Intent, MarketInfo]:
    """An order far below the market, open at the venue."""
    market = max(await until(lambda: ground.markets(left_s=200)), key=lambda each: each.closes_at)
    limit = market.tick * 2
    shares = max(exact_step(limit), MIN_ORDER_SHARES)
    intent = Intent(
        market=market.condition_id, token=market.tokens[0], side=Side.BUY, order_type=OrderType.GTC, limit=limit,
        usd=shares * limit, shares=shares,
    )  # fmt: skip
    signed = maker.seal(await maker.draft(intent))
    answer = await maker.post(signed)
    assert isinstance(answer, PostAccepted)
    assert answer.state is OrderState.LIVE
    return signed.order_hash, intent, market


def open_orders(ground: Ground) -> list[str]:
    return [order["id"] for order in ground.truth()["open_orders"]]


def receipts(database_url: str) -> list[tuple[Any, ...]]:
    return rows(
        database_url,
        "SELECT who, open_before, cancelled, open_after, unverified, verified_real FROM receipts ORDER BY id",
    )


async def receipt_since(start: int, database_url: str) -> tuple[Any, ...]:
    """The first that was verified after that real time; another may follow once all outcomes are known."""
    return tuple((await until(lambda: [found for found in receipts(database_url) if found[-1] > start]))[0])


def trading(database_url: str) -> str:
    return str(rows(database_url, "SELECT state FROM trading_state")[0][0])


async def test_a_kill_file_kills_and_a_resume_does_not_outweigh_it(
    ground: Ground, maker: SdkVenue, redis_url: str, database_url: str, tmp_path: Path
) -> None:
    brake = tmp_path / "KILL"
    order_hash, _, _ = await resting(ground, maker)
    with executor(
        ground, redis_url=redis_url, database_url=database_url, log=tmp_path / "log", KILL_FILE=str(brake)
    ) as process:
        process.start()
        process.ready()
        brake.write_text("smoke in the kitchen")
        ((_, before, cancelled, after, unverified, verified),) = await until(lambda: receipts(database_url))
        assert (before, cancelled, after, unverified) == ([order_hash], {order_hash: "cancelled"}, [], "")
        assert verified > 0
        assert open_orders(ground) == []
        assert rows(database_url, "SELECT state, who, why FROM trading_state") == [
            ("KILLED", "kill file", "smoke in the kitchen")
        ]
        control.resume(database_url, who="test", why="too early", now=ground.clock.now())
        await until(lambda: len(receipts(database_url)) == 2)
        assert trading(database_url) == "KILLED"
        brake.unlink()
        control.resume(database_url, who="test", why="it was toast", now=ground.clock.now())
        await asyncio.sleep(1)
        assert trading(database_url) == "ACTIVE"


def test_an_executor_that_could_not_see_its_kill_file_does_not_start(tmp_path: Path) -> None:
    unseen = tmp_path / ("long" * 100) / "KILL"  # As in a folder that is closed to its user, for root too
    done = finished("services.executor", env=os.environ | {"KILL_FILE": str(unseen)}, timeout=60)
    assert done.returncode == 2
    assert f"error: KILL_FILE was '{unseen}'; it cannot be looked for, so it could kill nothing" in done.stderr


def direct(ground: Ground, database_url: str, *options: str, **settings: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {
        "PYTHONPATH": f"{ROOT / 'libs'}{os.pathsep}{ROOT}",
        "DATABASE_URL": database_url,
        "SANDBOX_URL": ground.ready["clob"],
        **settings,
    }
    if options:
        return finished("services.executor.kill", ["--reason", "drill", *options], env=env, timeout=60)
    return finished("services.cli", ["kill", "--direct", "--reason", "drill"], env=env, timeout=60)


async def test_without_an_executor_the_direct_way_cancels_and_leaves_a_receipt(
    ground: Ground, maker: SdkVenue, database_url: str
) -> None:
    order_hash, _, _ = await resting(ground, maker)
    done = await asyncio.to_thread(direct, ground, database_url, CLOCK_SPEEDS="1")  # Misspelt, as none may start with
    assert done.returncode == 0, done.stderr
    assert open_orders(ground) == []
    ((who, before, cancelled, after, unverified, verified),) = receipts(database_url)
    assert who.endswith("(direct)")
    assert (before, cancelled, after, unverified) == ([order_hash], {order_hash: "cancelled"}, [], "")
    assert verified > 0
    assert trading(database_url) == "KILLED"


async def test_the_direct_way_says_what_it_could_not_do(ground: Ground, maker: SdkVenue, database_url: str) -> None:
    await resting(ground, maker)
    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    done = await asyncio.to_thread(direct, ground, nowhere)
    receipt = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0, "the orders are cancelled all the same"
    assert "KILLED is not latched" in receipt["unverified"]
    assert "receipt not stored" in receipt["unverified"]
    assert open_orders(ground) == []
    lost = await asyncio.to_thread(direct, ground, database_url, "--give-up", "2", SANDBOX_URL="http://127.0.0.1:1")
    assert lost.returncode == 1
    assert lost.stdout.count("tries again") + lost.stderr.count("tries again") >= 1
    ((_, _, _, _, unverified, verified),) = receipts(database_url)
    assert (verified, "venue unavailable" in unverified) == (0, True)
    assert trading(database_url) == "KILLED"


FATES = pytest.mark.parametrize("fate", [signal.SIGKILL, signal.SIGSTOP], ids=["dead", "frozen"])


@contextlib.contextmanager
def gone(servers: EmbeddedServers, name: str, fate: signal.Signals) -> Iterator[None]:
    """One of the servers dies or freezes, and nobody starts it again."""
    os.kill(servers.supervisor_pid, signal.SIGSTOP)
    pids = pids_of(servers.pid(name))
    for pid in pids:
        os.kill(pid, fate)
    try:
        yield
    finally:
        for pid in (*pids, servers.supervisor_pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def beside(
    servers: EmbeddedServers, ground: Ground, log: Path, *, database_url: str = "", **settings: str
) -> Iterator[tuple[ExecutorProcess, str]]:
    """An executor that is ready, and the address of a Redis of its own; so is its ledger, unless another is named."""
    with servers as endpoints:
        if not database_url:
            upgrade(endpoints.database_url)
        urls = {"redis_url": endpoints.redis_url, "database_url": database_url or endpoints.database_url}
        with executor(ground, **urls, log=log, **settings) as process:
            process.start()
            process.ready()
            yield process, endpoints.redis_url


async def on_its_way(ground: Ground, bus: Bus, database_url: str) -> None:
    """Have an order sent whose answer has not come. Between two windows nothing may be offered at a middle price."""
    for _ in range(100):
        await bus.publish(*ground.approvals(lives_s=60))
        await asyncio.sleep(0.3)  # Less than any of them takes
        if rows(database_url, "SELECT 1 FROM orders WHERE answered_real = 0"):  # Its trade may be known before
            return
    pytest.fail("nothing was sent")


@FATES
async def test_a_kill_works_while_redis_is_gone(
    ground: Ground, maker: SdkVenue, database_url: str, tmp_path: Path, fate: signal.Signals
) -> None:
    order_hash, _, _ = await resting(ground, maker)
    servers = EmbeddedServers(tmp_path / "data")
    own = beside(servers, ground, tmp_path / "log", database_url=database_url)
    with own, gone(servers, "redis", fate):
        control.kill(database_url, who="person", why="redis is gone", now=ground.clock.now())
        ((_, before, _, after, unverified, verified),) = await until(lambda: receipts(database_url))
        assert (before, after, unverified) == ([order_hash], [], "")
        assert verified > 0
        assert open_orders(ground) == []


@FATES
async def test_a_kill_file_and_a_stop_work_while_postgres_is_gone(
    ground: Ground, maker: SdkVenue, tmp_path: Path, fate: signal.Signals
) -> None:
    brake, servers = tmp_path / "KILL", EmbeddedServers(tmp_path / "data")
    await resting(ground, maker)
    with beside(servers, ground, tmp_path / "log", KILL_FILE=str(brake)) as (process, _):
        with gone(servers, "postgres", fate):
            await until(lambda: "server=postgres" in process.words() or '"postgres"' in process.words())
            brake.write_text("smoke in the kitchen")
            await until(lambda: open_orders(ground) == [])
            assert process.stop() == 0
        assert "kill_not_latched" in process.words()
        assert "receipt not stored" in process.words()
        assert "server=venue" not in process.words(), "the venue answered all the time"


@FATES
async def test_a_stop_cancels_while_redis_is_gone_and_nobody_can_be_told_of_an_order_on_its_way(
    ground: Ground, maker: SdkVenue, database_url: str, tmp_path: Path, fate: signal.Signals
) -> None:
    order_hash, _, _ = await resting(ground, maker)
    servers = EmbeddedServers(tmp_path / "data")
    with beside(servers, ground, tmp_path / "log", database_url=database_url) as (process, redis_url):
        ground.fault("timeout_after_accept", count=20, call="order", delay_ms="1500")
        bus = RedisBus(redis_url)
        await on_its_way(ground, bus, database_url)
        with gone(servers, "redis", fate):
            await until(lambda: rows(database_url, "SELECT 1 FROM orders WHERE answered_real > 0"))
            assert process.stop() == 0
        await bus.close()
    ground.http.delete(f"{ground.ready['sandbox']}/faults").raise_for_status()
    ((who, before, _, after, _, verified),) = receipts(database_url)
    assert (who, order_hash in before, after) == ("signal", True, [])
    assert verified > 0
    assert open_orders(ground) == []
    assert "stopped_in_flight" in process.words()


async def test_a_stop_lets_orders_on_their_way_arrive(
    ground: Ground, redis_bus: RedisBus, redis_url: str, database_url: str, tmp_path: Path
) -> None:
    with executor(ground, redis_url=redis_url, database_url=database_url, log=tmp_path / "log") as process:
        process.start()
        process.ready()
        ground.fault("timeout_after_accept", count=20, call="order", delay_ms="500")
        await on_its_way(ground, redis_bus, database_url)
        assert process.stop() == 0
    ground.http.delete(f"{ground.ready['sandbox']}/faults").raise_for_status()
    ((who, _, _, after, _, verified),) = receipts(database_url)
    assert (who, after) == ("signal", [])
    assert verified > 0


async def test_after_the_receipt_of_a_kill_under_load_the_venue_gets_no_further_order(
    ground: Ground, redis_bus: RedisBus, redis_url: str, database_url: str, tmp_path: Path
) -> None:
    with executor(ground, redis_url=redis_url, database_url=database_url, log=tmp_path / "log") as process:
        process.start()
        process.ready()
        posted: dict[str, int] = {}
        for number in range(1, 4):
            ground.fault("lost_reply")
            await redis_bus.publish(*ground.approvals(lives_s=60), *ground.approvals(lives_s=60))
            await asyncio.sleep(0.03 * number)  # Somewhere between writing, sending and answering
            killed = time.time_ns()
            control.kill(database_url, who="person", why="under load", now=ground.clock.now())
            (_, _, _, after, unverified, _) = await receipt_since(killed, database_url)
            posted = ground.truth()["post_count_by_order_id"]
            assert after == []
            assert [order for order in open_orders(ground) if order not in unverified] == []
            await redis_bus.publish(*ground.approvals(lives_s=60))
            await asyncio.sleep(0.7)
            late = set(ground.truth()["post_count_by_order_id"]) - set(posted)
            assert [order for order in late if order not in unverified] == [], "came late and was not named"
            control.resume(database_url, who="person", why="again", now=ground.clock.now())
        assert max(posted.values(), default=1) == 1
    ground.http.delete(f"{ground.ready['sandbox']}/faults").raise_for_status()


async def test_two_executors_share_the_work_and_one_outlives_the_other(
    ground: Ground, redis_bus: RedisBus, redis_url: str, database_url: str, tmp_path: Path
) -> None:
    def one(member: str) -> Any:
        return executor(ground, redis_url=redis_url, database_url=database_url, log=tmp_path / member, member=member)

    with one("executor-1") as first, one("executor-2") as second:
        for each in (first, second):
            each.start()
        for each in (first, second):
            each.ready()
        posted_before = ground.truth()["post_count_by_order_id"]
        await several(ground, redis_bus, database_url, at_least=4)
        first.kill9()
        told = len(rows(database_url, "SELECT 1 FROM orders"))
        await several(ground, redis_bus, database_url, at_least=told + 2)
        await until(
            lambda: (
                not rows(
                    database_url,
                    "SELECT 1 FROM orders WHERE state IN ('SUBMITTING', 'LIVE', 'DELAYED', 'UNKNOWN', 'MATCHED')",
                )
            )
        )
        posted = {k: n for k, n in ground.truth()["post_count_by_order_id"].items() if k not in posted_before}
        assert set(posted.values()) == {1}
        assert set(posted) <= {order_hash for (order_hash,) in rows(database_url, "SELECT order_hash FROM orders")}
        assert "trading_as" in second.words()
        assert second.stop() == 0


async def several(ground: Ground, bus: RedisBus, database_url: str, *, at_least: int) -> None:
    """Approvals, each said twice, until so many orders are written."""
    for _ in range(60):
        for approval in ground.approvals(lives_s=60):
            await bus.publish(approval, approval)
        await asyncio.sleep(0.3)
        if len(rows(database_url, "SELECT 1 FROM orders")) >= at_least:
            return
    pytest.fail("too few orders were written")


async def test_a_resting_order_has_a_heartbeat_while_risk_lives_and_dies_with_it(
    ground: Ground, maker: SdkVenue, redis_bus: RedisBus, redis_url: str, database_url: str, tmp_path: Path
) -> None:
    with executor(ground, redis_url=redis_url, database_url=database_url, log=tmp_path / "log") as process:
        process.start()
        process.ready()
        risk, order_hash = asyncio.create_task(alive(redis_bus, "risk")), ""
        for _ in range(3):  # A machine that stands still for half a second is late, and the venue right to cancel
            order_hash, intent, market = await resting(ground, maker)
            await _adopt(database_url, order_hash, intent, market, now=ground.clock.now())
            await asyncio.sleep(2)  # 20 s of the venue, which cancels after 10 without a beat, once one was sent
            if open_orders(ground) == [order_hash]:
                break
            control.resume(database_url, who="test", why="a busy machine", now=ground.clock.now())
        assert open_orders(ground) == [order_hash], process.words()[-2000:]
        risk.cancel()
        await until(lambda: "heartbeat_withheld" in process.words())  # Risk said nothing for 5 s
        await until(lambda: open_orders(ground) == [])
        await until(lambda: rows(database_url, "SELECT 1 FROM trading_state WHERE why LIKE 'heartbeat_late: %'"))


async def alive(bus: RedisBus, service: str) -> None:
    """Beat as that service would, until cancelled."""
    while True:
        await bus.beat(service=service, member="one", ttl_ms=5000)
        await asyncio.sleep(1)


async def _adopt(database_url: str, order_hash: str, intent: Intent, market: MarketInfo, *, now: int) -> None:
    """Write the row that an executor would have written for this order."""
    order = Order(
        order_hash=order_hash, opportunity_id=order_hash, leg=0, market=intent.market, token=intent.token,
        side=intent.side, order_type=intent.order_type, limit_price=intent.limit, shares=intent.shares, usd=intent.usd,
        reserved=intent.usd, expires_at=now,
    )  # fmt: skip
    context = Context(
        slug=market.slug, event=market.event, underlying=market.underlying, family=market.family, outcome="Up",
        fees=FREE, fair=intent.limit, expiry=market.closes_at, created_at=now,
    )  # fmt: skip
    pool = await open_pool(database_url, size=1)
    orders = Orders(pool)
    await orders.insert(order, context)
    await orders.change(order_hash, lambda o, _: (fold(o, Accepted(state=OrderState.LIVE)), ()), now=now)
    await pool.close()
