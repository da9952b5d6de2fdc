"""`pm-arb` as people run it: a process, an exit code, and words that help."""

import asyncio
import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
import typer
from typer.core import TyperGroup

from pmarb import codec
from pmarb.bus.streams import RedisBus
from pmarb.domain.ledger import Account
from pmarb.domain.messages import Halt, Kill, Resume, Stream
from pmarb.domain.scanners import ScannerReport
from pmarb.settings import Settings, load
from services.cli import doctor
from services.cli.__main__ import app
from services.cli.compare import LedgerView, Match, VenueView, agree, audit
from tests.ledgers import HASH, with_a_trade
from tests.starting import finished, running_sandbox

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def bare(tmp_path: Path) -> Run:
    """A command in an empty folder, with nothing running."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if name not in ("REDIS_URL", "DATABASE_URL")}
        return finished("services.cli", arguments, env=clean | environment, cwd=tmp_path, timeout=60)

    return run


@pytest.fixture
def pm_arb(bare: Run, redis_url: str, database_url: str) -> Run:
    """A command that finds real servers in its environment."""
    return lambda *arguments, **more: bare(*arguments, REDIS_URL=redis_url, DATABASE_URL=database_url, **more)


def json_of(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.long
def test_every_read_command_speaks_json(pm_arb: Run, database_url: str) -> None:
    with_a_trade(database_url)
    assert json_of(pm_arb("status", "--json"))["pnl"]["confirmed"] == "2.895"
    assert json_of(pm_arb("positions", "--json")) == []
    assert len(json_of(pm_arb("orders", "--json"))) == 2
    assert json_of(pm_arb("opportunities", "--json"))["rejections"] == [{"name": "duplicate", "count": 1}]
    assert json_of(pm_arb("pnl", "--json"))["balances"]["cash"] == "302.895"
    assert json_of(pm_arb("receipts", "--json")) == []
    assert json_of(pm_arb("alerts", "list", "--json")) == []
    assert json_of(pm_arb("evaluate", "--json", "--rounds", "100"))["verdict"] == "not enough evidence"


async def test_status_and_doctor_tell_how_many_scanners_the_load_needs_and_how_far_references_are_off(
    pm_arb: Run, redis_bus: RedisBus
) -> None:
    report = ScannerReport(
        cpu_share=0.95,
        lag_ms=40.0,
        frames_per_s=5000.0,
        markets=600,
        references_checked=40,
        reference_error_median_bps=0.09,
        reference_error_max_bps=1.45,
        references_far_off=1,
    )
    await redis_bus.beat(service="scanner", member="one", ttl_ms=60_000, says=codec.encode_value(report))
    await redis_bus.beat(service="scanner", member="starting", ttl_ms=60_000)
    found = json_of(await asyncio.to_thread(pm_arb, "status", "--json"))["scanners"]
    assert (found["alive"], found["needed"]) == (1, 2)
    assert found["members"]["one"]["reference_error_max_bps"] == 1.45
    shown = (await asyncio.to_thread(pm_arb, "status")).stdout
    assert "600 markets, 5000 frames/s, 95% of a core" in shown
    assert "price to beat off by 0.09 bp (median), 1.45 (most), 1 of 40 by more than 1 bp" in shown
    checks = json.loads((await asyncio.to_thread(pm_arb, "doctor", "--json")).stdout)["checks"]
    (check,) = [each for each in checks if each["name"] == "scanners"]
    assert (check["ok"], check["fix"]) == (False, "docker compose up -d --scale scanner=2")


def test_a_trace_tells_the_life_with_the_time_between_steps(pm_arb: Run, database_url: str) -> None:
    with_a_trade(database_url)
    shown = pm_arb("trace", "opp-1")
    assert shown.returncode == 0
    for words in ("tick received", "approved by risk", "+2.000", "market resolved", "pnl 2.895"):
        assert words in shown.stdout
    late = pm_arb("trace", "opp-3").stdout
    assert "Up won: no share of this order" in late  # Though another order won with the same token
    assert "pnl" not in late
    assert "redeemed" not in late
    assert pm_arb("trace", "opp").returncode == 1
    assert "could be any of" in pm_arb("trace", "opp").stderr
    assert "No opportunity begins with" in pm_arb("trace", "zzz").stderr


@pytest.mark.parametrize(
    "arguments", [("status",), ("audit",), ("orders", "--json"), ("kill",), ("stop",), ("trace", "x"), ("pnl",)]
)
def test_without_a_system_it_says_how_to_start_one(bare: Run, arguments: tuple[str, ...]) -> None:
    done = bare(*arguments, DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert done.returncode == 3
    assert "pm-arb up" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("demo", "--scenario", "easy"), "slow_makers"),
        (("demo", "--speed", "0"), "above 0"),
        (("demo", "--speed", "nan"), "above 0"),
        (("demo", "--seconds", "-1"), "above 0"),
        (("up", "--speed", "1000"), "up to 100"),
        (("resume",), "--reason"),
        (("nonsense",), "nonsense"),
    ],
)
def test_a_wrong_argument_is_answered_with_what_is_allowed(bare: Run, arguments: tuple[str, ...], words: str) -> None:
    done = bare(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_whatever_tells_something_tells_it_to_programs_too(bare: Run) -> None:
    def without(command: Any, name: str) -> list[str]:
        if isinstance(command, TyperGroup):
            return [each for sub, inner in command.commands.items() for each in without(inner, f"{name} {sub}".strip())]
        return [] if any("--json" in option.opts for option in command.params) else [name]

    passing = {"sandbox", "replay", "record"}  # These hand on what they are given
    assert set(without(typer.main.get_command(app), "")) == {"up", "deposit", "gate open", "gate close"} | passing
    assert json_of(bare("version", "--json"))["pm-arb"]


def test_a_wrong_variable_is_named(bare: Run) -> None:
    done = bare("status", VENUE="nasdaq")
    assert done.returncode == 2
    assert "VENUE was 'nasdaq'" in done.stderr


async def test_stop_and_resume_write_the_truth_and_tell_everybody(pm_arb: Run, redis_bus: RedisBus) -> None:
    assert pm_arb("stop", "--reason", "lunch").returncode == 0
    assert json_of(pm_arb("status", "--json"))["trading"]["state"] == "HALTED"
    resumed = json_of(pm_arb("resume", "--reason", "back", "--json"))
    assert (resumed["state"], resumed["before"]["why"]) == ("ACTIVE", "lunch")
    assert json_of(pm_arb("status", "--json"))["trading"]["state"] == "ACTIVE"
    assert [type(message) for message in await redis_bus.tail(Stream.CONTROL, since_ns=0)] == [Halt, Resume]


def test_money_moved_by_hand_is_told_to_the_ledger(pm_arb: Run) -> None:
    assert pm_arb("deposit", "50").returncode == 2
    assert pm_arb("deposit", "lots", "--reason", "x").returncode == 2
    done = pm_arb("deposit", "50.5", "--reason", "topped up")
    assert done.returncode == 0
    assert "Capital is now $50.5" in done.stdout
    assert pm_arb("deposit", "--reason", "took some home", "--", "-20").returncode == 0
    assert json_of(pm_arb("pnl", "--json"))["balances"]["cash"] == "30.5"


async def test_a_kill_without_an_executor_latches_and_says_that_nothing_was_cancelled(
    pm_arb: Run, redis_bus: RedisBus
) -> None:
    done = pm_arb("kill", "--reason", "drill")
    assert done.returncode == 1
    assert "no executor runs" in done.stderr
    assert "kill --direct" in done.stderr
    assert json_of(pm_arb("status", "--json"))["trading"]["state"] == "KILLED"
    assert pm_arb("stop").returncode == 1  # A halt says less than a kill
    assert isinstance((await redis_bus.tail(Stream.CONTROL, since_ns=0))[0], Kill)


async def test_a_kill_waits_for_the_receipt_and_prints_it(pm_arb: Run, redis_bus: RedisBus, database_url: str) -> None:
    await redis_bus.beat(service="executor", member="m", ttl_ms=30_000)
    killing = asyncio.create_task(asyncio.to_thread(pm_arb, "kill", "--reason", "drill"))
    while not await redis_bus.tail(Stream.CONTROL, since_ns=0):  # noqa: ASYNC110 - another process publishes
        await asyncio.sleep(0.05)
    now = time.time_ns()
    with psycopg.connect(database_url) as writer:
        writer.execute(
            "INSERT INTO receipts (who, why, open_before, cancelled, open_after, started_real, verified_real, ts_event)"
            " VALUES ('executor', 'drill', '[\"0x1\"]', '{\"0x1\": \"cancelled\"}', '[]', %s, %s, 0)",
            (now, now + 10**9),
        )
    done = await killing
    assert done.returncode == 0, done.stderr
    assert "1 open before, 1 cancelled, 0 open after, verified in 1.00 s" in done.stdout


@pytest.mark.long
def test_the_audit_fails_when_the_venue_knows_nothing_of_our_trade(pm_arb: Run, database_url: str) -> None:
    with running_sandbox() as sandbox:
        empty = pm_arb("audit", "--json", SANDBOX_URL=sandbox["clob"])
        failed = {check["name"] for check in json.loads(empty.stdout)["checks"] if not check["ok"]}
        assert (empty.returncode, failed) == (1, {"cash", "capital"})  # No deposit is booked yet
        with_a_trade(database_url)
        done = pm_arb("audit", SANDBOX_URL=sandbox["clob"])
        assert done.returncode == 1
        assert "FAIL" in done.stdout
        assert "t1 ledger 6 for 3.000000 fee 0.105 confirmed venue nothing" in done.stdout


def test_doctor_says_what_to_do(pm_arb: Run) -> None:
    done = pm_arb("doctor", "--json", SANDBOX_URL="http://127.0.0.1:1")
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == 1
    assert checks["redis"]["ok"]
    assert checks["postgres"]["ok"]
    assert "pm-arb up" in checks["venue"]["fix"]


async def test_doctor_asks_the_alerter_for_its_channels_and_believes_the_newest_alert(
    pm_arb: Run, redis_bus: RedisBus, database_url: str
) -> None:
    async def channels() -> tuple[bool, str]:
        done = await asyncio.to_thread(pm_arb, "doctor", "--json", SANDBOX_URL="http://127.0.0.1:1", APPRISE_URLS="")
        return next((c["ok"], c["detail"]) for c in json.loads(done.stdout)["checks"] if c["name"] == "channels")

    def sent(error: str) -> None:
        with psycopg.connect(database_url) as writer:
            writer.execute(
                "INSERT INTO deliveries (kind, priority, dedupe_key, title, body, delivered, error, ts_event)"
                " VALUES ('test', 'normal', '', 'one', '', %s, %s, 1)",
                (not error, error),
            )

    assert await channels() == (True, "none: alerts are only logged")
    await redis_bus.beat(service="alerter", member="starting", ttl_ms=60_000)
    await redis_bus.beat(service="alerter", member="one", ttl_ms=60_000, says=b"2")
    assert await channels() == (True, "2 set")
    sent("no route")
    assert await channels() == (False, "2 set; 1 of the last 1 alerts not delivered: no route")
    sent("")
    assert await channels() == (True, "2 set; 1 of the last 2 alerts not delivered: no route")


@pytest.mark.long
def test_doctor_looks_at_everything_in_order(pm_arb: Run, database_url: str) -> None:
    with running_sandbox() as sandbox:
        clock = {"CLOCK_SPEED": str(sandbox["clock"]["speed"]), "CLOCK_ANCHOR_NS": str(sandbox["clock"]["anchor_ns"])}
        done = pm_arb("doctor", "--json", SANDBOX_URL=sandbox["clob"], **clock)
        checks = json.loads(done.stdout)["checks"]
        assert [check for check in checks if not check["ok"]] == []
        assert done.returncode == 0
        assert " ".join(check["name"] for check in checks) == (
            "settings env_file python embedded redis redis_aof redis_memory redis_disk postgres schema postgres_disk "
            "venue clock_venue clock_other markets geoblock sdk credentials wallet closed_only balance allowances "
            "venue_orders relayer scanners channels kill open_orders"
        )
        with psycopg.connect(database_url) as writer:
            writer.execute("UPDATE trading_state SET state = 'KILLED', why = 'fire'")
        wrong = pm_arb("doctor", SANDBOX_URL=sandbox["clob"], WALLET_PRIVATE_KEY="0x12", **clock)
        assert wrong.returncode == 1
        assert "zero open orders NOT proven   -> pm-arb kill --direct" in wrong.stdout
        assert "FAIL credentials" in wrong.stdout


def test_a_look_at_the_wallet_counts_for_whoever_cannot_log_in(
    redis_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "can_log_in", lambda: False)
    servers = {"REDIS_URL": redis_url, "DATABASE_URL": database_url}
    with running_sandbox() as sandbox:
        clock = {"CLOCK_SPEED": str(sandbox["clock"]["speed"]), "CLOCK_ANCHOR_NS": str(sandbox["clock"]["anchor_ns"])}
        for name, value in (servers | clock | {"SANDBOX_URL": sandbox["clob"]}).items():
            monkeypatch.setenv(name, value)
        of = load(Settings)
        before = {check.name: check for check in doctor.examined(of).checks}
        assert before["account"].detail.startswith("not looked at")
        assert before["account"].fix == doctor.LOOK
        assert "wallet" not in before
        looked = finished("services.executor.doctor", env=dict(os.environ), timeout=60)
        assert looked.returncode == 0, looked.stderr
        after = {check.name: check for check in doctor.examined(of).checks}
        assert after["account"].detail == "looked at 0 minutes ago by the executor's own doctor"
        assert [each["name"] for each in json.loads(looked.stdout)["checks"]] == WALLET_CHECKS.split()
        assert all(after[name].ok for name in WALLET_CHECKS.split())
        assert doctor.last_look(of) is not None
        assert doctor.last_look(of.model_copy(update={"venue": "polymarket"})) is None
        wrong = finished("services.executor.doctor", env=os.environ | {"WALLET_PRIVATE_KEY": "0x12"}, timeout=60)
        assert wrong.returncode == 1
        assert not next(check for check in doctor.examined(of).checks if check.name == "credentials").ok


WALLET_CHECKS = "sdk credentials wallet closed_only balance allowances venue_orders relayer"


def test_brackets_in_words_of_others_are_words(pm_arb: Run, database_url: str) -> None:
    with_a_trade(database_url)
    reason, cause = "[/b] a [red] flag", "no_match: [/] of [a]"
    stopped = pm_arb("stop", "--reason", reason)
    assert (stopped.returncode, stopped.stdout) == (0, f"Halted: {reason}. Open orders: 0.\n"), stopped.stderr
    assert f"HALTED since -: {reason} (by " in re.sub("since [0-9: -]+", "since -: ", pm_arb("status").stdout)
    with psycopg.connect(database_url) as writer:
        writer.execute("UPDATE orders SET cause = %s", (cause,))
    assert cause in pm_arb("orders").stdout


def test_a_test_alert_without_a_channel_says_how_to_set_one(bare: Run) -> None:
    done = bare("alerts", "test", APPRISE_URLS="")
    assert done.returncode == 1
    assert "pover://" in done.stderr


BALANCES = dict.fromkeys(Account, Decimal(0)) | {Account.CASH: Decimal(300), Account.CAPITAL: Decimal(-300)}
TRADE = Match(shares=Decimal(6), usd=Decimal(3), fee=Decimal("0.105"), status="confirmed")


def sides(**venue: Any) -> tuple[LedgerView, VenueView]:
    """A ledger and a venue that agree, but for what is given."""
    ours = LedgerView(
        balances=BALANCES,
        unbalanced=0,
        order_hashes=frozenset({HASH}),
        open_orders=frozenset(),
        trades={"t1": TRADE},
        positions={"1001": Decimal(6)},
        worthless=frozenset({"dead"}),
    )
    theirs: dict[str, Any] = {
        "cash": Decimal(300),
        "deposits": Decimal(300),
        "fees": Decimal(0),
        "order_ids": frozenset({HASH}),
        "open_orders": frozenset(),
        "trades": {"t1": TRADE},
        "positions": {"1001": Decimal(6)},
        "listed": {"1001": Decimal(6)},
    }
    return ours, VenueView(**(theirs | venue))


@pytest.mark.parametrize(
    ("venue", "failed"),
    [
        ({}, set()),
        ({"cash": Decimal("300.004")}, set()),
        ({"cash": Decimal("299.99")}, {"cash"}),
        ({"fees": Decimal("0.02")}, {"fees"}),
        ({"order_ids": frozenset({HASH, "0xforeign"})}, {"orders_known"}),
        ({"open_orders": frozenset({HASH})}, {"orders_open"}),
        ({"trades": {}}, {"trades"}),
        ({"trades": {"t1": TRADE, "t2": TRADE}}, {"trades"}),
        ({"positions": {"1001": Decimal(5)}}, {"positions"}),
        ({"listed": {}}, {"positions_listed"}),
        ({"positions": {"1001": Decimal(6), "dead": Decimal(9)}}, set()),
    ],
)
def test_each_disagreement_fails_its_own_check(venue: dict[str, Any], failed: set[str]) -> None:
    result = audit(agree(*sides(**venue)))
    assert {check.name for check in result.checks if not check.ok} == failed
    assert result.ok == (not failed)


def test_a_ledger_that_has_only_not_heard_yet_is_told_from_a_wrong_one() -> None:
    ours, theirs = sides()
    heard = replace(ours, trades={"t1": replace(TRADE, status="provisional")})
    wrong = replace(ours, trades={"t1": replace(TRADE, status="provisional", shares=Decimal(5))})
    found = [next(c for c in agree(each, theirs) if c.name == "trades") for each in (heard, wrong)]
    assert [check.ok for check in found] == [False, False]
    assert ["with the executor running, ask again" in check.detail for check in found] == [True, False]
