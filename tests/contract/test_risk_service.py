"""The risk service as a process of its own sees the world: real Redis, real PostgreSQL, crashes and successors."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from pmarb.bus.streams import RedisBus
from pmarb.db.control import kill
from pmarb.domain.messages import Alert, Approval, Message, Rejection, Stream
from pmarb.domain.values import NANOS
from pmarb.embedded import Endpoints
from tests.builders import a_leg, a_settlement, an_opportunity
from tests.starting import ROOT, Started
from tests.waiting import PATIENCE_S, until

DEPOSIT = """
WITH e AS (INSERT INTO entries (entry_id, kind, ref, ts_event) VALUES ('deposit:start', 'deposit', 'start', 0)
    RETURNING entry_id)
INSERT INTO postings SELECT entry_id, account, amount FROM e,
    (VALUES ('cash', 300), ('capital', -300)) AS p (account, amount)
"""


class Risk:
    """A risk process and its log."""

    def __init__(self, env: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as out:
            self.process = Started("services.risk", env=env, err=out)

    async def wrote(self, words: str, within: float = PATIENCE_S) -> str:
        for _ in range(int(within / 0.05)):
            if words in (text := self.log.read_text()):
                return text
            await asyncio.sleep(0.05)
        raise AssertionError(f"no {words!r} in:\n{self.log.read_text()}")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=15)


@pytest.fixture
async def start(redis_url: str, database_url: str, tmp_path: Path) -> AsyncIterator[Callable[..., Risk]]:
    running: list[Risk] = []

    def _start(name: str = "risk", **changes: str) -> Risk:
        env = os.environ | {
            "REDIS_URL": redis_url,
            "DATABASE_URL": database_url,
            "PYTHONPATH": f"{ROOT / 'libs'}{os.pathsep}{ROOT}",
            "HEARTBEAT_FILE": str(tmp_path / f"{name}.beat"),
            "MEMBER": name,
            "LOG_LEVEL": "DEBUG",
        }
        running.append(Risk(env | changes, tmp_path / f"{name}.log"))
        return running[-1]

    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(DEPOSIT)
    yield _start
    for risk in running:
        risk.end(signal.SIGKILL)


def fresh(number: int, now: int, **changes: Any) -> Message:
    """An opportunity in a market of its own, seen just now."""
    leg = a_leg(market=f"0xm{number}", token=f"t{number}", book_ts_init=now, book_ts_event=now)
    fields = {
        "opportunity_id": f"opp-{number}",
        "legs": (leg,),
        "event": f"e{number}",
        "underlying": f"u{number}",
        "opens_at": now - 100 * NANOS,
        "expiry": now + 200 * NANOS,
        "expires_at": now + 3 * NANOS,
        "spot_ts_init": now,
        "reference_ts_init": now,
        "ts_init": now,
    }
    return an_opportunity(**(fields | changes))


async def answers(bus: RedisBus, count: int, within: float = PATIENCE_S) -> list[Approval | Rejection]:
    for _ in range(int(within / 0.05)):
        found = [*await bus.tail(Stream.APPROVALS, since_ns=0), *await bus.tail(Stream.REJECTIONS, since_ns=0)]
        if len(found) >= count:
            return [m for m in found if isinstance(m, Approval | Rejection)]
        await asyncio.sleep(0.05)
    raise AssertionError(f"fewer than {count} answers")


def now_ns() -> int:
    import time

    return time.time_ns()


async def test_it_judges_records_and_stops_cleanly(
    start: Callable[..., Risk], redis_bus: RedisBus, database_url: str
) -> None:
    risk = start()
    await risk.wrote("portfolio_rebuilt")
    await redis_bus.publish(fresh(1, now_ns()), fresh(2, now_ns(), fair=Decimal("0.50")))
    by_id = {a.opportunity_id: a for a in await answers(redis_bus, 2)}
    assert isinstance(by_id["opp-1"], Approval)
    assert isinstance(by_id["opp-2"], Rejection)
    assert by_id["opp-1"].judged_real > 0
    assert risk.end() == 0
    with psycopg.connect(database_url) as connection:
        rows: dict[str, str] = dict(connection.execute("SELECT opportunity_id, verdict FROM verdicts").fetchall())
    assert rows == {"opp-1": "approved", "opp-2": "denied"}


async def test_two_at_once_approve_no_more_than_one_would(start: Callable[..., Risk], redis_bus: RedisBus) -> None:
    first, second = start("one"), start("two")

    def logs() -> str:
        return first.log.read_text() + second.log.read_text()

    await until(lambda: "portfolio_rebuilt" in logs() and "standing_by" in logs())
    assert (logs().count("portfolio_rebuilt"), logs().count("standing_by")) == (1, 1)
    now = now_ns()
    await redis_bus.publish(*[fresh(n, now) for n in range(10)])
    verdicts = await answers(redis_bus, 10)
    assert sum(isinstance(a, Approval) for a in verdicts) == 1, "one a second"
    active, standby = (first, second) if "portfolio_rebuilt" in first.log.read_text() else (second, first)
    active.end(signal.SIGKILL)
    await standby.wrote("portfolio_rebuilt")
    await redis_bus.publish(fresh(99, now_ns()))
    assert len(await answers(redis_bus, 11)) == 11


async def test_one_that_lost_its_lock_and_its_successor_approve_no_more_than_one_would(
    start: Callable[..., Risk], redis_bus: RedisBus, database_url: str
) -> None:
    """The database ends the active one's connection: it may not notice at once, and another one takes the lock."""
    first = start("one")
    await first.wrote("portfolio_rebuilt")
    second = start("two")
    await second.wrote("standing_by")
    await redis_bus.publish(fresh(0, now_ns()))
    await answers(redis_bus, 1)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted")
    number = 0
    while "portfolio_rebuilt" not in second.log.read_text():
        number += 1
        await redis_bus.publish(fresh(number, now_ns()))
        await asyncio.sleep(0.1)
    assert "taking_over" in second.log.read_text()
    await redis_bus.publish(fresh(number + 1, now_ns()))
    found = await answers(redis_bus, 2)
    times = sorted(answer.ts_init for answer in found if isinstance(answer, Approval))
    assert all(later - earlier >= NANOS for earlier, later in pairwise(times)), "one a second"
    assert first.process.wait(timeout=15) == 1


