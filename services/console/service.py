"""The console as a service: uvicorn in our loop, under our signals."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn

from pmarb import logs
from pmarb.runtime import Heartbeat, every
from services.console.app import Tools, make_app

log = logs.get(__name__)


class PortTaken(OSError):
    """Another process listens there."""


class _Server(uvicorn.Server):
    """Leaves the signals to `pmarb.runtime`."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Console:
    def __init__(self, tools: Tools, heartbeat: Heartbeat, listener: socket.socket) -> None:
        self._tools = tools
        self._heartbeat = heartbeat
        self._listener = listener

    async def run(self, stop: asyncio.Event) -> None:
        config = uvicorn.Config(
            make_app(self._tools),
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=3,
            server_header=False,
        )
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[self._listener]))
        host, port = self._listener.getsockname()[:2]
        control = bool(self._tools.settings.console_token.get_secret_value())
        log.info(
            "console_listening", url=f"http://{host}:{port}", control="allowed" if control else "needs CONSOLE_TOKEN"
        )
        await every(1.0, self._heartbeat.beat, stop)
        server.should_exit = True
        await serving
        await self._tools.bus.close()


def listen(host: str, port: int) -> socket.socket:
    """A socket on this address.

    Raises:
        PortTaken: with what to change.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        text = f"CONSOLE_HOST was {host!r} and CONSOLE_PORT was {port}; {error.strerror}: choose another"
        raise PortTaken(text) from error
    return listener
