"""Every fault as a client meets it: over HTTP and WebSocket, against a running sandbox."""

import asyncio
import itertools
import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from tests import sandboxes
from tests.sandbox_orders import call, signed_order
from tests.starting import running_sandbox

ROOT = Path(__file__).parents[2]
SALTS = itertools.count(1)
CENT, SHARE = 10_000, 1_000_000


@pytest.fixture(scope="module")
def ready():
    with running_sandbox("--scenario", "instant") as made:
        yield made


class Client:
    """An account of its own on the sandbox, and the control API."""

    def __init__(self, http: httpx.AsyncClient, account: dict[str, Any], ready: dict[str, Any]) -> None:
        self.http, self.account, self.ready = http, account, ready

    async def market(self, *, ahead: int = 1, asset: str = "btc") -> Any:
        now = (await self.http.get("/time")).json()
        start = now // 300 * 300 + ahead * 300
        found = (await self.http.get(f"/gamma/markets/slug/{asset}-updown-5m-{start}")).json()
        return found | {"tokens": json.loads(found["clobTokenIds"])}

    async def post(self, token: str, *, timeout: float = 10.0, **order: Any) -> httpx.Response:
        payload = signed_order(
            self.account, token, **({"price": 99 * CENT, "shares": 6 * SHARE} | order), salt=next(SALTS)
        )
        return await self.http.request(**call(self.account, "POST", "/order", payload), timeout=timeout)

    async def private(self, method: str, path: str, payload: object = None, **params: str) -> httpx.Response:
        return await self.http.request(**call(self.account, method, path, payload), params=params)

    async def arm(self, kind: str, **more: Any) -> Any:
        return (await self.http.post("/sandbox/faults", json={"kind": kind, **more})).raise_for_status().json()

    async def truth(self) -> Any:
        return (await self.http.get(f"/sandbox/accounts/{self.account['address']}")).json()

    @asynccontextmanager
    async def user_channel(self):
        auth = {"apiKey": self.account["api_key"], "secret": self.account["secret"]}
        auth["passphrase"] = self.account["passphrase"]
        async with websockets.connect(self.ready["ws_user"]) as socket:
            await socket.send(json.dumps({"auth": auth, "type": "user"}))
            await socket.send("PING")
            assert await socket.recv() == "PONG"
            yield socket


@pytest.fixture
async def client(ready):
    async with httpx.AsyncClient(base_url=ready["clob"]) as http:
        await http.delete("/sandbox/faults")
        account = (await http.post("/sandbox/accounts", json={"signature_type": 0})).json()
        yield Client(http, account, ready)
        await http.delete("/sandbox/faults")


async def frames(socket: Any, *, seconds: float) -> list[Any]:
    """Every data frame of the next seconds."""
    found: list[Any] = []
    try:
        async with asyncio.timeout(seconds):
            while True:
                parsed = json.loads(await socket.recv())
                found.extend(parsed if isinstance(parsed, list) else [parsed])
    except TimeoutError:
        return found


async def no_frames(socket: Any) -> bool:
    """Pings are answered and nothing else comes."""
    await socket.send("PING")
    assert await asyncio.wait_for(socket.recv(), timeout=3) == "PONG"
    try:
        await asyncio.wait_for(socket.recv(), timeout=1.2)
    except TimeoutError:
        return True
    return False


# --- requests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "status", "text"),
    [
        ("error_500_before", 500, "internal server error"),
        ("fak_400_with_id", 400, "no orders found to match with FAK order"),
        ("allowance_refused", 400, "not enough balance / allowance: the allowance is not enough"),
        ("restart_425", 425, "engine restarting"),
        ("rate_limited", 429, "Too Many Requests"),
    ],
)
async def test_a_refused_order_never_existed(client, kind, status, text):
    market = await client.market()
    await client.arm(kind, account=client.account["address"])
    refused = await client.post(market["tokens"][0])
    assert (refused.status_code, refused.json()["error"][: len(text)]) == (status, text)
    truth = await client.truth()
    assert (truth["trades"], truth["cash"]) == ([], "300")
    if kind in ("fak_400_with_id", "allowance_refused"):
        assert len(refused.json()["orderID"]) == 66
    if kind == "rate_limited":
        assert refused.headers["Retry-After"] == "1"
        assert refused.headers["Poly-RateLimit-Remaining"] == "0"
    assert (await client.post(market["tokens"][0])).json()["status"] == "matched"


