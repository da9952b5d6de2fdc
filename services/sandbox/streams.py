"""Delivery to WebSocket clients: each connection has its own queue, and every message a due time in venue time.

A client that does not read is dropped once its queue is full, as the venue drops slow consumers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from services.sandbox.clock import MS_NS, VenueClock

QUEUE_LIMIT = 8192
SLOW_CONSUMER = 1008


class Connection:
    """One WebSocket. `push` never blocks."""

    slow_code = SLOW_CONSUMER

    def __init__(self, socket: WebSocket, clock: VenueClock) -> None:
        self.socket = socket
        self._clock = clock
        self._queue: asyncio.Queue[tuple[int, str]] = asyncio.Queue(maxsize=QUEUE_LIMIT)
        self.overflowed = False

    def push(self, text: str, *, delay_ms: float = 0.0) -> None:
        if self.overflowed:
            return
        due_ns = self._clock.now_ns() + int(delay_ms * MS_NS)
        try:
            self._queue.put_nowait((due_ns, text))
        except asyncio.QueueFull:
            self.overflowed = True

    def push_json(self, message: object, *, delay_ms: float = 0.0) -> None:
        self.push(encode(message), delay_ms=delay_ms)

    async def pump(self) -> None:
        """Send what is due until the connection ends."""
        while not self.overflowed:
            due_ns, text = await self._queue.get()
            await self._clock.sleep_until(due_ns)
            await self.socket.send_text(text)
        await self.socket.close(code=self.slow_code)


Client = TypeVar("Client", bound=Connection)


def encode(message: object) -> str:
    return orjson.dumps(message).decode()


class Hub(Generic[Client]):
    """The connections of one channel."""

    def __init__(self) -> None:
        self.clients: set[Client] = set()

    def each(self) -> Iterable[Client]:
        return tuple(self.clients)

    async def serve(self, client: Client, *, on_text: Callable[[Client, str], None]) -> None:
        """Run one accepted connection to its end; `on_text` gets every text frame."""
        self.clients.add(client)
        pump = asyncio.create_task(client.pump())
        try:
            while True:
                on_text(client, await client.socket.receive_text())
        except (WebSocketDisconnect, RuntimeError):
            # RuntimeError: the pump has closed the socket of a slow consumer.
            return
        finally:
            self.clients.discard(client)
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)

    async def close(self) -> None:
        for client in self.each():
            if client.socket.client_state is WebSocketState.CONNECTED:
                await client.socket.close(code=1001)
