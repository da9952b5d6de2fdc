"""Rules that the venue changes in mid-run halt that market, with old and new, until a person acknowledges it."""

import asyncio
import contextlib
import json
import os
import subprocess
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from pmarb.bus.streams import RedisBus
from pmarb.db import rules
from pmarb.db.pool import Connection
from pmarb.domain.messages import Alert, Approval, MarketRules, Marks, Rejection, Stream
from pmarb.domain.values import NANOS
from tests.builders import NOW, a_leg
from tests.contract.test_cli import bare, pm_arb  # noqa: F401 - fixtures
from tests.contract.test_risk_service import Risk, answers, fresh, now_ns, start  # noqa: F401 - a fixture
from tests.executors import Ground, executor
from tests.starting import ROOT, Started, running_sandbox
from tests.waiting import PATIENCE_S

RULES = {"fee": "0.07^1", "tick": "0.01", "min_size": "5", "delay": "yes", "template": "abc", "tokens": "Up=1,Down=2"}


def seen(number: int, **changes: str) -> MarketRules:
    return MarketRules(
        slug=f"m{number}", market=f"0xm{number}", series="btc-5m", rules=RULES | changes,
        ts_event=now_ns() + number, ts_init=NOW,
    )  # fmt: skip


async def test_a_changed_rule_halts_that_market_alone_through_restarts_until_it_is_acknowledged(
    start: Callable[..., Risk],  # noqa: F811
    redis_bus: RedisBus,
    pm_arb: Callable[..., subprocess.CompletedProcess[str]],  # noqa: F811
) -> None:
    risk = start()
    await risk.wrote("portfolio_rebuilt")
    await redis_bus.publish(seen(1), seen(2, tokens="Up=3,Down=4"), seen(3, tokens="Up=5,Down=6"))
    await redis_bus.publish(seen(2, tokens="Up=3,Down=4", fee="0.1^1", template="xyz"))
    await risk.wrote("rules_changed")
    await redis_bus.publish(fresh(2, now_ns()), fresh(1, now_ns()))
    by_id = {answer.opportunity_id: answer for answer in await answers(redis_bus, 2)}
    denial = by_id["opp-2"]
    assert isinstance(denial, Rejection)
    assert denial.detail == "rules=fee 0.07^1 -> 0.1^1, template abc -> xyz limit=as first seen"
    assert isinstance(by_id["opp-1"], Approval)
    (alert,) = await redis_bus.tail(Stream.ALERTS, since_ns=0)
    assert isinstance(alert, Alert)
    assert alert.title == "The venue changed the rules of m2"
    assert "fee 0.07^1 -> 0.1^1" in alert.body
    risk.end()
    again = start()
    await again.wrote("portfolio_rebuilt")
    await redis_bus.publish(seen(4, tokens="Up=7,Down=8", fee="0.1^1", template="xyz"))  # A new window, changed alike
    await redis_bus.publish(fresh(2, now_ns(), opportunity_id="opp-3"))
    assert [a for a in await answers(redis_bus, 3) if a.opportunity_id == "opp-3" and isinstance(a, Rejection)]
    assert "fee 0.07^1 -> 0.1^1" in pm_arb("ack").stdout
    assert "changed in 2 markets" in pm_arb("status").stdout
    assert "Say why" in pm_arb("ack", "m2").stderr
    done = pm_arb("ack", "m2", "--reason", "announced by the venue")
    assert "Trading again: m2, m4" in done.stdout, done.stderr
    assert "waits to be acknowledged" in pm_arb("ack", "m2", "--reason", "again").stderr
    deadline = time.monotonic() + 10
    number = 10
    while time.monotonic() < deadline:
        number += 1
        await redis_bus.publish(fresh(2, now_ns(), opportunity_id=f"opp-{number}"))
        latest = [a for a in await answers(redis_bus, number - 7) if a.opportunity_id == f"opp-{number}"]
        if latest and isinstance(latest[0], Approval):
            return
    raise AssertionError("still denied")


async def test_old_rules_are_forgotten_but_for_what_new_windows_are_compared_with(database_url: str) -> None:
    async with await Connection.connect(database_url, autocommit=True) as connection:
        for number, what in ((1, ""), (2, ""), (3, "fee 1 -> 2")):
            await rules.keep(connection, seen(number), changed=what)
        await rules.forget(connection, before=now_ns() + NANOS)
        left = await (await connection.execute("SELECT slug FROM market_rules")).fetchall()
        assert left == [("m2",)]
        assert await rules.known(connection, seen(9)) == rules.Known(rules=RULES, same_market=False)


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "btc-updown-5m-*": ({"fee_rate": 0.1}, "fee 0.07^1 -> 0.1^1"),
    "eth-updown-5m-*": ({"min_size": 10}, "min_size 5 -> 10"),
    "btc-updown-15m-*": ({"hold_ms": 0}, "delay yes -> no"),
    "eth-updown-15m-*": ({"tick": 0.001}, "tick 0.01 -> 0.001"),
    "btc-updown-4h-*": ({"text": "A tie is a draw."}, "template "),
}