async def test_success_may_come_with_an_error_and_no_order(client):
    market = await client.market()
    await client.arm("success_with_error")
    reply = (await client.post(market["tokens"][0])).json()
    assert reply["success"] is True
    assert reply["errorMsg"]
    assert reply["orderID"] == ""
    assert (await client.truth())["trades"] == []


async def test_an_order_may_be_in_though_the_reply_says_otherwise(client):
    market = await client.market()
    token = market["tokens"][0]
    await client.arm("error_500_after")
    assert (await client.post(token)).status_code == 500
    await client.arm("lost_reply")
    with pytest.raises(httpx.RemoteProtocolError):
        await client.post(token)
    await client.arm("timeout_after_accept")
    with pytest.raises(httpx.ReadTimeout):
        await client.post(token, timeout=1.0)
    assert len((await client.truth())["trades"]) == 3


async def test_a_fault_may_concern_one_account_only(client):
    market = await client.market()
    await client.arm("error_500_before", account=client.ready["accounts"][0]["address"])
    assert (await client.post(market["tokens"][0])).status_code == 200


async def test_refused_allowances_show_in_the_balance(client):
    await client.arm("allowance_refused", seconds=60)
    shown = (await client.private("GET", "/balance-allowance", asset_type="COLLATERAL", signature_type="0")).json()
    assert set(shown["allowances"].values()) == {"0"}


async def test_bad_requests_for_faults_are_refused_with_what_is_allowed(client):
    for body, text in (
        ({"kind": "gremlins"}, "kind must be one of"),
        ({"kind": "lost_reply", "channel": "user"}, "does not know channel"),
        ({"kind": "ghost_fill", "rate": 3}, "rate must lie"),
        ({"kind": "ws_freeze", "channel": "post"}, "channel must be one of"),
        ({"kind": "clock_skew", "ms": "soon"}, "ms must be a number"),
        ({"kind": "market_changed", "fee_rate": "much"}, "is no number"),
    ):
        refused = await client.http.post("/sandbox/faults", json=body)
        assert refused.status_code == 400
        assert text in refused.json()["error"]


# --- trades ----------------------------------------------------------------------------------------------------------


async def test_a_ghost_is_matched_and_then_fails_on_the_user_channel(client):
    market = await client.market()
    await client.arm("ghost_fill", rate=1, side="BUY", account=client.account["address"])
    async with client.user_channel() as socket:
        assert (await client.post(market["tokens"][0])).json()["status"] == "matched"
        seen = await frames(socket, seconds=3.0)
    assert [m["status"] for m in seen if m["event_type"] == "trade"] == ["MATCHED", "FAILED"]
    truth = await client.truth()
    assert (truth["cash"], truth["positions"]) == ("300", [])


async def test_a_market_may_close_between_validation_and_match(client):
    market = await client.market(ahead=3, asset="eth")
    await client.arm("market_closed_mid_order", market=market["slug"])
    refused = await client.post(market["tokens"][0])
    assert (refused.status_code, refused.json()["error"]) == (404, "market not found")
    after = (await client.http.get(f"/gamma/markets/slug/{market['slug']}")).json()
    assert after["acceptingOrders"] is False


# --- streams ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channel", ["market", "user", "rtds", "spot"])
async def test_a_frozen_stream_answers_pings_and_says_nothing(client, channel):
    market = await client.market(ahead=0)
    url = {"rtds": "rtds", "spot": "spot"}.get(channel, f"ws_{channel}")
    address = client.ready[url] + ("/ws/btcusdt@trade" if channel == "spot" else "")
    await client.arm("ws_freeze", channel=channel, seconds=60)
    async with websockets.connect(address) as socket:
        if channel == "market":
            await socket.send(json.dumps({"assets_ids": market["tokens"], "type": "market"}))
        if channel == "rtds":
            topics = [{"topic": "crypto_prices", "type": "*"}]
            await socket.send(json.dumps({"action": "subscribe", "subscriptions": topics}))
        if channel == "user":
            auth = {"apiKey": client.account["api_key"], "secret": client.account["secret"]}
            auth["passphrase"] = client.account["passphrase"]
            await socket.send(json.dumps({"auth": auth, "type": "user"}))
            await client.post(market["tokens"][0])
        assert await no_frames(socket)
        await client.http.delete("/sandbox/faults")
        if channel in ("rtds", "spot"):
            assert await frames(socket, seconds=1.5)


