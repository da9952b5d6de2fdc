"""What an up/down share is worth: digitals on a point and on a time-weighted average (quant.md 2).

Units: prices in dollars, `sigma` the standard deviation of the log price per square-root second, times in
seconds. `nu` is the degrees of freedom of a Student-t tail, scaled to the same standard deviation; None is
Gaussian. Floats are right here: a probability is an estimate, not money.
"""

import math
from dataclasses import dataclass
from typing import Final

LONGEST_SUM: Final = 100
"""Degrees of freedom up to which Student's t is a sum of half as many terms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Mean and standard deviation, in dollars, of the price that will settle the market."""

    mean: float
    sd: float

    def z(self, strike: float) -> float:
        """How many standard deviations the mean stands above the strike; infinite once nothing can move."""
        if self.sd > 0:
            return (self.mean - strike) / self.sd
        return math.inf if self.mean >= strike else -math.inf


def point_digital(*, spot: float, strike: float, sigma: float, tau: float, nu: float | None = None) -> float:
    """P(price in `tau` seconds is above `strike`), zero log drift: F(ln(S/K) / (sigma sqrt(tau))).

    At `tau` 0 (or `sigma` 0) the answer is 1, 0, or 0.5 exactly at the strike, whose rule the market decides.
    """
    _check(spot=spot, strike=strike, sigma=sigma, tau=tau)
    spread = sigma * math.sqrt(tau)
    distance = math.log(spot / strike)
    if spread == 0:
        return 0.5 if distance == 0 else float(distance > 0)
    return cumulative(distance / spread, nu)


def twap_digital(
    *,
    spot: float,
    strike: float,
    sigma: float,
    tau: float,
    lookback: float,
    mean_elapsed: float | None = None,
    nu: float | None = None,
) -> float:
    """P(mean price over the last `lookback` seconds before the end is at or above `strike`).

    `mean_elapsed` is the mean of the part of the averaging window that has passed, needed once `tau < lookback`.
    """
    moments = twap_moments(spot=spot, sigma=sigma, tau=tau, lookback=lookback, mean_elapsed=mean_elapsed)
    _check(spot=spot, strike=strike, sigma=sigma, tau=tau)
    return cumulative(moments.z(strike), nu)


def twap_moments(
    *, spot: float, sigma: float, tau: float, lookback: float, mean_elapsed: float | None = None
) -> Moments:
    """Moments of the closing average of one-second prices; exact for a sampled average, not its continuous limit.

    The continuous form understates the variance by 5 % at 30 s (quant.md 2.1).

    Raises:
        ValueError: inside the averaging window without `mean_elapsed`.
    """
    _check(spot=spot, strike=1.0, sigma=sigma, tau=tau)
    if lookback < 1:
        raise ValueError(f"lookback was {lookback} s, below 1")
    if tau >= lookback:
        variance = (tau - lookback) + (lookback + 1) * (2 * lookback + 1) / (6 * lookback)
        return Moments(mean=spot, sd=spot * sigma * math.sqrt(variance))
    if mean_elapsed is None:
        raise ValueError(f"{tau:g} s before the end the mean of the elapsed part of {lookback:g} s is needed")
    ahead = tau / lookback
    variance = tau * (tau + 1) * (2 * tau + 1) / 6
    return Moments(
        mean=(1 - ahead) * mean_elapsed + ahead * spot,
        sd=spot * sigma * math.sqrt(variance) / lookback,
    )


def point_moments(*, spot: float, sigma: float, tau: float) -> Moments:
    """Moments of the price in `tau` seconds, for the standard error of a point digital."""
    _check(spot=spot, strike=1.0, sigma=sigma, tau=tau)
    return Moments(mean=spot, sd=spot * sigma * math.sqrt(tau))


