"""From a ladder that cannot be right to its payout: found by the scanner, sized by risk, bought leg by leg, and traced."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import psycopg

from tests.conftest import ROOT, running_sandbox
from tests.contract.test_sets import calm, fault
from tests.executors import Ground, disagreements, executor, rows
from tests.waiting import until

SPEED = 4
FOUND = "SELECT opportunity_id FROM sets WHERE ending <> ''"


@contextlib.contextmanager
def service(name: str, env: dict[str, str], log: Path) -> Iterator[None]:
    with log.open("ab") as out:
        running = subprocess.Popen(
            [sys.executable, "-m", f"services.{name}"], env=env, stdout=out, stderr=out, cwd=ROOT
        )
    try:
        yield
    finally:
        running.terminate()
        running.wait(timeout=30)


async def test_a_mispriced_ladder_is_found_sized_bought_and_traced(
    redis_url: str, database_url: str, tmp_path: Path
) -> None:
    options = ("--seed", "3", "--scenario", "no_competitors", "--speed", str(SPEED), "--families", "above")
    with running_sandbox(*options, "--bankroll", "2000") as ready, Ground(ready=ready) as ground:
        common = {
            "REDIS_URL": redis_url, "DATABASE_URL": database_url, "SANDBOX_URL": ready["clob"], "CLOCK_SPEED": str(SPEED),
            "CLOCK_ANCHOR_NS": str(ready["clock"]["anchor_ns"]), "BANKROLL_USD": "2000", "FAMILIES": "above",
            "MAX_ORDER_USD": "20", "HARD_CAP_USD": "20", "K_SE": "10", "MAX_LEG_SKEW_MS": "60000",
            "PYTHONPATH": f"{ROOT / 'libs'}{os.pathsep}{ROOT}",
        }  # fmt: skip
        env = {k: v for k, v in os.environ.items() if not k.startswith(("CLOCK_", "WALLET_", "CLOB_"))} | common
        with (
            executor(
                ground, redis_url=redis_url, database_url=database_url, log=tmp_path / "executor", **common
            ) as trader,
            service("risk", env | {"HEARTBEAT_FILE": str(tmp_path / "r"), "MEMBER": "risk-1"}, tmp_path / "risk"),
            service("scanner", env | {"HEARTBEAT_FILE": str(tmp_path / "s"), "MEMBER": "s-1"}, tmp_path / "scanner"),
        ):
            trader.start()
            trader.ready()
            await until(lambda: "scan_summary" in (tmp_path / "scanner").read_text())
            for market in ground.markets(left_s=3600)[::2]:  # Every other strike is a third cheaper than it is worth
                fault(ground, kind="market_mispriced", market=market.slug, by=-0.3)
            await until(lambda: rows(database_url, FOUND))
            calm(ground)
            await until(lambda: not disagreements(ground, database_url))
            ((found, whole, worst, skew),) = rows(
                database_url, "SELECT opportunity_id, whole, worst_loss, skew FROM sets ORDER BY created_at LIMIT 1"
            )
            words = subprocess.run(
                [sys.executable, "-m", "services.cli", "trace", found], env=env, cwd=ROOT, capture_output=True, text=True
            ).stdout  # fmt: skip
            legs = json.loads(
                _one(database_url, f"SELECT approval->>'legs' FROM sets WHERE opportunity_id = '{found}'")
            )
            other = legs[1]["leg"]["slug"]
            asked = subprocess.run(
                [sys.executable, "-m", "services.cli", "why", other], env=env, cwd=ROOT, capture_output=True, text=True
            ).stdout  # fmt: skip
            await asyncio.sleep(0)
    assert worst > 0
    assert len({leg["shares"] for leg in legs}) == 1
    assert f"worst_loss={worst}" in words, words
    assert "set ended" in words
    assert "leg 0: BUY" in words or "leg 1: BUY" in words
    assert found in asked, asked
    if ending_of(database_url, found) == "complete":
        assert whole >= Decimal(legs[0]["shares"])
        assert skew > 0


def ending_of(database_url: str, found: str) -> str:
    return str(_one(database_url, f"SELECT ending FROM sets WHERE opportunity_id = '{found}'"))


def _one(database_url: str, statement: str) -> str:
    with psycopg.connect(database_url) as connection:
        row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return str(row[0])
