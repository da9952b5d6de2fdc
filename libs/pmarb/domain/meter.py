"""Is the edge real yet? One reading of all evidence, and a verdict in words.

    edge                  marks after fees are above 0 beyond doubt, whenever one looks, and nothing contradicts them
    no edge               results or marks say so, or an edge of `delta` would have shown by now
    not enough evidence   neither, and about how many more trades it takes

The verdict rests on marks (the market's middle five seconds after the match, less price and fee), because outcomes
need thousands of trades for what marks show in dozens (quant.md 23); outcomes, the forecasts' scores and the controls
can only take an edge away. Without any marks the outcomes must carry it alone.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pmarb.domain import forecasts, trading
from pmarb.domain.attribution import MARK_S
from pmarb.domain.bootstrap import Draws, Interval
from pmarb.domain.evidence import Bet, Evidence
from pmarb.domain.forecasts import Forecasts
from pmarb.domain.sequential import Decision, Sprt, e_value, mixture_e_value, sample_size, sprt
from pmarb.domain.trading import Trading
from pmarb.domain.values import NANOS

FEWEST: Final = 39
"""Trades that show 2 cents when marks scatter by 5 (quant.md 6.4): below that no mean says anything either way."""
OUTCOME_SD: Final = 0.5
TOGETHER: Final = 30 * NANOS
"""Marks of trades of the same half minute are decided together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standard:
    """What counts as proof (defaults.json, `evaluation`)."""

    rounds: int = 10_000
    alpha: float = 0.05
    beta: float = 0.2
    delta: float = 0.02
    fraction: float = 0.05
    gate: float = 20.0


DEFAULT_STANDARD: Final = Standard()