@pytest.mark.long
async def test_each_rule_that_the_venue_changes_in_mid_run_stops_its_market_until_a_person_has_read_it(
    start: Callable[..., Risk],  # noqa: F811
    redis_bus: RedisBus,
    redis_url: str,
    database_url: str,
    tmp_path: Path,
    pm_arb: Callable[..., subprocess.CompletedProcess[str]],  # noqa: F811
) -> None:
    risk = inject_all(start, redis_url, database_url, tmp_path)
    marks = [said for said in await redis_bus.tail(Stream.SCANS, since_ns=0) if isinstance(said, Marks)]
    assert any(0 < bid < 1 for said in marks for bid in said.bids.values()), "the scanner tells what could be had"
    halted = changes_by_series(database_url)
    for pattern, (_, words) in CHANGES.items():
        asset, _, family, _ = pattern.split("-")
        market, slug, what = halted.pop(f"{asset}-{family}")
        assert what.startswith(words)
        assert " -> " in what
        bodies = [alert.body for alert in await redis_bus.tail(Stream.ALERTS, since_ns=0) if isinstance(alert, Alert)]
        assert any(body.startswith(f"{what}. Nothing is traded there until: pm-arb ack") for body in bodies), bodies
        assert (await verdict_on(redis_bus, market)).startswith(f"rules_changed rules={what}")
        assert slug in pm_arb("ack", slug, "--reason", "read").stdout.partition("Trading again: ")[2]
        await patiently(partial(verdict_on, redis_bus, market), lambda said: "rules_changed" not in said)
    assert halted == {}, "the others trade on"
    assert risk.end() == 0


def inject_all(start: Callable[..., Risk], redis_url: str, database_url: str, tmp_path: Path) -> Risk:  # noqa: F811
    """The sandbox changes them all while a scanner looks on."""
    options = ("--scenario", "efficient", "--speed", "1", "--families", "5m,15m,4h")
    with running_sandbox(*options) as ready, httpx.Client(timeout=10) as http:
        env = {"SANDBOX_URL": ready["clob"], "CLOCK_ANCHOR_NS": str(ready["clock"]["anchor_ns"])}
        risk = start(**env)
        with scanning(env | {"FAMILIES": "5m,15m,4h"}, redis_url, database_url, tmp_path):
            until(database_url, "SELECT count(DISTINCT series) FROM market_rules", lambda n: n >= 6)
            for market, (change, _) in CHANGES.items():
                body = {"kind": "market_changed", "market": market, **change}
                http.post(f"{ready['sandbox']}/faults", json=body).raise_for_status()
            until(database_url, "SELECT count(DISTINCT series) FROM market_rules WHERE changed <> ''", lambda n: n == 5)
    return risk


@contextlib.contextmanager
def scanning(env: dict[str, str], redis_url: str, database_url: str, folder: Path) -> Iterator[None]:
    """A scanner at work."""
    environment = os.environ | env | {
        "REDIS_URL": redis_url, "DATABASE_URL": database_url, "HEARTBEAT_FILE": str(folder / "scanner.beat"),
        "MEMBER": "scanner", "PYTHONPATH": f"{ROOT / 'libs'}{os.pathsep}{ROOT}",
    }  # fmt: skip
    with (folder / "scanner.log").open("ab") as log:
        scanner = Started("services.scanner", env=environment, err=log)
    try:
        yield
    finally:
        scanner.terminate()
        scanner.wait(timeout=15)


@pytest.mark.long
async def test_ticks_that_the_venue_refines_itself_halt_nothing_whoever_was_there_to_see_it(
    start: Callable[..., Risk],  # noqa: F811
    redis_url: str,
    database_url: str,
    tmp_path: Path,
) -> None:
    """Most windows end on the finer tick: one scanner sees it happen, the next one only that it has happened."""
    wild = tmp_path / "wild.json"  # Windows are as good as decided long before they end
    wild.write_text(
        json.dumps({"name": "wild", "knobs": {"sigma_window_sd": 0, "jumps_per_hour": 120, "jump_bps": 20}})
    )
    options = ("--speed", "10", "--families", "5m", "--seed", "4", "--scenario", str(wild))
    with running_sandbox(*options) as ready, Ground(ready=ready) as ground:
        clock = {"CLOCK_SPEED": "10", "CLOCK_ANCHOR_NS": str(ready["clock"]["anchor_ns"])}
        env = {"SANDBOX_URL": ready["clob"], "FAMILIES": "5m", **clock}
        risk, refined = start(**env), set[str]()
        for wanted in (1, 2):
            with scanning(env, redis_url, database_url, tmp_path):
                while len(refined) < wanted:  # With time left for the next scanner to come and read its rules
                    open_ = ground.markets(left_s=100)
                    refined |= {market.slug for market in open_ if market.tick == Decimal("0.001")}
                    await asyncio.sleep(0.2)
        with scanning(env, redis_url, database_url, tmp_path):
            await asyncio.sleep(10)
        until(database_url, "SELECT count(*) FROM market_rules WHERE changed <> ''", lambda n: n == 0)
        assert risk.end() == 0
    with psycopg.connect(database_url) as connection:
        known = {row[0] for row in connection.execute("SELECT slug FROM market_rules WHERE rules->>'tick' = '0.01'")}
    assert refined <= known


