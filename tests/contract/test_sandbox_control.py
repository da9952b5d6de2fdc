"""The control API: faults set, listed, counted and cleared while the venue runs, and who may ask for them."""

import asyncio
import json
from datetime import UTC, datetime
from functools import partial

import httpx
import pytest
import websockets
from fastapi.routing import APIRoute

from services.sandbox.api_control import Control
from services.sandbox.api_faults import FaultControl
from services.sandbox.app import build_app
from services.sandbox.refusals import ENGINE_ERRORS
from services.sandbox.scenario import SCENARIOS
from services.sandbox.world import RunSettings, World
from tests.contract.test_sandbox_faults import CENT, SHARE, Client, client, frames, ready  # noqa: F401 - fixtures
from tests.sandbox_orders import call, signed_order
from tests.sandboxes import eventually
from tests.waiting import PATIENCE_S

# --- faults at run time ----------------------------------------------------------------------------------------------


async def test_a_rate_of_ghosts_is_listed_and_counted_and_ends_when_cleared(client: Client):  # noqa: F811
    market = await client.market()
    fault = await client.arm("ghost_fill", rate=0.35, side="BUY", account=client.account["address"])
    for number in range(40):
        token = market["tokens"][number % 2]
        assert (await client.post(token, shares=2 * SHARE)).json()["status"] == "matched"
    state = (await client.http.get("/sandbox/faults")).json()
    (row,) = state["faults"]
    assert (row["id"], row["kind"], row["rate"], row["left"]) == (fault["id"], "ghost_fill", 0.35, None)
    assert 4 <= row["struck"] <= 26
    assert state["armed"] == {"ghost_fill": -1}
    cleared = (await client.http.post("/sandbox/faults/clear", json={"kind": "ghost_fill"})).json()
    assert (cleared["cleared"], cleared["faults"]) == (1, [])

    async def settled():
        statuses = [trade["status"] for trade in (await client.truth())["trades"]]
        return None if {"MATCHED", "MINED"} & set(statuses) else statuses

    assert (await eventually(settled)).count("FAILED") == row["struck"]


async def test_one_order_in_some_is_struck_and_only_that_account(client: Client):  # noqa: F811
    market = await client.market()
    fault = await client.arm("error_500_before", after=2, count=1, account=client.account["wallet"])
    statuses = [(await client.post(market["tokens"][0])).status_code for _ in range(4)]
    assert statuses == [200, 200, 500, 200]
    state = (await client.http.get("/sandbox/faults")).json()
    assert (state["faults"], state["ended"][-1]["id"], state["ended"][-1]["struck"]) == ([], fault["id"], 1)


async def test_an_order_may_arrive_after_its_client_has_given_up(client: Client):  # noqa: F811
    market = await client.market()
    await client.arm("late_accept", delay_ms=2000)
    with pytest.raises(httpx.ReadTimeout):
        await client.post(market["tokens"][0], timeout=0.2)
    assert (await client.truth())["trades"] == []

    async def arrived():
        return (await client.truth())["trades"]

    assert len(await eventually(arrived)) == 1


async def test_orders_may_vanish_without_a_word(client: Client):  # noqa: F811
    market = await client.market()
    await client.post(market["tokens"][0], price=CENT, shares=100 * SHARE, order_type="GTC")
    async with client.user_channel() as socket:
        await client.arm("orders_dropped", account=client.account["address"])
        assert (await client.private("GET", "/data/orders")).json()["data"] == []
        assert await frames(socket, seconds=0.5) == []
    assert (await client.truth())["reserved"] == "0"


async def test_connections_may_be_cut_for_one_account(client: Client):  # noqa: F811
    async with client.user_channel() as socket, websockets.connect(client.ready["ws_market"]) as other:
        await client.arm("ws_dropped", channel="user", account=client.account["wallet"])
        with pytest.raises(websockets.ConnectionClosed):
            await asyncio.wait_for(socket.recv(), timeout=5)
        assert socket.close_code == 1001
        await other.send("PING")
        assert await asyncio.wait_for(other.recv(), timeout=5) == "PONG"


