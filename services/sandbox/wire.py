"""The server's end of a WebSocket: uvicorn's, but it can hang up on a client that does not read."""

from __future__ import annotations

from asyncio import Transport
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

# A client that reads again within this time still gets the close frame with its reason.
HANG_UP_AFTER_S = 5.0


class ImpatientWebSocket(WebSocketsSansIOProtocol):
    """Uvicorn waits with a close frame until the client has read everything before it, which may be never."""

    async def send(self, message: Any) -> None:
        if message["type"] == "websocket.close" and not self.writable.is_set():
            self.writable.set()
            if isinstance(self.transport, Transport):
                self.loop.call_later(HANG_UP_AFTER_S, self.transport.abort)
        await super().send(message)
