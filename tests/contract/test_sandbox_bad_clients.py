"""Bad clients: each gets what the venue would give it, and nobody else notices."""

import asyncio
import json
import time
from typing import Any

import pytest
import websockets

from services.sandbox import streams
from services.sandbox.clock import VenueClock
from services.sandbox.faults import Fault
from services.sandbox.streams import SLOW_CONSUMER, SLOW_REASON, Connection, Hub
from tests.contract.test_sandbox_faults import Client, client, ready  # noqa: F401 - fixtures
from tests.sandbox_orders import call, headers, signed_order

ROOT_DOCS = "docs/sandbox.md"


class Deaf:
    """A socket whose client reads nothing."""

    def __init__(self) -> None:
        self.closed: tuple[int, str] | None = None
        self.gone = asyncio.Event()

    async def send_text(self, _: str) -> None:
        await asyncio.Event().wait()

    async def receive_text(self) -> str:
        await self.gone.wait()
        raise RuntimeError("closed")

    async def close(self, *, code: int, reason: str) -> None:
        self.closed = (code, reason)
        self.gone.set()


async def test_a_client_that_does_not_read_is_dropped_with_a_reason(monkeypatch):
    monkeypatch.setattr(streams, "QUEUE_LIMIT", 50)
    deaf: Any = Deaf()
    slow: Connection = Connection(deaf, VenueClock(anchor_ns=0, speed=1.0))
    hub: Hub[Connection] = Hub()
    serving = asyncio.create_task(hub.serve(slow, on_text=lambda *_: None))
    await asyncio.sleep(0)
    for _ in range(60):
        slow.push("frame")
    await asyncio.wait_for(serving, timeout=5)
    assert deaf.closed == (SLOW_CONSUMER, SLOW_REASON)
    assert not hub.clients


async def test_floods_are_answered_by_429_and_others_are_served(client: Client):  # noqa: F811
    market = await client.market()
    other = (await client.http.post("/sandbox/accounts", json={"signature_type": 0})).json()
    path, body = "/order", json.dumps({"order": {}})
    flood = [
        client.http.post(path, content=body, headers=headers(client.account, "POST", path, body)) for _ in range(200)
    ]
    flooding = asyncio.gather(*flood)
    started = time.monotonic()
    payload = signed_order(other, market["tokens"][0], price=990_000, shares=6_000_000, salt=int(time.time()))
    served = await client.http.request(**call(other, "POST", "/order", payload))
    assert served.json()["status"] == "matched"
    assert time.monotonic() - started < 5
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


def test_every_fault_is_documented(pytestconfig):
    text = (pytestconfig.rootpath / ROOT_DOCS).read_text()
    assert [kind for kind in Fault if f"| `{kind}` |" not in text] == []
