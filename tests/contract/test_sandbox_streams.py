"""Streams of the sandbox, and its shapes against recorded payloads of the venue."""

import asyncio
import hashlib
import itertools
import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from tests.starting import running_sandbox
from tests.waiting import PATIENCE_S

ROOT = Path(__file__).parents[2]
PAYLOADS = ROOT.parent / "shared" / "data" / "payloads"
HASHED = (
    "market",
    "asset_id",
    "timestamp",
    "hash",
    "bids",
    "asks",
    "min_order_size",
    "tick_size",
    "neg_risk",
    "last_trade_price",
)


@pytest.fixture(scope="module")
def ready():
    """Twenty venue seconds a second, so that windows open and settle while the tests run."""
    with running_sandbox("--speed", "20", "--seed", "11") as made:
        yield made


def recorded(path: str) -> Any:
    file = PAYLOADS / path
    if not file.exists():
        pytest.skip(f"recorded payloads are not here: {path}")
    text = file.read_text()
    return [json.loads(line) for line in text.splitlines()] if file.suffix == ".jsonl" else json.loads(text)


async def get(ready, service: str, path: str, **params) -> Any:
    async with httpx.AsyncClient() as http:
        return (await http.get(f"{ready[service]}{path}", params=params)).json()


async def live_market(ready, *, asset: str = "btc", minutes: int = 5, ahead: int = 0) -> Any:
    now = await get(ready, "clob", "/time")
    start = now // (60 * minutes) * 60 * minutes + ahead * 60 * minutes
    return await get(ready, "gamma", f"/markets/slug/{asset}-updown-{minutes}m-{start}")


@asynccontextmanager
async def listening(url: str, *frames: Any):
    async with websockets.connect(url, max_size=None) as socket:
        for frame in frames:
            await socket.send(frame if isinstance(frame, str) else json.dumps(frame))
        yield socket


async def receive(socket, wanted, *, seconds: float = PATIENCE_S) -> Any:
    """The first message that `wanted` accepts."""
    async with asyncio.timeout(seconds):
        while True:
            text = await socket.recv()
            if text == "PONG":
                continue
            parsed = json.loads(text)
            for message in parsed if isinstance(parsed, list) else [parsed]:
                if wanted(message):
                    return message


def is_event(kind: str):
    return lambda message: message.get("event_type") == kind


def rest_hash(book: dict[str, Any]) -> str:
    ordered = {key: ("" if key == "hash" else book[key]) for key in HASHED}
    return hashlib.sha1(json.dumps(ordered, separators=(",", ":")).encode(), usedforsecurity=False).hexdigest()


def apply(book: dict[str, dict[str, str]], change: dict[str, str]) -> None:
    side = book["bids" if change["side"] == "BUY" else "asks"]
    if change["size"] == "0":
        side.pop(change["price"], None)
    else:
        side[change["price"]] = change["size"]


async def test_a_book_rebuilt_from_the_stream_agrees_with_every_stated_top(ready):
    market = await live_market(ready, ahead=1)
    tokens = json.loads(market["clobTokenIds"])
    books: dict[str, dict[str, dict[str, str]]] = {}
    changes = 0
    async with listening(ready["ws_market"], {"assets_ids": tokens, "type": "market"}) as socket:
        async with asyncio.timeout(PATIENCE_S):
            while changes < 30:
                parsed = json.loads(await socket.recv())
                for message in parsed if isinstance(parsed, list) else [parsed]:
                    if message["event_type"] == "book":
                        books[message["asset_id"]] = {
                            side: {level["price"]: level["size"] for level in message[side]}
                            for side in ("bids", "asks")
                        }
                    if message["event_type"] != "price_change":
                        continue
                    changes += 1
                    for change in message["price_changes"]:
                        apply(books[change["asset_id"]], change)
                    for change in message["price_changes"]:
                        book = books[change["asset_id"]]
                        assert float(change["best_bid"]) == max(map(float, book["bids"]), default=0)
                        assert float(change["best_ask"]) == min(map(float, book["asks"]), default=1)
    ups, downs = (books[token] for token in tokens)
    assert {round(1 - float(p), 6): s for p, s in ups["bids"].items()} == {
        float(p): s for p, s in downs["asks"].items()
    }