def standard_error(
    *,
    moments: Moments,
    strike: float,
    sigma: float,
    spot_se_bps: float = 0.4,
    strike_se_bps: float = 0.15,
    data_age: float = 0.0,
    order_time: float = 0.0,
    cv_sigma: float = 0.22,
) -> float:
    """Standard error of the probability, from what we do not know of the price and of the volatility.

    phi(z) * sqrt((se / sd)^2 + (z * cv_sigma)^2), where se holds the error of the nowcast, of the strike, and
    the move during `data_age + order_time` seconds (quant.md 12, 2.6). Near 0 once the outcome is settled.
    """
    return math.hypot(
        *error_terms(
            moments=moments,
            strike=strike,
            sigma=sigma,
            spot_se_bps=spot_se_bps,
            strike_se_bps=strike_se_bps,
            data_age=data_age,
            order_time=order_time,
            cv_sigma=cv_sigma,
        )
    )


def error_terms(
    *,
    moments: Moments,
    strike: float,
    sigma: float,
    spot_se_bps: float = 0.4,
    strike_se_bps: float = 0.15,
    data_age: float = 0.0,
    order_time: float = 0.0,
    cv_sigma: float = 0.22,
) -> tuple[float, float]:
    """The two parts of `standard_error`: of the price at the match, and of the volatility."""
    if moments.sd <= 0:
        return 0.0, 0.0
    z = moments.z(strike)
    blur = (spot_se_bps**2 + strike_se_bps**2) * 1e-8 + sigma * sigma * (data_age + order_time)
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return density * moments.mean * math.sqrt(blur) / moments.sd, density * abs(z) * cv_sigma


def cumulative(z: float, nu: float | None = None) -> float:
    """The distribution function at `z` standard deviations: Gaussian, or Student-t of the same deviation."""
    if math.isinf(z):
        return float(z > 0)
    if nu is None:
        return 0.5 * math.erfc(-z / math.sqrt(2))
    if nu <= 2:
        raise ValueError(f"nu was {nu}; a Student-t needs more than 2 to have a deviation")
    t = z * math.sqrt(nu / (nu - 2))
    if nu % 2 == 0 and nu <= LONGEST_SUM:
        return _student_even(t, int(nu))
    tail = 0.5 * _incomplete_beta(nu / 2, 0.5, nu / (nu + t * t))
    return 1 - tail if t > 0 else tail


def _student_even(t: float, nu: int) -> float:
    """Student's t for an even number of degrees of freedom, a finite sum (Abramowitz & Stegun 26.7.4)."""
    rest = nu / (nu + t * t)
    term = total = 1.0
    for odd in range(1, nu - 2, 2):
        term *= rest * odd / (odd + 1)
        total += term
    return min(1.0, max(0.0, 0.5 + 0.5 * t / math.sqrt(nu + t * t) * total))


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function, by its continued fraction (Abramowitz & Stegun 26.5.8)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(b, a, 1 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(1 - x))
    return front / a / _beta_fraction(a, b, x)


def _beta_fraction(a: float, b: float, x: float) -> float:
    """Lentz's method; converges in a few dozen terms for every nu in use."""
    tiny = 1e-300
    value, c, d = 1.0, 1.0, 0.0
    for step in range(1, 200):
        d = 1 / ((1 + _beta_term(a, b, x, step) * d) or tiny)
        c = (1 + _beta_term(a, b, x, step) / c) or tiny
        value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value


def _beta_term(a: float, b: float, x: float, step: int) -> float:
    m = step // 2
    if step % 2:
        return -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
    return m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))


def _check(*, spot: float, strike: float, sigma: float, tau: float) -> None:
    for name, number in (("spot", spot), ("strike", strike)):
        if not (number > 0 and math.isfinite(number)):
            raise ValueError(f"{name} was {number}; a price is above 0")
    if not (sigma >= 0 and math.isfinite(sigma)):
        raise ValueError(f"sigma was {sigma}, below 0")
    if not tau >= 0:
        raise ValueError(f"tau was {tau} s, below 0")
