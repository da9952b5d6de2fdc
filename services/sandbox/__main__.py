"""Start the sandbox: `python -m services.sandbox --help`."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from types import FrameType

import orjson
import uvicorn

from services.sandbox.api_control import ready_object
from services.sandbox.app import build_app
from services.sandbox.eventlog import log_event
from services.sandbox.journal import JournalError
from services.sandbox.settings import SettingError, Settings, read_settings
from services.sandbox.wire import ImpatientWebSocket
from services.sandbox.world import World

GRACE_S = 1
ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - recognised, never bound by default


class Server(uvicorn.Server):
    """Announces itself once it listens."""

    def __init__(self, config: uvicorn.Config, *, world: World, settings: Settings) -> None:
        super().__init__(config)
        self._world = world
        self._settings = settings

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.should_exit:
            return
        port = self.servers[0].sockets[0].getsockname()[1]
        announce(self._world, settings=self._settings, port=port)

    def leave(self) -> None:
        """Stop serving after a defect; `main` then raises it."""
        self.should_exit = True


def announce(world: World, *, settings: Settings, port: int) -> None:
    host = "127.0.0.1" if settings.host in ANY_ADDRESS else settings.host
    ready = ready_object(world, host=f"{host}:{port}")
    if settings.as_json:
        say(orjson.dumps(ready).decode())
    else:
        say("\n".join(f"{name:<10} {value}" for name, value in ready.items() if name != "accounts"))
        for account in ready["accounts"]:
            kind, address, wallet = account["signature_type"], account["address"], account["wallet"]
            say(f"account    type {kind} address {address} wallet {wallet} key {account['private_key']}")
    log_event("ready", port=port, seed=ready["seed"], scenario=ready["scenario"], speed=world.settings.speed)


def _already_stopped(number: int, frame: FrameType | None) -> None:
    """The server has dealt with the signal."""


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    try:
        settings = read_settings(sys.argv[1:], os.environ)
        world = World(*settings.begin())
    except (SettingError, JournalError) as error:
        sys.stderr.write(f"sandbox: {error}\n")
        return 2
    config = uvicorn.Config(
        build_app(world),
        host=settings.host,
        port=settings.port,
        log_level="critical",
        access_log=False,
        ws=ImpatientWebSocket,
        ws_ping_interval=None,
        timeout_graceful_shutdown=GRACE_S,
    )
    server = Server(config, world=world, settings=settings)
    world.on_failure = server.leave
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again after its clean shutdown; without these handlers that would kill the process.
        signal.signal(number, _already_stopped)
    asyncio.run(server.serve())
    log_event("stopped")
    if world.failure is not None:
        raise world.failure
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
