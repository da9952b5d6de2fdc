"""Confidence intervals of a mean whose observations come in clusters: resample the clusters, never the trades."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol


class Draws(Protocol):
    """The part of `random.Random` that is used; whoever asks brings it, with its seed."""

    def choices(self, population: Sequence[int], *, k: int) -> list[int]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean with its confidence interval; `clusters` is what it rests on, `count` the observations in them."""

    mean: float
    low: float
    high: float
    sd: float
    count: int
    clusters: int


def clustered_mean(
    values: Iterable[tuple[Hashable, float]], draws: Draws, *, rounds: int = 10_000, level: float = 0.95
) -> Interval | None:
    """The percentile interval of the mean of (cluster, value); None for fewer than two clusters."""
    sums: dict[Hashable, float] = defaultdict(float)
    counts: dict[Hashable, int] = defaultdict(int)
    everything = []
    for key, value in values:
        sums[key] += value
        counts[key] += 1
        everything.append(value)
    if len(sums) < 2:
        return None
    totals, sizes = list(sums.values()), list(counts.values())
    population = range(len(totals))
    means = []
    for _ in range(rounds):
        picked = draws.choices(population, k=len(totals))
        means.append(sum(map(totals.__getitem__, picked)) / sum(map(sizes.__getitem__, picked)))
    means.sort()
    tail = (1 - level) / 2
    mean = sum(everything) / len(everything)
    return Interval(
        mean=mean,
        low=means[int(tail * (rounds - 1))],
        high=means[-1 - int(tail * (rounds - 1))],
        sd=(sum((value - mean) ** 2 for value in everything) / max(1, len(everything) - 1)) ** 0.5,
        count=len(everything),
        clusters=len(totals),
    )
