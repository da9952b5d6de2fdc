"""`python -m services.console`: the ledger in a browser, and a stop button."""

from pmarb.bus.streams import RedisBus
from pmarb.runtime import Heartbeat, main
from pmarb.settings import load
from services.console.app import Tools
from services.console.service import Console
from services.console.settings import ConsoleSettings


async def build(settings: ConsoleSettings) -> Console:
    bus = RedisBus(settings.redis_url)
    heartbeat = Heartbeat(bus=bus, service="console", path=settings.heartbeat_file)
    return Console(Tools(settings=settings, bus=bus, clock=settings.clock()), heartbeat)


if __name__ == "__main__":
    loaded = load(ConsoleSettings)
    main("console", loaded, lambda: build(loaded))
