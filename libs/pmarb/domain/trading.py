"""What the orders earned: results and marks after fees, filled or not, by fill, by bucket, against controls.

Every figure is dollars a share unless it says otherwise, after the fee, as a mean with an interval clustered by window.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from statistics import NormalDist
from typing import Final, Literal

from pmarb.domain.attribution import MARK_S, Attribution, added, attribute
from pmarb.domain.bootstrap import Draws, Interval, clustered_mean
from pmarb.domain.evidence import MARK_SECONDS, Bet, Paid, Sample
from pmarb.domain.proportion import benjamini_hochberg
from pmarb.domain.values import NANOS, ZERO

FALSE_DISCOVERIES: Final = 0.05
DAYS_FOR_CLUSTERS: Final = 10
"""With so many days their own clusters are worth a second interval; with fewer it would be an accident."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """One way to fill the same orders: how many, how much, and what came of it in dollars."""

    fills: int
    shares: Decimal
    pnl: Decimal
    per_share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Marks of a part of the fills. `counts` says whether it is still there when all buckets are looked at together."""

    name: str
    fills: int
    mark: float
    p_value: float
    counts: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Trading:
    """`marks` by seconds after the match; `ratio` is what of the expected edge came true, by marks and by results."""

    orders: int
    filled: int
    windows: int
    days: int
    result: Interval | None
    result_by_day: Interval | None
    marks: Mapping[int, Interval]
    expected: float | None
    ratio_marks: float | None
    ratio_result: float | None
    won_filled: float | None
    won_unfilled: float | None
    missed: Interval | None
    slippage: float | None
    pnl: Decimal
    fees: Decimal
    attribution: Attribution
    attributed: int
    optimistic: Mode
    delayed: Mode
    pessimistic: Mode
    late: Interval | None
    opposite: Interval | None
    random: Interval | None
    buckets: tuple[Bucket, ...]


def measure(bets: Sequence[Bet], samples: Sequence[Sample], draws: Draws, *, rounds: int) -> Trading:
    """Everything about the orders. Intervals need at least two windows."""
    filled = [(bet, bet.filled) for bet in bets if bet.filled is not None]

    def interval(values: Iterable[tuple[str, float]]) -> Interval | None:
        return clustered_mean(values, draws, rounds=rounds)

    result = interval((bet.window, float(bet.payout - paid.cost)) for bet, paid in filled)
    marks = {s: found for s in MARK_SECONDS if (found := interval(_marked(filled, s))) is not None}
    parts = [part for bet, _ in filled if (part := attribute(bet)) is not None]
    expected = _mean(float(bet.expected) for bet, _ in filled)
    return Trading(
        orders=len(bets),
        filled=len(filled),
        windows=len({bet.window for bet, _ in filled}),
        days=len({bet.day for bet, _ in filled}),
        result=result,
        result_by_day=_by_day(filled, draws, rounds),
        marks=marks,
        expected=expected,
        ratio_marks=_ratio(marks.get(MARK_S), expected),
        ratio_result=_ratio(result, expected),
        won_filled=_mean(float(bet.won) for bet, _ in filled),
        won_unfilled=_mean(float(bet.won) for bet in bets if bet.filled is None),
        missed=interval((bet.window, float(bet.payout - bet.ask)) for bet in bets if bet.filled is None),
        slippage=_mean(float(paid.price - bet.ask) for bet, paid in filled),
        pnl=sum((_pnl(bet, paid) for bet, paid in filled), ZERO),
        fees=sum((paid.fee for _, paid in filled), ZERO),
        attribution=added(parts),
        attributed=len(parts),
        optimistic=filled_as(bets, "optimistic"),
        delayed=filled_as(bets, "filled"),
        pessimistic=filled_as(bets, "pessimistic"),
        late=interval(_late(bets)),
        opposite=interval(_opposites(filled)),
        random=interval(_at_random(filled, samples, draws)),
        buckets=_buckets(filled),
    )


def _marked(filled: Iterable[tuple[Bet, Paid]], seconds: int) -> Iterable[tuple[str, float]]:
    """Middle so many seconds after the match, less what was paid."""
    return ((b.window, float(b.marks[seconds] - paid.cost)) for b, paid in filled if seconds in b.marks)


def _by_day(filled: Sequence[tuple[Bet, Paid]], draws: Draws, rounds: int) -> Interval | None:
    if len({bet.day for bet, _ in filled}) < DAYS_FOR_CLUSTERS:
        return None
    return clustered_mean(((b.day, float(b.payout - paid.cost)) for b, paid in filled), draws, rounds=rounds)


