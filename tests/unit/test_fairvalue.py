"""Digitals and volatility against closed forms, simulation, and published numbers."""

import math
import random

import pytest

from pmarb.domain.fairvalue import (
    cumulative,
    point_digital,
    standard_error,
    twap_digital,
    twap_moments,
)
from pmarb.domain.volatility import BlendedVolatility


def test_a_price_at_the_strike_is_even() -> None:
    assert point_digital(spot=100, strike=100, sigma=1e-4, tau=300) == pytest.approx(0.5)
    assert twap_digital(spot=100, strike=100, sigma=1e-4, tau=300, lookback=60) == pytest.approx(0.5)


def test_what_is_over_is_decided_and_ties_go_up_for_an_average() -> None:
    assert point_digital(spot=101, strike=100, sigma=1e-4, tau=0) == 1
    assert point_digital(spot=99, strike=100, sigma=1e-4, tau=0) == 0
    assert point_digital(spot=100, strike=100, sigma=1e-4, tau=0) == 0.5
    assert twap_digital(spot=1, strike=100, sigma=1e-4, tau=0, lookback=60, mean_elapsed=100) == 1


def test_the_average_needs_its_elapsed_part() -> None:
    with pytest.raises(ValueError, match="elapsed"):
        twap_digital(spot=100, strike=100, sigma=1e-4, tau=30, lookback=60)


@pytest.mark.parametrize("wrong", [{"spot": 0}, {"strike": -1}, {"sigma": float("nan")}, {"tau": -1}])
def test_impossible_inputs_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        point_digital(**({"spot": 100, "strike": 100, "sigma": 1e-4, "tau": 10} | wrong))


def test_the_variance_of_a_sampled_average_is_exact() -> None:
    """At 30 s the continuous form gives .2601, simulation .2661 and the sampled form .265 (quant.md 2.1)."""
    sd = twap_moments(spot=1, sigma=1, tau=30, lookback=60, mean_elapsed=1).sd
    walks = random.Random(7)
    totals = []
    for _ in range(20_000):
        price, total = 0.0, 0.0
        for _ in range(30):
            price += walks.gauss(0, 1)
            total += price
        totals.append((total / 60) ** 2)
    assert sd**2 == pytest.approx(sum(totals) / len(totals), rel=0.04)


@pytest.mark.parametrize("tau", [60, 120, 299])
def test_far_from_the_end_an_average_moves_as_a_nearer_point(tau: int) -> None:
    sd = twap_moments(spot=1, sigma=1, tau=tau, lookback=60).sd
    assert sd**2 == pytest.approx(tau - 39.5, abs=0.02)


def test_the_average_and_its_last_second_meet() -> None:
    inside = twap_moments(spot=1, sigma=1, tau=59.999, lookback=60, mean_elapsed=1).sd
    outside = twap_moments(spot=1, sigma=1, tau=60, lookback=60).sd
    assert inside == pytest.approx(outside, rel=1e-3)


@pytest.mark.parametrize(
    ("z", "nu", "expected"),
    [  # Student-t of unit deviation, from a statistics library
        (-2.0, 8, 0.0249999),
        (1.0, 8, 0.8600),
        (0.0, 8, 0.5),
    ],
)
def test_the_student_tail(z: float, nu: float, expected: float) -> None:
    assert cumulative(z, nu) == pytest.approx(expected, abs=2.5e-3)


def test_a_student_of_many_degrees_is_a_gaussian() -> None:
    for z in (-3.0, -0.5, 0.7, 2.2):
        assert cumulative(z, 1e6) == pytest.approx(cumulative(z), abs=1e-6)
        assert cumulative(z, 8) + cumulative(-z, 8) == pytest.approx(1, abs=1e-12)


def test_the_standard_error_of_a_five_minute_market_at_mid_window() -> None:
    """About 3.7 points at the money: 5 dollars of basis equal the whole hurdle (quant.md 12)."""
    moments = twap_moments(spot=100_000, sigma=0.6e-4, tau=150, lookback=60)
    error = standard_error(moments=moments, strike=100_000, sigma=0.6e-4, data_age=0.3, order_time=0.38)
    assert 0.03 < error < 0.045
    assert standard_error(moments=moments, strike=50_000, sigma=0.6e-4) < 1e-6


def test_volatility_finds_the_truth_and_warms_up_first() -> None:
    estimate = BlendedVolatility()
    walk, price, truth = random.Random(3), 100_000.0, 0.6e-4
    for second in range(7200):
        price *= math.exp(walk.gauss(0, truth))
        estimate.update(second=second, price=price)
        if second == 1000:
            assert estimate.sigma() is None
    assert estimate.sigma() == pytest.approx(truth, rel=0.25)


def test_volatility_is_floored_and_capped() -> None:
    still, wild = BlendedVolatility(), BlendedVolatility()
    for second in range(2000):
        still.update(second=second, price=100.0)
        wild.update(second=second, price=100.0 if second % 2 else 150.0)
    assert still.sigma() == pytest.approx(0.15e-4)
    assert wild.sigma() == pytest.approx(6e-4)


def test_a_hole_in_the_feed_is_not_a_jump() -> None:
    estimate = BlendedVolatility()
    for second in range(1000):
        estimate.update(second=second, price=100.0)
    seen = estimate.seconds_seen
    estimate.update(second=2000, price=130.0)
    assert estimate.seconds_seen == seen
    estimate.update(second=1999, price=999.0)  # Late: ignored
    for second in range(2001, 3500):
        estimate.update(second=second, price=130.0)
    assert estimate.sigma() == pytest.approx(0.15e-4)