async def test_user_events_may_come_twice_or_never(client):
    market = await client.market()
    async with client.user_channel() as socket:
        await client.arm("frame_repeated", channel="user", match='"event_type":"trade"')
        await client.post(market["tokens"][0])
        seen = await frames(socket, seconds=1.0)
        trades = [m for m in seen if m["event_type"] == "trade"]
        assert trades[0] == trades[1]
        assert (await client.http.get("/sandbox/faults")).json()["struck"]["frame_repeated"] >= 1
        await frames(socket, seconds=5.5)
        await client.arm("frame_missing", channel="user", match='"status":"MATCHED"', count=2)
        await client.post(market["tokens"][0])
        seen = await frames(socket, seconds=1.0)
        assert [m for m in seen if m["event_type"] == "trade"] == []


async def test_frames_may_come_out_of_order(client):
    market = await client.market()
    async with client.user_channel() as socket:
        plain = await client.post(market["tokens"][0], price=CENT, shares=100 * SHARE, order_type="GTC")
        await client.arm("frame_reordered", channel="user")
        first = await client.post(market["tokens"][0], price=CENT, shares=100 * SHARE, order_type="GTC")
        second = await client.post(market["tokens"][0], price=CENT, shares=100 * SHARE, order_type="GTC")
        seen = [m["id"] for m in await frames(socket, seconds=1.0)]
    assert seen == [reply.json()["orderID"] for reply in (plain, second, first)]


# --- state of the venue ----------------------------------------------------------------------------------------------


async def test_a_restart_is_425_and_then_two_minutes_of_post_only(client):
    market = await client.market()
    await client.arm("engine_restart", seconds=1)
    assert (await client.post(market["tokens"][0])).status_code == 425
    assert (await client.private("DELETE", "/cancel-all")).status_code == 425
    await asyncio.sleep(1.2)
    refused = await client.post(market["tokens"][0])
    assert (refused.status_code, refused.json()["code"]) == (503, "post_only_mode")
    assert 100 < int(refused.headers["Retry-After"]) <= 120
    rests = await client.post(market["tokens"][0], price=CENT, shares=100 * SHARE, order_type="GTC", post_only=True)
    assert rests.json()["status"] == "live"


@pytest.mark.parametrize(("kind", "cancels"), [("cancel_only", 200), ("trading_disabled", 503)])
async def test_modes_that_take_no_orders(client, kind, cancels):
    market = await client.market()
    await client.arm(kind, seconds=30)
    refused = await client.post(market["tokens"][0])
    assert refused.status_code == 503
    assert "cancel-only" in refused.json()["error"] or kind == "trading_disabled"
    assert (await client.private("DELETE", "/cancel-all")).status_code == cancels


async def test_a_closed_only_account_may_sell_but_not_buy(client):
    market = await client.market()
    bought = (await client.post(market["tokens"][0])).json()
    await client.arm("closed_only", account=client.account["address"])
    assert (await client.private("GET", "/auth/ban-status/closed-only")).json() == {"closed_only": True}
    refused = await client.post(market["tokens"][0])
    assert (refused.status_code, "closed only mode" in refused.json()["error"]) == (400, True)
    shares = int(float(bought["takingAmount"])) * SHARE
    sold = await client.post(market["tokens"][0], side="SELL", price=CENT, shares=shares)
    assert sold.json()["status"] == "matched"


async def test_the_venue_may_be_wrong_about_the_time(client):
    market = await client.market()
    before = (await client.http.get("/time")).json()
    await client.arm("clock_skew", ms=-30_000)
    assert -31 <= (await client.http.get("/time")).json() - before <= -28
    stamp = int((await client.http.get("/book", params={"token_id": market["tokens"][0]})).json()["timestamp"])
    assert stamp / 1000 < before - 28
    async with client.user_channel() as socket:
        await client.post(market["tokens"][0])
        seen = await frames(socket, seconds=1.0)
    assert all(int(m["timestamp"]) / 1000 < before - 20 for m in seen)


