"""Delivery to WebSocket clients: each connection has its own queue, and every message a due time in venue time.

A client that does not read is dropped once its queue is full, as the venue drops slow consumers; it can hold up nobody
else, because nothing but its own pump ever waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from services.sandbox.accounts import Account
from services.sandbox.clock import MS_NS, SECOND_NS, VenueClock
from services.sandbox.eventlog import log_event

QUEUE_LIMIT = 8192
GOING_AWAY, SLOW_CONSUMER = 1001, 1008
SLOW_REASON = "slow consumer: queue was full"
Carry = Callable[["Connection", str], Sequence[str]]


def unchanged(_: Connection, text: str) -> Sequence[str]:
    return (text,)


class Connection:
    """One WebSocket. `push` never blocks."""

    slow_code = SLOW_CONSUMER

    def __init__(self, socket: WebSocket, clock: VenueClock) -> None:
        self.socket = socket
        self.account: Account | None = None
        # A frame that a fault holds back, to be sent after its successor.
        self.kept: str | None = None
        self.carry: Carry = unchanged
        self._clock = clock
        self._queue: asyncio.Queue[tuple[int, str]] = asyncio.Queue(maxsize=QUEUE_LIMIT)
        self._full = asyncio.Event()

    def push(self, text: str, *, delay_ms: float = 0.0) -> None:
        """Data: what faults of frames may lose, repeat or shuffle."""
        for frame in self.carry(self, text):
            self._enqueue(frame, delay_ms)

    def push_json(self, message: object, *, delay_ms: float = 0.0) -> None:
        self.push(encode(message), delay_ms=delay_ms)

    def answer(self, text: str) -> None:
        """Pongs and protocol errors: always answered, even by a frozen stream."""
        self._enqueue(text, 0.0)

    async def pump(self) -> None:
        """Send what is due until the connection ends."""
        while True:
            due_ns, text = await self._queue.get()
            wait_ns = due_ns - self._clock.flow_ns()
            if wait_ns > 0:
                await self._clock.sleep_until(due_ns)
            await self.socket.send_text(text)

    async def hang_up(self) -> None:
        if self.socket.application_state is WebSocketState.CONNECTED:
            await self.socket.close(code=GOING_AWAY)

    async def drop_when_full(self, pump: asyncio.Task[None]) -> None:
        """Close a slow consumer with a reason; the server cuts the line if even that is not read."""
        await self._full.wait()
        pump.cancel()
        log_event("client_dropped", level="warning", reason=SLOW_REASON)
        await self.socket.close(code=self.slow_code, reason=SLOW_REASON)

    def _enqueue(self, text: str, delay_ms: float) -> None:
        if self._full.is_set():
            return
        due_ns = self._clock.now_ns() + int(delay_ms * MS_NS)
        try:
            self._queue.put_nowait((due_ns, text))
        except asyncio.QueueFull:
            self._full.set()


Client = TypeVar("Client", bound=Connection)


def encode(message: object) -> str:
    return orjson.dumps(message).decode()


def published(clock: VenueClock, *, stepped: int, lag_ms: float) -> int:
    """The newest second that clients of a feed of ticks have been told, of those made until `stepped`; one that was not
    made yet is none."""
    by_time = (clock.now_ns() - int(lag_ms * MS_NS)) // SECOND_NS
    return min(by_time, stepped or by_time)


def underway(clock: VenueClock, *, after: int, stepped: int, lag_ms: float) -> Iterator[tuple[int, float]]:
    """The seconds made since `after`, which reach everybody after so many milliseconds: no history holds them."""
    now_ns = clock.now_ns()
    return ((second, lag_ms - (now_ns - second * SECOND_NS) / MS_NS) for second in range(after + 1, stepped + 1))


class Hub(Generic[Client]):
    """The connections of one channel."""

    def __init__(self) -> None:
        self.clients: set[Client] = set()
        self._leaving: set[asyncio.Task[None]] = set()
        self.carry: Carry = unchanged

    def each(self) -> Iterable[Client]:
        return tuple(self.clients)

    async def serve(self, client: Client, *, on_text: Callable[[Client, str], None]) -> None:
        """Run one accepted connection to its end; `on_text` gets every text frame."""
        client.carry = self.carry
        self.clients.add(client)
        pump = asyncio.create_task(client.pump())
        guard = asyncio.create_task(client.drop_when_full(pump))
        try:
            while True:
                on_text(client, await client.socket.receive_text())
        except (WebSocketDisconnect, RuntimeError, KeyError):
            # RuntimeError: the guard has closed the socket of a slow consumer. KeyError: a frame of bytes, not of text.
            return
        finally:
            self.clients.discard(client)
            pump.cancel()
            guard.cancel()
            await asyncio.gather(pump, guard, return_exceptions=True)

    def hang_up(self, chosen: Callable[[Client], bool]) -> None:
        """End the connections of some clients."""
        for client in self.each():
            if chosen(client):
                task = asyncio.create_task(client.hang_up())
                self._leaving.add(task)
                task.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        for client in self.each():
            await client.hang_up()
