"""`python -m services.alerter`: tells people what happened."""

import sys

from pmarb.bus.streams import RedisBus
from pmarb.runtime import Heartbeat, main
from pmarb.settings import WrongSettings, load
from services.alerter.channels import Channel, UnknownChannel, channels
from services.alerter.lead import Lead
from services.alerter.record import Record
from services.alerter.service import Alerter, Tools
from services.alerter.settings import AlerterSettings


def known_channels(settings: AlerterSettings) -> tuple[Channel, ...]:
    """The channels, or exit code 2 with the number of the wrong address."""
    try:
        return channels(settings.urls)
    except UnknownChannel as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - logs are not configured yet
        raise WrongSettings(2) from None


async def build(settings: AlerterSettings, targets: tuple[Channel, ...]) -> Alerter:
    bus = RedisBus(settings.redis_url)
    heartbeat = Heartbeat(bus=bus, service="alerter", path=settings.heartbeat_file)
    heartbeat.says = b"%d" % len(targets)  # The doctor asks, who does not know their addresses
    tools = Tools(
        bus=bus,
        clock=settings.clock(),
        record=Record(settings.dsn),
        lead=Lead(settings.dsn),
        heartbeat=heartbeat,
        channels=targets,
    )
    return Alerter(settings, tools)


if __name__ == "__main__":
    loaded = load(AlerterSettings)
    known = known_channels(loaded)
    main("alerter", loaded, lambda: build(loaded, known))