class Verdict(StrEnum):
    EDGE = "edge"
    NO_EDGE = "no edge"
    NOT_ENOUGH = "not enough evidence"


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One thing an edge must satisfy: what was found and whether it does."""

    name: str
    met: bool
    found: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """`more` is about how many trades are missing, 0 unless there is not enough evidence; `why` is one clause."""

    verdict: Verdict
    why: str
    more: int
    criteria: tuple[Criterion, ...]
    forecasts: Forecasts | None
    trading: Trading
    sprt: Sprt
    e_outcomes: float
    e_marks: float
    unsettled: int

    @property
    def words(self) -> str:
        """The verdict as a person reads it."""
        if self.verdict is Verdict.NOT_ENOUGH:
            return f"{self.verdict} (about {self.more:,} more trades needed): {self.why}"
        return f"{self.verdict}: {self.why}"


def read(evidence: Evidence, draws: Draws, standard: Standard = DEFAULT_STANDARD) -> Reading:
    """The reading. `draws` makes the bootstrap repeatable: the same seed, the same intervals."""
    found = trading.measure(evidence.bets, evidence.samples, draws, rounds=standard.rounds)
    scores = forecasts.score(evidence.samples, draws, rounds=standard.rounds)
    filled = [bet for bet in evidence.bets if bet.filled is not None]
    test = sprt(_costs(filled), alpha=standard.alpha, beta=standard.beta, delta=standard.delta)
    wealth = e_value(_outcome_blocks(filled), fraction=standard.fraction)
    marked = mixture_e_value(_mark_blocks(filled))
    gap = forecasts.gap_at_decisions(evidence.bets, draws, rounds=standard.rounds)
    if gap is None and scores is not None:
        gap = scores.gap
    criteria = _criteria(found, gap, test, wealth, marked, standard)
    verdict, why = _verdict(found, test, criteria, standard)
    return Reading(
        verdict=verdict,
        why=why,
        more=_more(found, standard) if verdict is Verdict.NOT_ENOUGH else 0,
        criteria=criteria,
        forecasts=scores,
        trading=found,
        sprt=test,
        e_outcomes=wealth,
        e_marks=marked,
        unsettled=evidence.unsettled,
    )


def _costs(filled: Sequence[Bet]) -> list[tuple[float, bool]]:
    return [(float(bet.filled.cost), bet.won) for bet in filled if bet.filled is not None]


def _outcome_blocks(filled: Sequence[Bet]) -> list[list[tuple[float, float]]]:
    blocks: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for bet in filled:
        if bet.filled is not None:
            blocks[bet.block].append((float(bet.filled.cost), float(bet.won)))
    return [blocks[key] for key in sorted(blocks)]


def _mark_blocks(filled: Sequence[Bet]) -> list[list[tuple[float, float]]]:
    blocks: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for bet in filled:
        if bet.filled is not None and MARK_S in bet.marks:
            blocks[bet.decided_at // TOGETHER].append((float(bet.filled.cost), float(bet.marks[MARK_S])))
    return [blocks[key] for key in sorted(blocks)]


def _criteria(
    found: Trading, gap: Interval | None, test: Sprt, wealth: float, marked: float, standard: Standard
) -> tuple[Criterion, ...]:
    mark = found.marks.get(MARK_S)
    proof = marked if mark is not None else wealth
    mean = mark if mark is not None else found.result
    return (
        Criterion(
            name=f"fills in at least {FEWEST} windows",
            met=mean is not None and mean.clusters >= FEWEST,
            found="0" if mean is None else str(mean.clusters),
        ),
        Criterion(
            name=f"e-value of {'marks' if mark is not None else 'outcomes'} at least {standard.gate:g}",
            met=proof >= standard.gate,
            found=f"{proof:.3g}",
        ),
        Criterion(
            name="mean after fees above 0 with its interval",
            met=mean is not None and mean.low > 0,
            found=cents(mean),
        ),
        Criterion(
            name="still above 0 on a slow order path",
            met=found.pessimistic.fills == 0 or (found.late is not None and found.late.low > 0),
            found=cents(found.late),
        ),
        Criterion(
            name="outcomes do not say otherwise",
            met=test.decision is not Decision.NO_EDGE and (found.result is None or found.result.high > 0),
            found=f"SPRT {test.decision.value} after {test.trades}, result {cents(found.result)}",
        ),
        Criterion(
            name="market not certainly wiser where it was bet",
            met=gap is None or gap.high >= 0,
            found="not measured" if gap is None else f"Brier gap {gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]",
        ),
        Criterion(
            name="controls earn nothing",
            met=not (_positive(found.opposite) or _positive(found.random)),
            found=f"opposite {cents(found.opposite)}, random {cents(found.random)}",
        ),
    )


def _verdict(found: Trading, test: Sprt, criteria: Sequence[Criterion], standard: Standard) -> tuple[Verdict, str]:
    mean = found.marks.get(MARK_S) or found.result
    if all(criterion.met for criterion in criteria):
        return Verdict.EDGE, f"{cents(mean)} a share after fees over {found.filled} fills"
    if test.decision is Decision.NO_EDGE:
        return (
            Verdict.NO_EDGE,
            f"the outcomes of {test.trades} fills fit no edge better than one of {standard.delta * 100:g}c",
        )
    if mean is not None and mean.clusters >= FEWEST and mean.high < 0:
        return Verdict.NO_EDGE, f"{cents(mean)} a share after fees: it loses"
    if mean is not None and mean.clusters >= FEWEST and mean.high < standard.delta:
        return Verdict.NO_EDGE, f"{cents(mean)} a share after fees: less than {standard.delta * 100:g}c at best"
    missing = [criterion for criterion in criteria if not criterion.met]
    return Verdict.NOT_ENOUGH, "; ".join(f"{c.name}: {c.found}" for c in missing)


def _more(found: Trading, standard: Standard) -> int:
    """Until a mean of `delta` would show; if it should have shown already, until half of it would, and so on."""
    mean = found.marks.get(MARK_S) or found.result
    if mean is None:
        return max(1, FEWEST - found.filled)
    sd = max(mean.sd, 0.01) if found.marks else OUTCOME_SD
    delta = standard.delta
    while (needed := max(FEWEST, sample_size(sd=sd, delta=delta))) <= mean.count:
        delta /= 2
    return needed - mean.count


def _positive(found: Interval | None) -> bool:
    return found is not None and found.low > 0


def cents(found: Interval | None) -> str:
    """A mean in cents with its interval, for people."""
    if found is None:
        return "not measured"
    return f"{found.mean * 100:+.2f}c [{found.low * 100:+.2f}, {found.high * 100:+.2f}]"
