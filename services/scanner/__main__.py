"""`python -m services.scanner`: wiring."""

import httpx

from pmarb import logs
from pmarb.bus.streams import RedisBus
from pmarb.clock import ScaledClock
from pmarb.runtime import Backoff, Heartbeat, main
from pmarb.settings import load
from pmarb.venue.port import VenueUnavailable
from pmarb.venue.public import POLYMARKET, VenueUrls, sandbox
from services.scanner.service import ScannerService
from services.scanner.settings import ScannerSettings

log = logs.get(__name__)


async def venue(settings: ScannerSettings, http: httpx.AsyncClient) -> tuple[VenueUrls, ScaledClock]:
    """Where the venue is, and its clock; waits for a sandbox that is not up yet."""
    clock = settings.clock()
    if settings.venue == "polymarket":
        return POLYMARKET, clock
    backoff = Backoff("sandbox")
    while True:
        try:
            urls, theirs = await sandbox(http, settings.sandbox_url)
        except VenueUnavailable as error:
            await backoff.wait(error)
            continue
        backoff.recovered()
        if theirs.speed != clock.speed:
            log.warning("clock_mismatch", clock_speed=clock.speed, sandbox_speed=theirs.speed)
        return urls, theirs


if __name__ == "__main__":
    settings = load(ScannerSettings)

    async def build() -> ScannerService:
        http = httpx.AsyncClient(timeout=httpx.Timeout(5.0))
        urls, clock = await venue(settings, http)
        bus = RedisBus(settings.redis_url)
        return ScannerService(
            bus=bus,
            urls=urls,
            clock=clock,
            http=http,
            limits=settings.limits(),
            assets=settings.asset_list,
            families=settings.family_list,
            keys=await settings.price_keys(http),
            heartbeat=Heartbeat(bus=bus, service="scanner", path=settings.heartbeat_file),
        )

    main("scanner", settings, build)
