"""The house makers' own fair value of an up/down market that settles on a 60 s TWAP (quant.md 2.1).

Makers know the true law of the price; their error comes from looking late and from noise, not from the formula.
Prices jump, so the law of a move is a mixture of Gaussians by the number of jumps in it: with the same variance, a
Gaussian alone is off by up to two cents at one deviation.
"""

from __future__ import annotations

import math

TWAP_S = 60
ROOT_2 = math.sqrt(2.0)
Spreads = tuple[tuple[float, float], ...]
"""(chance, deviation of the log price a square-root second), one for each number of jumps."""


def normal_cdf(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2.0))


def up_probability(*, spot: float, strike: float, elapsed_mean: float, tau: float, spreads: Spreads) -> float:
    """P(closing TWAP >= strike).

    `tau` seconds remain; `elapsed_mean` is the mean of the closing ticks already seen (ignored while tau >= 60).
    """
    if tau <= 0:
        return 1.0 if elapsed_mean >= strike else 0.0
    if tau >= TWAP_S:
        mean = spot
        seconds = (tau - TWAP_S) + (TWAP_S + 1) * (2 * TWAP_S + 1) / (6 * TWAP_S)
    else:
        mean = (1 - tau / TWAP_S) * elapsed_mean + tau / TWAP_S * spot
        seconds = tau * (tau + 1) * (2 * tau + 1) / (6 * TWAP_S * TWAP_S)
    return _mixed((mean - strike) / (spot * math.sqrt(seconds)), spreads)


def up_probability_before_open(
    *, spot: float, elapsed_mean: float, until_open: float, window: float, spreads: Spreads
) -> float:
    """The same while the opening TWAP forms: `until_open` seconds to the start, `window` the length in seconds."""
    if until_open >= TWAP_S:
        return 0.5
    u, length, tau = until_open, float(TWAP_S), until_open + window
    seconds = tau - 2 * length / 3 + u**3 / (3 * length**2) - u**2 / length
    return _mixed((1 - u / length) * (spot - elapsed_mean) / (spot * math.sqrt(seconds)), spreads)


def steepest(*, spot: float, tau: float, spreads: Spreads) -> float:
    """The most by which the probability changes for each dollar of the spot, `tau` >= 60 seconds before the end."""
    seconds = (tau - TWAP_S) + (TWAP_S + 1) * (2 * TWAP_S + 1) / (6 * TWAP_S)
    density = sum(chance / spread for chance, spread in spreads) / math.sqrt(2 * math.pi)
    return density / (spot * math.sqrt(seconds))


def _mixed(distance: float, spreads: Spreads) -> float:
    scaled, total = -distance / ROOT_2, 0.0
    for chance, spread in spreads:
        total += chance * math.erfc(scaled / spread)
    return 0.5 * total
