"""Sandboxes for tests: a process on a free port, accounts on it, and the official clients pointed at it."""

import asyncio
import contextlib
import dataclasses
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
import uvicorn

from services.sandbox.app import build_app
from services.sandbox.wire import ImpatientWebSocket
from services.sandbox.world import World
from tests.waiting import PATIENCE_S


@contextlib.asynccontextmanager
async def in_process(world: World) -> AsyncIterator[str]:
    """A world on a real port of this process; yields host and port."""
    config = uvicorn.Config(build_app(world), port=0, log_level="critical", ws=ImpatientWebSocket)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())

    async def started() -> bool:
        return server.started

    await eventually(started)
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    try:
        yield f"{host}:{port}"
    finally:
        server.should_exit = True
        await task


def renew_second_client() -> None:
    """`py-clob-client-v2` has one connection pool a process and never closes it: close it, give it another."""
    helpers = pytest.importorskip("py_clob_client_v2.http_helpers.helpers")
    helpers._http_client.close()
    helpers._http_client = httpx.Client(http2=True)


def environment(ready: Any) -> Any:
    """The unified client's own environment with every address replaced; nothing else about it changes."""
    from polymarket._internal.environment import PRODUCTION_CONFIG, create_environment

    config = dataclasses.replace(
        PRODUCTION_CONFIG,
        clob_url=ready["clob"],
        gamma_url=ready["gamma"],
        data_url=ready["data"],
        relayer_url=ready["relayer"],
        rpc_url=ready["rpc"],
        clob_market_ws_url=ready["ws_market"],
        clob_user_ws_url=ready["ws_user"],
        rtds_ws_url=ready["rtds"],
        realtime_ws_url=ready["polybolt"],
        sports_ws_url=ready["sports"],
        relayer_poll_frequency_ms=100,
    )
    return create_environment(name="sandbox", config=config)


def fresh_account(ready: Any, signature_type: int) -> Any:
    return httpx.post(f"{ready['sandbox']}/accounts", json={"signature_type": signature_type}).json()


def control(ready: Any, path: str, **body: Any) -> Any:
    reply = httpx.post(f"{ready['sandbox']}{path}", json=body)
    reply.raise_for_status()
    return reply.json()


def truth(ready: Any, account: Any) -> Any:
    return httpx.get(f"{ready['sandbox']}/accounts/{account['address']}").json()


def gamma(ready: Any, path: str, **params: Any) -> Any:
    reply = httpx.get(f"{ready['gamma']}{path}", params=params)
    reply.raise_for_status()
    return reply.json()


def next_window(ready: Any, *, asset: str = "btc", minutes: int = 15) -> Any:
    """A window that has not begun: its price is a half and both sides are quoted."""
    now = int(httpx.get(f"{ready['clob']}/time").text)
    start = now // (60 * minutes) * 60 * minutes + 60 * minutes
    if start - now < 120:
        start += 60 * minutes
    return gamma(ready, f"/markets/slug/{asset}-updown-{minutes}m-{start}")


def tokens(market: Any) -> list[str]:
    made: list[str] = market.get("positionIds") or json.loads(market["clobTokenIds"])
    return made


def until(holds: Callable[[], Any], *, seconds: float = PATIENCE_S) -> Any:
    """Ask every tenth of a second; returns the first true answer."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = holds()
        if answer:
            return answer
        time.sleep(0.1)
    pytest.fail("it never came true")


async def eventually(holds: Callable[[], Awaitable[Any]], *, seconds: float = PATIENCE_S) -> Any:
    """As `until`, for coroutines."""
    for _ in range(int(seconds * 20)):
        answer = await holds()
        if answer:
            return answer
        await asyncio.sleep(0.05)
    pytest.fail("it never came true")
