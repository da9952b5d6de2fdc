"""The official client, unmodified but for its URLs, against a running sandbox."""

import asyncio
import dataclasses
import json
from decimal import ROUND_FLOOR, Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import sandboxes
from tests.starting import running_sandbox
from tests.waiting import PATIENCE_S, until

ROOT = Path(__file__).parents[2]

polymarket = pytest.importorskip("polymarket")


@pytest.fixture(scope="module")
def ready():
    """No order path, no hold; ten venue seconds a second."""
    with running_sandbox("--scenario", "instant", "--speed", "10", "--bankroll", "300") as made:
        yield made


@pytest.fixture(scope="module")
def quick():
    """Everything happens fifty times faster: for what takes minutes."""
    with running_sandbox("--scenario", "efficient", "--speed", "50", "--seed", "3") as made:
        yield made


def fresh_account(ready, signature_type: int) -> Any:
    reply = httpx.post(f"{ready['sandbox']}/accounts", json={"signature_type": signature_type})
    return reply.json()


async def client_of(ready, account):
    return await polymarket.AsyncSecureClient.create(
        private_key=account["private_key"], wallet=account["wallet"], environment=sandboxes.environment(ready)
    )


def next_window(ready, *, asset: str = "btc", minutes: int = 15) -> Any:
    """A window that has not begun: its price is a half and both sides are quoted."""
    now = int(httpx.get(f"{ready['clob']}/time").text)
    start = now // (60 * minutes) * 60 * minutes + 60 * minutes
    if start - now < 120:
        start += 60 * minutes
    return httpx.get(f"{ready['gamma']}/markets/slug/{asset}-updown-{minutes}m-{start}").json()


def tokens(market: Any) -> Any:
    return json.loads(market["clobTokenIds"])


def truth(ready, account) -> Any:
    return httpx.get(f"{ready['sandbox']}/accounts/{account['address']}").json()


def arm(ready, kind: str, **more) -> None:
    httpx.post(f"{ready['sandbox']}/faults", json={"kind": kind, **more}).raise_for_status()


def turn(ready, **knobs: float) -> None:
    httpx.post(f"{ready['sandbox']}/knobs", json=knobs).raise_for_status()


def event_of(ready, slug: str) -> Any:
    return httpx.get(f"{ready['gamma']}/events/slug/{slug}").json()


async def collect(paginator) -> list:
    return [item async for page in paginator for item in page.items]


def expected_fee(cost: Decimal, shares: Decimal, price: Decimal) -> Decimal:
    exact = shares * Decimal("0.07") * price * (1 - price)
    return exact.quantize(Decimal("0.00001"), rounding=ROUND_FLOOR)


@pytest.mark.parametrize("signature_type", [0, 1, 2, 3])
async def test_a_market_buy_costs_its_dollars_and_the_floored_fee(ready, signature_type):
    account = fresh_account(ready, signature_type)
    token = tokens(next_window(ready))[0]
    client = await client_of(ready, account)
    try:
        book = await client.get_order_book(asset_id=token)
        order = await client.create_market_order(asset_id=token, side="BUY", amount="5", max_price="0.60")
        reply = await client.post_order(order)
        assert reply.ok
        assert (reply.status, reply.making_amount) == ("matched", Decimal(5))
        trade = (await collect(client.list_account_trades()))[0]
        assert (trade.id, trade.size) == (reply.trade_ids[0], reply.taking_amount)
        balance = await client.get_balance_allowance(asset_type="COLLATERAL")
        fee = expected_fee(reply.making_amount, trade.size, trade.price)
        assert Decimal(balance.balance) / 10**6 == Decimal(300) - 5 - fee
        shares = await client.get_balance_allowance(asset_type="CONDITIONAL", asset_id=token)
        assert Decimal(shares.balance) / 10**6 == reply.taking_amount
        assert book.bids[-1].price < book.asks[-1].price
        positions = await collect(client.list_positions(user=account["wallet"]))
        assert (positions[0].asset_id, positions[0].entry_fees_usdc) == (token, fee)
        activity = await collect(client.list_activity(user=account["wallet"]))
        assert [row.type for row in activity] == ["TRADE", "DEPOSIT"]
        assert (await client.get_portfolio_value(user=account["wallet"])).value > 4
    finally:
        await client.close()


