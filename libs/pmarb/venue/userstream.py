"""The user channel: it tells that something of ours changed, and REST tells what. A missed frame loses nothing.

One thing only it tells at once: that an order is over without a match. That is remembered as a sighting.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any, Final

from polymarket.models.clob import ApiKeyCreds
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from pmarb import logs
from pmarb.venue.port import Sightings

log = logs.get(__name__)

PING_EVERY: Final = 10.0  # Seconds, real (venue.md 6.2)
SILENT_AFTER: Final = 25.0  # Seconds without even a PONG: the socket is open but dead
LONGEST_PAUSE: Final = 5.0


class UserStream:
    """Calls `wake` for every event of our orders and trades, and once after every connection: there is no replay."""

    def __init__(
        self, url: str, credentials: ApiKeyCreds, wake: Callable[[], None], sightings: Sightings | None = None
    ) -> None:
        self._url = url
        self._sightings = Sightings() if sightings is None else sightings
        self._hello = json.dumps(
            {
                "type": "user",
                "auth": {
                    "apiKey": credentials.key,
                    "secret": credentials.secret,
                    "passphrase": credentials.passphrase,
                },
                "markets": [],
            }
        )
        self._wake = wake

    async def run(self) -> None:
        """Read until cancelled, through every disconnection."""
        pause = 0.1
        while True:
            try:
                async with connect(self._url, ping_interval=None, open_timeout=5, close_timeout=1) as socket:
                    await socket.send(self._hello)
                    log.info("user_stream_connected")
                    pause = 0.1
                    await self._read(socket)
            except (OSError, TimeoutError, WebSocketException) as error:
                log.warning("user_stream_lost", error=str(error) or type(error).__name__, retry_in_s=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _read(self, socket: ClientConnection) -> None:
        self._wake()
        pinging = asyncio.create_task(_ping(socket))
        try:
            while True:
                async with asyncio.timeout(SILENT_AFTER):
                    frame = await socket.recv()
                if frame not in ("PONG", b"PONG"):
                    self._note(frame)
                    self._wake()
        finally:
            pinging.cancel()
            with contextlib.suppress(asyncio.CancelledError, WebSocketException):
                await pinging

    def _note(self, frame: str | bytes) -> None:
        """What a frame says of orders; whatever it is, REST is asked all the same."""
        with contextlib.suppress(ValueError):
            events = json.loads(frame)
            for event in events if isinstance(events, list) else [events]:
                if isinstance(event, dict) and event.get("event_type") == "order":
                    self._sightings.note(str(event.get("id", "")), ended=_ended(event))


def _ended(event: dict[str, Any]) -> str:
    """The venue's word for the end of an order of which nothing matched, "" for anything else (venue.md 3.9)."""
    status = str(event.get("status", "")).upper()
    matched = str(event.get("size_matched") or "0").strip("0.") or event.get("associate_trades")
    return status if status.startswith(("CANCELED", "INVALID")) and not matched else ""


async def _ping(socket: ClientConnection) -> None:
    while True:
        await asyncio.sleep(PING_EVERY)
        await socket.send("PING")
