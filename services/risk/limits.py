"""Every limit of the Risk Guardian, derived from the bankroll (quant.md 4) and overridable one by one."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from pmarb.domain.values import MIN_ORDER_SHARES, MIN_ORDER_USD, NANOS


class Sizing(StrEnum):
    """How an approved order is sized before the caps cut it."""

    FIXED = "fixed"
    QUARTER_KELLY = "quarter_kelly"


CEILING_USD = Decimal(20)
"""No order is ever larger, whatever the settings say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Fractions are of equity; times in nanoseconds of venue time; dollars include the expected fee."""

    sizing: Sizing = Sizing.FIXED
    order_pct: Decimal = Decimal("0.01")
    order_pct_to_reach_minimum: Decimal = Decimal("0.015")
    order_usd: Decimal = Decimal(5)
    hard_cap_usd: Decimal = Decimal(10)
    market_pct: Decimal = Decimal("0.03")
    event_pct: Decimal = Decimal("0.04")
    underlying_pct: Decimal = Decimal("0.06")
    total_pct: Decimal = Decimal("0.20")
    max_positions: int = 5
    max_open_orders: int = 4
    daily_loss_pct: Decimal = Decimal("0.05")
    drawdown_reduce_pct: Decimal = Decimal("0.10")
    drawdown_kill_pct: Decimal = Decimal("0.20")
    fee_burn_pct: Decimal = Decimal("0.02")
    trades_per_day: int = 200
    orders_per_second: int = 1
    orders_per_minute: int = 20
    losses_in_a_row: int = 6
    cool_down: int = 3600 * NANOS
    price_low: Decimal = Decimal("0.05")
    price_high: Decimal = Decimal("0.95")
    max_spread: Decimal = Decimal("0.04")
    min_edge: Decimal = Decimal("0.02")
    slippage_ticks: int = 1
    no_trade_first: int = 5 * NANOS
    min_time_left: int = 60 * NANOS
    min_time_left_15m: int = 75 * NANOS
    min_time_left_long: int = 120 * NANOS
    stale_book: int = NANOS // 2
    stale_book_long: int = 2 * NANOS
    stale_spot: int = NANOS
    stale_reference: int = 5 * NANOS
    clock_skew: int = NANOS // 4
    duplicate_cooldown: int = 30 * NANOS
    entries_per_window: int = 1
    same_expiry: int = 900 * NANOS
    min_shares: Decimal = MIN_ORDER_SHARES
    min_usd: Decimal = MIN_ORDER_USD
    approval_ttl: int = 2 * NANOS

    def time_left(self, family: str) -> int:
        """The least time to expiry at which a market of `family` may be entered."""
        return {"5m": self.min_time_left, "15m": self.min_time_left_15m}.get(family, self.min_time_left_long)

    def book_age(self, family: str) -> int:
        """The oldest book an order of `family` may rest on."""
        return self.stale_book if family == "5m" else self.stale_book_long


def warnings_at(limits: Limits, equity: Decimal) -> list[str]:
    """Limits that make trading rare or impossible at this equity, in words, for the log at start."""
    reach = equity * limits.order_pct_to_reach_minimum
    dearest = reach / limits.min_shares
    if dearest >= limits.price_high:
        return []
    return [
        (
            f"the venue's minimum of {limits.min_shares} shares costs more than the order cap of ${reach:.2f} "
            f"at every price above {dearest:.2f}: those opportunities will be denied as below_minimum"
        )
    ]
