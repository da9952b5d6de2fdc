"""Every closed form beside an independent way to the same number, to nine decimals."""

import math
import random
from collections.abc import Callable
from statistics import NormalDist

import pytest

from pmarb.domain.digitals import range_digital
from pmarb.domain.fairvalue import (
    cumulative,
    error_terms,
    point_digital,
    point_moments,
    twap_digital,
    twap_moments,
)
from pmarb.domain.volatility import Blend, BlendedVolatility

PHI = NormalDist().cdf


def simpson(f: Callable[[float], float], low: float, high: float, steps: int = 4000) -> float:
    width = (high - low) / steps
    inner = sum((4 if n % 2 else 2) * f(low + n * width) for n in range(1, steps))
    return (f(low) + inner + f(high)) * width / 3


@pytest.mark.parametrize("nu", [3.0, 4.0, 5.5, 8.0, 9.0, 30.0])
@pytest.mark.parametrize("z", [-4.0, -1.3, -0.2, 0.0, 0.7, 1.0, 2.5])
def test_the_student_tail_is_the_integral_of_its_density(z: float, nu: float) -> None:
    scale = math.exp(math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2)) / math.sqrt(nu * math.pi)

    def density(t: float) -> float:
        return scale * math.pow(1 + t * t / nu, -(nu + 1) / 2)

    expected = 0.5 + simpson(density, 0.0, z * math.sqrt(nu / (nu - 2)))
    assert cumulative(z, nu) == pytest.approx(expected, abs=1e-9)


def test_a_student_of_eight_degrees_is_the_textbooks() -> None:
    """Quantiles of t(8): 1.8595 leaves 5 % above it, 2.3060 leaves 2.5 %, 3.3554 leaves 0.5 %."""
    for quantile, above in ((1.859548, 0.05), (2.306004, 0.025), (3.355387, 0.005)):
        assert 1 - cumulative(quantile / math.sqrt(8 / 6), 8) == pytest.approx(above, abs=1e-7)


@pytest.mark.parametrize("nu", [None, 8.0])
@pytest.mark.parametrize("tau", [1, 17, 59, 60, 61, 150, 299])
def test_a_sampled_average_has_the_variance_of_its_covariances(tau: int, nu: float | None) -> None:
    """Prices at seconds i and j of a walk share min(i, j) seconds of it."""
    spot, sigma, strike, lookback, elapsed = 84_000.0, 5e-5, 84_010.0, 60, 83_990.0
    ahead = range(max(0, tau - lookback) + 1, tau + 1)
    variance = sum(min(i, j) for i in ahead for j in ahead) / lookback**2
    told = lookback - len(ahead)
    mean = (told * elapsed + len(ahead) * spot) / lookback
    moments = twap_moments(spot=spot, sigma=sigma, tau=tau, lookback=lookback, mean_elapsed=elapsed)
    assert moments.mean == pytest.approx(mean, rel=1e-12)
    assert moments.sd == pytest.approx(spot * sigma * math.sqrt(variance), rel=1e-12)
    found = twap_digital(spot=spot, strike=strike, sigma=sigma, tau=tau, lookback=lookback, mean_elapsed=elapsed, nu=nu)
    z = (mean - strike) / (spot * sigma * math.sqrt(variance))
    assert found == pytest.approx(PHI(z) if nu is None else cumulative(z, nu), abs=1e-9)


@pytest.mark.parametrize("nu", [None, 8.0])
def test_points_and_ranges_are_integrals_of_the_density_of_the_price(nu: float | None) -> None:
    spot, sigma, tau, low, high = 84_000.0, 6e-5, 3600.0, 83_900.0, 84_250.0
    spread = sigma * math.sqrt(tau)

    def density(x: float) -> float:  # By the difference quotient of an antiderivative nobody simplified
        return (cumulative(x + 1e-4, nu) - cumulative(x - 1e-4, nu)) / 2e-4

    inside = simpson(density, math.log(low / spot) / spread, math.log(high / spot) / spread)
    assert range_digital(spot=spot, low=low, high=high, sigma=sigma, tau=tau, nu=nu) == pytest.approx(inside, abs=1e-8)
    above = point_digital(spot=spot, strike=low, sigma=sigma, tau=tau, nu=nu)
    beyond = point_digital(spot=spot, strike=high, sigma=sigma, tau=tau, nu=nu)
    assert above - beyond == pytest.approx(inside, abs=1e-8)


@pytest.mark.parametrize("strike", [83_950.0, 84_000.0, 84_030.0])
def test_the_standard_error_is_the_slope_times_what_is_not_known(strike: float) -> None:
    spot, sigma, tau, lookback = 84_000.0, 6e-5, 150.0, 60.0
    moments = twap_moments(spot=spot, sigma=sigma, tau=tau, lookback=lookback)
    unknown = {"spot_se_bps": 0.4, "strike_se_bps": 0.15, "data_age": 0.3, "order_time": 0.38, "cv_sigma": 0.22}
    by_price, by_sigma = error_terms(moments=moments, strike=strike, sigma=sigma, **unknown)
    blur = spot * math.sqrt((0.4e-4) ** 2 + (0.15e-4) ** 2 + sigma**2 * (0.3 + 0.38))

    def chance(shift: float, factor: float) -> float:
        return PHI((spot + shift - strike) / (moments.sd * factor))

    assert by_price == pytest.approx((chance(0.01, 1) - chance(-0.01, 1)) / 0.02 * blur, abs=1e-9)
    slope = (chance(0, 1 + 1e-5) - chance(0, 1 - 1e-5)) / 2e-5
    assert by_sigma == pytest.approx(abs(slope) * 0.22, abs=1e-9)
    assert point_moments(spot=spot, sigma=sigma, tau=tau).sd == pytest.approx(spot * sigma * tau**0.5, rel=1e-12)


def test_the_volatility_is_the_mean_of_two_weighted_sums() -> None:
    """Both averages written out as sums over the past with their weights, which add up to one."""
    walk, price, prices = random.Random(9), 84_000.0, []
    for _ in range(2500):
        price *= math.exp(walk.gauss(0, 6e-5))
        prices.append(price)
    estimate = BlendedVolatility()
    for second, seen in enumerate(prices):
        estimate.update(second=second, price=seen)
    lag = Blend().lag
    samples = [math.log(b / a) ** 2 / lag for a, b in zip(prices, prices[lag:], strict=False)]
    variance = 0.0
    for half_life in Blend().half_lives:
        weights = [0.5 ** (age / half_life) for age in reversed(range(len(samples)))]
        variance += sum(w * s for w, s in zip(weights, samples, strict=True)) / sum(weights) / 2
    assert estimate.sigma() == pytest.approx(math.sqrt(variance), rel=1e-9)
