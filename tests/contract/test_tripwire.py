"""Rules that the venue changes in mid-run halt that market, with old and new, until a person acknowledges it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psycopg

from pmarb.bus.streams import RedisBus
from pmarb.db import rules
from pmarb.domain.messages import Alert, Approval, MarketRules, Rejection, Stream
from pmarb.domain.values import NANOS
from tests.builders import NOW
from tests.conftest import ROOT, running_sandbox
from tests.contract.test_cli import bare, pm_arb  # noqa: F401 - fixtures
from tests.contract.test_risk_service import Risk, answers, fresh, now_ns, start  # noqa: F401 - a fixture
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
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        for number, what in ((1, ""), (2, ""), (3, "fee 1 -> 2")):
            await rules.keep(connection, seen(number), changed=what)
        await rules.forget(connection, before=now_ns() + NANOS)
        left = await (await connection.execute("SELECT slug FROM market_rules")).fetchall()
        assert left == [("m2",)]
        assert await rules.known(connection, seen(9)) == rules.Known(rules=RULES, same_market=False)


def test_the_sandbox_changes_fee_tick_minimum_and_delay(
    start: Callable[..., Risk],  # noqa: F811
    redis_url: str,
    database_url: str,
    tmp_path: Path,
) -> None:
    changes: dict[str, dict[str, Any]] = {
        "btc-updown-5m-*": {"fee_rate": 0.1},
        "eth-updown-5m-*": {"min_size": 10},
        "btc-updown-15m-*": {"hold_ms": 0},
        "eth-updown-15m-*": {"tick": 0.001},
    }
    with running_sandbox("--scenario", "efficient", "--speed", "1") as ready, httpx.Client(timeout=10) as http:
        env = {"SANDBOX_URL": ready["clob"], "CLOCK_ANCHOR_NS": str(ready["clock"]["anchor_ns"])}
        start(**env)
        environment = os.environ | env | {
            "REDIS_URL": redis_url, "DATABASE_URL": database_url, "HEARTBEAT_FILE": str(tmp_path / "scanner.beat"),
            "MEMBER": "scanner", "PYTHONPATH": f"{ROOT / 'libs'}{os.pathsep}{ROOT}",
        }  # fmt: skip
        with (tmp_path / "scanner.log").open("wb") as log:
            scanner = subprocess.Popen([sys.executable, "-m", "services.scanner"], env=environment, stderr=log)
        try:
            until(database_url, "SELECT count(*) FROM market_rules", lambda n: n >= 8)
            for market, change in changes.items():
                body = {"kind": "market_changed", "market": market, **change}
                http.post(f"{ready['sandbox']}/faults", json=body).raise_for_status()
            until(database_url, "SELECT count(DISTINCT series) FROM market_rules WHERE changed <> ''", lambda n: n == 4)
        finally:
            scanner.terminate()
            scanner.wait(timeout=15)
    with psycopg.connect(database_url) as connection:
        found: dict[str, str] = dict(
            connection.execute("SELECT DISTINCT series, changed FROM market_rules WHERE changed <> ''")
        )
    assert found == {
        "btc-5m": "fee 0.07^1 -> 0.1^1",
        "eth-5m": "min_size 5 -> 10",
        "btc-15m": "delay yes -> no",
        "eth-15m": "tick 0.01 -> 0.001",
    }


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