async def test_a_kill_9_forgets_neither_a_reservation_nor_a_loss(
    start: Callable[..., Risk], redis_bus: RedisBus
) -> None:
    risk = start()
    await risk.wrote("portfolio_rebuilt")
    await redis_bus.publish(fresh(1, now_ns()))
    await answers(redis_bus, 1)
    risk.end(signal.SIGKILL)
    successor = start("successor")
    text = await successor.wrote("portfolio_rebuilt")
    assert "exposure=2.98335" in text
    await redis_bus.publish(fresh(1, now_ns()))
    assert {type(a) for a in await answers(redis_bus, 2)} == {Approval, Rejection}


async def test_a_day_stop_is_stored_announced_and_survives(
    start: Callable[..., Risk], redis_bus: RedisBus, database_url: str
) -> None:
    risk = start()
    await risk.wrote("portfolio_rebuilt")
    now = now_ns()
    await redis_bus.publish(a_settlement(pnl=Decimal("-15.01"), ts_event=now, ts_init=now))
    await risk.wrote("breaker_tripped")
    (halt,) = await redis_bus.tail(Stream.CONTROL, since_ns=0)
    assert "lost $15.01 today" in str(halt)
    risk.end(signal.SIGKILL)
    successor = start("successor")
    await successor.wrote("state=HALTED")
    await redis_bus.publish(fresh(1, now_ns()))
    (answer,) = await answers(redis_bus, 1)
    assert isinstance(answer, Rejection)
    assert answer.reason == "trading_halted"
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT state, who FROM trading_state").fetchone()
    assert row == ("HALTED", "risk")


async def answered(bus: RedisBus, number: int) -> Approval | Rejection:
    """What risk says of a fresh opportunity."""
    await bus.publish(fresh(number, now_ns()))
    found = await answers(bus, number)
    return next(each for each in found if each.opportunity_id == f"opp-{number}")


LOSSES = {
    # (settlements, dollars lost by each, what stops and why, when it ends)
    "drawdown": (1, "60.5", "KILLED", "drawdown 20.2% from the peak of $300.00"),
    "calibration": (30, "0.01", "HALTED", "the last 30 positions paid 5.7 standard deviations less than they cost"),
    "day stop": (1, "15.5", "HALTED", "lost $15.50 today, limit $15.00"),
    "loss streak": (6, "0.01", "REDUCING", "6 losses in a row, cooling down for 60 minutes"),
}


@pytest.mark.parametrize("kind", LOSSES)
async def test_a_stop_outlives_kill_9_and_a_lost_redis(
    start: Callable[..., Risk], redis_bus: RedisBus, redis_url: str, database_url: str, kind: str
) -> None:
    count, lost, state, why = LOSSES[kind]
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO settlements (token, market, slug, outcome, won, shares, cost, fees, payout, pnl, resolved_at)"
            " SELECT 't' || n, 'm', 's', 'Up', false, 5, 2.5, 0.0875, 0, %s::numeric, %s + n"
            " FROM generate_series(1, %s) n",
            (f"-{lost}", now_ns() - 1000, count),
        )
    risk = start()
    assert why in await risk.wrote("breaker_tripped")
    risk.end(signal.SIGKILL)
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    successor = start()
    await successor.wrote(f"portfolio_rebuilt module=services.risk.service state={state}")
    await redis_bus.publish(fresh(1, now_ns()))
    (answer,) = await answers(redis_bus, 1)
    assert isinstance(answer, Rejection)
    assert answer.reason in ("trading_killed", "trading_halted", "reducing_only")
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT state, who, why, clears_at > 0 FROM trading_state").fetchone()
        told = connection.execute("SELECT count(*) FROM state_log").fetchone()
    assert row == (state, "risk", why, kind in ("loss streak", "day stop"))
    assert told == (1,), "it was not entered a second time"