async def test_limit_orders_rest_are_listed_and_can_be_cancelled(ready):
    account = fresh_account(ready, 3)
    token = tokens(next_window(ready))[1]
    client = await client_of(ready, account)
    try:
        order = await client.create_limit_order(asset_id=token, side="BUY", price="0.31", size="10", post_only=True)
        reply = await client.post_order(order)
        assert reply.status == "live"
        listed = await collect(client.list_open_orders())
        assert [(row.id, row.price, row.original_size) for row in listed] == [
            (reply.order_id, Decimal("0.31"), Decimal(10))
        ]
        assert (await client.get_order(order_id=reply.order_id)).status == "LIVE"
        assert truth(ready, account)["reserved"] == "3.1"
        cancelled = await client.cancel_order(order_id=reply.order_id)
        assert cancelled.canceled == (reply.order_id,)
        again = await client.cancel_order(order_id=reply.order_id)
        assert again.not_canceled == {reply.order_id: "already canceled or matched"}
    finally:
        await client.close()


async def test_a_batch_answers_each_order(ready):
    account = fresh_account(ready, 3)
    token = tokens(next_window(ready))[0]
    client = await client_of(ready, account)
    try:
        good = await client.create_limit_order(asset_id=token, side="BUY", price="0.2", size="10")
        bad = await client.create_limit_order(asset_id=token, side="SELL", price="0.9", size="10")
        replies = await client.post_orders([good, bad])
        assert [reply.ok for reply in replies] == [True, False]
        assert replies[1].code == "not_enough_balance"
        assert len((await client.cancel_all()).canceled) == 1
    finally:
        await client.close()


async def test_refusals_reach_the_client_with_the_venues_texts(ready):
    account = fresh_account(ready, 0)
    token = tokens(next_window(ready))[0]
    client = await client_of(ready, account)
    try:
        order = await client.create_market_order(asset_id=token, side="BUY", amount="5", max_price="0.60")
        forged = dataclasses.replace(order, maker_amount=order.maker_amount + 10_000)
        signer = dataclasses.replace(order, signer=fresh_account(ready, 0)["address"])
        unfillable = await client.create_market_order(asset_id=token, side="BUY", amount="5", max_price="0.05")
        small = await client.create_limit_order(asset_id=token, side="BUY", price="0.5", size="4")
        for refused, text in (
            (forged, "invalid signature"),
            (signer, "the order signer address has to be the address of the API KEY"),
            (unfillable, "no orders found to match with FAK order"),
            (small, "lower than the minimum: 5"),
        ):
            with pytest.raises(polymarket.RequestRejectedError) as caught:
                await client.post_order(refused)
            assert (caught.value.status, text in str(caught.value)) == (400, True), str(caught.value)
        assert (await client.post_order(order)).ok
        with pytest.raises(polymarket.RequestRejectedError, match="Duplicated"):
            await client.post_order(order)
        counts = truth(ready, account)["post_count_by_order_id"]
        assert max(counts.values()) >= 2
    finally:
        await client.close()


async def test_keys_are_derived_by_a_real_login_and_strangers_start_empty(ready):
    stranger = "0x" + "42" * 32
    client = await polymarket.AsyncSecureClient.create(private_key=stranger, environment=sandboxes.environment(ready))
    try:
        assert (await client.get_balance_allowance(asset_type="COLLATERAL")).balance == 0
        assert not await client.get_closed_only_mode()
    finally:
        await client.close()


async def test_private_calls_need_true_credentials(ready):
    account = ready["accounts"][0]
    async with httpx.AsyncClient(base_url=ready["clob"]) as http:
        assert (await http.get("/data/orders")).status_code == 401
        headers = {"POLY_ADDRESS": account["address"], "POLY_API_KEY": account["api_key"], "POLY_TIMESTAMP": "1"}
        assert (await http.get("/data/orders", headers=headers)).status_code == 401
        login = headers | {"POLY_NONCE": "0", "POLY_SIGNATURE": "0x" + "00" * 65}
        reply = await http.post("/auth/api-key", headers=login)
        assert (reply.status_code, reply.json()) == (401, {"error": "Invalid L1 Request headers"})


async def test_heartbeats_chain_and_a_silent_key_loses_its_orders(ready):
    account = fresh_account(ready, 3)
    client = await client_of(ready, account)
    try:
        token = tokens(next_window(ready))[0]
        await client.post_order(await client.create_limit_order(asset_id=token, side="BUY", price="0.2", size="10"))
        first = await client.send_order_heartbeat()
        await client.send_order_heartbeat(heartbeat_id=first.heartbeat_id)
        with pytest.raises(polymarket.errors.OrderHeartbeatMismatchError):
            await client.send_order_heartbeat(heartbeat_id="wrong")
        await until(lambda: not truth(ready, account)["open_orders"])
    finally:
        await client.close()


