"""One connection to Redis for the hot path: write commands, read replies, nothing else.

redis-py costs 0.2 ms a hop more than this, and twice that after a pause: on a path of two hops that is a quarter of
everything. What is not hot stays with redis-py (`pmarb.bus.connection`).
"""

import asyncio
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any, Final, cast

import hiredis
from redis.asyncio.connection import parse_url
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

Word = str | bytes | int
_CONNECT_WITHIN: Final = 2.0  # Seconds
_ANSWER_WITHIN: Final = 5.0  # Seconds, beyond what a blocking command was told to wait


class _Wire(asyncio.Protocol):
    """Replies come in the order of the commands."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader()
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(RedisConnectionError(str(exc or "the server closed the connection")))
                waiting.exception()  # Whoever sent several commands stops at the first: the others count as told
        self._waiting.clear()

    def send(self, commands: Sequence[Sequence[Word]]) -> list[asyncio.Future[Any]]:
        if self._transport is None:
            raise RedisConnectionError("the connection was closed")
        loop = asyncio.get_running_loop()
        replies: list[asyncio.Future[Any]] = [loop.create_future() for _ in commands]
        self._waiting.extend(replies)
        self._transport.write(b"".join(hiredis.pack_command(cast(Any, tuple(command))) for command in commands))
        return replies

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    @property
    def closed(self) -> bool:
        return self._transport is None


class Transport:
    """Connects when first used and again after a loss; a command is never sent twice.

    Raises redis-py's own errors: a lost or silent connection is its ConnectionError or TimeoutError, an error reply its
    ResponseError.
    """

    def __init__(self, url: str) -> None:
        self._options = parse_url(url)
        self._wire: _Wire | None = None
        self._connecting = asyncio.Lock()

    async def call(self, *command: Word, block_ms: int = 0) -> Any:
        """One command, one reply."""
        (reply,) = await self._exchange([command], within=_ANSWER_WITHIN + block_ms / 1000)
        return reply

    def launch(self, *command: Word) -> Coroutine[Any, Any, Any]:
        """Send it before this returns, if the connection stands; the reply is to be awaited all the same."""
        wire = self._wire
        if wire is None or wire.closed:
            return self.call(*command)
        return self._launched(wire, wire.send([command]))

    async def _launched(self, wire: _Wire, sent: Sequence[asyncio.Future[Any]]) -> Any:
        (reply,) = await self._replies(wire, sent, within=_ANSWER_WITHIN)
        return reply

    async def transaction(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        """The commands between MULTI and EXEC, in one write; the replies of EXEC."""
        replies = await self._exchange([("MULTI",), *commands, ("EXEC",)], within=_ANSWER_WITHIN)
        done = cast(list[Any], replies[-1])
        _refuse_errors(done)
        return done

    async def close(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None
            await asyncio.sleep(0)  # Lets the transport tell that it is closed

    async def _exchange(self, commands: Sequence[Sequence[Word]], *, within: float) -> list[Any]:
        wire = await self._connected()
        return await self._replies(wire, wire.send(commands), within=within)

    async def _replies(self, wire: _Wire, sent: Sequence[asyncio.Future[Any]], *, within: float) -> list[Any]:
        try:
            async with asyncio.timeout(within):
                replies = [await reply for reply in sent]
        except (TimeoutError, asyncio.CancelledError):
            wire.close()  # A late reply would be taken for the next command's
            raise
        _refuse_errors(replies)
        return replies

    async def _connected(self) -> _Wire:
        if self._wire is not None and not self._wire.closed:
            return self._wire
        async with self._connecting:
            if self._wire is None or self._wire.closed:
                async with asyncio.timeout(_CONNECT_WITHIN):
                    self._wire = await self._connect()
            return self._wire

    async def _connect(self) -> _Wire:
        loop, options = asyncio.get_running_loop(), self._options
        if "path" in options:
            _, wire = await loop.create_unix_connection(_Wire, options["path"])
        else:
            _, wire = await loop.create_connection(_Wire, options.get("host", "127.0.0.1"), options.get("port", 6379))
        greeting: list[Sequence[Word]] = []
        if options.get("password"):
            user = (options["username"],) if options.get("username") else ()
            greeting.append(("AUTH", *user, options["password"]))
        if options.get("db"):
            greeting.append(("SELECT", options["db"]))
        try:
            _refuse_errors([await reply for reply in wire.send(greeting)] if greeting else [])
        except BaseException:
            wire.close()
            raise
        return wire


def _refuse_errors(replies: Sequence[Any]) -> None:
    for reply in replies:
        if isinstance(reply, hiredis.ReplyError):
            raise ResponseError(str(reply))
