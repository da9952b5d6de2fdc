"""The authenticated price socket: who may listen, what is refused, and how it ends a connection."""

import asyncio
import json
from typing import Any

import pytest
import websockets

from tests import sandboxes
from tests.starting import running_sandbox
from tests.waiting import PATIENCE_S

SPEED = 100


@pytest.fixture(scope="module")
def ready():
    with running_sandbox("--scenario", "instant", "--speed", "10") as made:
        yield made


@pytest.fixture(scope="module")
def hurried():
    with running_sandbox("--scenario", "efficient", "--speed", str(SPEED)) as made:
        yield made


def twap(symbol: str = "btcusd", window_s: int = 60) -> dict[str, Any]:
    return {"channel": "price.crypto.twap", "filter": {"symbol": symbol, "window_seconds": window_s}}


async def ask(socket, **frame: Any) -> Any:
    await socket.send(json.dumps(frame))
    async with asyncio.timeout(PATIENCE_S):
        while True:
            heard = json.loads(await socket.recv())
            if "op" in heard:
                return heard


async def sign_in(socket, ready) -> None:
    account = ready["accounts"][0]
    auth = {"apiKey": account["api_key"], "secret": account["secret"], "passphrase": account["passphrase"]}
    assert await ask(socket, op="auth", auth=auth, rid="1") == {"op": "authed", "rid": "1"}


async def closing_code(socket) -> int:
    """Read what is left and tell how it ended."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                await socket.recv()
    except websockets.ConnectionClosed as error:
        return error.rcvd.code if error.rcvd else 0


async def test_a_snapshot_and_then_numbered_ticks(ready):
    async with websockets.connect(ready["polybolt"]) as socket:
        await sign_in(socket, ready)
        answer = await ask(socket, op="subscribe", subscriptions=[twap()], rid="2")
        assert answer == {"op": "subscribed", "channel": "price.crypto.twap", "rid": "2"}
        async with asyncio.timeout(PATIENCE_S):
            frames = [json.loads(await socket.recv()) for _ in range(4)]
    assert (frames[0]["snapshot"], len(frames[0]["payload"]["data"])) == (True, 120)
    assert [frame["seq"] for frame in frames] == [1, 2, 3, 4]
    assert all(frame["v"] == 1 and frame["payload"]["source"] == "chainlink" for frame in frames)
    stamps = [frame["payload"]["timestamp"] for frame in frames[1:]]
    assert stamps == [stamps[0], stamps[0] + 1000, stamps[0] + 2000]


async def read(socket) -> Any:
    async with asyncio.timeout(PATIENCE_S):
        while '"payload"' not in (heard := await socket.recv()):
            pass
    return json.loads(heard)["payload"]


async def told(socket) -> int:
    """Seconds without a hole that a subscription begins with: two minutes in one message, then three ticks."""
    stamps = [point["timestamp"] for point in (await read(socket))["data"]]
    stamps += [(await read(socket))["timestamp"] for _ in range(3)]
    assert stamps == list(range(stamps[0], stamps[0] + 1000 * len(stamps), 1000))
    return len(stamps)


@pytest.mark.parametrize("nth", range(30))
async def test_no_second_is_missing_between_a_snapshot_and_the_first_tick(hurried, nth):
    """A second of this venue is hardly longer than the making of a snapshot; each time another part of it has gone."""
    async with websockets.connect(hurried["polybolt"]) as socket:
        await sign_in(socket, hurried)
        await asyncio.sleep(nth / 30 / SPEED)
        await socket.send(json.dumps({"op": "subscribe", "subscriptions": [twap()]}))
        assert await told(socket) == 123


@pytest.mark.parametrize("nth", range(30))
async def test_no_second_is_missing_between_a_history_and_the_first_tick(hurried, nth):
    topic = {"topic": "crypto_prices_twap_sixty", "type": "*", "filters": '{"symbol":"btc/usd"}'}
    async with websockets.connect(hurried["rtds"]) as socket:
        await asyncio.sleep(nth / 30 / SPEED)
        await socket.send(json.dumps({"action": "subscribe", "subscriptions": [topic]}))
        assert await told(socket) == 123


async def test_refusals_name_their_reason(ready):
    async with websockets.connect(ready["polybolt"]) as socket:
        assert (await ask(socket, op="subscribe", subscriptions=[twap()]))["code"] == "auth_required"
        await sign_in(socket, ready)
        assert (await ask(socket, op="ping"))["op"] == "pong"
        assert (await ask(socket, op="dance"))["code"] == "bad_op"
        unknown = {"channel": "price.weather", "filter": {}}
        assert (await ask(socket, op="subscribe", subscriptions=[unknown]))["code"] == "bad_channel"
        for wrong in (twap(symbol="dogeusd"), twap(window_s=30)):
            assert (await ask(socket, op="subscribe", subscriptions=[wrong]))["code"] == "bad_filter"


async def test_wrong_credentials_floods_and_restarts_close_with_their_codes(ready):
    async with websockets.connect(ready["polybolt"]) as socket:
        for _ in range(3):
            assert (await ask(socket, op="auth", auth={"apiKey": "x"}))["code"] == "auth_invalid"
        assert await closing_code(socket) == 4001
    async with websockets.connect(ready["polybolt"]) as socket:
        for _ in range(30):
            await socket.send('{"op":"ping"}')
        assert await closing_code(socket) == 4008
    async with websockets.connect(ready["polybolt"]) as socket:
        assert (await ask(socket, op="ping"))["op"] == "pong"
        sandboxes.control(ready, "/engine", mode="restart", seconds=1)
        assert await closing_code(socket) == 4003
    sandboxes.control(ready, "/engine", mode="running")