async def test_a_trade_may_be_retried_before_it_is_mined(client: Client):  # noqa: F811
    market = await client.market()
    await client.arm("settlement_retried")
    async with client.user_channel() as socket:
        await client.post(market["tokens"][0])
        statuses: list[str] = []
        async with asyncio.timeout(PATIENCE_S):
            while "CONFIRMED" not in statuses:
                event = json.loads(await socket.recv())
                statuses += [event["status"]] if event["event_type"] == "trade" else []
    assert statuses == ["MATCHED", "RETRYING", "MINED", "CONFIRMED"]


async def test_replies_to_cancels_and_queries_may_be_lost_too(client: Client):  # noqa: F811
    market = await client.market()
    resting = (await client.post(market["tokens"][0], price=CENT, shares=100 * SHARE, order_type="GTC")).json()
    await client.arm("lost_reply", call="cancel")
    await client.arm("error_500_before", path="/data/orders")
    with pytest.raises(httpx.RemoteProtocolError):
        await client.private("DELETE", "/order", {"orderID": resting["orderID"]})
    assert (await client.private("GET", "/data/orders")).status_code == 500
    assert (await client.private("GET", "/data/orders")).json()["data"] == []
    assert (await client.http.get("/sandbox/faults")).json()["faults"] == []


@pytest.mark.parametrize(
    ("text", "status"),
    [
        *((text, 500) for text in ENGINE_ERRORS),
        ("order canceled in the CTF exchange contract", 400),
        ("order match delayed due to market conditions", 400),
        ("order {id} crosses the book", 400),
        ("market not found", 404),
    ],
)
async def test_every_other_refusal_of_the_venue_can_be_had(client: Client, text: str, status: int):  # noqa: F811
    market = await client.market()
    await client.arm("order_refused", text=text)
    refused = await client.post(market["tokens"][0])
    assert refused.status_code == status
    assert refused.json()["error"] == text.replace("{id}", refused.json()["orderID"])
    assert (await client.truth())["trades"] == []


async def test_a_market_may_not_be_ready_yet(client: Client):  # noqa: F811
    market = await client.market()
    await client.http.post("/sandbox/knobs", json={"ready_after_s": 10**6})
    refused = await client.post(market["tokens"][0])
    assert (refused.status_code, refused.json()["error"]) == (
        400,
        "the market is not yet ready to process new orders",
    )
    await client.http.post("/sandbox/knobs", json={"ready_after_s": 0})
    assert (await client.post(market["tokens"][0])).json()["status"] == "matched"


async def test_a_batch_in_post_only_mode_is_answered_entry_by_entry(client: Client):  # noqa: F811
    market = await client.market()
    await client.http.post("/sandbox/engine", json={"mode": "post_only", "seconds": 60})
    resting = partial(signed_order, client.account, market["tokens"][0], price=CENT, shares=100 * SHARE)
    signed = [resting(order_type="GTC", salt=number, post_only=number == 1) for number in range(2)]
    replies = (await client.private("POST", "/orders", signed)).json()
    assert [(each["success"], each["status"]) for each in replies] == [(True, ""), (True, "live")]
    assert "post-only mode" in replies[0]["errorMsg"]
    refused = await client.private("POST", "/orders", signed[:1])
    assert (refused.status_code, refused.json()["code"]) == (503, "post_only_mode")
    assert int(refused.headers["Retry-After"]) == refused.json()["retry_after_seconds"] > 50


