"""The authenticated price socket: channels, sequence numbers, snapshots, a count of what was dropped (venue.md 6.3).

`price.crypto` is the index as a price provider publishes it, `price.crypto.twap` the oracle's 60 s average that
settles markets. A client authenticates with its CLOB credentials first.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson
from starlette.websockets import WebSocket, WebSocketState

from services.sandbox.auth import Keys
from services.sandbox.clock import SECOND_NS, VenueClock, wall_seconds
from services.sandbox.prices import ASSETS, IndexPath, Oracle
from services.sandbox.scenario import Scenario
from services.sandbox.streams import Connection, Hub, encode, published, underway

SPOT, TWAP = "price.crypto", "price.crypto.twap"
WINDOW_S = 60
SNAPSHOT_S = 120
MAX_SUBSCRIPTIONS = 64
MAX_FRAMES_A_SECOND = 20
MAX_FRAME_BYTES = 64 * 1024
MAX_AUTH_ATTEMPTS = 3
AUTH_CLOSE, SLOW_CLOSE, DRAIN_CLOSE, POLICY_CLOSE = 4001, 4002, 4003, 4008
SYMBOLS = {f"{code}usd": code for code in ASSETS}
SOURCES = {SPOT: "pyth", TWAP: "chainlink"}
LAG_MS = {SPOT: "rtds_spot_ms", TWAP: "rtds_oracle_ms"}


@dataclass(frozen=True, slots=True)
class Topic:
    channel: str
    code: str


class PriceClient(Connection):
    """One connection: who it is, what it wants, and the sequence number of each topic."""

    slow_code = SLOW_CLOSE

    def __init__(self, socket: WebSocket, clock: VenueClock) -> None:
        super().__init__(socket, clock)
        self.known = False
        self.attempts = 0
        self.topics: dict[Topic, int] = {}
        self.frames: list[float] = []
        self.leaving = 0

    def number(self, topic: Topic) -> int:
        self.topics[topic] += 1
        return self.topics[topic]


class PolyBolt:
    """Serves the socket; `step` must be called once for every venue second."""

    def __init__(
        self,
        *,
        clock: VenueClock,
        keys: Keys,
        paths: dict[str, IndexPath],
        oracles: dict[str, Oracle],
        scenario: Scenario,
    ) -> None:
        self.scenario = scenario
        self.hub: Hub[PriceClient] = Hub()
        self._clock = clock
        self._keys = keys
        self._paths = paths
        self._oracles = oracles
        self._stepped = 0
        self._leaving: set[asyncio.Task[None]] = set()

    async def serve(self, socket: WebSocket) -> None:
        await socket.accept()
        await self.hub.serve(PriceClient(socket, self._clock), on_text=self._on_text)

    def begin(self, second: int) -> None:
        """The next to be stepped is the one after `second`: until then all is history, however late the steps come."""
        self._stepped = second

    def step(self, second: int) -> None:
        """Publish the ticks stamped `second`, each after its feed's delay."""
        self._stepped = second
        for client in self.hub.each():
            for topic in client.topics:
                payload = self._point(topic, second) | self._about(topic)
                message = self._envelope(client, topic, payload)
                client.push_json(message, delay_ms=getattr(self.scenario, LAG_MS[topic.channel]))

    def drain(self) -> None:
        """Ask every client to come back on another connection, as the venue does before a deploy."""
        for client in self.hub.each():
            self._close(client, DRAIN_CLOSE)

    def _on_text(self, client: PriceClient, text: str) -> None:
        if client.leaving:
            return
        now = wall_seconds()
        client.frames = [at for at in client.frames if now - at < 1] + [now]
        if len(text) > MAX_FRAME_BYTES or len(client.frames) > MAX_FRAMES_A_SECOND:
            self._close(client, POLICY_CLOSE)
            return
        try:
            frame = orjson.loads(text)
        except orjson.JSONDecodeError:
            frame = None
        if not isinstance(frame, dict):
            client.push_json({"op": "error", "code": "bad_op"})
            return
        self._act(client, frame, str(frame.get("op", "")))

    def _act(self, client: PriceClient, frame: dict[str, Any], op: str) -> None:
        rid = {"rid": frame["rid"]} if isinstance(frame.get("rid"), str) else {}
        if op == "ping":
            client.answer(encode({"op": "pong", **rid}))
        elif op == "auth":
            self._authenticate(client, frame, rid)
        elif op not in ("subscribe", "unsubscribe"):
            client.push_json({"op": "error", "code": "bad_op", **rid})
        elif not client.known:
            client.push_json({"op": "error", "code": "auth_required", **rid})
        else:
            for entry in frame.get("subscriptions") or []:
                self._change(client, entry if isinstance(entry, dict) else {}, op, rid)

    def _authenticate(self, client: PriceClient, frame: dict[str, Any], rid: dict[str, Any]) -> None:
        given = frame.get("auth")
        auth = given if isinstance(given, dict) else {}
        key = self._keys.check(
            key=str(auth.get("apiKey")), secret=str(auth.get("secret")), passphrase=str(auth.get("passphrase"))
        )
        if key is not None:
            client.known = True
            client.push_json({"op": "authed", **rid})
            return
        client.attempts += 1
        client.push_json({"op": "error", "code": "auth_invalid", **rid})
        if client.attempts >= MAX_AUTH_ATTEMPTS:
            self._close(client, AUTH_CLOSE)

    def _change(self, client: PriceClient, entry: dict[str, Any], op: str, rid: dict[str, Any]) -> None:
        """One entry of a request: acknowledged or refused by itself, in the order sent."""
        channel, wanted = str(entry.get("channel", "")), entry.get("filter")
        chosen = wanted if isinstance(wanted, dict) else {}
        answer = {"channel": channel, **rid}
        if channel not in SOURCES:
            client.push_json({"op": "error", "code": "bad_channel", **answer})
            return
        code = SYMBOLS.get(str(chosen.get("symbol", "")).lower())
        if code is None or (channel == TWAP and chosen.get("window_seconds") != WINDOW_S):
            client.push_json({"op": "error", "code": "bad_filter", **answer})
            return
        topic = Topic(channel, code)
        if op == "unsubscribe":
            client.topics.pop(topic, None)
            client.push_json({"op": "unsubscribed", **answer})
            return
        if topic not in client.topics and len(client.topics) >= MAX_SUBSCRIPTIONS:
            client.push_json({"op": "error", "code": "sub_limit", **answer})
            return
        client.push_json({"op": "subscribed", **answer})
        client.topics[topic] = 0
        lag_ms = float(getattr(self.scenario, LAG_MS[channel]))
        last = published(self._clock, stepped=self._stepped, lag_ms=lag_ms)  # Asked once: a snapshot takes its time
        client.push_json(self._snapshot(client, topic, last=last))
        for second, left_ms in underway(self._clock, after=last, stepped=self._stepped, lag_ms=lag_ms):
            payload = self._point(topic, second) | self._about(topic)
            client.push_json(self._envelope(client, topic, payload), delay_ms=left_ms)

    def _snapshot(self, client: PriceClient, topic: Topic, *, last: int) -> dict[str, Any]:
        """Two minutes, up to the second `last`."""
        points = [self._point(topic, second) for second in range(last - SNAPSHOT_S + 1, last + 1)]
        return self._envelope(client, topic, {"data": points} | self._about(topic)) | {"snapshot": True}

    def _envelope(self, client: PriceClient, topic: Topic, payload: dict[str, Any]) -> dict[str, Any]:
        return {
            "v": 1,
            "channel": topic.channel,
            "seq": client.number(topic),
            "ts": self._clock.now_ms(),
            "payload": payload,
        }

    def _about(self, topic: Topic) -> dict[str, Any]:
        about: dict[str, Any] = {"symbol": f"{topic.code}usd", "source": SOURCES[topic.channel]}
        return about | ({"window_seconds": WINDOW_S} if topic.channel == TWAP else {})

    def _point(self, topic: Topic, second: int) -> dict[str, Any]:
        if topic.channel == TWAP:
            value = self._oracles[topic.code].partial(start=second - WINDOW_S, end=second)
        else:
            value = round(self._paths[topic.code].at(second * SECOND_NS), 2)
        exact = f"{Decimal(repr(value)).normalize():f}"
        return {"value": value, "full_accuracy_value": exact, "timestamp": second * 1000}

    def _close(self, client: PriceClient, code: int) -> None:
        client.leaving = code
        task = asyncio.create_task(_say_goodbye(client.socket, code))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)


async def _say_goodbye(socket: WebSocket, code: int) -> None:
    # What was said before, such as why, goes out first.
    await asyncio.sleep(0.05)
    if socket.application_state is WebSocketState.CONNECTED:
        await socket.close(code=code)
