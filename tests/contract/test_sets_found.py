"""A ladder that cannot be right, end to end: found by the scanner, sized by risk, bought leg by leg, and told of."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from pmarb.domain.values import NANOS
from tests.contract.test_sets import KILLED_FAK, fault, still
from tests.executors import Ground, disagreements, executor, rows
from tests.starting import ROOT, Started, finished, running_sandbox
from tests.waiting import until

SPEED = 4
# By the hour at which a run starts, up to 32 venue hours of price lie behind its evening: with this seed the price is
# among the strikes of the next noon after any of them.
SEED = 32
EVENS = Decimal("0.5")
pytestmark = pytest.mark.timeout(400)


@contextlib.contextmanager
def service(name: str, env: dict[str, str], log: Path) -> Iterator[Path]:
    env = env | {"HEARTBEAT_FILE": str(log.with_suffix(".beat")), "MEMBER": f"{name}-1"}
    with log.open("ab") as out:
        running = Started(f"services.{name}", env=env, out=out, err=out)
    try:
        yield log
    finally:
        running.terminate()
        running.wait(timeout=60)


def pm_arb(env: dict[str, str], *words: str) -> str:
    done = finished("services.cli", words, env=env, timeout=120)
    return done.stdout + done.stderr


def anchor_for_the_evening(now: int, *, speed: int = SPEED) -> int:
    """So that the venue's time is eight in the evening: the ladders of the next noon are open, and far from over."""
    day = 86_400 * NANOS
    evening = (now - 20 * day // 24) // day * day + day + 20 * day // 24
    return now - (evening - now) // (speed - 1)


def make_wrong(ground: Ground) -> bool:
    """Let a strike be dearer than a lower one of the same noon, by much: of the pairs there are that whose lower one is
    nearest to evens, for risk allows no leg that is nearly sure or nearly lost."""
    asks = [(m, ask[0]) for m in ground.markets(left_s=3600) if (ask := ground.best_ask(m.outcomes[0].token))]
    pairs = [
        (abs(dear - EVENS), higher.slug, float(dear - cheap + Decimal("0.15")))
        for lower, dear in asks
        for higher, cheap in asks
        if lower.event == higher.event and cheap < dear and Decimal("0.15") < dear < Decimal("0.80")
    ]
    if pairs:
        _, market, by = min(pairs)
        fault(ground, kind="market_mispriced", market=market, by=by)
    return bool(pairs)


@contextlib.asynccontextmanager
async def trading(redis_url: str, database_url: str, folder: Path) -> AsyncIterator[tuple[Ground, dict[str, str]]]:
    """A sandbox of still ladders, with scanner, risk and executor at work; and the environment they have."""
    options = ("--seed", str(SEED), "--scenario", str(still(folder)), "--speed", str(SPEED), "--families", "above")
    at = ("--anchor-ns", str(anchor_for_the_evening(time.time_ns())))
    with running_sandbox(*options, *at, "--bankroll", "2000") as ready, Ground(ready=ready) as ground:
        # Who trusts the market alone finds no single leg worth buying, so that only sets are found
        told = {
            "SANDBOX_URL": ready["clob"], "FAMILIES": "above", "CLOCK_SPEED": str(SPEED), "BANKROLL_USD": "2000",
            "CLOCK_ANCHOR_NS": str(ready["clock"]["anchor_ns"]), "MAX_ORDER_USD": "20", "HARD_CAP_USD": "20",
            "MODEL_WEIGHT": "0", "MAX_LEG_SKEW_MS": "60000",
        }  # fmt: skip
        usual = {k: v for k, v in os.environ.items() if not k.startswith(("CLOCK_", "WALLET_", "CLOB_"))}
        env = usual | told | {"REDIS_URL": redis_url, "DATABASE_URL": database_url}
        env["PYTHONPATH"] = f"{ROOT / 'libs'}{os.pathsep}{ROOT}"
        with (
            executor(ground, redis_url=redis_url, database_url=database_url, log=folder / "log", **told) as trader,
            service("risk", env, folder / "risk"),
            service("scanner", env, folder / "scanner") as scanner,
        ):
            trader.start()
            await until(lambda: "capital_booked" in trader.words())  # Books of ladders are read when needed
            await until(lambda: "scan_summary" in scanner.read_text())
            yield ground, env


@pytest.mark.long
@pytest.mark.parametrize(("missed", "endings"), [(False, "'complete'"), (True, "'held', 'exited'")])
async def test_a_mispriced_ladder_is_found_sized_bought_and_told_of(
    redis_url: str, database_url: str, tmp_path: Path, missed: bool, endings: str
) -> None:
    async with trading(redis_url, database_url, tmp_path) as (ground, env):
        if missed:
            fault(ground, kind="order_refused", text=KILLED_FAK, after=1, count=1)
        await until(lambda: make_wrong(ground))
        await until(lambda: rows(database_url, f"SELECT 1 FROM sets WHERE ending IN ({endings})"))
        await until(lambda: not disagreements(ground, database_url))
        (found, worst), *_ = rows(
            database_url, f"SELECT opportunity_id, worst_loss FROM sets WHERE ending IN ({endings})"
        )
        words = await asyncio.to_thread(pm_arb, env, "trace", found)
        legs = rows(
            database_url,
            "SELECT leg->>'shares', leg->'leg'->>'slug' FROM sets, jsonb_array_elements(approval->'legs') AS leg "
            f"WHERE opportunity_id = '{found}'",
        )
        reasons = await asyncio.to_thread(pm_arb, env, "why", legs[1][1])
        ((spent,),) = rows(
            database_url,
            "SELECT sum(round(t.shares * t.price, 6) + t.fee) FROM trades t JOIN orders o USING (order_hash) "
            f"WHERE opportunity_id = '{found}' AND t.status <> 'failed' AND leg < 100",
        )
    assert len({shares for shares, _ in legs}) == 1
    assert f"worst_loss={worst}" in words, words
    assert "set ended" in words
    assert "leg 0: BUY" in words or "leg 1: BUY" in words, words
    assert "edge_after_leg_risk" in reasons, reasons
    assert ("missed" in words) is missed, words
    assert spent <= worst or not missed, "held to nothing it would lose more than was stated"
