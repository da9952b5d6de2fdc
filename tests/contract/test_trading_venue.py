"""The official client behind our port, against a running sandbox; the paper venue keeps the same promises."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from decimal import Decimal
from importlib.metadata import version

import pytest
from polymarket._internal.environment import PRODUCTION_CONFIG, get_environment_config
from pydantic import SecretStr

from pmarb.domain.orders import FillStatus, OrderState, OrderType
from pmarb.domain.values import Side, round_up
from pmarb.venue import sdk
from pmarb.venue.port import (
    Intent,
    PostAccepted,
    PostIndeterminate,
    PostPaused,
    PostRefused,
    Sightings,
    VenueUnavailable,
)
from pmarb.venue.replies import NO_MATCH
from pmarb.venue.trading import SdkVenue, Wallet, WrongWallet
from services.executor.decide import exact_step
from tests.executors import Ground
from tests.starting import running_sandbox

DEPOSIT_WALLET, EOA = 0, 1


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    options = ("--seed", "3", "--speed", "10", "--scenario", "slow_makers", "--bankroll", "1000")
    with running_sandbox(*options) as ready, Ground(ready=ready) as found:
        yield found


def urls_of(ground: Ground) -> sdk.Urls:
    names = ("clob", "gamma", "data", "relayer", "rpc", "ws_market", "ws_user", "rtds")
    return sdk.Urls(**{name: ground.ready[name] for name in names})


def wallet_of(ground: Ground, account: int) -> Wallet:
    entry = ground.ready["accounts"][account]
    return Wallet(private_key=SecretStr(entry["private_key"]), funder=entry["wallet"])


@pytest.fixture(params=[DEPOSIT_WALLET, EOA], ids=["deposit_wallet", "eoa"])
async def venue(ground: Ground, request: pytest.FixtureRequest) -> AsyncIterator[SdkVenue]:
    venue = await SdkVenue.connect(urls_of(ground), wallet_of(ground, request.param), ground.clock)
    yield venue
    await venue.close()


@pytest.fixture
async def trader(ground: Ground) -> AsyncIterator[SdkVenue]:
    """The deposit wallet, impatient, so that a held reply does not hold up the test."""
    venue = await SdkVenue.connect(urls_of(ground), wallet_of(ground, DEPOSIT_WALLET), ground.clock, answer_within=1.5)
    yield venue
    await venue.close()


async def an_intent(ground: Ground, *, over: str = "0.05", kind: OrderType = OrderType.FAK) -> Intent:
    """A BUY that crosses the book of the most undecided window by `over`, or stays below it."""
    for _ in range(40):
        offers = [
            (abs(found[0] - Decimal("0.5")), market.condition_id, outcome.token, found[0])
            for market in ground.markets()
            for outcome in market.outcomes
            if (found := ground.best_ask(outcome.token)) is not None
        ]
        if offers and min(offers)[0] < Decimal("0.3"):
            return _crossing(*min(offers)[1:], over=Decimal(over), kind=kind)
        await asyncio.sleep(0.5)
    pytest.fail("no window with a price in the middle")


def _crossing(market: str, token: str, ask: Decimal, *, over: Decimal, kind: OrderType) -> Intent:
    limit = min(ask.quantize(Decimal("0.01")) + over, Decimal("0.98"))
    shares = round_up(max(Decimal(6), Decimal("1.5") / limit), max(exact_step(limit), Decimal(1)))
    return Intent(
        market=market, token=token, side=Side.BUY, order_type=kind, limit=limit, usd=shares * limit, shares=shares
    )


def test_the_client_is_the_release_whose_private_parts_we_know() -> None:
    assert version("polymarket-client") == sdk.PINNED


def test_every_address_of_the_client_is_redirected() -> None:
    urls = sdk.Urls(**dict.fromkeys(sdk.Urls.__dataclass_fields__, "http://nowhere.invalid"))
    config = get_environment_config(sdk.environment(urls))
    addresses = [name for name in type(config).__dataclass_fields__ if name.endswith("_url")]
    assert len(addresses) >= 15
    assert {getattr(config, name) for name in addresses} == {"http://nowhere.invalid"}
    assert PRODUCTION_CONFIG.clob_url == sdk.PRODUCTION.clob == "https://clob.polymarket.com"


async def test_our_hash_is_the_venues_order_id_for_both_kinds_of_wallet(ground: Ground, venue: SdkVenue) -> None:
    signed = venue.seal(await venue.draft(await an_intent(ground)))
    await venue.post(signed)
    account = next(i for i, a in enumerate(ground.ready["accounts"]) if a["wallet"] == venue.wallet)
    assert ground.truth(account)["post_count_by_order_id"][signed.order_hash] == 1


async def test_a_fill_is_told_to_the_millionth(ground: Ground, venue: SdkVenue) -> None:
    before = await venue.cash()
    intent = await an_intent(ground, over="0.15")
    signed = venue.seal(await venue.draft(intent))
    answer = await venue.post(signed)
    assert isinstance(answer, PostAccepted)
    assert answer.state is OrderState.MATCHED
    (found,) = [t for t in await venue.trades(since_ns=0) if t.order_hash == signed.order_hash]
    assert (found.trade.shares, found.trade.notional) == (answer.shares, answer.usd)
    assert found.token == intent.token
    assert await venue.cash() == before - found.trade.notional - found.trade.fee
    held = {p.token: p.shares for p in await venue.positions()}
    assert held[intent.token] >= answer.shares


async def final_status(venue: SdkVenue, order_hash: str) -> FillStatus:
    status = FillStatus.PROVISIONAL
    for _ in range(100):
        (status,) = [t.trade.status for t in await venue.trades(since_ns=0) if t.order_hash == order_hash]
        if status is not FillStatus.PROVISIONAL:
            break
        await asyncio.sleep(0.1)
    return status


async def matched(ground: Ground, trader: SdkVenue, *, fault: str = "") -> str:
    """The hash of an order that was matched; while one travels on a busy machine the market may move away."""
    for _ in range(5):
        signed = trader.seal(await trader.draft(await an_intent(ground, over="0.3")))
        if fault:
            ground.fault(fault)
        if isinstance(await trader.post(signed), PostAccepted):
            return signed.order_hash
        ground.http.delete(f"{ground.ready['sandbox']}/faults").raise_for_status()
    pytest.fail("the market moved away five times")


async def test_a_trade_climbs_to_confirmed(ground: Ground, trader: SdkVenue) -> None:
    assert await final_status(trader, await matched(ground, trader)) is FillStatus.CONFIRMED


async def test_a_ghost_fill_ends_failed(ground: Ground, trader: SdkVenue) -> None:
    assert await final_status(trader, await matched(ground, trader, fault="ghost_fill")) is FillStatus.FAILED


async def test_a_missed_fak_is_refused_with_a_prefix_of_its_own(ground: Ground, trader: SdkVenue) -> None:
    answer = await trader.post(trader.seal(await trader.draft(await an_intent(ground, over="-0.15"))))
    assert isinstance(answer, PostRefused)
    assert answer.reason.startswith(NO_MATCH)


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("timeout_after_accept", PostIndeterminate),
        ("error_500_before", PostIndeterminate),
        ("error_500_after", PostIndeterminate),
        ("lost_reply", PostIndeterminate),
        ("restart_425", PostPaused),
    ],
)
async def test_only_a_proven_refusal_is_one(ground: Ground, trader: SdkVenue, fault: str, outcome: type) -> None:
    signed = trader.seal(await trader.draft(await an_intent(ground, over="0.1")))
    ground.fault(fault)
    answer = await trader.post(signed)
    assert isinstance(answer, outcome)
    ground.http.delete(f"{ground.ready['sandbox']}/faults")


async def test_the_same_order_again_is_no_proof_of_absence(ground: Ground, trader: SdkVenue) -> None:
    signed = trader.seal(await trader.draft(await an_intent(ground, over="0.1")))
    await trader.post(signed)
    assert isinstance(await trader.post(signed), PostIndeterminate)


async def test_an_order_leaves_when_it_may_and_not_without(ground: Ground, trader: SdkVenue) -> None:
    signed = trader.seal(await trader.draft(await an_intent(ground, over="-0.15", kind=OrderType.GTC)))
    seen: list[int] = []

    async def refused() -> bool:
        return False

    async def late() -> bool:
        await asyncio.sleep(0.2)
        seen.append(len(await trader.open_orders()))
        return True

    assert await trader.post(signed, permit=refused) is None
    before = ground.clock.real()
    answer = await trader.post(signed, permit=late)
    assert seen == [0]
    assert isinstance(answer, PostAccepted)
    assert before + 200_000_000 <= answer.sent_real <= ground.clock.real()
    assert [order.order_hash for order in await trader.open_orders()] == [signed.order_hash]
    assert await trader.cancel_all() == {}


async def test_a_resting_order_is_listed_and_cancelled(ground: Ground, trader: SdkVenue) -> None:
    intent = await an_intent(ground, over="-0.15", kind=OrderType.GTC)
    signed = trader.seal(await trader.draft(intent))
    answer = await trader.post(signed)
    assert isinstance(answer, PostAccepted)
    assert answer.state is OrderState.LIVE
    assert [order.order_hash for order in await trader.open_orders()] == [signed.order_hash]
    assert await trader.cancel_all() == {}
    assert await trader.open_orders() == []


async def test_an_order_that_the_client_would_round_is_not_signed(ground: Ground, trader: SdkVenue) -> None:
    intent = await an_intent(ground)
    with pytest.raises(ValueError, match="planned"):
        trader.seal(await trader.draft(replace(intent, usd=intent.usd + Decimal("0.001"))))


async def test_a_venue_that_is_away_teaches_nothing(ground: Ground, trader: SdkVenue) -> None:
    signed = trader.seal(await trader.draft(await an_intent(ground)))
    nowhere = replace(urls_of(ground), clob="http://127.0.0.1:9", data="http://127.0.0.1:9")
    entry = ground.ready["accounts"][0]
    wallet = replace(
        wallet_of(ground, 0), api_key=SecretStr(entry["api_key"]), api_secret=SecretStr(entry["secret"]),
        api_passphrase=SecretStr(entry["passphrase"]),
    )  # fmt: skip
    away = await SdkVenue.connect(nowhere, wallet, ground.clock)
    answer = await away.post(signed)
    assert isinstance(answer, PostPaused)  # It never left, so it is certainly not there
    assert (answer.reason[:12], answer.sent_real) == ("not reached:", 0)
    for read in (away.open_orders(), away.trades(since_ns=0), away.cash(), away.positions(), away.cancel_all()):
        with pytest.raises(VenueUnavailable):
            await read
    await away.close()


async def test_what_is_no_key_is_said_and_not_retried(ground: Ground) -> None:
    with pytest.raises(WrongWallet):
        await SdkVenue.connect(urls_of(ground), Wallet(private_key=SecretStr("0x12"), funder=None), ground.clock)
    wrong = replace(wallet_of(ground, EOA), signature_type=3)
    with pytest.raises(WrongWallet, match="SIGNATURE_TYPE"):
        await SdkVenue.connect(urls_of(ground), wrong, ground.clock)


async def test_the_user_stream_wakes_on_a_fill(ground: Ground, trader: SdkVenue) -> None:
    woken: list[float] = []
    reading = asyncio.create_task(trader.user_stream(lambda: woken.append(0.0), Sightings()).run())
    for _ in range(100):
        if woken:
            break
        await asyncio.sleep(0.02)
    before = len(woken)
    await trader.post(trader.seal(await trader.draft(await an_intent(ground, over="0.1"))))
    await asyncio.sleep(0.3)
    reading.cancel()
    await asyncio.wait({reading})
    assert len(woken) > before
