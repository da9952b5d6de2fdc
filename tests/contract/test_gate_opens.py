"""`pm-arb gate open` passes when everything is there, and not while any one thing is missing. Losses close it again."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from pmarb.db import gate, modes
from pmarb.domain.gate import PHRASE
from pmarb.domain.values import NANOS
from pmarb.embedded import Endpoints
from tests.contract.test_gate import DAY, bet, earned
from tests.contract.test_gate_executor import posing
from tests.contract.test_risk_service import now_ns
from tests.earning import keep, recorded
from tests.executors import Ground, executor, forget_sessions, rows
from tests.scanning import START
from tests.starting import running_sandbox

pytestmark = pytest.mark.timeout(600)
NEVER_SENT = {"APPRISE_URLS": "json://127.0.0.1:9/alerts"}


@dataclass(kw_only=True)
class Owner:
    """Somebody at a terminal, who answers the question with a sentence."""

    environment: dict[str, str]
    tape: Path

    def run(self, *words: str, says: str = PHRASE, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "services.cli", *words],
            env=self.environment | changes,
            cwd=self.tape.parent,
            input=f"{says}\n",
            capture_output=True,
            text=True,
            timeout=200,
        )

    def opens(self, *, says: str = PHRASE, **changes: str) -> subprocess.CompletedProcess[str]:
        return self.run("gate", "open", str(self.tape), "--rounds", "200", says=says, **changes)


@pytest.fixture
def owner(redis_url: str, database_url: str, tmp_path: Path) -> Iterator[Owner]:
    """Their paper trading at a sandbox that poses as Polymarket has earned it, and they have just drilled a kill."""
    tape = tmp_path / "x.tape.jsonl.zst"
    earned(database_url, paper_since=START * NANOS - 30 * DAY, opened_at=0)
    keep(database_url, recorded(tape, start=START, windows=30))
    with running_sandbox("--speed", "1", "--bankroll", "300") as ready, Ground(ready=ready) as ground:
        servers = {"REDIS_URL": redis_url, "DATABASE_URL": database_url}
        settings = posing(ready) | {"EXECUTION": "paper"}
        found = Owner(environment=os.environ | settings | servers | NEVER_SENT, tape=tape)
        with executor(
            ground, redis_url=redis_url, database_url=database_url, log=tmp_path / "log", **settings
        ) as process:
            process.start()
            process.ready(within=60)
            killed = found.run("kill", "--reason", "drill")
            assert killed.returncode == 0, killed.stderr + process.words()
            assert found.run("resume", "--reason", "drilled").returncode == 0
            assert process.stop() == 0
        yield found


PIECES: tuple[tuple[str, str, str, dict[str, str]], ...] = (
    # (what alone is not met, what is found, what was done to the database, settings). Fills, days and the e-value:
    # tests/unit/test_gate.py
    ("the doctor finds nothing", "credentials", "SELECT 1", {"WALLET_PRIVATE_KEY": "0x12"}),
    (
        "a ledger that never traded elsewhere",
        "sandbox",
        "INSERT INTO ledger_modes (venue, execution, since_real) VALUES ('sandbox', 'live', 9e18)",
        {},
    ),
    ("tick to wire within 300 ms, p90", "400 ms", "UPDATE orders SET sent_real = 400000001", {}),
    ("a kill drilled within 7 days, verified empty", "never", "UPDATE receipts SET unverified = 'one left'", {}),
)


def unmet(output: str) -> dict[str, str]:
    """What the list says no to, with what was found."""
    lines = (line.split("no ", 1)[1].strip() for line in output.splitlines() if line.strip().startswith("no "))
    return dict(line.rsplit(": ", 1) for line in lines)


@pytest.mark.long
def test_it_opens_with_everything_there_stays_shut_without_any_one_and_losses_close_it(
    owner: Owner, servers: Endpoints, database_url: str
) -> None:
    for number, (name, found, statement, settings) in enumerate(PIECES):
        copy = a_copy(servers, database_url, f"copy{number}")
        with psycopg.connect(copy) as writer:
            writer.execute(statement.encode())
        refused = owner.opens(DATABASE_URL=copy, **settings)
        assert refused.returncode == 1, name
        assert list(unmet(refused.stdout)) == [name], refused.stdout + refused.stderr
        assert found in unmet(refused.stdout)[name]
        assert "stays locked" in refused.stderr
        assert PHRASE not in refused.stdout
    without_tapes = owner.run("gate", "open", "--rounds", "200")
    assert set(unmet(without_tapes.stdout).values()) == {"not measured"}
    shrugged = owner.opens(says="yes, whatever")
    assert unmet(shrugged.stdout) == {}
    assert "That was something else. The gate stays locked." in shrugged.stderr
    assert rows(database_url, "SELECT count(*) FROM gate_log") == [(0,)]

    opened = owner.opens()
    assert opened.returncode == 0, opened.stdout + opened.stderr
    assert "The gate is open." in opened.stdout
    ((who_said, criteria),) = rows(database_url, "SELECT who, criteria FROM gate_log WHERE opened")
    assert who_said
    assert all(each["met"] for each in criteria)
    with gate.writer(database_url) as ledger:
        modes.enter(ledger, venue="polymarket", execution="live", now_real=now_ns())
        assert gate.ask(ledger, now=now_ns(), now_real=now_ns()) == gate.Finding(locked="", opening=1)
        bet(database_url, "l", since=now_ns(), step=3600 * NANOS, count=70, of_twenty=0)
        closed = gate.ask(ledger, now=now_ns(), now_real=now_ns())
        assert (closed.opening, closed.shut) == (0, True)
        assert "e-value of 70 real fills fell to" in closed.locked
        assert not gate.ask(ledger, now=now_ns(), now_real=now_ns()).shut, "it closes once"
    assert "locked: the e-value of 70 real fills fell to" in owner.run("gate", "show", "--rounds", "200").stdout


def a_copy(servers: Endpoints, database_url: str, name: str) -> str:
    """Of the database as it is."""
    original = database_url.partition("?")[0].rpartition("/")[2]
    forget_sessions()
    with psycopg.connect(servers.database_url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {original}{name} TEMPLATE {original}".encode())
    return database_url.replace(original, f"{original}{name}")
