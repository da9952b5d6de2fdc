"""The real-time data socket: index, oracle and oracle TWAP prices once a second (venue.md 6.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson
from starlette.websockets import WebSocket

from services.sandbox.clock import SECOND_NS, VenueClock
from services.sandbox.feeds import parse_frame
from services.sandbox.prices import ASSETS, Asset, IndexPath, Oracle
from services.sandbox.scenario import Scenario
from services.sandbox.streams import Connection, Hub, published, underway

HISTORY_TICKS = 120
TWAP_WINDOWS = {"crypto_prices_twap_sixty": 60, "crypto_prices_twap_thirty": 30}
SPOT = "crypto_prices"
ORACLE = "crypto_prices_chainlink"
TOPICS = (SPOT, ORACLE, *TWAP_WINDOWS)
E18 = Decimal(10) ** 18


@dataclass(frozen=True, slots=True)
class Subscription:
    topic: str
    asset: str


class RtdsClient(Connection):
    def __init__(self, socket: WebSocket, clock: VenueClock) -> None:
        super().__init__(socket, clock)
        self.wanted: set[Subscription] = set()


class Rtds:
    """Serves the socket; `step` must be called once for every venue second."""

    def __init__(
        self, *, clock: VenueClock, paths: dict[str, IndexPath], oracles: dict[str, Oracle], scenario: Scenario
    ) -> None:
        self.scenario = scenario
        self.hub: Hub[RtdsClient] = Hub()
        self._clock = clock
        self._paths = paths
        self._oracles = oracles
        self._stepped = 0

    async def serve(self, socket: WebSocket) -> None:
        await socket.accept()
        await self.hub.serve(RtdsClient(socket, self._clock), on_text=self._on_text)

    def begin(self, second: int) -> None:
        """The next to be stepped is the one after `second`: until then all is history, however late the steps come."""
        self._stepped = second

    def step(self, second: int) -> None:
        """Publish the ticks stamped `second`, each after its feed's delay."""
        self._stepped = second
        clients = self.hub.each()
        for wanted in {subscription for client in clients for subscription in client.wanted}:
            message = self._update(wanted, second)
            delay_ms = self._delay_ms(wanted.topic)
            for client in clients:
                if wanted in client.wanted:
                    client.push_json(message, delay_ms=delay_ms)

    def forward(self, message: dict[str, Any]) -> None:
        """Pass on a recorded frame to whoever subscribed to its topic and asset."""
        topic, payload = str(message.get("topic")), message.get("payload") or {}
        for code in matching_assets(topic, [payload.get("symbol")]) if topic in TOPICS else []:
            for client in self.hub.each():
                if Subscription(topic, code) in client.wanted:
                    client.push_json(message)

    def _on_text(self, client: RtdsClient, text: str) -> None:
        frame = parse_frame(client, text)
        if frame is None:
            return
        subscribe = frame.get("action") != "unsubscribe"
        for entry in frame.get("subscriptions") or []:
            topic = str(entry.get("topic", ""))
            if topic not in TOPICS:
                continue
            for code in matching_assets(topic, entry.get("filters")):
                subscription = Subscription(topic, code)
                if not subscribe:
                    client.wanted.discard(subscription)
                elif subscription not in client.wanted:
                    client.wanted.add(subscription)
                    self._begin(client, subscription)

    def _begin(self, client: RtdsClient, subscription: Subscription) -> None:
        """What a client is told first: the history, and what was made before it came and is still on its way."""
        lag_ms = self._delay_ms(subscription.topic)
        last = published(self._clock, stepped=self._stepped, lag_ms=lag_ms)  # Asked once: a history takes its time
        client.push_json(self._history(subscription, last=last))
        for second, left_ms in underway(self._clock, after=last, stepped=self._stepped, lag_ms=lag_ms):
            client.push_json(self._update(subscription, second), delay_ms=left_ms)

    def _delay_ms(self, topic: str) -> float:
        return self.scenario.rtds_spot_ms if topic == SPOT else self.scenario.rtds_oracle_ms

    def _history(self, subscription: Subscription, *, last: int) -> dict[str, Any]:
        """Two minutes of this topic, up to the second `last`."""
        value = self._value_of(subscription)
        data = [
            {"timestamp": second * 1000, "value": value(second)} for second in range(last - HISTORY_TICKS + 1, last + 1)
        ]
        return {
            "topic": subscription.topic,
            "type": "subscribe",
            "timestamp": self._clock.now_ms(),
            "payload": {"symbol": symbol(subscription.topic, ASSETS[subscription.asset]), "data": data},
        }

    def _update(self, subscription: Subscription, second: int) -> dict[str, Any]:
        topic, value = subscription.topic, self._value_of(subscription)(second)
        payload: dict[str, Any] = {
            "full_accuracy_value": f"{value:.8f}" if topic == SPOT else str(int(Decimal(repr(value)) * E18)),
            "symbol": symbol(topic, ASSETS[subscription.asset]),
            "timestamp": second * 1000,
            "value": value,
        }
        if topic in TWAP_WINDOWS:
            payload["window_s"] = TWAP_WINDOWS[topic]
        stamp_ms = self._clock.now_ms() + int(self._delay_ms(topic))
        return {
            "connection_id": "sandbox=",
            "payload": payload,
            "timestamp": stamp_ms,
            "topic": topic,
            "type": "update",
        }

    def _value_of(self, subscription: Subscription) -> Callable[[int], float]:
        oracle, path = self._oracles[subscription.asset], self._paths[subscription.asset]
        window = TWAP_WINDOWS.get(subscription.topic)
        if window is not None:
            return lambda second: oracle.partial(start=second - window, end=second)
        if subscription.topic == ORACLE:
            return oracle.tick
        return lambda second: round(path.at(second * SECOND_NS), 2)


def symbol(topic: str, asset: Asset) -> str:
    return asset.spot_symbol if topic == SPOT else asset.oracle_symbol


def matching_assets(topic: str, filters: object) -> list[str]:
    """Assets that a filter names: empty means all; JSON `{"symbol": ...}`, a JSON list, or text with commas."""
    if not filters:
        return list(ASSETS)
    names: list[str]
    try:
        parsed = orjson.loads(filters) if isinstance(filters, str) else filters
    except orjson.JSONDecodeError:
        parsed = str(filters).split(",")
    if isinstance(parsed, dict):
        parsed = [parsed.get("symbol", "")]
    names = [str(name).strip().lower() for name in (parsed if isinstance(parsed, list) else [parsed])]
    return [code for code, asset in ASSETS.items() if symbol(topic, asset) in names]
