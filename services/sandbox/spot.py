"""The index as a Binance-like spot exchange: trade and bookTicker streams, klines (quant.md 1.3)."""

from __future__ import annotations

from typing import Any

from starlette.websockets import WebSocket

from services.sandbox.clock import MS_NS, SECOND_NS, VenueClock
from services.sandbox.feeds import parse_frame
from services.sandbox.prices import ASSETS, IndexPath
from services.sandbox.refusals import Refusal
from services.sandbox.scenario import Scenario
from services.sandbox.streams import Connection, Hub

INTERVALS_S = {"1s": 1, "1m": 60, "5m": 300, "15m": 900, "1h": 3600}
KLINES_MAX = 1000
KLINES_DEFAULT = 500
CENT = 0.01
TRADE_SIZE = "0.00500000"
KINDS = ("trade", "bookTicker", "aggTrade")


class SpotClient(Connection):
    """`combined` connections get every message wrapped with the name of its stream."""

    def __init__(self, socket: WebSocket, clock: VenueClock, *, streams: set[str], combined: bool) -> None:
        super().__init__(socket, clock)
        self.streams = streams
        self.combined = combined


class Spot:
    """Serves the streams; `step` publishes one trade and one quote for each asset."""

    def __init__(self, *, clock: VenueClock, paths: dict[str, IndexPath], scenario: Scenario) -> None:
        self.scenario = scenario
        self.hub: Hub[SpotClient] = Hub()
        self._clock = clock
        self._paths = {ASSETS[code].spot_symbol: path for code, path in paths.items()}
        self._serials: dict[str, int] = {}

    async def serve(self, socket: WebSocket, *, streams: str, combined: bool) -> None:
        await socket.accept()
        names = {name.strip("/ ") for name in streams.split("/") if name.strip("/ ")}
        client = SpotClient(socket, self._clock, streams=names, combined=combined)
        await self.hub.serve(client, on_text=_on_text)

    def step(self, now_ns: int) -> None:
        wanted = {name for client in self.hub.clients for name in client.streams}
        for name in wanted:
            ticker, _, kind = name.partition("@")
            path = self._paths.get(ticker.lower())
            if path is None or kind not in KINDS:
                continue
            serial = self._serials[name] = self._serials.get(name, 0) + 1
            message = self._message(kind, ticker.upper(), path.at(now_ns), now_ns // MS_NS, serial)
            for client in self.hub.each():
                if name in client.streams:
                    wrapped = {"stream": name, "data": message} if client.combined else message
                    client.push_json(wrapped, delay_ms=self.scenario.spot_feed_ms)

    def forward(self, message: dict[str, Any]) -> None:
        """Pass on a recorded trade."""
        name = f"{str(message.get('s')).lower()}@trade"
        for client in self.hub.each():
            if name in client.streams:
                client.push_json({"stream": name, "data": message} if client.combined else message)

    def klines(self, *, ticker: str, interval: str, start_ms: int | None, limit: int) -> list[list[Any]]:
        """Candles as Binance lists them, oldest first; the running candle is included. Raises Refusal 400."""
        path, seconds = self._paths.get(ticker.lower()), INTERVALS_S.get(interval)
        if path is None:
            raise Refusal("Invalid symbol.")
        if seconds is None:
            raise Refusal("Invalid interval.")
        limit = max(1, min(limit, KLINES_MAX))
        width_ns, now_ns = seconds * SECOND_NS, self._clock.now_ns()
        if start_ms is None:
            first = now_ns // width_ns - limit + 1
        else:
            first = -(-start_ms * MS_NS // width_ns)
        first = max(first, -(-path.origin_ns // width_ns))
        last = min(first + limit - 1, now_ns // width_ns)
        return [self._kline(path, n * width_ns, width_ns, now_ns) for n in range(first, last + 1)]

    def _kline(self, path: IndexPath, start_ns: int, width_ns: int, now_ns: int) -> list[Any]:
        prices = path.span(start_ns, min(start_ns + width_ns, now_ns + 1)) or [path.at(start_ns)]
        volume = f"{len(prices) * 0.005:.8f}"
        return [
            start_ns // MS_NS,
            f"{round(prices[0], 2):.8f}",
            f"{round(max(prices), 2):.8f}",
            f"{round(min(prices), 2):.8f}",
            f"{round(prices[-1], 2):.8f}",
            volume,
            (start_ns + width_ns) // MS_NS - 1,
            f"{len(prices) * 0.005 * prices[-1]:.8f}",
            len(prices),
            volume,
            "0",
            "0",
        ]

    def _message(self, kind: str, ticker: str, price: float, now_ms: int, serial: int) -> dict[str, Any]:
        """One message of a stream; `serial` numbers them without gaps, as the exchange numbers the trades of a pair."""
        if kind == "bookTicker":
            half = CENT / 2
            return {
                "u": serial,
                "s": ticker,
                "b": f"{price - half:.2f}",
                "B": "1.50000000",
                "a": f"{price - half + CENT:.2f}",
                "A": "1.50000000",
            }
        base = {"e": kind, "E": now_ms, "s": ticker, "p": f"{price:.2f}", "q": TRADE_SIZE, "T": now_ms, "m": False}
        return base | ({"t": serial, "M": True} if kind == "trade" else {"a": serial, "M": True})


def _on_text(client: SpotClient, text: str) -> None:
    """SUBSCRIBE and UNSUBSCRIBE requests; anything else is ignored."""
    frame = parse_frame(client, text)
    if frame is None:
        return
    names = {str(name) for name in frame.get("params") or []}
    if frame.get("method") == "SUBSCRIBE":
        client.streams.update(names)
    elif frame.get("method") == "UNSUBSCRIBE":
        client.streams.difference_update(names)
    client.push_json({"result": None, "id": frame.get("id")})
