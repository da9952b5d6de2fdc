"""What markets on the exchange's candles are worth, against closed forms written anew."""

import itertools
import math
from dataclasses import replace
from datetime import date
from statistics import NormalDist
from typing import Any

import pytest

from pmarb.domain.candles import candle_value
from pmarb.domain.fair import Fair, Missing, Model
from pmarb.domain.market import Above, Between, ExchangeRule, HourCandle, MarketInfo, NoonToNoon, Touch
from pmarb.domain.underlying import Underlying
from pmarb.domain.updown import fair_value
from pmarb.domain.values import NANOS
from pmarb.venue import rules
from tests.scanning import a_market, an_underlying

N = NormalDist().cdf
NOON = rules.noon(date(2026, 11, 26))
MODEL = Model(nu=1e7, k_variance={}, spot_se_bps=0.0, order_path_s=0.0, hold_s=0.0, cv_sigma=0.0)
"""So many degrees of freedom are a Gaussian."""


def a_rule_market(rule: ExchangeRule, **changes: Any) -> MarketInfo:
    market = a_market(settlement=rule, opens_at=NOON - 86_400 * NANOS, closes_at=NOON, family="daily")
    return replace(market, **changes)


def priced(rule: ExchangeRule, *, left_s: float, reference: float | None = None, model: Model = MODEL) -> Any:
    market = a_rule_market(rule)
    underlying = an_underlying(now=int(NOON - left_s * NANOS))
    now = int(market.decided_at - left_s * NANOS)
    return candle_value(market, rule, underlying, model, now=now, age=0.0, reference=reference), underlying


def digital(underlying: Underlying, strike: float, left_s: float) -> float:
    sigma, spot = underlying.sigma(left_s), underlying.price
    assert sigma is not None
    assert spot is not None
    return N(math.log(spot / strike) / (sigma * math.sqrt(left_s)))


@pytest.mark.parametrize("left_s", [90.0, 900.0])
@pytest.mark.parametrize("shift", [0.998, 1.0005])
def test_a_candle_and_a_strike_are_digitals_on_the_spot(left_s: float, shift: float) -> None:
    _, underlying = priced(Above(strike=1), left_s=left_s)
    assert underlying.price is not None
    strike = underlying.price * shift
    expected = min(max(digital(underlying, strike, left_s), 0.005), 0.995)
    for rule in (HourCandle(), NoonToNoon()):
        found, _ = priced(rule, left_s=left_s, reference=strike)
        assert found.up == pytest.approx(expected, abs=1e-6)
    found, _ = priced(Above(strike=strike), left_s=left_s)
    assert found.up == pytest.approx(expected, abs=1e-6)
    assert found.strike == strike
    assert found.basis == 0


def test_the_closing_candle_of_noon_ends_a_minute_later() -> None:
    market = a_rule_market(Above(strike=84_000))
    underlying = an_underlying(now=NOON)
    found = fair_value(market, underlying, MODEL, now=NOON, real=NOON)
    assert isinstance(found, Fair)
    assert found.tau == 60


def test_ranges_of_one_event_add_up() -> None:
    _, underlying = priced(Above(strike=1), left_s=900.0)
    assert underlying.price is not None
    borders = [None, underlying.price * 0.999, underlying.price * 1.001, None]
    pairs = [Between(low=low, high=high) for low, high in itertools.pairwise(borders)]
    values = [priced(rule, left_s=900.0)[0] for rule in pairs]
    assert sum(value.up for value in values) == pytest.approx(1, abs=1e-9)


def test_a_level_that_was_touched_is_never_priced_again() -> None:
    _, underlying = priced(Above(strike=1), left_s=900.0)
    spot = underlying.price
    assert spot is not None
    high, low = Touch(level=spot * 1.001, up=True), Touch(level=spot * 0.999, up=False)
    assert isinstance(priced(high, left_s=900.0, reference=spot)[0], Fair)
    assert isinstance(priced(low, left_s=900.0, reference=spot)[0], Fair)
    assert priced(high, left_s=900.0, reference=spot * 1.002)[0] is Missing.ALREADY_TOUCHED
    assert priced(low, left_s=900.0, reference=spot * 0.998)[0] is Missing.ALREADY_TOUCHED
    assert priced(Touch(level=spot * 0.999, up=True), left_s=900.0, reference=1.0)[0] is Missing.ALREADY_TOUCHED


@pytest.mark.parametrize("rule", [HourCandle(), NoonToNoon(), Touch(level=1e6, up=True)])
def test_what_was_not_seen_is_not_guessed(rule: ExchangeRule) -> None:
    assert priced(rule, left_s=900.0)[0] is Missing.REFERENCE_MISSING


def test_a_long_horizon_waits_for_its_own_volatility() -> None:
    assert priced(Above(strike=84_000), left_s=7000.0)[0] is Missing.WARMING_UP
    assert priced(Above(strike=84_000), left_s=80_000.0)[0] is Missing.WARMING_UP
    underlying = Underlying("btc")
    for second in range(9000):
        underlying.put_spot(second, 84_000.0 * (1 + 1e-5 * (second % 2)))
    assert underlying.sigma(7000) == underlying.hourly.sigma() is not None
    assert underlying.sigma(80_000) == underlying.daily.sigma() is not None
    assert underlying.sigma(300) == underlying.volatility.sigma()


def test_the_error_grows_with_the_order_and_with_the_doubt_of_the_volatility() -> None:
    _, underlying = priced(Above(strike=1), left_s=900.0)
    assert underlying.price is not None
    rule = Above(strike=underlying.price * 1.0005)
    none, _ = priced(rule, left_s=900.0)
    path, _ = priced(rule, left_s=900.0, model=replace(MODEL, order_path_s=1.0))
    doubt, _ = priced(rule, left_s=900.0, model=replace(MODEL, cv_sigma=0.22))
    assert none.se == 0
    assert path.se > 0
    assert doubt.se > 0
    sd = path.sigma * math.sqrt(900)
    density = NormalDist().pdf(math.log(1 / 1.0005) / sd)
    assert path.se == pytest.approx(density / math.sqrt(900), rel=1e-3)


def test_only_a_held_order_waits_for_the_hold() -> None:
    model = Model()
    assert model.order_time(a_market(taker_delay=True)) == pytest.approx(0.38)
    assert model.order_time(a_market(taker_delay=False)) == pytest.approx(0.23)
