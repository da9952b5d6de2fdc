"""The house makers' own fair value of an up/down market that settles on a 60 s TWAP (quant.md 2.1).

Makers know the true variance; their error comes from looking late and from noise, not from the formula.
"""

from __future__ import annotations

import math

TWAP_S = 60


def normal_cdf(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2.0))


def up_probability(*, spot: float, strike: float, elapsed_mean: float, tau: float, variance: float) -> float:
    """P(closing TWAP >= strike).

    `tau` seconds remain; `elapsed_mean` is the mean of the closing ticks already seen (ignored while tau >= 60);
    `variance` is that of the log price a second.
    """
    if tau <= 0:
        return 1.0 if elapsed_mean >= strike else 0.0
    if tau >= TWAP_S:
        mean = spot
        seconds = (tau - TWAP_S) + (TWAP_S + 1) * (2 * TWAP_S + 1) / (6 * TWAP_S)
    else:
        mean = (1 - tau / TWAP_S) * elapsed_mean + tau / TWAP_S * spot
        seconds = tau * (tau + 1) * (2 * tau + 1) / (6 * TWAP_S * TWAP_S)
    deviation = spot * math.sqrt(variance * seconds)
    return normal_cdf((mean - strike) / deviation)


def up_probability_before_open(
    *, spot: float, elapsed_mean: float, until_open: float, window: float, variance: float
) -> float:
    """The same while the opening TWAP forms: `until_open` seconds to the start, `window` the length in seconds."""
    if until_open >= TWAP_S:
        return 0.5
    u, length, tau = until_open, float(TWAP_S), until_open + window
    seconds = tau - 2 * length / 3 + u**3 / (3 * length**2) - u**2 / length
    deviation = spot * math.sqrt(variance * seconds)
    return normal_cdf((1 - u / length) * (spot - elapsed_mean) / deviation)
