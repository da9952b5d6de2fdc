"""How good forecasts are: Brier, log loss, reliability, and what one adds to another (quant.md 6.4). Floats."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pmarb.domain.logistic import Fit, fit

EDGE: Final = 1e-6
"""Probabilities are kept this far from 0 and 1: one wrong certainty must not be infinitely wrong."""
BINS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Forecasts in [low, high): how many, what they said on average, how often it happened."""

    low: float
    high: float
    count: int
    said: float
    happened: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """`slope` of the outcome's log-odds on the forecast's: 1 is right, below 1 is overconfident; None if unfittable."""

    bins: tuple[Bin, ...]
    slope: float | None
    intercept: float | None
    error: float


def clip(p: float) -> float:
    return min(max(p, EDGE), 1 - EDGE)


def logit(p: float) -> float:
    p = clip(p)
    return math.log(p / (1 - p))


def brier(forecasts: Sequence[float], outcomes: Sequence[bool]) -> float:
    """Mean squared error; 0.25 is what "one half" always scores."""
    return math.fsum((p - y) ** 2 for p, y in zip(forecasts, outcomes, strict=True)) / len(forecasts)


def log_loss(forecasts: Sequence[float], outcomes: Sequence[bool]) -> float:
    """Mean of -ln of the probability given to what happened."""
    losses = (-math.log(clip(p) if y else 1 - clip(p)) for p, y in zip(forecasts, outcomes, strict=True))
    return math.fsum(losses) / len(forecasts)


def brier_skill(forecasts: Sequence[float], reference: Sequence[float], outcomes: Sequence[bool]) -> float | None:
    """1 - Brier / Brier of the reference: above 0 beats it. None for a perfect reference."""
    against = brier(reference, outcomes)
    return None if against == 0 else 1 - brier(forecasts, outcomes) / against


def calibration(forecasts: Sequence[float], outcomes: Sequence[bool], *, bins: int = BINS) -> Calibration:
    """Reliability in equal bins, the expected calibration error over them, and the slope."""
    groups: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for p, y in zip(forecasts, outcomes, strict=True):
        groups[min(int(p * bins), bins - 1)].append((p, y))
    found = tuple(
        Bin(
            low=n / bins,
            high=(n + 1) / bins,
            count=len(group),
            said=math.fsum(p for p, _ in group) / len(group),
            happened=sum(y for _, y in group) / len(group),
        )
        for n, group in enumerate(groups)
        if group
    )
    error = math.fsum(b.count * abs(b.said - b.happened) for b in found) / len(forecasts)
    line = fit([(1.0, logit(p)) for p in forecasts], outcomes)
    return Calibration(
        bins=found,
        slope=None if line is None else line.coefficients[1],
        intercept=None if line is None else line.coefficients[0],
        error=error,
    )


def stacking(
    market: Sequence[float], model: Sequence[float], outcomes: Sequence[bool], clusters: Sequence[str]
) -> Fit | None:
    """logit(y) ~ a + b1 logit(market) + b2 logit(model), errors clustered: b2 is the weight the model deserves.

    None where the two cannot be told apart or the outcomes are separated.
    """
    rows = [(1.0, logit(m), logit(p)) for m, p in zip(market, model, strict=True)]
    return fit(rows, outcomes, clusters)
