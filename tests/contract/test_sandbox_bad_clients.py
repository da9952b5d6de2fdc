"""Bad clients: each gets what the venue would give it, and nobody else notices."""

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from operator import attrgetter
from typing import Any

import pytest
import websockets

from services.sandbox import streams
from services.sandbox.scenario import SCENARIOS
from services.sandbox.streams import SLOW_REASON
from services.sandbox.world import RunSettings, World
from tests.contract.test_sandbox_faults import Client, client, ready  # noqa: F401 - fixtures
from tests.sandbox_orders import call, headers, signed_order
from tests.sandboxes import eventually, in_process
from tests.waiting import PATIENCE_S


@pytest.mark.parametrize(
    ("path", "hub", "code"),
    [("/ws/market", "feeds.market_hub", 1008), ("/rtds", "rtds.hub", 1008), ("/polybolt", "polybolt.hub", 4002)],
)
async def test_a_client_that_does_not_read_is_dropped_and_nobody_waits_for_it(monkeypatch, path, hub, code):
    monkeypatch.setattr(streams, "QUEUE_LIMIT", 40)
    settings = RunSettings(
        seed=3, scenario=SCENARIOS["instant"], speed=1.0, anchor_ns=time.time_ns(), bankroll_usd=1, families=("5m",)
    )
    world = World(settings)
    clients = attrgetter(hub)(world)
    async with in_process(world) as address, asyncio.timeout(PATIENCE_S):
        url = f"ws://{address}{path}"
        async with (
            websockets.connect(url, max_size=None, max_queue=1, compression=None) as deaf,
            websockets.connect(url, max_size=None, compression=None) as good,
        ):
            await eventually(partial(_is, lambda: len(clients.clients) == 2))
            sent = 0
            while len(clients.clients) == 2:
                for client in clients.each():
                    client.push(f"{sent}:{'x' * 250_000}")
                assert (await good.recv(decode=True)).startswith(f"{sent}:")
                sent += 1
            with suppress(websockets.ConnectionClosed):
                while True:
                    await deaf.recv()
            assert (deaf.close_code, deaf.close_reason) == (code, SLOW_REASON)


async def _is(holds: Callable[[], bool]) -> bool:
    return holds()


async def test_floods_are_answered_by_429_and_others_are_served(client: Client):  # noqa: F811
    market = await client.market()
    other = (await client.http.post("/sandbox/accounts", json={"signature_type": 0})).json()
    path, body = "/order", json.dumps({"order": {}})
    flood = [
        client.http.post(path, content=body, headers=headers(client.account, "POST", path, body)) for _ in range(200)
    ]
    flooding = asyncio.gather(*flood)
    payload = signed_order(other, market["tokens"][0], price=990_000, shares=6_000_000, salt=int(time.time()))
    served = await asyncio.wait_for(client.http.request(**call(other, "POST", "/order", payload)), timeout=5)
    assert served.json()["status"] == "matched"
    replies = await flooding
    assert {reply.status_code for reply in replies} == {400, 429}
    refused = next(reply for reply in replies if reply.status_code == 429)
    assert int(refused.headers["Retry-After"]) >= 1
    assert refused.headers["Poly-RateLimit-Remaining"] == "0"


@pytest.mark.parametrize("body", ["", "{", "[]", "null", '{"order": 3}', '{"order": {"salt": "x"}}', "\x00\xff" * 50])
async def test_garbage_gets_the_venues_400(client: Client, body: str):  # noqa: F811
    signed = headers(client.account, "POST", "/order", body)
    reply = await client.http.post("/order", content=body, headers=signed)
    assert (reply.status_code, reply.json()["error"]) == (400, "Invalid order payload")


@pytest.mark.parametrize("frame", ["{", "[]", "null", b"\x00\x01", '{"assets_ids": 7}', '{"auth": []}', "x" * 50_000])
async def test_garbage_frames_harm_nobody_else(client: Client, frame: Any):  # noqa: F811
    async with client.user_channel() as good:
        for channel in ("ws_market", "ws_user", "rtds"):
            async with websockets.connect(client.ready[channel]) as bad:
                await bad.send(frame)
                await asyncio.sleep(0.1)
        await good.send("PING")
        assert await asyncio.wait_for(good.recv(), timeout=3) == "PONG"
    assert (await client.http.get("/sandbox/health")).json()["ok"] is True
