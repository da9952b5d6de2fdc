"""What wallets do on the chain without the unified client, session keys, and the scores of games."""

import asyncio
import time
from decimal import Decimal
from typing import Any

import pytest
import websockets
from eth_account import Account

from services.sandbox import sports
from services.sandbox.scenario import SCENARIOS
from services.sandbox.world import RunSettings, World
from tests import sandboxes
from tests.sandbox_relayer import ADAPTER, NEG_RISK_ADAPTER, NOTHING, call, submit
from tests.starting import running_sandbox
from tests.waiting import PATIENCE_S

polymarket = pytest.importorskip("polymarket")
clients = pytest.importorskip("py_clob_client_v2.client")
types = pytest.importorskip("py_clob_client_v2.clob_types")
MICRO = 10**6


@pytest.fixture(scope="module")
def ready():
    options = ("--scenario", "instant", "--speed", "10", "--families", "5m,15m,augmented")
    with running_sandbox(*options) as made:
        sandboxes.control(made, "/knobs", redeem_after_s=10**9)
        yield made


@pytest.fixture(scope="module", autouse=True)
def _closed():
    yield
    sandboxes.renew_second_client()


def shares(ready, account) -> dict[str, Decimal]:
    return {each["token_id"]: Decimal(each["shares"]) for each in sandboxes.truth(ready, account)["positions"]}


def owner(ready) -> tuple[Any, Any]:
    """(second client, account) of a deposit wallet."""
    account = sandboxes.fresh_account(ready, 3)
    client = clients.ClobClient(
        ready["clob"], 137, key=account["private_key"], signature_type=3, funder=account["wallet"]
    )
    client.set_api_creds(client.create_or_derive_api_key())
    return client, account


# --- chain -----------------------------------------------------------------------------------------------------------


def test_the_second_clients_user_redeems_through_the_relayer(ready):
    """`py-clob-client-v2` trades only; its users sign chain calls themselves."""
    client, account = owner(ready)
    market = sandboxes.next_window(ready, asset="eth")
    token = sandboxes.tokens(market)[0]
    order = client.create_market_order(types.MarketOrderArgs(token_id=token, amount=5, side="BUY", price=0.6))
    bought = Decimal(client.post_order(order, "FOK")["takingAmount"])
    sandboxes.control(ready, f"/markets/{market['slug']}/resolve", outcome=0)
    redeem = call(
        ADAPTER,
        "redeemPositions(address,bytes32,bytes32,uint256[])",
        "0x" + "00" * 20,
        NOTHING,
        bytes.fromhex(market["conditionId"][2:]),
        [1, 2],
    )
    assert submit(ready, account, client.create_builder_api_key(), [redeem]) == "STATE_CONFIRMED"
    state = sandboxes.truth(ready, account)
    assert (Decimal(state["redeemed"]), state["positions"]) == (bought, [])


def test_no_of_some_names_becomes_yes_of_the_others(ready):
    client, account = owner(ready)
    builder = client.create_builder_api_key()
    event = next(each for each in sandboxes.gamma(ready, "/events", limit=100) if each["negRisk"])
    markets = sorted(event["markets"], key=lambda each: int(each["groupItemThreshold"]))
    split = "splitPosition(address,bytes32,bytes32,uint256[],uint256)"
    convert = "convertPositions(bytes32,uint256,uint256)"
    conditions = [bytes.fromhex(each["conditionId"][2:]) for each in markets]
    pairs = [
        call(NEG_RISK_ADAPTER, split, "0x" + "00" * 20, NOTHING, condition, [1, 2], 20 * MICRO)
        for condition in conditions[:2]
    ]
    assert submit(ready, account, builder, pairs) == "STATE_CONFIRMED"
    event_id = bytes.fromhex(event["negRiskMarketID"][2:])
    too_many = call(NEG_RISK_ADAPTER, convert, event_id, 0b11, 21 * MICRO)
    assert submit(ready, account, builder, [too_many]) == "STATE_FAILED"
    both = call(NEG_RISK_ADAPTER, convert, event_id, 0b11, 20 * MICRO)
    assert submit(ready, account, builder, [both]) == "STATE_CONFIRMED"
    assert shares(ready, account) == {sandboxes.tokens(each)[0]: Decimal(20) for each in markets}
    assert Decimal(sandboxes.truth(ready, account)["cash"]) == 300 - 40 + 20
    for number, each in enumerate(markets):
        sandboxes.control(ready, f"/markets/{each['slug']}/resolve", outcome=int(number != 2))
    redeem = "redeemPositions(address,bytes32,bytes32,uint256[])"
    calls = [call(NEG_RISK_ADAPTER, redeem, "0x" + "00" * 20, NOTHING, each, [1, 2]) for each in conditions]
    assert submit(ready, account, builder, calls) == "STATE_CONFIRMED"
    assert sandboxes.truth(ready, account)["cash"] == "300"


# --- session keys ----------------------------------------------------------------------------------------------------


