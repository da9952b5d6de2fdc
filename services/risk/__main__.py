"""`python -m services.risk`: wiring."""

from pmarb.bus.streams import RedisBus
from pmarb.runtime import Backoff, Heartbeat, main
from pmarb.settings import load
from services.risk.gatekeeper import Gatekeeper
from services.risk.lead import connect
from services.risk.service import RiskService
from services.risk.settings import RiskSettings

if __name__ == "__main__":
    settings = load(RiskSettings)

    async def build() -> RiskService:
        bus = RedisBus(settings.redis_url)
        return RiskService(
            bus=bus,
            connection=await connect(settings.dsn, Backoff("postgres")),
            limits=settings.limits(),
            clock=settings.clock(),
            gatekeeper=Gatekeeper(
                dsn=settings.dsn, venue=settings.venue, execution=settings.execution, clock=settings.clock()
            ),
            heartbeat=Heartbeat(bus=bus, service="risk", path=settings.heartbeat_file),
        )

    main("risk", settings, build)