def _pnl(bet: Bet, paid: Paid) -> Decimal:
    return paid.shares * (bet.payout - paid.price) - paid.fee


FillName = Literal["optimistic", "filled", "pessimistic"]


def filled_as(bets: Iterable[Bet], name: FillName) -> Mode:
    """The orders as one of the three fills has them."""
    found = [(bet, paid) for bet in bets if (paid := _fill(bet, name)) is not None]
    shares = sum((paid.shares for _, paid in found), ZERO)
    pnl = sum((_pnl(bet, paid) for bet, paid in found), ZERO)
    return Mode(fills=len(found), shares=shares, pnl=pnl, per_share=float(pnl / shares) if shares else None)


def _fill(bet: Bet, name: FillName) -> Paid | None:
    match name:
        case "optimistic":
            return bet.optimistic
        case "filled":
            return bet.filled
        case "pessimistic":
            return bet.pessimistic


def _late(bets: Iterable[Bet]) -> Iterable[tuple[str, float]]:
    """The marks of the pessimist's fills: what is left of the edge on a slow path."""
    for bet in bets:
        if bet.pessimistic is not None and MARK_S in bet.marks:
            yield bet.window, float(bet.marks[MARK_S] - bet.pessimistic.cost)


def _opposites(filled: Iterable[tuple[Bet, Paid]]) -> Iterable[tuple[str, float]]:
    """The control that must lose: the other outcome at the same moment, by the same mark."""
    for bet, _ in filled:
        if bet.opposite is not None and MARK_S in bet.marks:
            yield bet.window, float(1 - bet.marks[MARK_S] - bet.opposite.cost)


def _at_random(
    filled: Iterable[tuple[Bet, Paid]], samples: Iterable[Sample], draws: Draws
) -> Iterable[tuple[str, float]]:
    """The other one: the same windows at a moment and on a side drawn by lot."""
    by_window: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.asks is not None:
            by_window[sample.window].append(sample)
    for bet, _ in filled:
        there = by_window.get(bet.window)
        if there:
            number = draws.choices(range(2 * len(there)), k=1)[0]
            sample, side = there[number // 2], number % 2
            assert sample.asks is not None
            ask = sample.asks[side]
            won = sample.happened == (side == 0)
            yield bet.window, won - ask - float(sample.fee_rate) * ask * (1 - ask)


def _buckets(filled: Iterable[tuple[Bet, Paid]]) -> tuple[Bucket, ...]:
    """Marks by perceived edge, time left, side and asset, with a one-sided p-value each, clustered by window."""
    groups: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for bet, paid in filled:
        if MARK_S in bet.marks:
            value = (bet.window, float(bet.marks[MARK_S] - paid.cost))
            for name in _labels(bet):
                groups[name].append(value)
    tested = [(name, values, _p_value(values)) for name, values in sorted(groups.items())]
    counts = benjamini_hochberg([p for _, _, p in tested], rate=FALSE_DISCOVERIES) if tested else ()
    return tuple(
        Bucket(name=name, fills=len(values), mark=sum(v for _, v in values) / len(values), p_value=p, counts=yes)
        for (name, values, p), yes in zip(tested, counts, strict=True)
    )


def _labels(bet: Bet) -> tuple[str, ...]:
    cents, left = bet.expected * 100, (bet.closes_at - bet.decided_at) // NANOS
    return (
        "edge " + ("below 5c" if cents < 5 else "5 to 10c" if cents < 10 else "from 10c"),
        "left " + ("below 2 min" if left < 120 else "2 to 4 min" if left < 240 else "from 4 min"),
        f"side {bet.outcome}",
        f"asset {bet.underlying}",
        f"family {bet.family}",
    )


def _p_value(values: Sequence[tuple[str, float]]) -> float:
    """That the mean is not above 0; 1 where one or two windows can prove nothing."""
    sums: dict[str, float] = defaultdict(float)
    mean = sum(value for _, value in values) / len(values)
    for window, value in values:
        sums[window] += value - mean
    if len(sums) < 3:
        return 1.0
    error = (sum(total**2 for total in sums.values()) * len(sums) / (len(sums) - 1)) ** 0.5 / len(values)
    return NormalDist().cdf(-mean / error) if error > 0 else 1.0


def _ratio(found: Interval | None, expected: float | None) -> float | None:
    return None if found is None or not expected else found.mean / expected


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return sum(found) / len(found) if found else None
