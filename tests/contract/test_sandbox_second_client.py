"""The other official client, py-clob-client-v2, unmodified, against a running sandbox."""

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest
import websockets

from tests import sandboxes
from tests.starting import running_sandbox
from tests.waiting import PATIENCE_S

pytest.importorskip("py_clob_client_v2")
clients = pytest.importorskip("py_clob_client_v2.client")
types = pytest.importorskip("py_clob_client_v2.clob_types")
exceptions = pytest.importorskip("py_clob_client_v2.exceptions")


@pytest.fixture(scope="module")
def ready():
    options = ("--scenario", "instant", "--speed", "10", "--families", "5m,15m,range,positions")
    with running_sandbox(*options) as made:
        yield made


@pytest.fixture(scope="module", autouse=True)
def _closed():
    yield
    sandboxes.renew_second_client()


def connected(ready, signature_type: int) -> tuple[Any, Any]:
    """(client, account): the client derives its keys by a real login."""
    account = sandboxes.fresh_account(ready, signature_type)
    funder = account["wallet"] if signature_type else None
    client = clients.ClobClient(
        ready["clob"], 137, key=account["private_key"], signature_type=signature_type, funder=funder
    )
    client.set_api_creds(client.create_or_derive_api_key())
    return client, account


@pytest.mark.parametrize("signature_type", [0, 1, 2, 3])
def test_every_order_type_of_every_wallet(ready, signature_type):
    client, account = connected(ready, signature_type)
    token = sandboxes.tokens(sandboxes.next_window(ready))[0]
    now = int(client.get_server_time())
    limit = types.OrderArgs(token_id=token, price=0.2, size=10, side="BUY")
    good_till = types.OrderArgs(token_id=token, price=0.2, size=10, side="BUY", expiration=now + 3600)
    assert client.create_and_post_order(limit)["status"] == "live"
    assert client.create_and_post_order(good_till, order_type="GTD")["status"] == "live"
    assert client.create_and_post_order(limit, post_only=True)["status"] == "live"
    assert len(client.get_open_orders()) == 3
    for kind in ("FOK", "FAK"):
        bought = client.create_and_post_market_order(
            types.MarketOrderArgs(token_id=token, amount=5, side="BUY", price=0.6, order_type=kind), order_type=kind
        )
        assert (bought["status"], bought["makingAmount"]) == ("matched", "5")
        assert len(bought["transactionsHashes"]) == 1
    sold = client.create_and_post_market_order(
        types.MarketOrderArgs(token_id=token, amount=6, side="SELL", price=0.4, order_type="FAK"), order_type="FAK"
    )
    assert (sold["status"], sold["makingAmount"]) == ("matched", "6")
    trades = client.get_trades()
    assert {trade["id"] for trade in trades} >= set(sold["tradeIDs"])
    assert {trade["trader_side"] for trade in trades} == {"TAKER"}
    cash = client.get_balance_allowance(types.BalanceAllowanceParams(asset_type="COLLATERAL"))
    state = sandboxes.truth(ready, account)
    assert Decimal(cash["balance"]) / 10**6 == Decimal(state["cash"])
    assert len(client.cancel_all()["canceled"]) == 3
    assert client.get_open_orders() == []


def test_cancels_one_by_one_by_market_and_unknown(ready):
    client, _ = connected(ready, 3)
    market = sandboxes.next_window(ready)
    token = sandboxes.tokens(market)[1]
    ids = [
        client.create_and_post_order(types.OrderArgs(token_id=token, price=price, size=10, side="BUY"))["orderID"]
        for price in (0.11, 0.12, 0.13, 0.14)
    ]
    assert client.get_order(ids[0])["id"] == ids[0]
    assert client.cancel_order(types.OrderPayload(orderID=ids[0]))["canceled"] == [ids[0]]
    cancelled = client.cancel_orders([ids[0], ids[1]])
    assert cancelled == {"canceled": [ids[1]], "not_canceled": {ids[0]: "already canceled or matched"}}
    swept = client.cancel_market_orders(types.OrderMarketCancelParams(market=market["conditionId"]))
    assert sorted(swept["canceled"]) == sorted(ids[2:])


def test_a_batch_and_its_errors(ready):
    client, _ = connected(ready, 0)
    token = sandboxes.tokens(sandboxes.next_window(ready))[0]
    good = client.create_order(types.OrderArgs(token_id=token, price=0.2, size=10, side="BUY"))
    bad = client.create_order(types.OrderArgs(token_id=token, price=0.9, size=10, side="SELL"))
    made = [types.PostOrdersV2Args(order=each, orderType="GTC") for each in (good, bad)]
    replies = client.post_orders(made)
    assert [reply["status"] for reply in replies] == ["live", ""]
    assert "not enough balance" in replies[1]["errorMsg"]
    with pytest.raises(exceptions.PolyApiException) as caught:
        client.post_order(good)
    assert "Duplicated" in str(caught.value)


