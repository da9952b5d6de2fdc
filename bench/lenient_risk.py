"""The risk service with its limits out of the way, so that enough orders are sent to measure the way to the wire."""

from dataclasses import replace
from decimal import Decimal

from pmarb.bus.streams import RedisBus
from pmarb.domain.limits import Limits
from pmarb.runtime import Backoff, Heartbeat, main
from pmarb.settings import load
from services.risk.gatekeeper import Gatekeeper
from services.risk.lead import connect
from services.risk.service import RiskService
from services.risk.settings import RiskSettings

MANY = 1_000_000


def lenient(limits: Limits) -> Limits:
    return replace(
        limits,
        max_positions=MANY,
        max_open_orders=MANY,
        trades_per_day=MANY,
        orders_per_second=MANY,
        orders_per_minute=MANY,
        entries_per_window=MANY,
        losses_in_a_row=MANY,
        calibration_z=Decimal(-MANY),
        reject_ratio=Decimal(1),
        duplicate_cooldown=0,
        daily_loss_pct=Decimal(1),
        fee_burn_pct=Decimal(1),
        market_pct=Decimal(1),
        event_pct=Decimal(1),
        underlying_pct=Decimal(1),
        total_pct=Decimal(1),
        drawdown_kill_pct=Decimal(1),
        min_edge=Decimal(0),
    )


if __name__ == "__main__":
    settings = load(RiskSettings)

    async def build() -> RiskService:
        bus = RedisBus(settings.redis_url)
        return RiskService(
            bus=bus,
            connection=await connect(settings.dsn, Backoff("postgres")),
            limits=lenient(settings.limits()),
            clock=settings.clock(),
            heartbeat=Heartbeat(bus=bus, service="risk", path=settings.heartbeat_file),
            gatekeeper=Gatekeeper(
                dsn=settings.dsn, venue=settings.venue, execution=settings.execution, clock=settings.clock()
            ),
        )

    main("risk", settings, build)
