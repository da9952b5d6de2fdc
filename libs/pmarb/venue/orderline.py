"""Kept connections on which orders leave: HTTP/1.1, and nothing but what an order needs.

The client's own transport takes a millisecond from a request to its first byte, as long as the ledger takes to write
the order down. This one has a connection open and the head ready when the order may leave, and sends both in one piece.
"""

import asyncio
import contextlib
import ssl
import time
from collections.abc import Iterator
from typing import Final, cast

import h11
import httpx

from pmarb.venue import departure

CONNECT_WITHIN: Final = 5.0  # Seconds
KEPT_FOR: Final = 30.0
"""Seconds a connection may rest, as with the client's own: routers on the way forget one without telling anybody."""

_PORTS: Final = {"http": 80, "https": 443}


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self) -> None:
        self._http = h11.Connection(h11.CLIENT)
        self._news = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._rests_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._rests_since = time.monotonic()

    def data_received(self, data: bytes) -> None:
        if self._http.our_state is h11.IDLE:  # Nobody asked: whatever this is, it must not answer the next order
            self.close()
            return
        self._http.receive_data(data)
        self._news.set()

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        self._http.receive_data(b"")
        self._news.set()

    @property
    def free(self) -> bool:
        """Whether it stands, the last answer was read to its end, and that is not long ago."""
        at_rest = self._stands() is not None and self._http.our_state is h11.IDLE
        return at_rest and time.monotonic() - self._rests_since < KEPT_FOR

    async def exchange(self, request: httpx.Request) -> httpx.Response:
        head = h11.Request(method=request.method, target=request.url.raw_path, headers=request.headers.raw)
        words = self._http.send(head) or b""
        async for part in cast(httpx.AsyncByteStream, request.stream):  # Waits until the order may leave
            words += self._http.send(h11.Data(data=part)) or b""
        words += self._http.send(h11.EndOfMessage()) or b""
        transport = self._stands()
        if transport is None:
            raise httpx.WriteError("the venue closed the connection")
        transport.write(words)
        return await self._answer()

    async def _answer(self) -> httpx.Response:
        begun: h11.Response | None = None
        content = bytearray()
        while True:
            match await self._event():
                case h11.Response() as begun:
                    pass
                case h11.Data(data=data):
                    content += data
                case h11.InformationalResponse():
                    pass
                case h11.EndOfMessage() if begun is not None:
                    break
                case other:
                    raise httpx.RemoteProtocolError(f"{type(other).__name__} instead of an answer")
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            self._rests_since = time.monotonic()
        else:
            self.close()
        return httpx.Response(begun.status_code, headers=list(begun.headers.raw_items()), content=bytes(content))

    def _stands(self) -> asyncio.Transport | None:
        """None also while it closes: writing to it then would raise, or vanish."""
        return None if self._transport is None or self._transport.is_closing() else self._transport

    async def _event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._news.clear()
            await self._news.wait()
        return event

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None


class OrderLine(httpx.AsyncBaseTransport):
    """A transport of the client. What is no order (`departure.within`) it leaves to the client's own.

    Raises what httpx raises: a lost connection is a RemoteProtocolError, none at all a ConnectError.
    """

    def __init__(self, ordinary: httpx.AsyncBaseTransport) -> None:
        self._ordinary = ordinary
        self._free: list[_Connection] = []
        self._tls: ssl.SSLContext | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not departure.within():
            return await self._ordinary.handle_async_request(request)
        connection = self._kept() or await self._connected(request.url)
        with _closing_unless_done(connection):
            response = await connection.exchange(request)
        if connection.free:
            self._free.append(connection)
        return response

    async def ready(self, url: httpx.URL) -> None:
        """Have a connection open before the next order needs it, if the venue can be reached."""
        connection = self._kept()
        with contextlib.suppress(httpx.ConnectError):  # The order itself will find out
            self._free.append(connection or await self._connected(url))

    async def aclose(self) -> None:
        while self._free:
            self._free.pop().close()
        await self._ordinary.aclose()

    def _kept(self) -> _Connection | None:
        while self._free:
            connection = self._free.pop()
            if connection.free:
                return connection
            connection.close()
        return None

    async def _connected(self, url: httpx.URL) -> _Connection:
        if url.scheme == "https" and self._tls is None:
            self._tls = httpx.create_ssl_context()
        loop, port = asyncio.get_running_loop(), url.port or _PORTS[url.scheme]
        try:
            async with asyncio.timeout(CONNECT_WITHIN):
                _, connection = await loop.create_connection(
                    _Connection, url.host, port, ssl=self._tls if url.scheme == "https" else None
                )
        except (OSError, TimeoutError) as error:
            raise httpx.ConnectError(str(error) or f"no connection within {CONNECT_WITHIN:g} s") from error
        return connection


@contextlib.contextmanager
def _closing_unless_done(connection: _Connection) -> Iterator[None]:
    """A late answer would be taken for the next order's."""
    try:
        yield
    except h11.ProtocolError as error:
        connection.close()
        raise httpx.RemoteProtocolError(str(error)) from error
    except BaseException:
        connection.close()
        raise
