"""Digitals that are more than one strike at one moment: ranges, and levels touched (quant.md 2).

Units as in `fairvalue`: dollars, sigma a square-root second, seconds.
"""

import math
from typing import Final

from pmarb.domain.fairvalue import cumulative, point_digital

SAMPLED_BARRIER: Final = 0.5826
"""-zeta(1/2) / sqrt(2 pi): how many deviations of a sampling step a barrier that is only sampled moves away."""


def range_digital(
    *, spot: float, low: float | None, high: float | None, sigma: float, tau: float, nu: float | None = None
) -> float:
    """P(low <= price in `tau` seconds < high); None is an open end. A price on a border is in the higher range.

    Raises:
        ValueError: the range is empty.
    """
    if low is not None and high is not None and not low < high:
        raise ValueError(f"range [{low}, {high}) was empty")
    above_low = 1.0 if low is None else _at_or_above(spot=spot, strike=low, sigma=sigma, tau=tau, nu=nu)
    above_high = 0.0 if high is None else _at_or_above(spot=spot, strike=high, sigma=sigma, tau=tau, nu=nu)
    return max(0.0, above_low - above_high)


def _at_or_above(*, spot: float, strike: float, sigma: float, tau: float, nu: float | None) -> float:
    if sigma * math.sqrt(tau) == 0:
        return float(spot >= strike)
    return point_digital(spot=spot, strike=strike, sigma=sigma, tau=tau, nu=nu)


def touch_digital(
    *, spot: float, level: float, sigma: float, tau: float, up: bool, drift: float | None = None, sampled: float = 0.0
) -> float:
    """P(the price reaches `level` within `tau` seconds): from below if `up`, from above otherwise; 1 once there.

    `drift` is that of the log price a second; None is the martingale's, -sigma^2 / 2. `sampled` is the seconds between
    looks where only samples count; 0 watches every trade, as the venue's one-minute candles do (quant.md 2.3).
    """
    spread = sigma * math.sqrt(tau)
    distance = math.log(level / spot) if up else math.log(spot / level)
    if distance <= 0:
        return 1.0
    distance += SAMPLED_BARRIER * sigma * math.sqrt(sampled)
    if spread == 0:
        return 0.0
    mu = -sigma * sigma / 2 if drift is None else drift
    toward = mu if up else -mu
    reached = cumulative((toward * tau - distance) / spread)
    reflected = math.exp(2 * toward * distance / (sigma * sigma)) * cumulative((-distance - toward * tau) / spread)
    return min(1.0, reached + reflected)