# --- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "placed"),
    [("error_500_before", False), ("error_500_after", True), ("lost_reply", True), ("restart_425", False)],
)
async def test_a_fault_hides_or_prevents_an_order(ready, kind, placed):
    account = fresh_account(ready, 3)
    client = await client_of(ready, account)
    try:
        token = tokens(next_window(ready))[0]
        order = await client.create_market_order(asset_id=token, side="BUY", amount="5", max_price="0.60")
        arm(ready, kind)
        with pytest.raises(polymarket.errors.PolymarketError):
            await client.post_order(order)
        state = truth(ready, account)
        assert (len(state["trades"]) == 1) is placed
        assert list(state["post_count_by_order_id"].values()) == ([1] if placed else [])
    finally:
        await client.close()


async def test_a_reply_can_be_held_back_until_the_client_gives_up(ready):
    account = fresh_account(ready, 3)
    client = await client_of(ready, account)
    try:
        token = tokens(next_window(ready))[0]
        order = await client.create_market_order(asset_id=token, side="BUY", amount="5", max_price="0.60")
        arm(ready, "timeout_after_accept")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.post_order(order), 1.5)
        assert len(truth(ready, account)["trades"]) == 1
    finally:
        await client.close()


# --- delays, settlement ----------------------------------------------------------------------------------------------


async def test_a_duplicate_during_the_hold_is_refused_and_hanging_up_does_not_cancel(ready):
    account = fresh_account(ready, 3)
    client = await client_of(ready, account)
    turn(ready, hold_ms=40_000)
    try:
        token = tokens(next_window(ready))[0]
        order = await client.create_market_order(asset_id=token, side="BUY", amount="5", max_price="0.60")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.post_order(order), 1)
        assert truth(ready, account)["reserved"] != "0"
        with pytest.raises(polymarket.RequestRejectedError, match="Duplicated"):
            await client.post_order(order)
        held = truth(ready, account)["open_orders"][0]["id"]
        cancelled = await client.cancel_order(order_id=held)
        assert held in cancelled.not_canceled
        await until(lambda: truth(ready, account)["trades"])
    finally:
        turn(ready, hold_ms=0)
        await client.close()


async def test_a_window_settles_and_winners_are_redeemed_to_cash(quick):
    account = quick["accounts"][0]
    client = await client_of(quick, account)
    try:
        market = next_window(quick, minutes=5)
        for token in tokens(market):
            order = await client.create_market_order(asset_id=token, side="BUY", amount="5", max_price="0.90")
            assert (await client.post_order(order)).ok
        before = after = truth(quick, account)
        async with asyncio.timeout(PATIENCE_S):
            while Decimal(after["redeemed"]) == 0:
                await asyncio.sleep(0.1)
                after = truth(quick, account)
        closed = event_of(quick, market["slug"])
        metadata = closed["eventMetadata"]
        winner = 0 if metadata["finalPrice"] >= metadata["priceToBeat"] else 1
        assert json.loads(closed["markets"][0]["outcomePrices"])[winner] == "1"
        won = next(p for p in before["positions"] if p["token_id"] == tokens(market)[winner])
        assert after["redeemed"] == won["shares"]
        assert Decimal(after["cash"]) == Decimal(before["cash"]) + Decimal(won["shares"])
        assert not after["positions"]
        assert all(trade["status"] == "CONFIRMED" for trade in after["trades"])
        activity = await collect(client.list_activity(user=account["wallet"]))
        assert [row.type for row in activity].count("REDEEM") == 2
    finally:
        await client.close()


async def test_the_clients_own_streams_read_the_sandbox(ready):
    from polymarket.streams import MarketSpec, UserSpec

    account = fresh_account(ready, 3)
    client = await client_of(ready, account)
    try:
        token = tokens(next_window(ready))[0]
        seen: set[str] = set()
        async with await client.subscribe([MarketSpec(asset_ids=[token]), UserSpec()]) as handle:
            order = await client.create_limit_order(asset_id=token, side="BUY", price="0.2", size="10")
            await asyncio.sleep(0.3)
            await client.post_order(order)
            async with asyncio.timeout(PATIENCE_S):
                async for event in handle:
                    seen.add(f"{event.topic} {event.type}")
                    if {"market book", "user order"} <= seen:
                        break
    finally:
        await client.close()
