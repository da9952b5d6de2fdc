"""Pairs of YES and NO become dollars through the relayer: once, whatever dies in between, and every book agrees."""

import asyncio
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from pmarb.bus.streams import RedisBus
from pmarb.db import control
from pmarb.db import portfolio as stored
from pmarb.db.pool import Connection
from pmarb.domain.market import MarketInfo
from pmarb.domain.messages import Alert, AlertKind, Merge, Stream
from pmarb.domain.values import ZERO
from pmarb.venue import sdk
from pmarb.venue.trading import SdkVenue, Wallet
from services.risk.portfolio import Portfolio
from services.risk.rebuild import rebuilt
from tests.executors import ExecutorProcess, Ground, balance, disagreements, executor, rows
from tests.starting import finished, running_sandbox
from tests.waiting import until

SPEED = 20
pytestmark = [pytest.mark.timeout(300), pytest.mark.long]


@pytest.fixture
def ground() -> Iterator[Ground]:
    options = ("--seed", "33", "--scenario", "slow_makers", "--bankroll", "1000", "--families", "5m,15m")
    with running_sandbox(*options, "--speed", str(SPEED)) as ready, Ground(ready=ready) as found:
        yield found


@pytest.fixture
def process(ground: Ground, redis_url: str, database_url: str, tmp_path: Path) -> Iterator[ExecutorProcess]:
    with executor(ground, redis_url=redis_url, database_url=database_url, log=tmp_path / "log") as found:
        found.start()
        found.ready()
        yield found


def undecided(ground: Ground, market: MarketInfo) -> bool:
    """Whether both outcomes will be on offer for some time yet."""
    asks = [ground.best_ask(outcome.token) for outcome in market.outcomes]
    return all(found is not None and Decimal("0.25") < found[0] < Decimal("0.75") for found in asks)


async def both_bought(ground: Ground, bus: RedisBus, database_url: str, *, family: str = "15m") -> MarketInfo:
    """Both outcomes of one market, confirmed and ours."""
    market: MarketInfo = await until(
        lambda: next((m for m in ground.markets(left_s=200) if m.family == family and undecided(ground, m)), None)
    )
    for outcome in market.outcomes:
        filled = f"SELECT 1 FROM orders WHERE state = 'FILLED' AND token = '{outcome.token}'"
        for _ in range(200):
            offered = ground.best_ask(outcome.token)
            if offered is not None and Decimal("0.05") < offered[0] < Decimal("0.9"):
                await bus.publish(ground.approval(market, outcome.token, outcome.label, *offered, lives_s=60))
                await until(
                    lambda: not rows(database_url, "SELECT 1 FROM orders WHERE state NOT IN ('FILLED', 'REJECTED')")
                )
            if rows(database_url, filled):
                break
            await asyncio.sleep(0.1)
        else:
            pytest.fail(f"no {outcome.label} was to be had")
    return market


def fault(ground: Ground, **spec: Any) -> None:
    ground.http.post(f"{ground.ready['sandbox']}/faults", json=spec).raise_for_status()


def listed(ground: Ground) -> Any:
    """Merges that the venue made."""
    wallet = ground.ready["accounts"][0]["wallet"]
    return ground.get(f"{ground.ready['data']}/activity", user=wallet, type="MERGE")


def audited(ground: Ground, database_url: str) -> str:
    """What `pm-arb audit` says when it is not content."""
    env = os.environ | {"DATABASE_URL": database_url, "SANDBOX_URL": ground.ready["clob"]}
    done = finished("services.cli", ["audit"], env=env, timeout=60)
    return "" if done.returncode == 0 else done.stdout + done.stderr


async def seen_by_risk(database_url: str, *, now: int) -> Portfolio:
    async with await Connection.connect(database_url, autocommit=True) as connection:
        return rebuilt(await stored.load(connection, since=0), [], now=now)


