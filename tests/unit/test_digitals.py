"""Ranges, touches and unformed averages against closed forms written anew, and against seeded simulation."""

import itertools
import math
import random
from collections.abc import Callable
from statistics import NormalDist

import pytest

from pmarb.domain.digitals import range_digital, touch_digital
from pmarb.domain.fairvalue import point_digital, twap_digital

N = NormalDist().cdf
GRID = [
    (s, k, g, t)
    for s in (80_000.0, 84_000.0)
    for k in (82_000.0, 85_500.0)
    for g in (2e-5, 9e-5)
    for t in (60.0, 3600.0, 86_400.0)
]


def simulated(trials: int, trial: Callable[[], bool]) -> tuple[float, float]:
    """Mean of a yes-or-no trial and its standard error."""
    hits = sum(trial() for _ in range(trials))
    mean = hits / trials
    return mean, math.sqrt(max(mean * (1 - mean), 1e-4) / trials)


@pytest.mark.parametrize(("spot", "strike", "sigma", "tau"), GRID)
def test_points_and_ranges_agree_with_the_textbook(spot: float, strike: float, sigma: float, tau: float) -> None:
    d = (math.log(spot) - math.log(strike)) / (sigma * tau**0.5)
    assert point_digital(spot=spot, strike=strike, sigma=sigma, tau=tau) == pytest.approx(N(d), abs=1e-9)
    upper = (math.log(spot) - math.log(strike + 1000)) / (sigma * tau**0.5)
    found = range_digital(spot=spot, low=strike, high=strike + 1000, sigma=sigma, tau=tau)
    assert found == pytest.approx(N(d) - N(upper), abs=1e-9)


def test_the_ranges_of_an_event_add_up_to_one() -> None:
    borders = [None, 80_000.0, 82_000.0, 84_000.0, 86_000.0, None]
    pairs = itertools.pairwise(borders)
    total = sum(range_digital(spot=83_300, low=a, high=b, sigma=5e-5, tau=7200, nu=8) for a, b in pairs)
    assert total == pytest.approx(1, abs=1e-12)


def test_a_price_on_a_border_belongs_to_the_higher_range() -> None:
    assert range_digital(spot=82_000, low=82_000, high=84_000, sigma=5e-5, tau=0) == 1
    assert range_digital(spot=82_000, low=80_000, high=82_000, sigma=5e-5, tau=0) == 0
    with pytest.raises(ValueError, match="empty"):
        range_digital(spot=1, low=2, high=2, sigma=1e-4, tau=1)


@pytest.mark.parametrize(("spot", "level", "sigma", "tau"), GRID)
def test_touches_agree_with_the_inverse_gaussian_law(spot: float, level: float, sigma: float, tau: float) -> None:
    """The first passage of a drifted Brownian motion, in the form of its distribution function."""
    for up in (True, False):
        if (level > spot) is not up:
            assert touch_digital(spot=spot, level=level, sigma=sigma, tau=tau, up=up) == 1
            continue
        barrier = abs(math.log(level / spot)) / sigma
        drift = (-sigma / 2) if up else (sigma / 2)
        law = N((drift * tau - barrier) / tau**0.5)
        law += math.exp(2 * drift * barrier) * (1 - N((barrier + drift * tau) / tau**0.5))
        assert touch_digital(spot=spot, level=level, sigma=sigma, tau=tau, up=up) == pytest.approx(law, abs=1e-9)
        flat = touch_digital(spot=spot, level=level, sigma=sigma, tau=tau, up=up, drift=0.0)
        assert flat == pytest.approx(2 * N(-barrier / tau**0.5), abs=1e-9)


def test_a_sampled_barrier_is_touched_as_often_as_simulation_says() -> None:
    rng, sigma, tau, level = random.Random(11), 6e-5, 600, 1.001

    def trial() -> bool:
        x, goal = 0.0, math.log(level)
        for _ in range(tau):
            x += rng.gauss(-sigma * sigma / 2, sigma)
            if x >= goal:
                return True
        return False

    mean, error = simulated(3000, trial)
    found = touch_digital(spot=1, level=level, sigma=sigma, tau=tau, up=True, sampled=1.0)
    assert found == pytest.approx(mean, abs=3 * error)
    assert found < touch_digital(spot=1, level=level, sigma=sigma, tau=tau, up=True)


@pytest.mark.parametrize(("tau", "elapsed"), [(150, None), (30, 83_980.0)])
def test_a_closing_average_agrees_with_simulation(tau: int, elapsed: float | None) -> None:
    rng, sigma, spot, strike = random.Random(3), 5e-5, 84_000.0, 83_990.0

    def trial() -> bool:
        price, total = spot, 0.0 if elapsed is None else elapsed * (60 - tau)
        for second in range(tau):
            price += spot * rng.gauss(0.0, sigma)
            if second >= tau - 60:
                total += price
        return total / 60 >= strike

    mean, error = simulated(3000, trial)
    found = twap_digital(spot=spot, strike=strike, sigma=sigma, tau=tau, lookback=60, mean_elapsed=elapsed)
    assert found == pytest.approx(mean, abs=3 * error)
