"""Intervals of a proportion, and which of many p-values still count."""

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist


def wilson(successes: int, trials: int, *, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval: close to its level for any proportion."""
    _check(successes, trials)
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, square = successes / trials, z * z
    middle = (share + square / (2 * trials)) / (1 + square / trials)
    half = z / (1 + square / trials) * math.sqrt(share * (1 - share) / trials + square / (4 * trials * trials))
    return max(0.0, middle - half), min(1.0, middle + half)


def clopper_pearson(successes: int, trials: int, *, level: float = 0.95) -> tuple[float, float]:
    """The exact interval: never below its level, hence wide."""
    _check(successes, trials)
    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else _where(lambda p: 1 - _at_most(successes - 1, trials, p), tail)
    high = 1.0 if successes == trials else 1 - _where(lambda q: _at_most(successes, trials, 1 - q), tail)
    return low, high


def benjamini_hochberg(p_values: Sequence[float], *, rate: float = 0.05) -> tuple[bool, ...]:
    """Which hypotheses are rejected if at most `rate` of the rejections may be false."""
    order = sorted(range(len(p_values)), key=lambda n: p_values[n])
    kept = 0
    for rank, index in enumerate(order, start=1):
        if p_values[index] <= rate * rank / len(order):
            kept = rank
    rejected = set(order[:kept])
    return tuple(n in rejected for n in range(len(p_values)))


def _at_most(successes: int, trials: int, p: float) -> float:
    """P(at most `successes` of `trials`)."""
    return math.fsum(math.comb(trials, n) * p**n * (1 - p) ** (trials - n) for n in range(successes + 1))


def _where(rising: Callable[[float], float], level: float) -> float:
    """The x in [0, 1] at which a rising function reaches `level`."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if rising(middle) < level:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _check(successes: int, trials: int) -> None:
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"{successes} successes of {trials} trials is no proportion")
