"""Every limit of the Risk Guardian as one value: fractions follow the bankroll (quant.md 4), each may be overridden."""

from dataclasses import dataclass, fields
from decimal import Decimal
from enum import StrEnum
from typing import Final

from pmarb.domain.values import MIN_ORDER_SHARES, MIN_ORDER_USD, NANOS


class Sizing(StrEnum):
    """How an order is sized before the caps cut it."""

    FIXED = "fixed"
    ALLOCATOR = "allocator"
    KELLY = "kelly"
    HALF_KELLY = "half_kelly"
    QUARTER_KELLY = "quarter_kelly"

    @property
    def kelly_fraction(self) -> Decimal | None:
        """What part of the full Kelly spend; None for those that do not look at the edge."""
        return _FRACTIONS.get(self)


_FRACTIONS: Final = {
    Sizing.KELLY: Decimal(1),
    Sizing.HALF_KELLY: Decimal("0.5"),
    Sizing.QUARTER_KELLY: Decimal("0.25"),
}

LONG_FAMILIES: Final = ("daily", "above", "range", "hit")
SLOW_FAMILIES: Final = ("1h", *LONG_FAMILIES)
"""Families decided by an exchange, that a single trade hardly moves."""

CEILING_USD: Final = Decimal(20)
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
    strategy_pct: Decimal = Decimal("0.6")
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
    reject_window: int = 20
    reject_ratio: Decimal = Decimal("0.6")
    calibration_window: int = 30
    calibration_z: Decimal = Decimal("-2.5")
    losses_in_a_row: int = 6
    cool_down: int = 3600 * NANOS
    price_low: Decimal = Decimal("0.05")
    price_high: Decimal = Decimal("0.95")
    max_spread: Decimal = Decimal("0.04")
    max_fee_rate: Decimal = Decimal("0.10")
    min_edge: Decimal = Decimal("0.02")
    slippage_ticks: int = 1
    no_trade_first: int = 5 * NANOS
    min_time_left: int = 60 * NANOS
    min_time_left_15m: int = 75 * NANOS
    min_time_left_long: int = 120 * NANOS
    min_time_left_day: int = 600 * NANOS
    stale_book: int = NANOS // 2
    stale_book_long: int = 2 * NANOS
    stale_spot: int = NANOS
    stale_spot_long: int = 3 * NANOS
    stale_reference: int = 5 * NANOS
    stale_mark: int = 10 * NANOS
    leg_skew: int = NANOS // 4
    clock_skew: int = NANOS // 4
    duplicate_cooldown: int = 30 * NANOS
    entries_per_window: int = 1
    same_expiry: int = 900 * NANOS
    min_shares: Decimal = MIN_ORDER_SHARES
    min_usd: Decimal = MIN_ORDER_USD
    approval_ttl: int = 2 * NANOS

    def time_left(self, family: str) -> int:
        """The least time to expiry at which a market of `family` may be entered."""
        if family in LONG_FAMILIES:
            return self.min_time_left_day
        if family == "5m":
            return self.min_time_left
        return self.min_time_left_15m if family == "15m" else self.min_time_left_long

    def spot_age(self, family: str) -> int:
        """The oldest spot price an order of `family` may rest on."""
        return self.stale_spot_long if family in SLOW_FAMILIES else self.stale_spot

    def book_age(self, family: str) -> int:
        """The oldest book an order of `family` may rest on."""
        return self.stale_book if family == "5m" else self.stale_book_long

    def dearest_minimum(self, equity: Decimal) -> Decimal:
        """Dollars that the smallest order the venue takes may cost: the tightest of all caps on one order."""
        fractions = (
            self.order_pct_to_reach_minimum,
            self.market_pct,
            self.event_pct,
            self.underlying_pct,
            self.total_pct,
        )
        return min(*(fraction * equity for fraction in fractions), self.order_usd, self.hard_cap_usd, CEILING_USD)


