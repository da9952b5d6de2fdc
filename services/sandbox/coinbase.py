"""The index as a second spot exchange, Coinbase-like: numbered matches, heartbeats, dollars instead of tethers.

Trades happen whether or not anybody listens, so that a client that missed some sees a jump in their numbers.
"""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.websockets import WebSocket, WebSocketState

from services.sandbox.clock import SECOND_NS, VenueClock
from services.sandbox.prices import ASSETS, BASIS_POINT, IndexPath
from services.sandbox.scenario import Scenario
from services.sandbox.streams import Connection, Hub

CHANNELS = ("matches", "heartbeat")
SUBSCRIBE_WITHIN_S = 5.0
TRADE_SIZE = "0.00500000"
FIRST_TRADE = 700_000_001
MICROSECOND_NS = 1000


class CoinbaseClient(Connection):
    """One connection: the products that it wants of each channel."""

    def __init__(self, socket: WebSocket, clock: VenueClock) -> None:
        super().__init__(socket, clock)
        self.wanted: set[tuple[str, str]] = set()


class Coinbase:
    """Serves the socket; `step` makes a trade of each product, `beat` must be called once for every venue second."""

    def __init__(self, *, clock: VenueClock, paths: dict[str, IndexPath], scenario: Scenario) -> None:
        self.scenario = scenario
        self.hub: Hub[CoinbaseClient] = Hub()
        self._clock = clock
        self._paths = {f"{code}-usd".upper(): paths[code] for code in ASSETS}
        self._trades = dict.fromkeys(self._paths, FIRST_TRADE)
        self._sequence = 0

    async def serve(self, socket: WebSocket) -> None:
        await socket.accept()
        client = CoinbaseClient(socket, self._clock)
        guard = asyncio.create_task(_hang_up_unless_subscribed(client))
        try:
            await self.hub.serve(client, on_text=self._on_text)
        finally:
            guard.cancel()

    def step(self, now_ns: int) -> None:
        for product in self._paths:
            self._trades[product] += 1
            clients = self._listeners("matches", product)
            if clients:
                self._tell(clients, self._match("match", product, now_ns))

    def beat(self, now_ns: int) -> None:
        for product in self._paths:
            self._sequence += 1
            beat = {
                "type": "heartbeat",
                "sequence": self._sequence,
                "last_trade_id": self._trades[product],
                "product_id": product,
                "time": _iso(now_ns),
            }
            self._tell(self._listeners("heartbeat", product), beat)

    def _listeners(self, channel: str, product: str) -> list[CoinbaseClient]:
        return [client for client in self.hub.each() if (channel, product) in client.wanted]

    def _tell(self, clients: list[CoinbaseClient], message: dict[str, Any]) -> None:
        for client in clients:
            client.push_json(message, delay_ms=self.scenario.coinbase_feed_ms)

    def _match(self, kind: str, product: str, now_ns: int) -> dict[str, Any]:
        self._sequence += 1
        price = self._paths[product].at(now_ns) * math.exp(self.scenario.coinbase_basis_bps * BASIS_POINT)
        return {
            "type": kind,
            "trade_id": self._trades[product],
            "maker_order_id": f"00000000-0000-4000-8000-{self._sequence:012d}",
            "taker_order_id": f"00000000-0000-4000-9000-{self._sequence:012d}",
            "side": "buy",
            "size": TRADE_SIZE,
            "price": f"{price:.2f}",
            "product_id": product,
            "sequence": self._sequence,
            "time": _iso(now_ns),
        }

    def _on_text(self, client: CoinbaseClient, text: str) -> None:
        try:
            frame = orjson.loads(text)
        except orjson.JSONDecodeError:
            frame = None
        kind = frame.get("type") if isinstance(frame, dict) else None
        if kind not in ("subscribe", "unsubscribe"):
            client.push_json({"type": "error", "message": "Malformed JSON"})
            return
        topics = [(name, product) for name, products in _channels(frame) for product in products]
        wrong = [name for name, product in topics if name not in CHANNELS or product not in self._paths]
        if wrong or not topics:
            reason = f"{(wrong or ['nothing'])[0]} is not a valid channel or product"
            client.push_json({"type": "error", "message": "Failed to subscribe", "reason": reason})
            return
        if kind == "unsubscribe":
            client.wanted.difference_update(topics)
        fresh = [topic for topic in topics if topic not in client.wanted] if kind == "subscribe" else []
        client.wanted.update(fresh)
        client.push_json({"type": "subscriptions", "channels": _listed(client)})
        for name, product in fresh:
            if name == "matches":
                last = self._match("last_match", product, self._clock.now_ns())
                client.push_json(last, delay_ms=self.scenario.coinbase_feed_ms)


def _channels(frame: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Channels by name, or as an object with products of its own."""
    shared = [str(product) for product in frame.get("product_ids") or []]
    found = []
    for entry in frame.get("channels") or []:
        own = [str(product) for product in entry.get("product_ids") or []] if isinstance(entry, dict) else []
        found.append((str(entry.get("name")) if isinstance(entry, dict) else str(entry), own or shared))
    return found


def _listed(client: CoinbaseClient) -> list[dict[str, Any]]:
    return [
        {"name": name, "product_ids": sorted(product for channel, product in client.wanted if channel == name)}
        for name in CHANNELS
        if any(channel == name for channel, _ in client.wanted)
    ]


async def _hang_up_unless_subscribed(client: CoinbaseClient) -> None:
    await asyncio.sleep(SUBSCRIBE_WITHIN_S)
    if not client.wanted and client.socket.application_state is WebSocketState.CONNECTED:
        await client.socket.close(code=1008, reason="no subscription within 5 seconds")


def _iso(now_ns: int) -> str:
    moment = datetime.fromtimestamp(now_ns // SECOND_NS, tz=UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{now_ns % SECOND_NS // MICROSECOND_NS:06d}Z"
