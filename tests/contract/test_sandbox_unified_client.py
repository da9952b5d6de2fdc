"""The unified official client, sync and async, unmodified: trading, chain operations through the relayer, streams."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests import sandboxes
from tests.starting import running_sandbox
from tests.waiting import PATIENCE_S, until

polymarket = pytest.importorskip("polymarket")
MICRO = 10**6


@pytest.fixture(scope="module")
def ready():
    """Nothing is redeemed unless the client asks for it."""
    options = ("--scenario", "instant", "--speed", "10", "--families", "5m,15m,range,positions,plain,augmented")
    with running_sandbox(*options) as made:
        sandboxes.control(made, "/knobs", redeem_after_s=10**9)
        yield made


@contextmanager
def connected(ready, signature_type: int) -> Iterator[tuple[Any, Any]]:
    """(sync client with a key for the relayer, account)."""
    account = sandboxes.fresh_account(ready, signature_type)
    environment = sandboxes.environment(ready)
    wallet = {"wallet": account["wallet"]}
    with polymarket.SecureClient.create(private_key=account["private_key"], environment=environment, **wallet) as first:
        key = first.create_builder_api_key()
        with polymarket.SecureClient.create(
            private_key=account["private_key"], environment=environment, api_key=key, **wallet
        ) as client:
            yield client, account


def items(paginator: Any) -> list[Any]:
    return [item for page in paginator for item in page.items]


def five_minute_windows(ready) -> list[Any]:
    """Open windows, latest first; tests resolve the ones they use, and new ones appear."""
    markets = sandboxes.gamma(ready, "/markets", limit=500, ascending="false")
    return [each for each in markets if "-updown-5m-" in each["slug"]]


def shares(ready, account, token: str) -> Decimal:
    positions = sandboxes.truth(ready, account)["positions"]
    return Decimal(next((each["shares"] for each in positions if each["token_id"] == token), "0"))


def cash(ready, account) -> Decimal:
    return Decimal(sandboxes.truth(ready, account)["cash"])


@pytest.mark.parametrize("signature_type", [0, 1, 2, 3])
def test_the_sync_client_trades(ready, signature_type):
    with connected(ready, signature_type) as (client, account):
        token = sandboxes.tokens(sandboxes.next_window(ready))[0]
        rested = client.place_limit_order(asset_id=token, side="BUY", price="0.2", size="10", post_only=True)
        now = int(httpx.get(f"{ready['clob']}/time").text)
        dated = client.place_limit_order(asset_id=token, side="BUY", price="0.21", size="10", expiration=now + 3600)
        assert [rested.status, dated.status] == ["live", "live"]
        for kind in ("FAK", "FOK"):
            order = client.create_market_order(
                asset_id=token, side="BUY", amount="5", max_price="0.60", order_type=kind
            )
            assert client.post_order(order).status == "matched"
        sold = client.place_market_order(asset_id=token, side="SELL", shares="6", min_price="0.30")
        assert sold.making_amount == Decimal(6)
        assert len(items(client.list_account_trades())) == 3
        assert {row.id for row in items(client.list_open_orders())} == {rested.order_id, dated.order_id}
        assert client.get_order(order_id=rested.order_id).price == Decimal("0.2")
        assert client.cancel_order(order_id=rested.order_id).canceled == (rested.order_id,)
        assert client.cancel_all().canceled == (dated.order_id,)
        kinds = [row.type for row in items(client.list_activity(user=account["wallet"]))]
        assert sorted(kinds) == ["DEPOSIT", "TRADE", "TRADE", "TRADE"]


@pytest.mark.parametrize("signature_type", [0, 1, 2, 3])
def test_split_merge_and_redeem_through_the_relayer_or_the_node(ready, signature_type):
    with connected(ready, signature_type) as (client, account):
        client.setup_trading_approvals()
        market = five_minute_windows(ready)[0]
        condition, (up, down) = market["conditionId"], sandboxes.tokens(market)
        before = cash(ready, account)
        assert client.split_position(condition_id=condition, amount=20 * MICRO).wait().transaction_hash
        assert [shares(ready, account, token) for token in (up, down)] == [Decimal(20)] * 2
        assert cash(ready, account) == before - 20
        client.merge_positions(condition_id=condition, amount=5 * MICRO).wait()
        client.merge_positions(condition_id=condition, amount="max").wait()
        assert cash(ready, account) == before
        client.split_position(condition_id=condition, amount=7 * MICRO).wait()
        sandboxes.control(ready, f"/markets/{market['slug']}/resolve", outcome=1)
        client.redeem_positions(condition_id=condition).wait()
        assert cash(ready, account) == before
        assert sandboxes.truth(ready, account)["redeemed"] == "7"
        kinds = [row.type for row in items(client.list_activity(user=account["wallet"]))]
        assert [kinds.count(kind) for kind in ("SPLIT", "MERGE", "REDEEM")] == [2, 2, 2]


@pytest.mark.parametrize("kind", ["neg_risk", "position"])
def test_other_contracts_hold_neg_risk_and_position_pairs(ready, kind):
    markets = sandboxes.gamma(ready, "/markets", limit=500)
    wanted = [each for each in markets if (each["negRisk"] if kind == "neg_risk" else each["version"] == "v2")]
    market = wanted[0]
    with connected(ready, 3) as (client, account):
        before, condition = cash(ready, account), market["conditionId"]
        client.split_position(condition_id=condition, amount=10 * MICRO).wait()
        assert shares(ready, account, sandboxes.tokens(market)[0]) == 10
        client.merge_positions(condition_id=condition, amount=4 * MICRO).wait()
        assert cash(ready, account) == before - 6
        order = client.create_limit_order(asset_id=sandboxes.tokens(market)[0], side="SELL", price="0.99", size="6")
        assert client.post_order(order).status == "live"
        if kind == "position":
            sandboxes.control(ready, f"/markets/{market['slug']}/resolve", outcome=0)
            client.redeem_positions(condition_id=condition).wait()
            assert cash(ready, account) == before


def test_a_failing_call_and_a_half_paid_market(ready):
    with connected(ready, 3) as (client, account):
        market = sandboxes.next_window(ready, asset="eth")
        condition = market["conditionId"]
        with pytest.raises(polymarket.errors.TransactionFailedError, match="exceeds balance"):
            client.split_position(condition_id=condition, amount=10**6 * MICRO).wait()
        order = client.create_market_order(
            asset_id=sandboxes.tokens(market)[0], side="BUY", amount="5", max_price="0.6"
        )
        bought = client.post_order(order).taking_amount
        before = cash(ready, account)
        sandboxes.control(ready, f"/markets/{market['slug']}/resolve", outcome="even")
        client.redeem_positions(condition_id=condition).wait()
        assert cash(ready, account) == before + (bought / 2).quantize(Decimal("0.000001"), rounding="ROUND_FLOOR")
        resolution = client.get_resolutions(condition_ids=[condition])[0]
        assert resolution.payouts == (Decimal("0.5"), Decimal("0.5"))


def test_the_relayer_takes_25_submits_a_minute(ready):
    sandboxed = sandboxes.fresh_account(ready, 3)
    headers = {"RELAYER_API_KEY": "k", "RELAYER_API_KEY_ADDRESS": sandboxed["address"]}
    body = {"type": "WALLET-CREATE", "from": sandboxed["address"], "to": "0x" + "00" * 20, "metadata": ""}
    with httpx.Client(base_url=ready["relayer"], headers=headers) as http:
        codes = [http.post("/submit", json=body).status_code for _ in range(26)]
        assert codes == [200] * 25 + [429]
        assert int(http.post("/submit", json=body).headers["Retry-After"]) > 0
        assert http.post("/submit", json=body, headers={"RELAYER_API_KEY": ""}).status_code == 401
        stolen = body | {"type": "WALLET", "nonce": "0", "signature": "0x" + "11" * 65}
        other = sandboxes.fresh_account(ready, 3)
        params = {"depositWallet": other["wallet"], "deadline": "99999999999", "calls": []}
        reply = http.post("/submit", json=stolen | {"from": other["address"], "depositWalletParams": params})
        assert reply.status_code == 401


def test_public_lists_parse_as_the_clients_own_models(ready):
    with polymarket.PublicClient(environment=sandboxes.environment(ready)) as client:
        markets = items(client.list_markets(page_size=50))
        assert {"v1"} <= {market.version for market in markets} <= {"v1", "v2"}
        events = items(client.list_events(page_size=50))
        ranged = next(event for event in events if len(event.markets) == 6)
        assert ranged.id == client.get_event(slug=ranged.slug).id
        found = [event for page in client.search(q="bitcoin price") for each in page.items for event in each.events]
        assert ranged.slug in [event.slug for event in found]
        assert len(items(client.list_series())) >= 4
        assert items(client.list_tags())
        market = sandboxes.next_window(ready)
        token = sandboxes.tokens(market)[0]
        assert client.get_midpoint(asset_id=token) > 0
        assert client.get_last_trade_prices(asset_ids=[token]) is not None
        assert items(client.list_price_history(asset_id=token, interval="1h")) is not None
        assert client.get_open_interests(condition_ids=[market["conditionId"]])[0].value >= 0
        named = client.get_token_references(condition_ids=[market["conditionId"]])
        assert [(each.asset_id, each.outcome) for each in named] == [
            (each, label) for each, label in zip(sandboxes.tokens(market), ("Up", "Down"), strict=True)
        ]
        assert client.get_token_references(asset_ids=[token]) == named[:1]
        assert client.get_event_live_volume(event_ids=int(market["events"][0]["id"])).taker_volume_total >= 0


async def test_price_streams_of_both_sockets(ready):
    from polymarket.streams import CryptoPriceSpec, CryptoPricesSpec, CryptoTwapPriceSpec

    account = sandboxes.fresh_account(ready, 3)
    client = await polymarket.AsyncSecureClient.create(
        private_key=account["private_key"], wallet=account["wallet"], environment=sandboxes.environment(ready)
    )
    specs = [CryptoPriceSpec(symbols=["btcusd"]), CryptoTwapPriceSpec(symbols=["btcusd", "ethusd"])]
    seen: dict[str, list[int]] = {}
    try:
        async with await client.subscribe(specs) as handle, asyncio.timeout(PATIENCE_S):
            async for event in handle:
                seen.setdefault(f"{event.topic} {event.payload.symbol} {event.type}", []).append(event.seq)
                if len(seen) == 6 and all(len(got) > 2 for name, got in seen.items() if name.endswith("update")):
                    break
        async with await client.subscribe(CryptoPricesSpec(topic="prices.crypto.binance")) as handle:
            async with asyncio.timeout(PATIENCE_S):
                async for old in handle:
                    assert old.topic == "prices.crypto.binance"
                    break
    finally:
        await client.close()
    for name, numbers in seen.items():
        first = 1 if name.endswith("subscribe") else 2
        assert numbers == list(range(first, first + len(numbers))), name


async def test_a_maker_and_a_taker_each_hear_their_own_side(ready):
    from polymarket.streams import UserSpec

    environment = sandboxes.environment(ready)
    clients = []
    for _ in range(2):
        account = sandboxes.fresh_account(ready, 3)
        clients.append(
            await polymarket.AsyncSecureClient.create(
                private_key=account["private_key"], wallet=account["wallet"], environment=environment
            )
        )
    maker, taker = clients
    try:
        async with await maker.subscribe(UserSpec()) as theirs, await taker.subscribe(UserSpec()) as ours:
            await asyncio.sleep(0.5)
            made, opposite, inside = await a_resting_bid(maker, ready)
            order = await taker.create_market_order(
                asset_id=opposite, side="BUY", amount="20", max_price=str(1 - inside)
            )
            taken = await taker.post_order(order)
            assert taken.status == "matched"
            heard = [await trade_event(each, taken.trade_ids[0]) for each in (theirs, ours)]
    finally:
        for client in clients:
            await client.close()
    assert [event.payload.trader_side for event in heard] == ["MAKER", "TAKER"]
    assert made.order_id in [each.order_id for each in heard[0].payload.maker_orders]


async def a_resting_bid(maker: Any, ready) -> tuple[Any, str, Decimal]:
    """What the venue answered, the market's other token, and the price; tried anew if an offer comes down to it."""
    for _ in range(10):
        (token, opposite), inside = await until(lambda: wide_market(ready))
        order = await maker.create_limit_order(asset_id=token, side="BUY", price=str(inside), size="200")
        made = await maker.post_order(order)
        if made.status == "live":
            return made, opposite, inside
    pytest.fail("ten bids between bid and ask were all matched")


def wide_market(ready) -> tuple[list[str], Decimal] | None:
    """Tokens of a window whose quotes stand still, and a price for its first token between bid and ask; None while
    every window is quoted one tick wide."""
    for market in sandboxes.gamma(ready, "/markets", limit=500, ascending="false"):
        if "-updown-" in market["slug"] and market["bestAsk"] - market["bestBid"] > 0.015:
            return sandboxes.tokens(market), Decimal(str(market["bestAsk"])) - Decimal("0.01")
    return None


async def trade_event(handle: Any, trade_id: str) -> Any:
    async with asyncio.timeout(PATIENCE_S):
        async for event in handle:
            if event.type == "trade" and event.payload.id == trade_id:
                return event
    pytest.fail("the stream ended")