async def test_a_kill_by_a_person_outlives_kill_9_and_a_lost_redis(
    start: Callable[..., Risk], redis_bus: RedisBus, redis_url: str, database_url: str
) -> None:
    risk = start()
    await risk.wrote("portfolio_rebuilt")
    kill(database_url, who="me", why="fire", now=now_ns())
    risk.end(signal.SIGKILL)
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    successor = start()
    await successor.wrote("portfolio_rebuilt module=services.risk.service state=KILLED")
    denial = await answered(redis_bus, 1)
    assert isinstance(denial, Rejection)
    assert (denial.reason, denial.detail) == ("trading_killed", "state=KILLED (fire) limit=ACTIVE")


async def test_limits_that_changed_and_limits_that_forbid_everything_are_said(
    start: Callable[..., Risk], redis_bus: RedisBus, database_url: str
) -> None:
    first = start("first")
    await first.wrote("portfolio_rebuilt")
    assert "limits_changed" not in first.log.read_text()
    first.end()
    second = start("first", MAX_ORDER_PCT="0.2", MAX_MARKET_PCT="4")
    text = await second.wrote("limits_changed")
    assert "NOTHING can be traded" in text
    await redis_bus.publish(fresh(1, now_ns()))
    (denial,) = await answers(redis_bus, 1)
    assert isinstance(denial, Rejection)
    assert denial.reason == "below_minimum"
    (alert,) = await redis_bus.tail(Stream.ALERTS, since_ns=0)
    assert isinstance(alert, Alert)
    assert alert.title == "3 limits are others than before"
    assert "order_pct 0.01 -> 0.002" in alert.body
    assert "market_pct 0.03 -> 0.04" in alert.body
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM limits_log").fetchone() == (2,)


async def test_rubbish_on_a_stream_is_set_aside(
    start: Callable[..., Risk], redis_bus: RedisBus, redis_url: str
) -> None:

    with redis.Redis.from_url(redis_url) as client:
        client.xadd("opportunities", {"type": "Opportunity", "body": "{not json"})
        client.xadd("opportunities", {"surprise": "1"})
    risk = start()
    await risk.wrote("portfolio_rebuilt")
    await redis_bus.publish(fresh(1, now_ns()))
    assert len(await answers(redis_bus, 1)) == 1
    assert (await redis_bus.lengths())["opportunities.dead"] == 2
    assert risk.log.read_text().count("dead_letter") == 2


async def test_absent_servers_get_one_line_and_a_clean_end(start: Callable[..., Risk]) -> None:
    risk = start("lonely", DATABASE_URL="postgresql://x:y@127.0.0.1:1/z", REDIS_URL="redis://127.0.0.1:1/0")
    text = await risk.wrote("server_unavailable")
    assert "server=postgres" in text
    assert "Traceback" not in text
    assert risk.end() == 0


async def test_a_wrong_setting_is_named_with_what_it_may_be(start: Callable[..., Risk]) -> None:
    risk = start("wrong", SIZING_STRATEGY="martingale", BANKROLL_USD="lots")
    assert risk.process.wait(timeout=15) == 2
    text = risk.log.read_text()
    assert "SIZING_STRATEGY was 'martingale'" in text
    assert "'fixed', 'allocator', 'kelly', 'half_kelly' or 'quarter_kelly'" in text
    assert "BANKROLL_USD was 'lots'" in text
    assert "Traceback" not in text


@pytest.mark.parametrize("fate", [signal.SIGTERM, signal.SIGSTOP], ids=["ended", "frozen"])
async def test_a_database_that_goes_away_ends_it_with_one_line(
    start: Callable[..., Risk], servers: Endpoints, database_url: str, fate: signal.Signals
) -> None:
    risk = start()
    await risk.wrote("portfolio_rebuilt")
    name = database_url.rpartition("/")[2].partition("?")[0]
    with psycopg.connect(servers.database_url) as connection:
        found = connection.execute("SELECT pid FROM pg_stat_activity WHERE datname = %s", (name,))
        sessions = [pid for (pid,) in found]
    assert sessions
    for pid in sessions:
        os.kill(pid, fate)
    try:
        assert risk.process.wait(timeout=30) == 1
    finally:
        for pid in sessions:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    text = risk.log.read_text()
    assert "server_lost" in text
    assert "Traceback" not in text


async def test_a_loss_whose_message_was_never_sent_is_found_in_the_ledger(
    start: Callable[..., Risk], database_url: str
) -> None:
    risk = start()
    await risk.wrote("portfolio_rebuilt")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO settlements (token, market, slug, outcome, won, shares, cost, fees, payout, pnl, resolved_at)"
            " VALUES ('t', '0xm', 's', 'Up', false, 30, 15, 0.5, 0, -15.5, %s)",
            (now_ns(),),
        )
    assert "lost $15.50 today" in await risk.wrote("breaker_tripped")
