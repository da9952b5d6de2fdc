"""A WebSocket client whose data frames are cut out of the byte stream by ourselves.

The library reads a frame in some forty microseconds, half of what a book's change costs in all. Whole, unfragmented
data frames need nothing of what it does, so they go straight to an inbox with the time they came; everything else
(the handshake, pings, closing, errors) is handed on to the library byte by byte as it was sent, and after a fragment
all that follows.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from websockets.asyncio.client import ClientConnection
from websockets.protocol import OPEN

LARGEST_FRAME: Final = 16 * 1024 * 1024
WHOLE: Final = (0x81, 0x82)
"""First bytes of a text or binary frame that is a whole message and not compressed."""
FULL: Final = 32
"""Messages that wait before the network must: a loop that reads all there is has no time for anything else."""
FINAL: Final = 0x80
"""Below it a first byte says that more of the message follows."""
END_OF_HEAD: Final = b"\r\n\r\n"


class QuickConnection(ClientConnection):
    """`inbox` holds messages with the real time of their receipt, `arrived` is set when it has some or all is over."""

    def __init__(self, *arguments: Any, real: Callable[[], int], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.inbox: deque[tuple[bytes, int]] = deque()
        self.arrived = asyncio.Event()
        self._real = real
        self._left = b""
        self._upgraded = False
        self._plain = False
        self._paused = False

    def drained(self) -> None:
        """The inbox was emptied: read on."""
        if self._paused:
            self._paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()

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

    async def others(self) -> None:
        """Put what the library had to assemble into the inbox too; raises ConnectionClosed in the end."""
        try:
            while True:
                message = await self.recv(decode=False)
                self.inbox.append((message, self._real()))
                self.arrived.set()
        finally:
            self.arrived.set()

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
                self.inbox.append((data[body:end], received))
            else:
                super().data_received(data[at:end])
            at = end
        if not self._plain:
            self._left = data[at:]
        if self.inbox:
            self.arrived.set()
        if len(self.inbox) >= FULL and not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()
