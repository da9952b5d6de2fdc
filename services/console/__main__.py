"""`python -m services.console`: the ledger in a browser, and a stop button."""

import socket
import sys

from pmarb.bus.streams import RedisBus
from pmarb.runtime import Heartbeat, main
from pmarb.settings import WrongSettings, load
from services.console.app import Tools
from services.console.service import Console, PortTaken, listen
from services.console.settings import ConsoleSettings


async def build(settings: ConsoleSettings, listener: socket.socket) -> Console:
    bus = RedisBus(settings.redis_url)
    heartbeat = Heartbeat(bus=bus, service="console", path=settings.heartbeat_file)
    return Console(Tools(settings=settings, bus=bus, clock=settings.clock()), heartbeat, listener)


def listener_of(settings: ConsoleSettings) -> socket.socket:
    """The listening socket, or exit code 2 with what to change."""
    try:
        return listen(settings.console_host, settings.console_port)
    except PortTaken as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - logs are not configured yet
        raise WrongSettings(2) from None


if __name__ == "__main__":
    loaded = load(ConsoleSettings)
    bound = listener_of(loaded)
    main("console", loaded, lambda: build(loaded, bound))