async def test_the_market_channel_answers_pings_and_honours_unsubscribing(ready):
    market = await live_market(ready, ahead=1)
    token = json.loads(market["clobTokenIds"])[0]
    async with listening(ready["ws_market"], {"assets_ids": [token], "type": "market"}) as socket:
        book = await receive(socket, is_event("book"))
        assert book["asset_id"] == token
        await socket.send(json.dumps({"operation": "unsubscribe", "assets_ids": [token]}))
        await socket.send("PING")
        async with asyncio.timeout(PATIENCE_S):
            while await socket.recv() != "PONG":
                pass


async def test_a_frozen_stream_still_answers_pings(ready):
    market = await live_market(ready, ahead=1)
    tokens = json.loads(market["clobTokenIds"])
    async with httpx.AsyncClient() as http:
        await http.post(f"{ready['sandbox']}/faults", json={"kind": "ws_freeze", "seconds": 3000})
        try:
            async with listening(ready["ws_market"], {"assets_ids": tokens, "type": "market"}, "PING") as socket:
                assert await socket.recv() == "PONG"
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(socket.recv(), 0.5)
        finally:
            await http.delete(f"{ready['sandbox']}/faults")


async def test_new_and_resolved_markets_are_announced_to_those_who_asked(ready):
    market = await live_market(ready)
    tokens = json.loads(market["clobTokenIds"])
    frame = {"assets_ids": tokens, "type": "market", "custom_feature_enabled": True}
    async with listening(ready["ws_market"], frame) as socket:
        resolved = await receive(socket, is_event("market_resolved"), seconds=40)
    assert resolved["winning_asset_id"] in tokens
    event = await get(ready, "gamma", f"/events/slug/{market['slug']}")
    prices = json.loads(event["markets"][0]["outcomePrices"])
    assert prices[tokens.index(resolved["winning_asset_id"])] == "1"
    shape = recorded("nautilus_trader/test_data/ws_market_resolved_msg.json")
    assert shape.keys() <= resolved.keys()


async def test_the_user_channel_tells_of_orders_and_trades(ready):
    polymarket = pytest.importorskip("polymarket")
    from polymarket.models.clob.user_events import parse_user_events

    from tests.contract.test_sandbox_sdk import client_of

    account = ready["accounts"][0]
    auth = {"apiKey": account["api_key"], "secret": account["secret"], "passphrase": account["passphrase"]}
    client = await client_of(ready, account)
    assert isinstance(client, polymarket.AsyncSecureClient)
    try:
        async with listening(ready["ws_user"], {"auth": auth, "type": "user", "markets": []}) as socket:
            token = json.loads((await live_market(ready, minutes=15, ahead=1))["clobTokenIds"])[0]
            order = await client.create_market_order(asset_id=token, side="BUY", amount="5", max_price="0.70")
            reply = await client.post_order(order)
            statuses: list[str] = []
            trade: dict[str, Any] = {}
            while "CONFIRMED" not in statuses:
                trade = await receive(socket, is_event("trade"))
                statuses.append(trade["status"])
                assert trade["taker_order_id"] == reply.order_id
            assert statuses == ["MATCHED", "MINED", "CONFIRMED"]
            assert parse_user_events(trade)[1] == 0
            limit = await client.create_limit_order(asset_id=token, side="BUY", price="0.10", size="10")
            await client.post_order(limit)
            placed = await receive(socket, lambda m: m.get("type") == "PLACEMENT")
            await client.cancel_all()
            gone = await receive(socket, lambda m: m.get("type") == "CANCELLATION")
            assert (placed["status"], gone["status"], placed["id"]) == ("LIVE", "CANCELED", gone["id"])
            assert parse_user_events([placed, gone])[1] == 0
            shape = recorded("nautilus_trader/resources/ws_messages/order_placement.json")
            assert placed.keys() == shape.keys()
            assert {name: type(value) for name, value in placed.items() if name != "associate_trades"} == {
                name: type(value) for name, value in shape.items() if name != "associate_trades"
            }
            assert recorded("nautilus_trader/resources/ws_messages/user_trade1.json").keys() == trade.keys()
    finally:
        await client.close()