async def test_a_maker_earns_a_share_of_the_fee_its_fill_brought(client: Client):  # noqa: F811
    other = (await client.http.post("/sandbox/accounts", json={"signature_type": 0})).json()
    market = await client.market(ahead=3)
    await client.arm("book_emptied", market=market["slug"], seconds=60)
    await client.post(market["tokens"][0], price=40 * CENT, shares=100 * SHARE, order_type="GTC")
    taking = signed_order(other, market["tokens"][1], price=60 * CENT, shares=100 * SHARE)
    await client.http.request(**call(other, "POST", "/order", taking))
    date = gmt_date((await client.http.get("/time")).json())
    query = {"date": date, "maker_address": client.account["wallet"]}
    (row,) = (await client.http.get("/rebates/current", params=query)).json()
    assert (row["condition_id"], row["rebated_fees_usdc"]) == (market["conditionId"], "0.336")
    assert (await client.http.get("/rebates/current", params=query | {"maker_address": other["wallet"]})).json() == []


async def test_what_to_clear_must_be_clear(client: Client):  # noqa: F811
    await client.arm("lost_reply")
    refused = await client.http.post("/sandbox/faults/clear", json={"kind": "lost_reply", "id": "1"})
    assert (refused.status_code, "state an id" in refused.json()["error"]) == (400, True)
    assert (await client.http.post("/sandbox/faults/clear")).json()["cleared"] == 1
    assert (await client.http.delete("/sandbox/faults/77")).json()["cleared"] == 0


async def test_the_accounts_are_listed(client: Client):  # noqa: F811
    listed = (await client.http.get("/sandbox/accounts")).json()
    assert client.account["address"] in [row["address"] for row in listed]
    assert all(set(row) == {"address", "wallet", "signature_type", "closed_only", "banned"} for row in listed)


def gmt_date(second: int) -> str:
    return datetime.fromtimestamp(second, tz=UTC).date().isoformat()


# --- who may ask -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world():
    settings = RunSettings(
        seed=3, scenario=SCENARIOS["instant"], speed=1.0, anchor_ns=1_795_000_000 * 10**9, bankroll_usd=1
    )
    return World(settings)


@pytest.mark.parametrize(
    ("peer", "host", "origin", "allowed"),
    [
        ("127.0.0.1", "127.0.0.1:8900", None, True),
        ("::1", "[::1]:8900", None, True),
        ("172.18.0.5", "sandbox:8900", None, True),
        ("192.168.1.7", "box.local", None, True),
        ("::ffff:10.0.0.4", "10.0.0.1:8900", None, True),
        ("127.0.0.1", "localhost:8900", "http://localhost:3000", True),
        ("8.8.8.8", "127.0.0.1:8900", None, False),
        ("::ffff:8.8.8.8", "127.0.0.1:8900", None, False),
        ("2001:4860:4860::8888", "[::1]:8900", None, False),
        ("127.0.0.1", "sandbox.example.com", None, False),
        ("127.0.0.1", "8.8.8.8:8900", None, False),
        ("127.0.0.1", "[2001:4860:4860::8888]", None, False),
        ("127.0.0.1", "", None, False),
        ("127.0.0.1", "127.0.0.1:8900", "https://example.com", False),
        ("127.0.0.1", "127.0.0.1:8900", "null", False),
        ("somewhere", "127.0.0.1:8900", None, False),
    ],
)
@pytest.mark.parametrize("path", ["/sandbox/ready", "/sandbox/faults", "/sandbox/accounts"])
async def test_the_control_api_is_for_private_addresses_and_names(world, peer, host, origin, allowed, path):
    transport = httpx.ASGITransport(app=build_app(world), client=(peer, 5000))
    headers = {"host": host} | ({"origin": origin} if origin else {})
    async with httpx.AsyncClient(transport=transport, base_url="http://any") as http:
        reply = await http.get(path, headers=headers)
    assert reply.status_code == (200 if allowed else 403)


async def test_every_control_call_is_guarded(world):
    routes = [*Control(world).router().routes, *FaultControl(world).router().routes]
    guarded = [route for route in routes if isinstance(route, APIRoute)]
    transport = httpx.ASGITransport(app=build_app(world), client=("8.8.8.8", 5000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        for route in guarded:
            for method in route.methods or ():
                reply = await http.request(method, route.path.replace("{", "").replace("}", ""))
                assert (route.path, method, reply.status_code) == (route.path, method, 403)
    assert len(guarded) >= 16
