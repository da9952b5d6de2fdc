"""The limits: their defaults, their words, and what they make impossible."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from pmarb.domain.limits import CEILING_USD, WORDS, plainly, warnings_at
from pmarb.domain.values import NANOS
from pmarb.venue.gamma import FAMILIES
from services.risk.settings import RiskSettings
from services.scanner.limits import MS
from services.scanner.limits import Limits as Scanned
from tests.builders import an_opportunity
from tests.judging import AT, LIMITS, approved, denied


def test_a_limit_below_the_venues_minimum_is_said_in_words() -> None:
    assert warnings_at(LIMITS, Decimal(1000)) == []
    (warning,) = warnings_at(LIMITS, Decimal(200))
    assert "above 0.60" in warning
    (warning,) = warnings_at(replace(LIMITS, hard_cap_usd=Decimal("0.5")), Decimal(300))
    assert warning.startswith("NOTHING can be traded: the venue's minimum of 5 shares (and $1) costs more")
    (warning,) = warnings_at(LIMITS, Decimal(15))
    assert warning.startswith("NOTHING can be traded")


@pytest.mark.parametrize(
    ("bankroll", "order", "widest", "market", "event", "bet", "total", "day", "fees"),
    [
        (200, "2.00", "3.00", "6", "8", "12", "40", "10", "4"),
        (300, "3.00", "4.50", "9", "12", "18", "60", "15", "6"),
        (500, "5.00", "7.50", "15", "20", "30", "100", "25", "10"),
    ],
)
def test_the_defaults_are_those_of_the_table(bankroll: int, order: str, widest: str, market: str, event: str,
                                             bet: str, total: str, day: str, fees: str) -> None:  # fmt: skip
    at = [
        LIMITS.order_pct, LIMITS.order_pct_to_reach_minimum, LIMITS.market_pct, LIMITS.event_pct,
        LIMITS.underlying_pct, LIMITS.total_pct, LIMITS.daily_loss_pct, LIMITS.fee_burn_pct,
    ]  # fmt: skip
    assert [of * bankroll for of in at] == [Decimal(v) for v in (order, widest, market, event, bet, total, day, fees)]


def test_the_defaults_are_those_of_the_research() -> None:
    path = Path(__file__).parents[3] / "shared/domain/defaults.json"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    risk = json.loads(path.read_text(), parse_float=Decimal)["risk"]
    limits = RiskSettings().limits()
    assert (limits.order_usd, limits.order_pct) == (risk["max_order_usd"], risk["max_order_pct_equity"])
    assert (limits.hard_cap_usd, CEILING_USD) == (risk["hard_cap_order_usd"], risk["absolute_ceiling_usd"])
    assert (limits.market_pct, limits.event_pct) == (risk["max_market_pct"], risk["max_event_pct"])
    assert (limits.underlying_pct, limits.total_pct) == (
        risk["max_underlying_expiry_pct"], risk["max_total_exposure_pct"],
    )  # fmt: skip
    assert (limits.max_positions, limits.max_open_orders) == (risk["max_open_positions"], risk["max_open_orders"])
    assert (limits.daily_loss_pct, limits.fee_burn_pct) == (risk["daily_loss_pct"], risk["daily_fee_burn_pct"])
    assert (limits.drawdown_reduce_pct, limits.drawdown_kill_pct) == (
        risk["drawdown_reduce_pct"], risk["drawdown_kill_pct"],
    )  # fmt: skip
    assert (limits.reject_window, limits.reject_ratio) == tuple(risk["reject_ratio_halt"].values())
    assert (limits.losses_in_a_row, limits.cool_down // (60 * NANOS)) == tuple(risk["cooldown_after_losses"].values())
    assert (limits.calibration_window, limits.calibration_z) == tuple(risk["calibration_z_halt"].values())
    assert [limits.price_low, limits.price_high, limits.max_spread] == [*risk["price_band"], risk["max_spread"]]
    assert (limits.orders_per_second, limits.orders_per_minute) == (
        risk["order_rate_per_s"], risk["order_rate_per_min"],
    )  # fmt: skip
    assert limits.trades_per_day == risk["max_trades_day_paper"]
    live = RiskSettings(venue="polymarket", execution="live").limits()
    assert live.trades_per_day == risk["max_trades_day"]


def test_every_limit_has_its_words() -> None:
    assert set(WORDS) == set(plainly(LIMITS))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_scanner_asks_by_family_what_risk_will_ask(family: str) -> None:
    scanner = Scanned(order_usd=Decimal(3))
    assert scanner.stale_spot(family) * MS == LIMITS.spot_age(family)
    assert scanner.min_left(family) == LIMITS.time_left(family)
    assert scanner.stale_book(family) * MS <= LIMITS.book_age(family)
    assert LIMITS.spot_age(family) == (3 if family in ("1h", "daily", "above", "range", "hit") else 1) * NANOS


def test_an_hour_forgives_an_older_spot_price_than_five_minutes() -> None:
    late = {"spot_ts_init": AT - 3 * NANOS, "expiry": AT + 900 * NANOS}
    approved(an_opportunity(family="1h", **late))
    assert denied(an_opportunity(family="5m", **late)).detail == "spot_age_ms=3000 limit=1000"
    assert denied(an_opportunity(family="above", expiry=AT + 599 * NANOS)).detail == "left_s=599 limit=600"
