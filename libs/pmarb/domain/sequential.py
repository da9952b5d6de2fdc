"""Tests that may be looked at after every trade: Wald's SPRT on outcomes, and a bettor's wealth (quant.md 6.4)."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist
from typing import Final

BETTORS: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
"""Fractions of those who bet on middles: what is certain within cents can bear larger ones than what pays 0 or 1."""


class Decision(StrEnum):
    NO_EDGE = "no_edge"
    EDGE = "edge"
    OPEN = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sprt:
    """`ratio` is the log likelihood ratio when the test ended, or now; `trades` how many it took, or has seen."""

    decision: Decision
    ratio: float
    upper: float
    lower: float
    trades: int


def sprt(trades: Iterable[tuple[float, bool]], *, alpha: float = 0.05, beta: float = 0.2, delta: float = 0.02) -> Sprt:
    """Is the chance of winning the all-in cost `c` (no edge), or `delta` more? `trades` are (c, won) in order.

    LLR += ln((c + d) / c) on a win, ln((1 - c - d) / (1 - c)) on a loss; it ends at ln((1 - beta) / alpha) with an
    edge, at ln(beta / (1 - alpha)) without. What comes after the end is not looked at.
    """
    upper, lower = math.log((1 - beta) / alpha), math.log(beta / (1 - alpha))
    ratio, count = 0.0, 0
    for cost, won in trades:
        if not 0 < cost < 1 - delta:
            continue  # A cost at which the alternative is no probability says nothing
        count += 1
        ratio += math.log((cost + delta) / cost) if won else math.log((1 - cost - delta) / (1 - cost))
        if ratio >= upper or ratio <= lower:
            break
    decision = Decision.EDGE if ratio >= upper else Decision.NO_EDGE if ratio <= lower else Decision.OPEN
    return Sprt(decision=decision, ratio=ratio, upper=upper, lower=lower, trades=count)


def e_value(blocks: Iterable[Sequence[tuple[float, float]]], *, fraction: float = 0.05) -> float:
    """The wealth of someone who stakes `fraction` of it on every trade at its all-in cost, starting from 1.

    Each block is the (cost, value) of trades that are decided together; alone, a trade multiplies the wealth by
    1 + fraction * (value / cost - 1). Trades of one block are added, not multiplied: without an edge the wealth is
    then a supermartingale however they depend on each other, and exceeds 20 with a chance of at most 1 in 20, ever.
    """
    wealth = 1.0
    for block in blocks:
        stake = min(fraction, 1 / max(1, len(block)))  # Nobody can lose more than there is
        wealth *= 1 + stake * sum(value / cost - 1 for cost, value in block)
    return wealth


def mixture_e_value(blocks: Sequence[Sequence[tuple[float, float]]], fractions: Sequence[float] = BETTORS) -> float:
    """The mean wealth of several bettors, itself such a wealth: nobody knows beforehand how bold to be."""
    return math.fsum(e_value(blocks, fraction=fraction) for fraction in fractions) / len(fractions)


def sample_size(*, sd: float, delta: float, alpha: float = 0.05, power: float = 0.8) -> int:
    """Trades after which a one-sided test sees `delta` with `power`; outcomes near even odds have an `sd` of 0.5."""
    quantile = NormalDist().inv_cdf
    return max(1, round(((quantile(1 - alpha) + quantile(power)) * sd / delta) ** 2))
