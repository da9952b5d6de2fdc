"""`python -m bench.crowd --markets N`: a venue of N markets, all as busy as the busiest that were recorded.

What a scanner needs to find markets and to follow them, and nothing else: discovery, books, prices. Frames are made
beforehand (`crowdbooks`) and sent over WebSockets, each market at its own even pace.
"""

import argparse
import asyncio
import heapq
import json
import random
import sys
import time
from datetime import UTC, datetime
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from bench.crowdbooks import (
    FRAMES_A_SECOND,
    NAMES,
    PRICES,
    SCRIPTS,
    WIDTHS,
    Market,
    a_script,
    now_ms,
    strike,
    window,
)

SPOT_A_SECOND: Final = 20
MOST_ARREARS_S: Final = 0.5
SLOW_START: Final = 0.05
"""Of the recorded pace, until somebody asks `/go`: a scanner finds its markets first."""


class Crowd:
    """All markets: windows that discovery computes, and as many strikes as are missing to `wanted`."""

    def __init__(self, wanted: int) -> None:
        self.sent = 0
        self.pace = SLOW_START
        self.late_s = 0.0
        self._scripts = [a_script(seed) for seed in range(SCRIPTS)]
        self.by_slug: dict[str, Market] = {}
        self.by_condition: dict[str, Market] = {}
        self.by_token: dict[str, Market] = {}
        self._events: dict[str, list[Market]] = {asset: [] for asset in PRICES}
        for number in range(wanted - len(PRICES) * len(WIDTHS) * 2):
            asset = list(PRICES)[number % len(PRICES)]
            self._events[asset].append(self._add(strike(asset, number // len(PRICES), number)))

    def window(self, slug: str) -> Market | None:
        """A market by its slug; that of a window is made when it is first asked for."""
        found = self.by_slug.get(slug)
        parts = slug.split("-")
        if found is None and len(parts) == 4 and parts[0] in PRICES and parts[2] in WIDTHS:
            found = self._add(window(parts[0], parts[2], int(parts[3]), 1_000_000 + len(self.by_slug)))
        return found

    def events(self, asset: str) -> list[dict[str, Any]]:
        """One event of all the strikes: readers take markets from it as from many."""
        return [{"slug": f"{asset}-strikes", "markets": [market.body for market in self._events[asset]]}]

    def _add(self, body: dict[str, Any]) -> Market:
        market = Market(body, len(self.by_slug), self._scripts[len(self.by_slug) % SCRIPTS])
        self.by_slug[body["slug"]] = self.by_condition[body["conditionId"]] = market
        self.by_token.update(dict.fromkeys(market.tokens, market))
        return market

    async def serve(self, connection: ServerConnection) -> None:
        """The market channel of one connection: what it subscribed to, at the recorded pace."""
        due: list[tuple[float, int, Market]] = []
        reading = asyncio.create_task(self._subscriptions(connection, due))
        try:
            while True:
                await self._send_due(connection, due)
        except ConnectionClosed:
            return
        finally:
            reading.cancel()

    async def _subscriptions(self, connection: ServerConnection, due: list[tuple[float, int, Market]]) -> None:
        async for text in connection:
            if text == "PING":
                await connection.send("PONG")
                continue
            frame = json.loads(text)
            if frame.get("operation") == "unsubscribe":
                gone = set(frame["assets_ids"])
                due[:] = [entry for entry in due if gone.isdisjoint(entry[2].tokens)]
                heapq.heapify(due)
                continue
            known = {id(market) for _, _, market in due}
            for market in {id(m): m for t in frame["assets_ids"] if (m := self.by_token.get(t))}.values():
                if id(market) not in known:
                    await connection.send(market.opening(), text=True)
                    heapq.heappush(due, (time.monotonic() + random.random() / FRAMES_A_SECOND, id(market), market))

    async def _send_due(self, connection: ServerConnection, due: list[tuple[float, int, Market]]) -> None:
        now = time.monotonic()
        for _ in range(200):
            if not due or due[0][0] > now:
                break
            at, key, market = due[0]
            self.late_s = max(self.late_s, now - at)
            await connection.send(market.next(), text=True)
            self.sent += 1
            heapq.heapreplace(due, (max(at, now - MOST_ARREARS_S) + 1 / FRAMES_A_SECOND / self.pace, key, market))
        await asyncio.sleep(0.002)


def price(asset: str, second: int) -> float:
    """A price that scatters by a basis point, the same whenever asked."""
    return PRICES[asset] * (1 + random.Random(f"{asset}{second}").gauss(0.0, 1e-4))


class Pages:
    """Everything but the market channel."""

    def __init__(self, crowd: Crowd, market_port: int) -> None:
        self._crowd = crowd
        self._market_port = market_port

    def app(self) -> Starlette:
        routes = [
            Route("/sandbox/ready", self.ready),
            Route("/gamma/markets/slug/{slug}", self.by_slug),
            Route("/gamma/events/keyset", self.events),
            Route("/clob/clob-markets/{condition}", self.clob_market),
            Route("/clob/books", self.books, methods=["POST"]),
            Route("/spot/api/v3/klines", self.klines),
            Route("/sent", self.sent),
            Route("/go", self.go),
        ]
        sockets = {"/spot/stream": _spot, "/coinbase": _coinbase, "/rtds": _rtds, "/polybolt": _silent}
        return Starlette(routes=[*routes, *(WebSocketRoute(path, serving) for path, serving in sockets.items())])

    async def ready(self, request: Request) -> Response:
        host = request.headers["host"]
        http, ws = f"http://{host}", f"ws://{host}"
        urls = {"gamma": f"{http}/gamma", "clob": f"{http}/clob", "ws_market": f"ws://127.0.0.1:{self._market_port}"}
        urls |= {"ws_user": f"{ws}/none", "rtds": f"{ws}/rtds", "spot": f"{ws}/spot", "coinbase": f"{ws}/coinbase"}
        account = {"api_key": "k", "secret": "s", "passphrase": "p"}
        clock = {"speed": 1.0, "anchor_ns": 0}
        return JSONResponse(urls | {"polybolt": f"{ws}/polybolt", "accounts": [account], "clock": clock})

    async def by_slug(self, request: Request) -> Response:
        found = self._crowd.window(request.path_params["slug"])
        return JSONResponse({}, 404) if found is None else JSONResponse(found.body)

    async def events(self, request: Request) -> Response:
        asset = next((a for a, name in NAMES.items() if name.lower() == request.query_params.get("tag_slug")), "")
        return JSONResponse({"events": self._crowd.events(asset) if asset else [], "next_cursor": None})

    async def clob_market(self, request: Request) -> Response:
        found = self._crowd.by_condition[request.path_params["condition"]].body
        pairs = zip(json.loads(found["outcomes"]), json.loads(found["clobTokenIds"]), strict=True)
        tokens = [{"o": label, "t": token} for label, token in pairs]
        return JSONResponse({"t": tokens, "fd": {"r": 0.07, "e": 1, "to": True}, "mts": 0.01, "itode": True})

    async def books(self, request: Request) -> Response:
        known = self._crowd.by_token
        wanted = [entry["token_id"] for entry in await request.json()]
        found = [known[token].book(token) for token in wanted if token in known]
        return Response(b"[" + b",".join(found) + b"]", media_type="application/json")

    async def klines(self, request: Request) -> Response:
        query = request.query_params
        asset, start = query["symbol"].lower().removesuffix("usdt"), int(query["startTime"]) // 1000
        width = {"1s": 1, "1m": 60, "1h": 3600}[query["interval"]]
        seconds = range(-(-start // width) * width, int(time.time()), width)[: int(query["limit"])]
        rows = [[second * 1000, *[f"{price(asset, second):.8f}"] * 4] for second in seconds]
        return JSONResponse(rows)

    async def go(self, _request: Request) -> Response:
        self._crowd.pace = 1.0
        return JSONResponse({})

    async def sent(self, _request: Request) -> Response:
        late, self._crowd.late_s = self._crowd.late_s, 0.0
        return JSONResponse({"sent": self._crowd.sent, "late_s": late})


async def _spot(socket: WebSocket) -> None:
    """Trades of every asset, numbered, evenly spread."""
    await socket.accept()
    serial = 0
    try:
        while True:
            await asyncio.sleep(1 / SPOT_A_SECOND)
            serial += 1
            now = now_ms()
            for asset in PRICES:
                data = {"e": "trade", "E": now, "T": now, "s": f"{asset}usdt".upper(), "t": serial, "q": "0.01"}
                data["p"] = f"{price(asset, now // 50):.8f}"
                await socket.send_text(json.dumps({"stream": f"{asset}usdt@trade", "data": data}))
    except (WebSocketDisconnect, RuntimeError):
        return


async def _coinbase(socket: WebSocket) -> None:
    await socket.accept()
    serial = 0
    try:
        while True:
            await asyncio.sleep(4 / SPOT_A_SECOND)
            serial += 1
            now = datetime.now(UTC).isoformat()
            for asset in PRICES:
                match = {"type": "match", "trade_id": serial, "product_id": f"{asset}-usd".upper(), "time": now}
                match |= {"price": f"{price(asset, now_ms() // 50):.8f}", "size": "0.01", "side": "buy"}
                await socket.send_text(json.dumps(match))
    except (WebSocketDisconnect, RuntimeError):
        return


async def _rtds(socket: WebSocket) -> None:
    await socket.accept()
    second = int(time.time()) - 120
    try:
        while True:
            while second < int(time.time()) - 1:
                second += 1
                for asset in PRICES:
                    payload = {"symbol": f"{asset}/usd", "timestamp": second * 1000, "value": price(asset, second)}
                    frame = {"topic": "crypto_prices_chainlink", "type": "update", "payload": payload}
                    await socket.send_text(json.dumps(frame))
            await asyncio.sleep(0.1)
    except (WebSocketDisconnect, RuntimeError):
        return


async def _silent(socket: WebSocket) -> None:
    """The price socket refuses: the scanner goes on without averages."""
    await socket.accept()
    try:
        await socket.receive_text()
        await socket.send_text(json.dumps({"op": "error", "code": "auth_invalid"}))
        await socket.receive_text()
    except (WebSocketDisconnect, RuntimeError):
        return


async def main(markets: int) -> None:
    """Serve until stdin ends; the first line on stdout says where."""
    crowd = Crowd(markets)
    async with serve(crowd.serve, "127.0.0.1", 0, compression=None) as channel:
        port = next(iter(channel.sockets)).getsockname()[1]
        config = uvicorn.Config(Pages(crowd, port).app(), host="127.0.0.1", port=0, log_level="critical")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - it knows no event
            await asyncio.sleep(0.01)
        print(f"http://127.0.0.1:{next(iter(server.servers[0].sockets)).getsockname()[1]}", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        server.should_exit = True
        await serving


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--markets", type=int, default=1000)
    import uvloop

    uvloop.run(main(parser.parse_args().markets))