async def test_pairs_become_dollars_and_all_books_agree(
    ground: Ground, process: ExecutorProcess, redis_bus: RedisBus, database_url: str
) -> None:
    market = await both_bought(ground, redis_bus, database_url, family="5m")
    await until(lambda: rows(database_url, "SELECT 1 FROM merges"))
    ((pairs, cash, sides),) = rows(database_url, "SELECT max(shares), sum(payout), count(*) FROM merges")
    bought = dict(
        rows(database_url, "SELECT token, sum(t.shares) FROM trades t JOIN orders USING (order_hash) GROUP BY 1")
    )
    assert (pairs, cash, sides) == (min(bought.values()), min(bought.values()), 2)
    assert [Decimal(str(row["size"])) for row in listed(ground)] == [pairs]
    await until(lambda: not disagreements(ground, database_url))
    assert audited(ground, database_url) == ""
    (told,) = [m for m in await redis_bus.tail(Stream.FILLS, since_ns=0) if isinstance(m, Merge)]
    ((pnl,),) = rows(database_url, "SELECT sum(pnl) FROM merges")
    assert (told.payout, told.pnl) == (pairs, pnl)
    seen = await seen_by_risk(database_url, now=ground.clock.now())
    fees = rows(database_url, "SELECT sum(t.fee) - (SELECT sum(fees) FROM merges) FROM trades t")[0][0]
    assert seen.realised == pnl
    assert abs(seen.exposed(ground.clock.now()).total - balance(database_url, "confirmed") - fees) < Decimal("0.0001")

    await asyncio.sleep(max(market.closes_at - ground.clock.now(), 0) / 1e9 / SPEED + 0.2)
    ground.http.post(f"{ground.ready['sandbox']}/markets/{market.slug}/resolve", json={"outcome": 0}).raise_for_status()
    await until(lambda: rows(database_url, "SELECT 1 FROM settlements HAVING count(*) = 2 AND min(redeemed_at) > 0"))
    held = dict(rows(database_url, "SELECT token, shares FROM settlements"))
    assert held == {token: shares - pairs for token, shares in bought.items()}
    assert balance(database_url, "confirmed", "redeemable") == ZERO
    assert audited(ground, database_url) == ""


async def test_a_merge_that_pays_nothing_is_told_and_books_nothing(
    ground: Ground, process: ExecutorProcess, redis_bus: RedisBus, database_url: str
) -> None:
    fault(ground, kind="merge_empty")
    await both_bought(ground, redis_bus, database_url)
    await until(lambda: rows(database_url, "SELECT 1 FROM merge_log WHERE step = 'unpaid'"))
    assert rows(database_url, "SELECT 1 FROM merges") == []
    assert rows(database_url, "SELECT 1 FROM entries WHERE kind = 'merge'") == []
    assert audited(ground, database_url) == ""
    alerts = [m for m in await redis_bus.tail(Stream.ALERTS, since_ns=0) if isinstance(m, Alert)]
    assert [(m.kind, m.title) for m in alerts] == [(AlertKind.UNPAID, "A merge was not paid")]
    await until(lambda: rows(database_url, "SELECT 1 FROM merges"))
    assert len(listed(ground)) == 1
    assert audited(ground, database_url) == ""


async def test_a_small_gap_in_the_cash_halts_but_does_not_keep_a_merge_from_being_booked(
    ground: Ground, process: ExecutorProcess, redis_bus: RedisBus, database_url: str
) -> None:
    await both_bought(ground, redis_bus, database_url)
    control.deposit(database_url, usd=Decimal("0.46"), who="test", why="never came", now=ground.clock.now())
    await until(lambda: rows(database_url, "SELECT 1 FROM merges"))
    await until(lambda: rows(database_url, "SELECT 1 FROM trading_state WHERE state = 'HALTED' AND why LIKE '%cash:%'"))
    ((gap,),) = rows(database_url, "SELECT sum(amount) FROM postings WHERE account IN ('cash', 'reserved')")
    assert gap - Decimal(ground.truth()["cash"]) == Decimal("0.46")