async def test_a_stranger_hears_nothing_on_the_user_channel(ready):
    auth = {"apiKey": "x", "secret": "y", "passphrase": "z"}
    async with listening(ready["ws_user"], {"auth": auth, "type": "user"}) as socket:
        assert "error" in json.loads(await socket.recv())


@pytest.mark.parametrize(
    ("topic", "filters", "symbol"),
    [
        ("crypto_prices", "btcusdt", "btcusdt"),
        ("crypto_prices_chainlink", json.dumps({"symbol": "btc/usd"}), "btc/usd"),
        ("crypto_prices_twap_sixty", json.dumps({"symbol": "eth/usd"}), "eth/usd"),
    ],
)
async def test_rtds_sends_history_and_then_one_tick_a_second(ready, topic, filters, symbol):
    frame = {"action": "subscribe", "subscriptions": [{"topic": topic, "type": "*", "filters": filters}]}
    async with listening(ready["rtds"], frame, "PING") as socket:
        history = await receive(socket, lambda m: m["type"] == "subscribe")
        assert (history["payload"]["symbol"], len(history["payload"]["data"])) == (symbol, 120)
        first = await receive(socket, lambda m: m["type"] == "update")
        second = await receive(socket, lambda m: m["type"] == "update")
    assert second["payload"]["timestamp"] - first["payload"]["timestamp"] == 1000
    last = history["payload"]["data"][-1]
    assert last["timestamp"] < first["payload"]["timestamp"]
    shapes = {line["topic"]: line for line in recorded("promt-backtest/rtds_crypto_prices.jsonl")}
    assert shapes[topic].keys() == first.keys()
    assert shapes[topic]["payload"].keys() == first["payload"].keys()


async def test_spot_streams_and_candles_tell_the_same_price(ready):
    async with listening(f"{ready['spot']}/stream?streams=btcusdt@trade/btcusdt@bookTicker") as socket:
        trade = (await receive(socket, lambda m: m["stream"] == "btcusdt@trade"))["data"]
        quote = (await receive(socket, lambda m: m["stream"] == "btcusdt@bookTicker"))["data"]
    async with listening(f"{ready['spot']}/ws/ethusdt@trade") as socket:
        assert (await receive(socket, lambda m: m["e"] == "trade"))["s"] == "ETHUSDT"
    assert float(quote["b"]) < float(quote["a"])
    base = ready["clob"]
    async with httpx.AsyncClient(base_url=base) as http:
        second = trade["T"] // 1000 * 1000
        query = {"symbol": "BTCUSDT", "interval": "1s", "startTime": second, "limit": 1}
        candle = (await http.get("/spot/api/v3/klines", params=query)).json()[0]
        assert candle[0] == second
        assert float(candle[3]) - 0.01 <= float(trade["p"]) <= float(candle[2]) + 0.01
        hour = (
            await http.get("/spot/api/v3/klines", params={"symbol": "BTCUSDT", "interval": "1m", "limit": 130})
        ).json()
        assert [b[0] - a[0] for a, b in itertools.pairwise(hour)] == [60_000] * 129
        assert (await http.get("/spot/api/v3/klines", params={"symbol": "X", "interval": "1m"})).status_code == 400


async def test_rest_book_has_the_venues_shape_order_and_hash(ready):
    market = await live_market(ready, ahead=1)
    token = json.loads(market["clobTokenIds"])[0]
    book = await get(ready, "clob", "/book", token_id=token)
    assert book["hash"] == rest_hash(book)
    assert [float(level["price"]) for level in book["bids"]] == sorted(float(level["price"]) for level in book["bids"])
    asks = [float(level["price"]) for level in book["asks"]]
    assert asks == sorted(asks, reverse=True)
    shape = recorded("polymarket-microstructure-lab/clob_book.json")
    assert list(shape) == list(book)
    assert shape["hash"] == rest_hash(shape)