def test_a_session_key_trades_for_the_wallet_until_it_is_revoked(ready):
    account, session = sandboxes.fresh_account(ready, 3), Account.create()
    environment, wallet = sandboxes.environment(ready), account["wallet"]
    own = {"private_key": account["private_key"], "wallet": wallet, "environment": environment}
    with polymarket.SecureClient.create(**own) as first:
        builder = first.create_builder_api_key()
    with polymarket.SecureClient.create(**own, api_key=builder) as client:
        made = client.authorize_session_key(address=session.address, scopes=["CLOB"])
        assert made.session_key.address == session.address
        assert [each.address for each in client.fetch_session_keys()] == [session.address]
        with polymarket.SecureClient.create(
            private_key=session.key.hex(), wallet=wallet, environment=environment
        ) as trader:
            token = sandboxes.tokens(sandboxes.next_window(ready))[0]
            rested = trader.place_limit_order(asset_id=token, side="BUY", price="0.2", size="10")
            bought = trader.place_market_order(asset_id=token, side="BUY", amount="5", max_price="0.6")
            assert (rested.status, bought.status) == ("live", "matched")
            assert shares(ready, account)[token] == bought.taking_amount
            client.revoke_session_key(address=session.address)
            assert client.fetch_session_keys() == ()
            assert sandboxes.truth(ready, account)["open_orders"] == []
            with pytest.raises(polymarket.errors.RequestRejectedError):
                trader.post_order(trader.create_limit_order(asset_id=token, side="BUY", price="0.2", size="10"))


def test_a_stranger_and_a_bare_signature_do_not_trade_for_a_wallet(ready, monkeypatch):
    account, session = sandboxes.fresh_account(ready, 3), Account.create()
    environment, wallet = sandboxes.environment(ready), account["wallet"]
    own = {"private_key": account["private_key"], "wallet": wallet, "environment": environment}
    token = sandboxes.tokens(sandboxes.next_window(ready))[0]
    order = {"asset_id": token, "side": "BUY", "price": "0.2", "size": "10"}
    with polymarket.SecureClient.create(private_key=session.key.hex(), wallet=wallet, environment=environment) as alone:
        with pytest.raises(polymarket.errors.RequestRejectedError, match="order signer address"):
            alone.post_order(alone.create_limit_order(**order))
        with polymarket.SecureClient.create(**own) as first:
            builder = first.create_builder_api_key()
        with polymarket.SecureClient.create(**own, api_key=builder) as client:
            client.authorize_session_key(address=session.address, scopes=["ALL"])
        monkeypatch.setattr(
            "polymarket.clients.secure.wrap_deposit_wallet_signature", lambda **given: given["signature"]
        )
        with pytest.raises(polymarket.errors.RequestRejectedError, match="invalid signature"):
            alone.post_order(alone.create_limit_order(**order))


# --- games -----------------------------------------------------------------------------------------------------------


async def test_the_unified_client_hears_how_a_game_ends():
    from polymarket.streams import SportsSpec

    # A hundred venue seconds a second, from ten minutes before the end of a game: so much further back is the anchor.
    now, six_hours = time.time(), 6 * 3600
    start = (now + 900) // six_hours * six_hours
    anchor_ns = int((now - (start + six_hours - 600 - now) / 99) * 10**9)
    options = ("--scenario", "instant", "--speed", "100", "--families", "sports", "--anchor-ns", str(anchor_ns))
    with running_sandbox(*options) as ready:
        client = polymarket.AsyncPublicClient(environment=sandboxes.environment(ready))
        heard = []
        try:
            async with await client.subscribe([SportsSpec()]) as handle, asyncio.timeout(PATIENCE_S):
                async for event in handle:
                    heard.append(event.payload)
                    if event.payload.ended:
                        break
        finally:
            await client.close()
        slug = f"sbx-hares-tortoises-{int(start)}"
        winner = sandboxes.control(ready, f"/markets/{slug}/resolve")["winner"]
    assert {each.slug for each in heard} == {slug}
    assert [heard[0].status, heard[-1].status] == ["InProgress", "Final"]
    home, away = map(int, heard[-1].score.split("-"))
    assert winner == (heard[-1].home_team if home > away else heard[-1].away_team)


@pytest.mark.parametrize("answers", [True, False])
async def test_who_does_not_say_pong_is_hung_up_on(monkeypatch, answers):
    monkeypatch.setattr(sports, "PING_S", 0.05)
    monkeypatch.setattr(sports, "PONG_S", 10 if answers else 0.15)
    settings = RunSettings(
        seed=3, scenario=SCENARIOS["instant"], speed=1.0, anchor_ns=time.time_ns(), bankroll_usd=1, families=("sports",)
    )
    async with (
        sandboxes.in_process(World(settings)) as address,
        asyncio.timeout(PATIENCE_S),
        websockets.connect(f"ws://{address}/sports") as socket,
    ):
        pings = 0
        try:
            while pings < 12:
                if await socket.recv() != "ping":  # A score: games are played at some times of the day
                    continue
                pings += 1
                if answers:
                    await socket.send("pong")
        except websockets.ConnectionClosed:
            assert (socket.close_code, socket.close_reason) == (1008, "no pong")
    assert (pings == 12) == answers
