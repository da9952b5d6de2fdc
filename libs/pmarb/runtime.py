"""What every service process has in common: signals, the heartbeat, and crashing on the unexpected.

A service is an object with `run(stop)`: it works until `stop` is set, drains, and returns. Anything it raises is
logged once with its cause and ends the process with code 1: start-up is recovery. This is the one module that
may catch everything.
"""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pmarb import logs
from pmarb.bus.port import Bus, BusUnavailable
from pmarb.settings import Settings
from pmarb.waiting import until_set

log = logs.get(__name__)

Result = TypeVar("Result")

BEAT_EVERY = 1.0  # Seconds, real
BEAT_TTL_MS = 5000
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0  # Seconds between tries while a server is away


class ServerLost(RuntimeError):
    """A server that this process cannot work without went away: end with one line, and start-up is recovery."""


class Service(Protocol):
    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then drain and return."""


def member_name() -> str:
    """Who this process is within its service: the same after a restart of its container."""
    return os.environ.get("MEMBER") or socket.gethostname()


def main(name: str, settings: Settings, build: Callable[[], Awaitable[Service]]) -> None:
    """Run a service until SIGTERM or SIGINT and exit: 0 after a clean drain, 1 after a crash."""
    logs.configure(service=name, level=settings.log_level, fmt=settings.log_format)
    try:
        _loop(_run(name, build))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)
    except ServerLost as error:
        log.error("server_lost", why=str(error), next="the process ends and is started again")
        sys.exit(1)
    except Exception:
        log.exception("service_crashed")
        sys.exit(1)


async def _run(name: str, build: Callable[[], Awaitable[Service]]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_signal, stop, number)
    log.info("service_started", member=member_name(), pid=os.getpid())
    built = await until_stopped(_or_exit(build()), stop)
    service = None if built is None else built.result()
    if isinstance(service, SystemExit):
        raise service
    gc.collect()
    gc.freeze()  # What start-up made lives as long as the process: no collection need look at it again
    gc.enable()
    if service is not None:
        await service.run(stop)
    log.info("service_stopped", service=name)


def _on_signal(stop: asyncio.Event, number: int) -> None:
    if stop.is_set():
        log.warning("second_signal_ended_drain", signal=signal.Signals(number).name)
        os._exit(130)
    log.info("signal_received", signal=signal.Signals(number).name)
    stop.set()


async def until_stopped(work: Coroutine[Any, Any, Result], stop: asyncio.Event) -> asyncio.Task[Result] | None:
    """Do the work unless told to stop first. The finished task; None if told, and then the work was cancelled.

    What the work raises is raised here.
    """
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finished = working.done()
    finally:
        working.cancel()
        stopping.cancel()
    if finished:
        working.result()
        return working
    await asyncio.gather(working, return_exceptions=True)
    return None


async def _or_exit(build: Awaitable[Service]) -> Service | SystemExit:
    """What was wrong with the settings is said already: a task that raised it would add a traceback."""
    try:
        return await build
    except SystemExit as wrong:
        return wrong


def _loop(main_coroutine: Awaitable[None]) -> None:
    async def body() -> None:
        await main_coroutine

    if sys.platform == "win32":
        asyncio.run(body())
        return
    import uvloop  # Half the latency of the standard loop; not made for Windows

    uvloop.run(body())


class Heartbeat:
    """Says on the bus and in a file that the loop still turns. `beat` is called from the loop it vouches for.

    `says` is what else the service tells of itself with every beat.
    """

    def __init__(self, *, bus: Bus, service: str, path: Path, member: str | None = None) -> None:
        self.says = b""
        self._bus = bus
        self._service = service
        self._path = path
        self._member = member or member_name()
        self._last = 0.0

    async def beat(self) -> None:
        """Cheap to call every turn: it acts once a second."""
        now = asyncio.get_running_loop().time()
        if now - self._last < BEAT_EVERY:
            return
        self._last = now
        with contextlib.suppress(OSError):
            self._path.touch()
        with contextlib.suppress(BusUnavailable):
            await self._bus.beat(service=self._service, member=self._member, ttl_ms=BEAT_TTL_MS, says=self.says)


class Backoff:
    """Pauses that double from 50 ms to 2 s while a server is away, and a line in the log when it goes and returns."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._pause = FIRST_PAUSE
        self._away = False

    async def wait(self, error: BaseException) -> None:
        if not self._away:
            log.warning("server_unavailable", server=self._what, error=str(error) or type(error).__name__)
        self._away = True
        await asyncio.sleep(self._pause)
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def recovered(self) -> None:
        if self._away:
            log.info("server_available", server=self._what)
        self._away, self._pause = False, FIRST_PAUSE


async def every(seconds: float, action: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
    """Do `action` now and then every `seconds` (real) until `stop`; what it raises is raised here."""
    while not stop.is_set():
        await action()
        await until_set(stop, within=seconds)