async def test_market_metadata_carries_fees_in_the_right_fields_and_the_trap_in_the_wrong_one(ready):
    market = await live_market(ready, ahead=1)
    token = json.loads(market["clobTokenIds"])[0]
    by_token = await get(ready, "clob", f"/markets-by-token/{token}")
    info = await get(ready, "clob", f"/clob-markets/{by_token['condition_id']}")
    assert (info["fd"], info["itode"]) == ({"r": 0.07, "e": 1, "to": True}, True)
    assert [entry["o"] for entry in info["t"]] == json.loads(market["outcomes"]) == ["Up", "Down"]
    assert await get(ready, "clob", "/fee-rate", token_id=token) == {"base_fee": 1000}
    assert "eventMetadata" not in market["events"][0]


async def test_gamma_objects_have_every_field_of_the_recorded_window(ready):
    event = recorded("promt-backtest/gamma_event_btc_15m_resolved.json")
    market = await live_market(ready, ahead=1)
    ours = await get(ready, "gamma", f"/events/slug/{market['slug']}")
    needed = {"id", "slug", "title", "description", "resolutionSource", "endDate", "startTime", "seriesSlug", "negRisk"}
    assert needed <= ours.keys() & event.keys()
    theirs = event["markets"][0]
    volumes = {name for name in theirs if name.startswith(("volume1", "volume2"))}
    only_after = {"closedTime", "umaEndDate", "umaResolutionStatus", "automaticallyResolved", "lastTradePrice"}
    looks = {
        "pagerDutyNotificationEnabled",
        "oneDayPriceChange",
        "oneHourPriceChange",
        "showGmpSeries",
        "showGmpOutcome",
    }
    assert theirs.keys() - ours["markets"][0].keys() <= volumes | only_after | looks
    for name, value in ours["markets"][0].items():
        if name in theirs and not isinstance(value, int | float):
            assert type(value) is type(theirs[name]), name
    assert ours["markets"][0]["feeSchedule"] == theirs["feeSchedule"]


async def test_markets_are_found_by_filters_and_pages(ready):
    market = await live_market(ready, ahead=1)
    token = json.loads(market["clobTokenIds"])[1]
    for query in ({"slug": market["slug"]}, {"clob_token_ids": token}, {"condition_ids": market["conditionId"]}):
        found = await get(ready, "gamma", "/markets", **query)
        assert [row["slug"] for row in found] == [market["slug"]]
    first = await get(ready, "gamma", "/markets/keyset", limit=2)
    second = await get(ready, "gamma", "/markets/keyset", limit=2, after_cursor=first["next_cursor"])
    assert not {row["id"] for row in first["markets"]} & {row["id"] for row in second["markets"]}


async def test_the_opening_price_page_needs_the_twap_parameters(ready):
    market = await live_market(ready)
    query = {"symbol": "BTC", "eventStartTime": market["eventStartTime"], "variant": "fiveminute"}
    query["endDate"] = market["endDate"]
    twap = {"twapEnabled": "true", "twapLookbackSeconds": "60"}
    await asyncio.sleep(0.3)
    right = await get(ready, "web", "/api/crypto/crypto-price", **query, **twap)
    wrong = await get(ready, "web", "/api/crypto/crypto-price", **query)
    assert right["openPrice"] != wrong["openPrice"]
    assert abs(right["openPrice"] / wrong["openPrice"] - 1) < 0.01


async def test_the_ready_object_follows_the_host_it_was_asked_through(ready):
    async with httpx.AsyncClient() as http:
        reply = await http.get(f"{ready['sandbox']}/ready", headers={"Host": "sandbox:8900"})
    assert reply.json()["clob"] == "http://sandbox:8900"
    assert reply.json()["accounts"] == ready["accounts"]


async def test_v1_data_lists_have_the_recorded_fields(ready):
    wallet = ready["accounts"][0]["wallet"]
    for name in ("positions", "trades", "activity"):
        shape = recorded(f"polymarket-microstructure-lab/data_{name}.json")
        rows = await get(ready, "data", f"/{name}", user=wallet, sizeThreshold=0)
        assert isinstance(rows, list)
        for row in rows:
            assert shape[0].keys() <= row.keys(), name