async def test_fee_tick_and_minimum_change_for_everyone_at_once(client):
    market = await client.market(asset="eth")
    token = market["tokens"][0]
    async with websockets.connect(client.ready["ws_market"]) as socket:
        await socket.send(json.dumps({"assets_ids": [token], "type": "market"}))
        await asyncio.sleep(0.5)
        await client.arm("market_changed", market="eth-*", fee_rate="0.1", tick="0.001", min_size="10")
        seen = await frames(socket, seconds=1.0)
    change = next(m for m in seen if m.get("event_type") == "tick_size_change")
    assert (change["old_tick_size"], change["new_tick_size"]) == ("0.01", "0.001")
    gamma = await client.market(asset="eth")
    clob = (await client.http.get(f"/clob-markets/{market['conditionId']}")).json()
    book = (await client.http.get("/book", params={"token_id": token})).json()
    assert gamma["feeSchedule"]["rate"] == clob["fd"]["r"] == 0.1
    assert gamma["orderPriceMinTickSize"] == clob["mts"] == float(book["tick_size"]) == 0.001
    assert gamma["orderMinSize"] == clob["mos"] == float(book["min_order_size"]) == 10
    small = await client.post(token, price=CENT, shares=9 * SHARE, order_type="GTC")
    assert "lower than the minimum: 10" in small.json()["error"]
    await client.post(token)
    trade = (await client.truth())["trades"][0]
    price = float(trade["price"])
    assert float(trade["fee"]) == pytest.approx(float(trade["size"]) * 0.1 * price * (1 - price), abs=2e-5)
    other = await client.market()
    assert other["feeSchedule"]["rate"] == 0.07


async def test_the_taker_delay_of_a_market_may_grow_and_is_put_back(client):
    market, other = await client.market(), await client.market(asset="eth")
    clob = f"/clob-markets/{market['conditionId']}"
    assert (await client.http.get(clob)).json()["itode"] is False
    fault = await client.arm("market_changed", market=market["slug"], hold_ms=700)
    assert (await client.http.get(clob)).json()["itode"] is True
    assert (await client.http.get(f"/sandbox/markets/{market['slug']}")).json()["hold_ms"] == 700
    assert (await client.post(market["tokens"][0])).elapsed.total_seconds() > 0.7
    assert (await client.http.get(f"/sandbox/markets/{other['slug']}")).json()["hold_ms"] == 0
    cleared = (await client.http.delete(f"/sandbox/faults/{fault['id']}")).json()
    assert (cleared["cleared"], cleared["faults"]) == (1, [])
    assert (await client.http.get(clob)).json()["itode"] is False


async def test_makers_may_leave(client):
    market = await client.market(ahead=2)
    await client.arm("book_emptied", market=market["slug"], seconds=30)
    book = (await client.http.get("/book", params={"token_id": market["tokens"][0]})).json()
    assert (book["bids"], book["asks"]) == ([], [])
    assert "no orders found" in (await client.post(market["tokens"][0])).json()["error"]


async def test_the_house_may_be_wrong_about_a_market_and_right_again(client):
    market = await client.market(ahead=2)

    async def middle():
        book = (await client.http.get("/book", params={"token_id": market["tokens"][0]})).json()
        return (float(book["bids"][-1]["price"]) + float(book["asks"][-1]["price"])) / 2

    async def moved(by):
        return abs(await middle() - before - by) < 0.05

    async def quoted():
        book = (await client.http.get("/book", params={"token_id": market["tokens"][0]})).json()
        return book["bids"] and book["asks"]

    await sandboxes.eventually(quoted)  # The makers may have just come back from another fault
    before = await middle()
    fault = await client.arm("market_mispriced", market=market["slug"], by=0.2)
    await sandboxes.eventually(lambda: moved(0.2))
    await client.http.delete(f"/sandbox/faults/{fault['id']}")
    await sandboxes.eventually(lambda: moved(0))


async def test_a_crossed_book_is_shown_and_cannot_be_hit(client):
    market = await client.market()
    await client.arm("book_crossed", market=market["slug"], seconds=3)
    book = (await client.http.get("/book", params={"token_id": market["tokens"][0]})).json()
    bid, ask = book["bids"][-1], book["asks"][-1]
    assert float(bid["price"]) > float(ask["price"])
    await client.post(market["tokens"][0], shares=6 * SHARE)
    price = round(float(bid["price"]) * 100) * CENT
    refused = await client.post(market["tokens"][0], side="SELL", price=price, shares=6 * SHARE)
    assert "no orders found" in refused.json()["error"]
    await asyncio.sleep(3.3)
    book = (await client.http.get("/book", params={"token_id": market["tokens"][0]})).json()
    assert float(book["bids"][-1]["price"]) < float(book["asks"][-1]["price"])