def test_every_public_query_is_answered(ready):
    client, _ = connected(ready, 3)
    market = sandboxes.next_window(ready)
    one, other = sandboxes.tokens(market)
    both = [types.BookParams(token_id=one, side="BUY"), types.BookParams(token_id=other, side="SELL")]
    book = client.get_order_book(one)
    assert client.get_order_book_hash(dict(book)) == book["hash"]
    assert len(client.get_order_books(both)) == 2
    assert (
        set(client.get_prices(both)) == set(client.get_midpoints(both)) == set(client.get_spreads(both)) == {one, other}
    )
    assert client.get_price(one, "BUY")["price"] == book["bids"][-1]["price"]
    assert client.get_tick_size(one) in ("0.01", "0.001")
    assert client.get_neg_risk(one) is False
    assert client.get_fee_rate_bps(one) == 1000
    assert client.get_version() == 2
    assert client.get_ok() == "OK"
    assert isinstance(client.get_last_trades_prices(both), list)
    assert "price" in client.get_last_trade_price(one)
    history = client.get_prices_history(types.PricesHistoryParams(market=one, interval="1d", fidelity=1))
    assert set(history) == {"history"}
    for listed in (
        client.get_markets(),
        client.get_simplified_markets(),
        client.get_sampling_markets(),
        client.get_sampling_simplified_markets(),
    ):
        assert listed["next_cursor"] == "LTE="
        assert listed["data"]
    assert client.get_market(market["conditionId"])["tokens"][0]["token_id"] == one
    assert client.get_clob_market_info(market["conditionId"])["fd"]["r"] == 0.07


def test_every_private_query_is_answered(ready):
    client, _ = connected(ready, 3)
    assert len(client.get_api_keys()["apiKeys"]) == 1
    assert client.get_closed_only_mode() == {"closed_only": False}
    assert client.get_notifications() == []
    assert client.get_pre_migration_orders() == []
    assert client.is_order_scoring(types.OrderScoringParams(orderId="0x1")) == {"scoring": False}
    assert client.are_orders_scoring(types.OrdersScoringParams(orderIds=["0x1"])) == {"0x1": False}
    assert client.get_current_rewards() == []
    read_only = client.create_readonly_api_key()["apiKey"]
    assert client.get_readonly_api_keys()["readonlyApiKeys"] == [read_only]
    client.delete_readonly_api_key(read_only)
    assert client.get_readonly_api_keys()["readonlyApiKeys"] == []
    first = client.post_heartbeat()
    assert client.post_heartbeat(first["heartbeat_id"])["heartbeat_id"] != first["heartbeat_id"]


def test_neg_risk_and_position_orders_sign_for_their_own_exchange(ready):
    client, _ = connected(ready, 3)
    markets = sandboxes.gamma(ready, "/markets", limit=500)
    ranged = next(each for each in markets if each["negRisk"] and float(each["bestAsk"]) > 0.05)  # Else a cent takes
    position = next(each for each in markets if each["version"] == "v2")
    args = types.OrderArgs(token_id=sandboxes.tokens(ranged)[0], price=0.01, size=10, side="BUY")
    assert client.create_and_post_order(args)["status"] in ("live", "matched")
    args = types.OrderArgs(position_id=sandboxes.tokens(position)[0], price=0.02, size=10, side="BUY")
    assert client.create_and_post_order(args)["status"] == "live"
    bought = client.create_and_post_market_order(
        types.MarketOrderArgs(position_id=sandboxes.tokens(position)[1], amount=5, side="BUY", price=0.99),
    )
    assert bought["status"] == "matched"


async def test_its_own_fills_arrive_on_the_user_channel(ready):
    client, _ = connected(ready, 3)
    token = sandboxes.tokens(sandboxes.next_window(ready))[0]
    auth = {
        "apiKey": client.creds.api_key,
        "secret": client.creds.api_secret,
        "passphrase": client.creds.api_passphrase,
    }
    async with websockets.connect(ready["ws_user"]) as socket:
        await socket.send(json.dumps({"auth": auth, "type": "user"}))
        order = client.create_market_order(types.MarketOrderArgs(token_id=token, amount=5, side="BUY", price=0.6))
        reply = await asyncio.to_thread(client.post_order, order, "FOK")
        statuses: list[str] = []
        async with asyncio.timeout(PATIENCE_S):
            while "CONFIRMED" not in statuses:
                event = json.loads(await socket.recv())
                if event["event_type"] == "trade":
                    assert event["id"] == reply["tradeIDs"][0]
                    statuses.append(event["status"])
    assert statuses == ["MATCHED", "MINED", "CONFIRMED"]