def warnings_at(limits: Limits, equity: Decimal) -> list[str]:
    """Limits that make trading impossible or rare at this equity, in words, for the log at start."""
    if equity <= 0:
        return []
    dearest = limits.dearest_minimum(equity) / limits.min_shares
    needed = f"the venue's minimum of {limits.min_shares} shares (and ${limits.min_usd})"
    if limits.dearest_minimum(equity) < limits.min_usd or dearest <= limits.price_low:
        return [
            (
                f"NOTHING can be traded: {needed} costs more than the tightest limit on one order, "
                f"${limits.dearest_minimum(equity):.2f}, at every price from {limits.price_low} up"
            )
        ]
    if dearest >= limits.price_high:
        return []
    return [
        (
            f"{needed} costs more than the tightest limit on one order, ${limits.dearest_minimum(equity):.2f}, "
            f"at every price above {dearest:.2f}: those opportunities will be denied as below_minimum"
        )
    ]


WORDS: Final[dict[str, str]] = {
    "sizing": "how an order is sized before the caps",
    "order_pct": "one order",
    "order_pct_to_reach_minimum": "one order, where only that reaches the venue's minimum",
    "order_usd": "one order",
    "hard_cap_usd": "one order, whatever the sizing says",
    "market_pct": "at stake in one market",
    "event_pct": "at stake in one event",
    "underlying_pct": "at stake on one asset within a quarter of an hour of expiry",
    "strategy_pct": "a strategy's part of all capital while others trade (allocator)",
    "total_pct": "at stake in total",
    "max_positions": "markets held at once",
    "max_open_orders": "orders in flight at once",
    "daily_loss_pct": "lost in a UTC day: HALTED until midnight",
    "drawdown_reduce_pct": "below the peak: half size",
    "drawdown_kill_pct": "below the peak: KILLED",
    "fee_burn_pct": "fees in a UTC day: HALTED until midnight",
    "trades_per_day": "trades in a UTC day (10 with real money)",
    "orders_per_second": "orders in a second",
    "orders_per_minute": "orders in a minute",
    "reject_window": "orders looked at for refusals",
    "reject_ratio": "of them refused by the venue: HALTED until a person resumes",
    "calibration_window": "settled positions looked at for calibration",
    "calibration_z": "standard deviations they paid more than they cost: below, HALTED until a person resumes",
    "losses_in_a_row": "losses in a row: REDUCING",
    "cool_down": "for so long after the last of them",
    "price_low": "lowest price",
    "price_high": "highest price",
    "max_spread": "widest spread",
    "max_fee_rate": "highest fee rate believed",
    "min_edge": "least net edge, dollars a share",
    "slippage_ticks": "ticks above the offer",
    "no_trade_first": "no entry in the first",
    "min_time_left": "least time to expiry, 5 minutes",
    "min_time_left_15m": "least time to expiry, 15 minutes",
    "min_time_left_long": "least time to expiry, 1 and 4 hours",
    "min_time_left_day": "least time to expiry, days",
    "stale_book": "oldest book, 5 minutes",
    "stale_book_long": "oldest book, longer",
    "stale_spot": "oldest spot price, decided by the oracle (5 and 15 minutes, 4 hours)",
    "stale_spot_long": "oldest spot price, decided by an exchange (hours, days)",
    "stale_reference": "oldest settlement price",
    "stale_mark": "oldest bid an open position is valued at; without one it counts as lost",
    "leg_skew": "between the oldest and the youngest book of a set",
    "clock_skew": "furthest in the future",
    "duplicate_cooldown": "between two entries of a market",
    "entries_per_window": "entries in a market",
    "same_expiry": "expiries this near are one bet",
    "min_shares": "the venue's minimum, shares",
    "min_usd": "the venue's minimum, dollars",
    "approval_ttl": "an approval dies after",
}
"""What each limit bounds, for the table in docs/risk.md and for alerts about a change."""


def plainly(limits: Limits) -> dict[str, str]:
    """Every limit as text, to be stored and compared."""
    return {field.name: str(getattr(limits, field.name)) for field in fields(limits)}
