"""A WebSocket client whose data frames are cut out of the byte stream by ourselves.

The library reads a frame in some forty microseconds, half of what a book's change costs in all, and hands it over a
turn of the loop later. Whole, unfragmented data frames need nothing of what it does, so they are given to their reader
as they come; everything else (the handshake, pings, closing, errors) is handed on to the library byte by byte as it was
sent, and after a fragment all that follows.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NoReturn

from websockets.asyncio.client import ClientConnection
from websockets.protocol import OPEN

LARGEST_FRAME: Final = 16 * 1024 * 1024
WHOLE: Final = (0x81, 0x82)
"""First bytes of a text or binary frame that is a whole message and not compressed."""
FINAL: Final = 0x80
"""Below it a first byte says that more of the message follows."""
END_OF_HEAD: Final = b"\r\n\r\n"

OnMessage = Callable[[bytes, int], None]
"""Takes a message and the real time of its receipt."""


class QuickConnection(ClientConnection):
    """`read` it once, for as long as it lives. What comes before that waits."""

    def __init__(self, *arguments: Any, real: Callable[[], int], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._early: deque[tuple[bytes, int]] = deque()
        self._on_message: OnMessage = self._keep
        self._broken: asyncio.Future[NoReturn] = self.loop.create_future()
        self._real = real
        self._left = b""
        self._upgraded = False
        self._plain = False

    async def read(self, on_message: OnMessage) -> NoReturn:
        """Call it for every message as it comes, from the loop's own callback.

        Raises what it raises, after which it is called no more, and ConnectionClosed in the end.
        """
        while self._early:
            on_message(*self._early.popleft())
        self._on_message = on_message
        assembled = asyncio.ensure_future(self._assembled(on_message))
        try:
            done, _ = await asyncio.wait((assembled, self._broken), return_when=asyncio.FIRST_COMPLETED)
            raise next(task.exception() or AssertionError for task in done)
        finally:
            self._on_message = self._drop
            assembled.cancel()
            self._broken.cancel()

    async def _assembled(self, on_message: OnMessage) -> NoReturn:
        """What the library had to put together; in the end it raises."""
        while True:
            on_message(await self.recv(decode=False), self._real())

    def _keep(self, message: bytes, received: int) -> None:
        self._early.append((message, received))

    def _drop(self, _message: bytes, _received: int) -> None:
        """Whoever read has gone, and the connection is about to be closed."""

    def data_received(self, data: bytes) -> None:
        """Bytes from the network."""
        if self._left:
            data, self._left = self._left + data, b""
        if not self._upgraded:
            end = data.find(END_OF_HEAD)
            if end < 0:
                self._left = data
                return
            end += len(END_OF_HEAD)
            super().data_received(data[:end])
            data, self._upgraded = data[end:], True
            self._plain = self.protocol.state is not OPEN
        if self._plain:
            super().data_received(data)
        elif data:
            self._cut(data)

    def _cut(self, data: bytes) -> None:
        """Take the whole frames; from the first odd one on the library reads all, in order."""
        received, at, size = self._real(), 0, len(data)
        while size - at >= 2:
            length, body = data[at + 1], at + 2
            odd = data[at] < FINAL or length > 127  # A fragment, or a server that masks
            if 126 <= length <= 127:
                body += 2 if length == 126 else 8
                length = int.from_bytes(data[at + 2 : body], "big") if size >= body else 0
            if odd or length > LARGEST_FRAME:
                self._plain = True
                super().data_received(data[at:])
                break
            end = body + length
            if size < end:
                break
            if data[at] in WHOLE:
                self._give(data[body:end], received)
            else:
                super().data_received(data[at:end])
            at = end
        if not self._plain:
            self._left = data[at:]

    def _give(self, message: bytes, received: int) -> None:
        try:
            self._on_message(message, received)
        except Exception as error:  # noqa: BLE001 - whoever called `read` answers it; the transport cannot
            self._on_message = self._drop
            if not self._broken.done():
                self._broken.set_exception(error)
