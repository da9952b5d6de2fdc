"""How things are timed here: in one run, beside a baseline, as medians; the ratio is the result, not the time."""

import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One row: `unit` of `median` and `p99` of ours, and the median of the baseline it is compared with."""

    name: str
    unit: str
    median: float
    p99: float
    baseline_name: str
    baseline: float

    @property
    def ratio(self) -> float:
        return self.median / self.baseline if self.baseline else float("nan")


def compared(name: str, ours: list[float], baseline_name: str, theirs: list[float], *, unit: str = "us") -> Measured:
    """A row from two lists of times in seconds."""
    scale = 1e6 if unit == "us" else 1e3
    ordered = sorted(ours)
    return Measured(
        name=name,
        unit=unit,
        median=statistics.median(ours) * scale,
        p99=ordered[int(len(ordered) * 0.99)] * scale,
        baseline_name=baseline_name,
        baseline=statistics.median(theirs) * scale,
    )


def timed(action: Callable[[], object], *, rounds: int, warmup: int = 20) -> list[float]:
    """Seconds of each call."""
    for _ in range(warmup):
        action()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return times


async def timed_async(action: Callable[[], Awaitable[object]], *, rounds: int, warmup: int = 20) -> list[float]:
    """Seconds of each awaited call."""
    for _ in range(warmup):
        await action()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        await action()
        times.append(time.perf_counter() - start)
    return times