async def test_another_fee_after_a_merge_is_booked_by_the_balance_and_halts(
    ground: Ground, process: ExecutorProcess, redis_bus: RedisBus, database_url: str
) -> None:
    """The venue shows the fees of what is held, and says nothing of how a merge divided them."""
    market = await both_bought(ground, redis_bus, database_url)
    await until(lambda: rows(database_url, "SELECT 1 FROM merges"))
    fault(ground, kind="market_changed", market="*", fee_rate=0.1)
    traded = f"SELECT 1 FROM trades JOIN orders USING (order_hash) WHERE market = '{market.condition_id}'"
    before = len(rows(database_url, traded))
    while len(rows(database_url, traded)) == before:
        outcome = market.outcomes[0]
        offered = ground.best_ask(outcome.token)
        if offered is not None and Decimal("0.05") < offered[0] < Decimal("0.9"):
            await redis_bus.publish(ground.approval(market, outcome.token, outcome.label, *offered, lives_s=60))
        await asyncio.sleep(0.3)
    await until(lambda: rows(database_url, "SELECT 1 FROM trading_state WHERE state = 'HALTED'"))
    await until(lambda: rows(database_url, "SELECT 1 FROM entries WHERE kind = 'fee'"))
    await until(lambda: disagreements(ground, database_url) == [])
    ((charged,),) = rows(database_url, "SELECT sum(amount) FROM postings WHERE account = 'fees'")
    assert abs(charged - Decimal(ground.truth()["fees_paid"])) < Decimal("0.001")


async def test_a_kill_between_asking_and_booking_merges_and_books_once(
    ground: Ground, process: ExecutorProcess, redis_bus: RedisBus, database_url: str
) -> None:
    fault(ground, kind="late_accept", call="other", path="/relayer/submit", delay_ms=3000)
    await both_bought(ground, redis_bus, database_url)
    await until(lambda: ground.get(f"{ground.ready['sandbox']}/faults")["struck"].get("late_accept"))
    process.kill9()
    assert rows(database_url, "SELECT step FROM merge_log") == [("asked",)]
    assert rows(database_url, "SELECT 1 FROM merges") == []
    process.start()
    await until(lambda: rows(database_url, "SELECT 1 FROM merges"))
    await asyncio.sleep(100 / SPEED)  # Longer than until the next asking
    assert len(listed(ground)) == 1
    assert rows(database_url, "SELECT step FROM merge_log ORDER BY id") == [("asked",), ("booked",)]
    assert rows(database_url, "SELECT count(*) FROM entries WHERE kind = 'merge'") == [(1,)]
    await until(lambda: not disagreements(ground, database_url))
    assert audited(ground, database_url) == ""


async def test_a_merge_that_somebody_else_made_of_ours_is_booked_too(
    ground: Ground, process: ExecutorProcess, redis_bus: RedisBus, database_url: str
) -> None:
    market = await both_bought(ground, redis_bus, database_url)
    process.kill9()
    assert rows(database_url, "SELECT 1 FROM merge_log") == []
    names = ("clob", "gamma", "data", "relayer", "rpc", "ws_market", "ws_user", "rtds")
    entry = ground.ready["accounts"][0]
    other = await SdkVenue.connect(
        sdk.Urls(**{name: ground.ready[name] for name in names}),
        Wallet(
            private_key=SecretStr(entry["private_key"]), funder=entry["wallet"], relayer_key=SecretStr("sandbox")
        ), ground.clock,
    )  # fmt: skip
    try:
        await other.merge({market.condition_id: Decimal(3)})
    finally:
        await other.close()
    process.start()
    await until(lambda: rows(database_url, "SELECT 1 FROM merges HAVING count(DISTINCT merge_id) = 2"))
    held = rows(database_url, "SELECT token, sum(t.shares) FROM trades t JOIN orders USING (order_hash) GROUP BY 1")
    least = min(shares for _, shares in held)
    found = rows(database_url, "SELECT max(shares), count(*) FROM merges GROUP BY merge_id ORDER BY 1")
    assert found == sorted([(Decimal(3), 2), (least - 3, 2)])
    assert rows(database_url, "SELECT 1 FROM foreign_movements") == []
    await until(lambda: not disagreements(ground, database_url))
    assert audited(ground, database_url) == ""
