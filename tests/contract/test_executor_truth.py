"""The executor against a venue that does something else than it believes: it notices, says both sides, and stops."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from pmarb.bus.streams import RedisBus
from pmarb.db.ledger import LedgerBook
from pmarb.db.orders import Context, Orders
from pmarb.db.pool import Pool, open_pool
from pmarb.domain import ledger
from pmarb.domain.fees import FREE
from pmarb.domain.messages import Alert, AlertKind, Approval, Halt, Stream
from pmarb.domain.orders import Order, OrderType
from pmarb.domain.values import Side
from pmarb.venue import sdk
from pmarb.venue.port import Intent, PostAccepted, Signed
from pmarb.venue.trading import SdkVenue, Wallet
from services.executor.decide import exact_step
from tests.executors import ExecutorProcess, Ground, balance, executor, rows
from tests.sandboxes import eventually
from tests.starting import running_sandbox
from tests.waiting import until

SPEED = 15
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    options = (
        "--seed",
        "21",
        "--speed",
        str(SPEED),
        "--scenario",
        "slow_makers",
        "--bankroll",
        "1000",
        "--families",
        "5m",
    )
    with running_sandbox(*options) as ready, Ground(ready=ready) as found:
        yield found


@pytest.fixture
def process(ground: Ground, redis_url: str, database_url: str, tmp_path: Path) -> Iterator[ExecutorProcess]:
    with executor(ground, redis_url=redis_url, database_url=database_url, log=tmp_path / "log") as found:
        found.start()
        found.ready()
        yield found


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    found = await open_pool(database_url, size=1)
    yield found
    await found.close()


@pytest.fixture(autouse=True)
def disarmed(ground: Ground) -> Iterator[None]:
    yield
    ground.http.delete(f"{ground.ready['sandbox']}/faults").raise_for_status()
    ground.knobs(redeem_after_s=10)


async def one_approval(ground: Ground) -> Approval:
    """For a token that no earlier test left in the wallet."""
    for _ in range(200):
        held = {position["token_id"] for position in ground.truth()["positions"]}
        for approval in ground.approvals(lives_s=600):
            if approval.legs[0].leg.token not in held:
                return approval
        await asyncio.sleep(0.1)
    pytest.fail("nothing is offered at a middle price")


def state(database_url: str) -> tuple[str, str, str]:
    (found,) = rows(database_url, "SELECT state, who, why FROM trading_state")
    return found


async def halted(database_url: str, word: str) -> str:
    await until(lambda: state(database_url)[0] == "HALTED")
    _, who, why = state(database_url)
    assert who == "executor"
    assert why.startswith(word)
    return why


def foreign_usd(database_url: str) -> Any:
    return rows(database_url, "SELECT coalesce(sum(usd), 0) FROM foreign_movements")[0][0]


def fault(ground: Ground, **spec: Any) -> None:
    ground.http.post(f"{ground.ready['sandbox']}/faults", json=spec).raise_for_status()


async def bought(ground: Ground, bus: RedisBus, database_url: str) -> Approval:
    """A confirmed position; an order may miss, or come when its window has closed."""
    sent: dict[str, Approval] = {}
    for _ in range(20):
        approval = await one_approval(ground)
        sent[approval.opportunity_id] = approval
        await bus.publish(approval)
        for _ in range(60):
            filled = rows(database_url, "SELECT opportunity_id FROM orders WHERE state = 'FILLED'")
            for (opportunity_id,) in filled:
                if opportunity_id in sent:  # And not of an approval that the test sent before
                    return sent[opportunity_id]
            await asyncio.sleep(0.05)
    pytest.fail("no order was filled")


async def a_trade_of(other: SdkVenue, ground: Ground) -> Signed:
    """A match without the executor; the book may move before an order arrives."""
    for _ in range(20):
        leg = (await one_approval(ground)).legs[0]
        shares = max(exact_step(leg.limit), Decimal(10))
        intent = Intent(
            market=leg.leg.market, token=leg.leg.token, side=Side.BUY, order_type=OrderType.FAK, limit=leg.limit,
            usd=shares * leg.limit, shares=shares,
        )  # fmt: skip
        signed = other.seal(await other.draft(intent))
        if isinstance(await other.post(signed), PostAccepted):
            return signed
    pytest.fail("nothing was matched")


async def test_a_trade_of_somebody_else_in_the_wallet_is_told_apart(
    ground: Ground, process: ExecutorProcess, database_url: str
) -> None:
    names = ("clob", "gamma", "data", "relayer", "rpc", "ws_market", "ws_user", "rtds")
    entry = ground.ready["accounts"][0]
    other = await SdkVenue.connect(
        sdk.Urls(**{name: ground.ready[name] for name in names}),
        Wallet(private_key=SecretStr(entry["private_key"]), funder=entry["wallet"]), ground.clock,
    )  # fmt: skip
    try:
        signed = await a_trade_of(other, ground)
    finally:
        await other.close()
    ((order_hash, moved),) = await until(
        lambda: rows(database_url, "SELECT order_hash, usd FROM foreign_movements WHERE kind = 'trade'")
    )
    assert (order_hash, moved < 0) == (signed.order_hash, True)
    await asyncio.sleep(90 / SPEED)  # Longer than a difference may last
    assert rows(database_url, "SELECT 1 FROM orders") == []
    assert state(database_url)[0] == "ACTIVE", process.words()[-3000:]


async def test_a_fee_that_is_not_ours_is_booked_as_charged_and_halts(
    ground: Ground, process: ExecutorProcess, redis_bus: RedisBus, database_url: str
) -> None:
    fault(ground, kind="market_changed", market="*", fee_rate=0.1)
    await bought(ground, redis_bus, database_url)
    why = await halted(database_url, "fee_mismatch: ")
    assert "the venue charged" in why
    truth = ground.truth()
    charged = {trade["id"]: Decimal(trade["fee"]) for trade in truth["trades"]}
    booked = dict(rows(database_url, "SELECT trade_id, fee FROM trades"))
    assert booked == {trade_id: charged[trade_id] for trade_id in booked}
    assert balance(database_url, "fees") == sum(booked.values())
    fault(ground, kind="market_changed", market="*", fee_rate=0.07)


async def test_a_match_whose_trade_never_appears_is_told_and_then_halts(
    ground: Ground, process: ExecutorProcess, redis_bus: RedisBus, database_url: str, pool: Pool
) -> None:
    approval = await one_approval(ground)
    leg = approval.legs[0].leg
    order = Order(
        order_hash="0xlost", opportunity_id="lost", leg=0, market=leg.market, token=leg.token, side=Side.BUY,
        order_type=OrderType.FAK, limit_price=leg.limit, shares=Decimal(5), usd=Decimal(1), reserved=Decimal(1),
        expires_at=0,
    )  # fmt: skip
    context = Context(
        slug=approval.slug, event="e", underlying="BTC", family="5m", outcome="Up", fees=FREE, fair=Decimal("0.5"),
        expiry=approval.expiry, created_at=ground.clock.now(),
    )  # fmt: skip
    orders = Orders(pool)
    await orders.insert(order, context)
    await orders.change("0xlost", lambda o, _: (replace(o, state=o.state.MATCHED), ()), now=ground.clock.now())
    assert "0xlost" in await halted(database_url, "ledger_mismatch: ")
    told = [m for m in await redis_bus.tail(Stream.ALERTS, since_ns=0) if isinstance(m, Alert)]
    assert [(m.kind, "0xlost" in m.body) for m in told] == [(AlertKind.MISMATCH, True)]


async def test_cash_that_the_venue_does_not_have_halts_with_both_sides(
    ground: Ground, process: ExecutorProcess, redis_bus: RedisBus, database_url: str, pool: Pool
) -> None:
    entry = ledger.deposit(ref="imagined", amount=Decimal(5), ts_event=ground.clock.now())
    await LedgerBook(pool).post(entry)
    why = await halted(database_url, "ledger_mismatch: cash: ")
    theirs = Decimal(ground.truth()["cash"])
    assert f"ledger ${theirs + 5}" in why
    assert f"venue ${theirs}" in why
    (said,) = [m for m in await redis_bus.tail(Stream.CONTROL, since_ns=0) if isinstance(m, Halt)]
    assert (said.who, said.clears_at) == ("executor", 0)


@pytest.mark.long
async def test_winnings_are_redeemed_and_a_redemption_that_pays_nothing_is_none(
    ground: Ground, process: ExecutorProcess, redis_bus: RedisBus, database_url: str
) -> None:
    ground.knobs(redeem_after_s=10**9)  # Nobody redeems for us
    approval = await bought(ground, redis_bus, database_url)
    fault(ground, kind="redemption_empty")
    market = next(m for m in ground.markets(left_s=0) if m.slug == approval.slug)
    outcome = [each.token for each in market.outcomes].index(approval.legs[0].leg.token)
    until_end = (market.closes_at - ground.clock.now()) / 1e9 / SPEED
    await asyncio.sleep(max(until_end, 0) + 0.2)
    ground.http.post(f"{ground.ready['sandbox']}/markets/{market.slug}/resolve", json={"outcome": outcome})
    await until(lambda: rows(database_url, "SELECT 1 FROM settlements WHERE dispute <> '' AND redeemed_at = 0"))
    alerts = [m for m in await redis_bus.tail(Stream.ALERTS, since_ns=0) if isinstance(m, Alert)]
    assert AlertKind.UNPAID in [m.kind for m in alerts]
    await until(lambda: rows(database_url, "SELECT 1 FROM settlements WHERE redeemed_at > 0 AND dispute = ''"))
    # Earlier tests left shares in this wallet that this ledger never knew: what they pay is told apart
    await until(lambda: balance(database_url, "cash") + foreign_usd(database_url) == Decimal(ground.truth()["cash"]))
    assert balance(database_url, "redeemable") == 0


async def test_a_venue_that_takes_no_orders_is_waited_for(
    ground: Ground, process: ExecutorProcess, redis_bus: RedisBus, database_url: str
) -> None:
    fault(ground, kind="cancel_only", seconds=3600)
    for _ in range(30):  # Until one is sent: prices move away from others
        await redis_bus.publish(await one_approval(ground))
        await asyncio.sleep(1)
        if "event=venue_paused" in process.words():
            break
    assert "event=venue_paused" in process.words()

    async def skipped() -> bool:
        """A pause without advice is five seconds of the venue, a third of one here: it may be over, and begin anew."""
        await redis_bus.publish(*ground.approvals(lives_s=600))
        return "skipped: venue_paused" in process.words()

    await eventually(skipped)
    assert {state for (state,) in rows(database_url, "SELECT state FROM orders")} <= {"REJECTED", "SUBMITTING"}
    ground.http.delete(f"{ground.ready['sandbox']}/faults").raise_for_status()
    await asyncio.sleep(6 / SPEED)
    await bought(ground, redis_bus, database_url)
    assert process.words().count("event=venue_paused") == 1
    assert "venue_open" in process.words()
