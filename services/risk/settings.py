"""Settings of risk: each limit of the Guardian can be named; unset ones follow the bankroll (quant.md 4)."""

from dataclasses import replace
from decimal import Decimal
from typing import Literal

from pydantic import Field

from pmarb.domain.limits import CEILING_USD, Limits, Sizing
from pmarb.domain.values import NANOS
from pmarb.settings import Settings


class RiskSettings(Settings):
    """What risk may be told. Percentages are of equity."""

    sizing_strategy: Literal["fixed", "allocator", "kelly", "half_kelly", "quarter_kelly"] = Field(
        default="fixed", description="how orders are sized before the caps cut them"
    )
    min_edge_pct: Decimal = Field(default=Decimal(2), ge=0, le=50, description="least net edge, cents a share")
    max_order_usd: Decimal = Field(default=Decimal(5), ge=1, le=CEILING_USD, description="dearest order, fee included")
    hard_cap_usd: Decimal = Field(default=Decimal(10), ge=1, le=CEILING_USD, description="cap no sizing may pass")
    max_order_pct: Decimal = Field(default=Decimal(1), gt=0, le=5, description="an order's share of equity, percent")
    max_market_pct: Decimal = Field(default=Decimal(3), gt=0, le=100, description="at stake in one market, percent")
    max_event_pct: Decimal = Field(default=Decimal(4), gt=0, le=100, description="at stake in one event, percent")
    max_underlying_pct: Decimal = Field(
        default=Decimal(6), gt=0, le=100, description="at stake on one asset and expiry, percent"
    )
    max_strategy_pct: Decimal = Field(
        default=Decimal(60), gt=0, le=100, description="a strategy's part of all capital, with the allocator"
    )
    max_total_exposure_pct: Decimal = Field(default=Decimal(20), gt=0, le=100, description="all exposure, percent")
    max_open_positions: int = Field(default=5, ge=1, le=100, description="markets held at once")
    max_open_orders: int = Field(default=4, ge=1, le=100, description="orders in flight at once")
    daily_loss_pct: Decimal = Field(default=Decimal(5), gt=0, le=100, description="loss that halts until midnight UTC")
    drawdown_kill_pct: Decimal = Field(default=Decimal(20), gt=0, le=100, description="loss from the peak that kills")
    drawdown_reduce_pct: Decimal = Field(
        default=Decimal(10), gt=0, le=100, description="loss from the peak that halves every size"
    )
    fee_burn_pct: Decimal = Field(default=Decimal(2), gt=0, le=100, description="a day's fees that halt, percent")
    losses_in_a_row: int = Field(default=6, ge=1, le=100, description="losses in a row that pause new entries")
    cool_down_minutes: int = Field(default=60, ge=1, le=1440, description="for so many minutes")
    reject_ratio_pct: Decimal = Field(default=Decimal(60), ge=0, lt=100, description="of 20 orders refused: halt")
    calibration_z: Decimal = Field(
        default=Decimal("-2.5"), lt=0, ge=-10, description="of 30 positions, below: halt for a person"
    )
    max_trades_day: int = Field(default=0, ge=0, le=1000, description="0: 200 in the sandbox and on paper, 10 live")

    def limits(self) -> Limits:
        """The limits in force. Where venue time runs faster, the way from scanner to risk takes more of it."""
        base = Limits()
        speed = self.clock_speed if self.venue == "sandbox" else 1
        transit = int(TRANSIT * (speed - 1))
        real_money = self.venue == "polymarket" and self.execution == "live"
        return replace(
            base,
            sizing=Sizing(self.sizing_strategy),
            min_edge=self.min_edge_pct / 100,
            order_usd=self.max_order_usd,
            hard_cap_usd=self.hard_cap_usd,
            order_pct=self.max_order_pct / 100,
            order_pct_to_reach_minimum=self.max_order_pct * Decimal("1.5") / 100,
            market_pct=self.max_market_pct / 100,
            event_pct=self.max_event_pct / 100,
            underlying_pct=self.max_underlying_pct / 100,
            strategy_pct=self.max_strategy_pct / 100,
            drawdown_reduce_pct=self.drawdown_reduce_pct / 100,
            fee_burn_pct=self.fee_burn_pct / 100,
            losses_in_a_row=self.losses_in_a_row,
            cool_down=self.cool_down_minutes * 60 * NANOS,
            reject_ratio=self.reject_ratio_pct / 100,
            calibration_z=self.calibration_z,
            total_pct=self.max_total_exposure_pct / 100,
            max_positions=self.max_open_positions,
            max_open_orders=self.max_open_orders,
            daily_loss_pct=self.daily_loss_pct / 100,
            drawdown_kill_pct=self.drawdown_kill_pct / 100,
            trades_per_day=self.max_trades_day or (10 if real_money else 200),
            stale_book=base.stale_book + transit,
            stale_book_long=base.stale_book_long + transit,
            stale_spot=base.stale_spot + transit,
            stale_spot_long=base.stale_spot_long + transit,
            stale_reference=base.stale_reference + transit,
            stale_mark=base.stale_mark + int(MARKED_EVERY * (speed - 1)),
            clock_skew=base.clock_skew + transit,
            approval_ttl=base.approval_ttl + transit,
        )


TRANSIT = 0.05 * NANOS  # Real: what the way may take on a busy machine
MARKED_EVERY = 2 * NANOS  # Real: how often the scanner tells bids
RESYNC_EVERY = 5.0  # Seconds, real
POLL_STATE_EVERY = 1.0  # Seconds, real
STATE_OLD_AFTER = 3 * NANOS  # Real: a state of trading not read for so long is not known, nor whether the lock is ours
TAKE_OVER_AFTER = 4.0  # Seconds, real: longer than that, so that two never approve at once
