"""Real money, with a sandbox that poses as Polymarket: nothing but evidence lets the executor trade it, and losses stop
it while it runs. What is open by then is still settled, paid and flattened."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pmarb.bus.streams import RedisBus
from pmarb.db.control import resume
from pmarb.domain.messages import Alert, Approval, OrderUpdate, Stream
from pmarb.domain.values import NANOS
from tests.contract.test_gate import DAY, bet, earned, forge
from tests.contract.test_risk_service import DEPOSIT, now_ns
from tests.executors import ExecutorProcess, Ground, balance, executor, rows
from tests.starting import ROOT, running_sandbox

LIVE = {"VENUE": "polymarket", "EXECUTION": "live"}
pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    scenario = tmp_path / "scenario.json"
    never = {"settle": 1e6, "settle_max_s": 1e6}  # Markets that ended are decided when the test says so
    scenario.write_text(json.dumps({"name": "s", "summary": "s", "base": "slow_makers", "knobs": never}))
    options = ("--seed", "11", "--speed", "8", "--scenario", str(scenario), "--bankroll", "1000")
    with running_sandbox(*options) as ready, Ground(ready=ready) as found:
        yield found


def posing(ready: dict[str, Any]) -> dict[str, str]:
    """The environment in which `ready` is Polymarket, with the wallet of its first account."""
    account = ready["accounts"][0]
    return LIVE | {
        "POSING": json.dumps(ready),
        "PYTHONPATH": ":".join(map(str, (ROOT / "tests" / "posing", ROOT / "libs", ROOT))),
        "WALLET_PRIVATE_KEY": account["private_key"],
        "WALLET_ADDRESS": account["wallet"],
        "SIGNATURE_TYPE": str(account["signature_type"]),
        "CLOB_API_KEY": account["api_key"],
        "CLOB_API_SECRET": account["secret"],
        "CLOB_API_PASSPHRASE": account["passphrase"],
        "RELAYER_API_KEY": "sandbox",
    }


@pytest.fixture
def process(ground: Ground, redis_url: str, database_url: str, tmp_path: Path) -> Iterator[ExecutorProcess]:
    with executor(
        ground, redis_url=redis_url, database_url=database_url, log=tmp_path / "log", **posing(ground.ready)
    ) as found:
        yield found


def ended(process: ExecutorProcess, **settings: str) -> int:
    """The exit code of one that is expected to end by itself, in an environment changed by `settings`."""
    before = process.env
    process.env = before | settings
    process.start()
    process.env = before
    assert process.process is not None
    return process.process.wait(timeout=60)


def attempts_in(tmp_path: Path) -> dict[str, tuple[dict[str, str], Callable[[psycopg.Connection], object], str]]:
    """Settings, what is done to the database, and the words to be read."""
    (tmp_path / "venue").write_text("polymarket")
    (tmp_path / "execution").write_text("live")
    (tmp_path / ".env").write_text("GATE=open\nVENUE=polymarket\nEXECUTION=live\n")
    return {
        "a fresh database": ({}, lambda _: None, "nobody has opened it yet; 300 paper fills: 0"),
        "a variable": ({"GATE": "open", "LIVE_GATE": "true", "GATE_OPENED": "1"}, lambda _: None, "nobody has opened"),
        "a file": (
            {"VENUE": "", "EXECUTION": "", "VENUE_FILE": str(tmp_path / "venue"), "HOME": str(tmp_path)}
            | {"EXECUTION_FILE": str(tmp_path / "execution")},
            lambda _: None,
            "nobody has opened",
        ),
        "a forged row": ({}, lambda writer: forge(writer, now_ns()), "300 paper fills: 0"),
        "a ledger of the sandbox": (
            {},
            lambda writer: writer.execute(
                "INSERT INTO ledger_modes (venue, execution, since_real) VALUES ('sandbox', 'live', 1)"
            ),
            "a ledger that never traded elsewhere: sandbox",
        ),
    }


@pytest.mark.long
def test_what_is_no_evidence_does_not_open_it(
    ground: Ground, redis_url: str, database_url: str, tmp_path: Path
) -> None:
    for name, (settings, tamper, words) in attempts_in(tmp_path).items():
        with psycopg.connect(database_url) as writer:
            tamper(writer)
        log = tmp_path / name.replace(" ", "_")
        environment = posing(ground.ready) | settings
        with executor(ground, redis_url=redis_url, database_url=database_url, log=log, **environment) as process:
            assert ended(process) == 2, name
            assert "VENUE=polymarket with EXECUTION=live is locked" in process.words(), name
            assert words in process.words(), name
            assert "pm-arb gate open" in process.words(), name
            assert "Traceback" not in process.words(), name
    assert ground.truth()["post_count_by_order_id"] == {}


async def until(true: Callable[[], object], *, within: float = 60) -> None:
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.05)


async def approval_of(ground: Ground) -> Approval:
    """One that pays by its own account, of a window of five minutes."""
    for _ in range(600):
        for approval in ground.approvals(lives_s=60):
            if approval.family == "5m":
                return approval
        await asyncio.sleep(0.2)
    pytest.fail("nothing is offered at a middle price")


MOVED = "skipped: price_moved "


@pytest.mark.long
async def test_an_earned_gate_trades_and_losses_demote_while_it_runs(
    ground: Ground, process: ExecutorProcess, redis_bus: RedisBus, database_url: str
) -> None:
    opened(database_url)
    process.start()
    process.ready(within=60)
    assert balance(database_url, "cash") == 1000, "the books go on with the wallet's own money"
    assert balance(database_url, "capital") == -1000
    approval = await filled(ground, redis_bus, database_url)

    lose(database_url)
    await until(lambda: "demoted_to_paper" in process.words())
    alerts = [alert for alert in await redis_bus.tail(Stream.ALERTS, since_ns=0) if isinstance(alert, Alert)]
    assert [alert.title for alert in alerts] == ["Demoted to paper: real money is locked again"]
    assert "e-value of 70 real fills fell to" in alerts[0].body
    assert rows(database_url, "SELECT state FROM trading_state") == [("HALTED",)]
    resume(database_url, who="me", why="it will turn", now=now_ns())  # Ends the halt, not the lock
    await is_refused(ground, redis_bus)

    process.kill9()
    process.start()
    process.ready(within=60)
    assert "real_money_locked" in process.words()
    await is_refused(ground, redis_bus)
    assert process.stop() == 0
    assert ended(process, EXECUTION="paper") == 2
    assert "1 orders or positions of VENUE=polymarket EXECUTION=live are not settled yet" in process.words()

    process.start()
    process.ready(within=60)
    await is_paid(approval, ground, database_url)
    assert process.stop() == 0
    receipts = rows(database_url, "SELECT open_after, unverified FROM receipts ORDER BY id DESC LIMIT 1")
    assert receipts == [([], "")]
    assert ended(process) == 2, "nothing real is left: it says what to do and ends"


async def filled(ground: Ground, bus: RedisBus, database_url: str) -> Approval:
    """One that was carried out and filled: the offer it was for may be gone, and then another is tried."""
    ended = "state NOT IN ('SUBMITTING', 'UNKNOWN', 'DELAYED', 'LIVE', 'MATCHED')"
    for _ in range(10):
        approval = await approval_of(ground)
        await bus.publish(approval)
        of_it = f"SELECT state FROM orders WHERE opportunity_id = '{approval.opportunity_id}'"
        await until(lambda of_it=of_it: rows(database_url, f"{of_it} AND {ended}"))  # type: ignore[misc]
        if rows(database_url, of_it) == [("FILLED",)]:
            return approval
    pytest.fail("ten orders, and none was filled")


def opened(database_url: str) -> None:
    """An earned gate, and a paper account worth $300."""
    now = now_ns()
    earned(database_url, paper_since=now - 40 * DAY, opened_at=now - 10 * DAY)
    with psycopg.connect(database_url) as writer:
        writer.execute(DEPOSIT)


def lose(database_url: str) -> None:
    """Seventy real orders that all lost."""
    bet(database_url, "l", since=now_ns() - 9 * DAY, step=3600 * NANOS, count=70, of_twenty=0)


async def is_refused(ground: Ground, bus: RedisBus) -> None:
    """By the statement that would have written it: nothing is sent. An offer that rises meanwhile never gets there."""
    posts, cause = ground.truth()["post_count_by_order_id"], MOVED
    while cause.startswith(MOVED):
        approval = await approval_of(ground)
        await bus.publish(approval)
        cause = (await told_of(bus, approval)).cause
    assert cause == "skipped: halted gate=locked"
    assert ground.truth()["post_count_by_order_id"] == posts


async def is_paid(approval: Approval, ground: Ground, database_url: str) -> None:
    """Its market ends, our side wins, and the wallet is paid."""
    await until(lambda: ground.clock.now() > approval.expiry)
    winner = {"outcome": 0 if approval.legs[0].leg.outcome == "Up" else 1}
    ground.http.post(f"{ground.ready['sandbox']}/markets/{approval.slug}/resolve", json=winner).raise_for_status()
    paid = f"SELECT payout > 0 FROM settlements WHERE slug = '{approval.slug}' AND redeemed_at > 0"
    await until(lambda: rows(database_url, paid) == [(True,)])


async def told_of(bus: RedisBus, approval: Approval) -> OrderUpdate:
    for _ in range(600):
        for message in await bus.tail(Stream.ORDERS, since_ns=0):
            if isinstance(message, OrderUpdate) and message.opportunity_id == approval.opportunity_id:
                return message
        await asyncio.sleep(0.05)
    pytest.fail("the executor said nothing of it")
