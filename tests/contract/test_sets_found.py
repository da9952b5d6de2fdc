"""A ladder that cannot be right, end to end: found by the scanner, sized by risk, bought leg by leg, and told of."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from pmarb.domain.values import NANOS
from tests.conftest import ROOT, running_sandbox
from tests.contract.test_sets import fault
from tests.executors import Ground, disagreements, executor, rows
from tests.waiting import until

SPEED = 4
pytestmark = pytest.mark.timeout(400)


@contextlib.contextmanager
def service(name: str, env: dict[str, str], log: Path) -> Iterator[Path]:
    env = env | {"HEARTBEAT_FILE": str(log.with_suffix(".beat")), "MEMBER": f"{name}-1"}
    with log.open("ab") as out:
        running = subprocess.Popen(
            [sys.executable, "-m", f"services.{name}"], env=env, stdout=out, stderr=out, cwd=ROOT
        )
    try:
        yield log
    finally:
        running.terminate()
        running.wait(timeout=60)


def pm_arb(env: dict[str, str], *words: str) -> str:
    command = [sys.executable, "-m", "services.cli", *words]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=120)
    return done.stdout + done.stderr


def anchor_for_the_evening(now: int) -> int:
    """So that the venue's time is eight in the evening: the ladders of the next noon are open, and far from over."""
    day = 86_400 * NANOS
    evening = (now - 20 * day // 24) // day * day + day + 20 * day // 24
    return now - (evening - now) // (SPEED - 1)


def make_wrong(ground: Ground) -> bool:
    """Let a strike be dearer than a lower one of the same noon, by much."""
    asks = [(m, ask[0]) for m in ground.markets(left_s=3600) if (ask := ground.best_ask(m.outcomes[0].token))]
    for lower, dear in asks:
        for higher, cheap in asks:
            if lower.event == higher.event and cheap < dear and Decimal("0.25") < dear < Decimal("0.70"):
                by = float(dear - cheap + Decimal("0.15"))
                fault(ground, kind="market_mispriced", market=higher.slug, by=by)
                return True
    return False


async def test_a_mispriced_ladder_is_found_sized_bought_and_told_of(
    redis_url: str, database_url: str, tmp_path: Path
) -> None:
    options = ("--seed", "3", "--scenario", "no_competitors", "--speed", str(SPEED), "--families", "above")
    at = ("--anchor-ns", str(anchor_for_the_evening(time.time_ns())))
    with running_sandbox(*options, *at, "--bankroll", "2000") as ready, Ground(ready=ready) as ground:
        # Who trusts the market alone finds no single leg worth buying, so that only sets are found
        told = {
            "REDIS_URL": redis_url, "DATABASE_URL": database_url, "SANDBOX_URL": ready["clob"], "FAMILIES": "above",
            "CLOCK_SPEED": str(SPEED), "CLOCK_ANCHOR_NS": str(ready["clock"]["anchor_ns"]), "BANKROLL_USD": "2000",
            "MAX_ORDER_USD": "20", "HARD_CAP_USD": "20", "MODEL_WEIGHT": "0", "MAX_LEG_SKEW_MS": "60000",
        }  # fmt: skip
        usual = {k: v for k, v in os.environ.items() if not k.startswith(("CLOCK_", "WALLET_", "CLOB_"))}
        env = usual | told | {"PYTHONPATH": f"{ROOT / 'libs'}{os.pathsep}{ROOT}"}
        own = {k: v for k, v in told.items() if k not in ("REDIS_URL", "DATABASE_URL")}
        with (
            executor(ground, redis_url=redis_url, database_url=database_url, log=tmp_path / "log", **own) as trader,
            service("risk", env, tmp_path / "risk"),
            service("scanner", env, tmp_path / "scanner") as scanner,
        ):
            trader.start()
            await until(lambda: "capital_booked" in trader.words())  # Books of ladders are read when needed
            await until(lambda: "scan_summary" in scanner.read_text())
            await until(lambda: make_wrong(ground))
            await until(lambda: rows(database_url, "SELECT 1 FROM sets WHERE ending <> ''"))
            await until(lambda: not disagreements(ground, database_url))
            (found, worst), *_ = rows(
                database_url, "SELECT opportunity_id, worst_loss FROM sets WHERE ending <> '' ORDER BY created_at"
            )
            words = await asyncio.to_thread(pm_arb, env, "trace", found)
            legs = rows(
                database_url,
                "SELECT leg->>'shares', leg->'leg'->>'slug' FROM sets, jsonb_array_elements(approval->'legs') AS leg "
                f"WHERE opportunity_id = '{found}'",
            )
            reasons = await asyncio.to_thread(pm_arb, env, "why", legs[1][1])
    assert worst > 0
    assert len({shares for shares, _ in legs}) == 1
    assert f"worst_loss={worst}" in words, words
    assert "set ended" in words
    assert "leg 0: BUY" in words or "leg 1: BUY" in words, words
    assert "edge_after_leg_risk" in reasons, reasons
