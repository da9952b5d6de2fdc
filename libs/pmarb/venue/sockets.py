"""A WebSocket that comes back: opening frames, text pings, silence noticed on the real clock, reconnection."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final, Literal, cast

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from pmarb import logs
from pmarb.clock import Clock
from pmarb.domain.values import NANOS
from pmarb.venue.wire import LARGEST_FRAME, QuickConnection

log = logs.get(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0  # Seconds between tries
WATCH_EVERY: Final = 0.1
ANSWERS: Final = frozenset((b"PONG", b"pong", b""))
"""What answers a ping proves the socket alive, not the feed: frozen feeds answer too."""


class Socket:
    """One connection, kept up until stopped. All times in seconds on the real clock.

    `on_frame(raw, real)` gets every frame but pongs with the real time it was received, before anything is parsed.
    After `silent_after` without a frame the opening is sent again, after twice that the connection is made anew;
    None leaves silence to the owner. `is_answer` knows what answers a ping, which is no frame.
    """

    def __init__(
        self,
        *,
        name: str,
        url: str,
        clock: Clock,
        opening: Callable[[], Sequence[str]],
        on_frame: Callable[[bytes, int], None],
        on_down: Callable[[], None] = lambda: None,
        ping: str | None = "PING",
        ping_every: float = 10.0,
        silent_after: float | None = None,
        is_answer: Callable[[bytes], bool] = ANSWERS.__contains__,
    ) -> None:
        self.name = name
        self.connects = 0
        self.silences = 0
        self.last_frame = 0
        self._url = url
        self._clock = clock
        self._opening = opening
        self._on_frame = on_frame
        self._on_down = on_down
        self._ping = ping
        self._ping_every = ping_every
        self._silent_after = silent_after
        self._is_answer = is_answer
        self._connection: ClientConnection | None = None

    @property
    def up(self) -> bool:
        return self._connection is not None

    def silence(self) -> float:
        """Seconds since the last frame, or since the connection was made."""
        return (self._clock.real() - self.last_frame) / NANOS

    async def send(self, text: str) -> None:
        """Send if connected; a lost connection shows in the reader."""
        if self._connection is not None:
            with contextlib.suppress(WebSocketException, OSError):
                await self._connection.send(text)

    async def restart(self) -> None:
        """Drop the connection; `run` makes a new one."""
        if self._connection is not None:
            self._connection.transport.abort()

    async def run(self, stop: asyncio.Event) -> None:
        """Stay connected until `stop`."""
        pause = FIRST_PAUSE
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                before = self.last_frame
                await self._until(stopping, self._session())
                if self.last_frame > before and self.connects:
                    pause = FIRST_PAUSE
                await asyncio.wait({stopping}, timeout=pause)
                pause = min(pause * 2, LONGEST_PAUSE)
        finally:
            stopping.cancel()

    async def _until(self, stopping: "asyncio.Task[Literal[True]]", session: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(session)
        try:
            await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not task.done():
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _session(self) -> None:
        try:
            async with connect(
                self._url,
                compression=None,
                max_size=LARGEST_FRAME,
                open_timeout=5,
                close_timeout=1,
                ping_interval=20,
                create_connection=cast("type[ClientConnection]", partial(QuickConnection, real=self._clock.real)),
            ) as connection:
                assert isinstance(connection, QuickConnection)
                await self._connected(connection)
        except (OSError, WebSocketException, TimeoutError, EOFError) as error:
            log.warning("feed_disconnected", feed=self.name, error=str(error) or type(error).__name__)
        finally:
            self._connection = None
            self._on_down()

    async def _connected(self, connection: QuickConnection) -> None:
        self.last_frame = self._clock.real()
        self.connects += 1
        self._connection = connection
        log.info("feed_connected", feed=self.name, connects=self.connects)
        await self._open()
        helpers = [asyncio.ensure_future(self._pings(connection)), asyncio.ensure_future(self._watch())]
        try:
            await self._read(connection)
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)

    async def _read(self, connection: QuickConnection) -> None:
        on_frame, is_answer = self._on_frame, self._is_answer

        def take(raw: bytes, received: int) -> None:
            if not is_answer(raw):
                self.last_frame = received
                on_frame(raw, received)

        await connection.read(take)

    async def _open(self) -> None:
        for text in self._opening():
            await self.send(text)

    async def _pings(self, connection: ClientConnection) -> None:
        while self._ping is not None:
            await asyncio.sleep(self._ping_every)
            with contextlib.suppress(WebSocketException, OSError):
                await connection.send(self._ping)

    async def _watch(self) -> None:
        """Ask again after a silence, and start anew when that does not help."""
        asked = False
        while self._silent_after is not None:
            await asyncio.sleep(WATCH_EVERY)
            silence = self.silence()
            if silence < self._silent_after:
                asked = False
            elif not asked:
                asked = True
                self.silences += 1
                log.warning("feed_silent", feed=self.name, silence_s=round(silence, 2))
                await self._open()
            elif silence > 2 * self._silent_after:
                await self.restart()
                return