def changes_by_series(database_url: str) -> dict[str, tuple[str, str, str]]:
    """(market, slug, what changed) of a halted market of each series."""
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT series, market, slug, changed FROM market_rules WHERE changed <> '' ORDER BY 3"
        )
        return {row[0]: (row[1], row[2], row[3]) for row in rows}


async def verdict_on(bus: RedisBus, market: str) -> str:
    """What risk says of a sound opportunity in this market: the reason and its detail, or approved."""
    opportunity_id, now = uuid.uuid4().hex, now_ns()
    leg = a_leg(market=market, token=opportunity_id, book_ts_init=now, book_ts_event=now)
    await bus.publish(fresh(1, now, opportunity_id=opportunity_id, legs=(leg,)))
    for _ in range(400):
        for stream in (Stream.APPROVALS, Stream.REJECTIONS):
            for said in await bus.tail(stream, since_ns=0):
                if isinstance(said, Rejection) and said.opportunity_id == opportunity_id:
                    return f"{said.reason} {said.detail}"
                if isinstance(said, Approval) and said.opportunity_id == opportunity_id:
                    return "approved"
        await asyncio.sleep(0.05)
    raise AssertionError("risk said nothing")


async def patiently(ask: Callable[[], Awaitable[str]], enough: Callable[[str], bool]) -> None:
    said = ""
    for _ in range(100):
        said = await ask()
        if enough(said):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(said)


@pytest.mark.long
async def test_another_contract_halts_everything_until_a_person_has_read_it(
    start: Callable[..., Risk],  # noqa: F811
    redis_bus: RedisBus,
    redis_url: str,
    database_url: str,
    tmp_path: Path,
    pm_arb: Callable[..., subprocess.CompletedProcess[str]],  # noqa: F811
) -> None:
    risk = start()
    await risk.wrote("portfolio_rebuilt")
    with (
        running_sandbox("--speed", "1") as ready,
        Ground(ready=ready) as ground,
        executor(ground, redis_url=redis_url, database_url=database_url, log=tmp_path / "executor.log") as process,
    ):
        process.start()
        until(database_url, "SELECT count(*) FROM market_rules WHERE market = 'contracts'", lambda n: n == 1)
        assert await verdict_on(redis_bus, "0xm1") == "approved"
        ground.fault("contract_moved", count=100_000)
        await risk.wrote("rules_changed", within=30)
        until(database_url, "SELECT count(*) FROM trading_state WHERE state = 'HALTED'", lambda n: n == 1)
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT who, why FROM trading_state").fetchone()
    assert row is not None
    assert row[0] == "executor"
    assert row[1].startswith(
        "wrong_contract: we sign for exchange 0xe111180000d2663c0091e4f400237545b87b996b, the venue"
    )
    alerts = [alert for alert in await redis_bus.tail(Stream.ALERTS, since_ns=0) if isinstance(alert, Alert)]
    (told,) = [alert for alert in alerts if alert.title == "The venue changed its contracts"]
    assert told.body.startswith("spenders 0xe111180000d2663c0091e4f400237545b87b996b,")
    assert "-> 0xe2222000000000000000000000000000000000e2," in told.body
    assert pm_arb("resume", "--reason", "looked at it").returncode == 0
    await patiently(lambda: verdict_on(redis_bus, "0xm2"), lambda said: said.startswith("rules_changed"))
    assert "Trading again: contracts" in pm_arb("ack", "contracts", "--reason", "announced").stdout
    await patiently(lambda: verdict_on(redis_bus, "0xm3"), lambda said: said == "approved")


def until(database_url: str, query: str, enough: Callable[[int], bool]) -> None:
    deadline, found = time.monotonic() + PATIENCE_S, -1
    while time.monotonic() < deadline:
        with psycopg.connect(database_url) as connection:
            row = connection.execute(query.encode()).fetchone()
        found = row[0] if row else -1
        if enough(found):
            return
        time.sleep(0.2)
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT slug, changed FROM market_rules").fetchall()
    raise AssertionError(f"{query}: {found} {rows}")
