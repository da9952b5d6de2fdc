"""The gate before real money: what must be true before it opens, and what closes it again (quant.md 6.4).

It rests on the ledger's own paper orders, not on anybody's word. Outcomes alone must already carry it: the wealth of a
bettor at the prices paid reaches 20 without an edge in at most 1 of 20 cases, however often one looks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pmarb.domain.attribution import MARK_S
from pmarb.domain.bootstrap import Draws, Interval, clustered_mean
from pmarb.domain.evidence import Bet, Evidence
from pmarb.domain.messages import Alert, AlertKind, Priority
from pmarb.domain.meter import Criterion, Reading, cents
from pmarb.domain.sequential import e_value
from pmarb.domain.values import NANOS

PAPER: Final = ("polymarket", "paper")
LIVE: Final = ("polymarket", "live")
UNKNOWN: Final = ("unknown", "unknown")
DRILL_DAYS: Final = 7
PHRASE: Final = "I may trade on Polymarket where I live, and I can lose all of it"
"""What a person types to open the gate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """How high the gate hangs (defaults.json, `evaluation.live_gate`) and when it falls shut."""

    fills: int = 300
    days: int = 10
    e_value: float = 20.0
    fraction: float = 0.05
    p_value: float = 0.05
    latency_ms: float = 300.0
    shut_e_value: float = 0.05
    shut_fills: int = 30


DEFAULT_BAR: Final = Bar()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """Where the ledger traded from `since_real` on (this machine's clock, nanoseconds)."""

    venue: str
    execution: str
    since_real: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What is not statistics. Times on this machine's clock; 0 for never; `latency_ms` is the 90th percentile."""

    modes: tuple[Mode, ...]
    latency_ms: float | None
    drilled_at: int
    complaints: tuple[str, ...]


def of_paper(evidence: Evidence, modes: Sequence[Mode], *, since: int = 0) -> Evidence:
    """The bets that the ledger made on paper at the venue, from `since` on. There venue time is real time."""
    return Evidence(
        samples=tuple(sample for sample in evidence.samples if sample.at >= since),
        bets=tuple(bet for bet in evidence.bets if bet.decided_at >= since and mode_at(modes, bet.decided_at) == PAPER),
        unsettled=evidence.unsettled,
    )


def mode_at(modes: Sequence[Mode], at: int) -> tuple[str, str]:
    """(venue, execution) in force at that time; unknown before the first."""
    found = UNKNOWN
    for mode in modes:
        if mode.since_real <= at:
            found = (mode.venue, mode.execution)
    return found


def recorded(evidence: Evidence, modes: Sequence[Mode], bar: Bar = DEFAULT_BAR) -> tuple[Criterion, ...]:
    """What the ledger alone can answer: asked again whenever trading starts, so that nobody's row opens the gate."""
    filled = [bet for bet in evidence.bets if bet.filled is not None]
    days, wealth = len({bet.day for bet in filled}), outcome_wealth(filled, bar)
    foreign = sorted({mode.venue for mode in modes} - {"polymarket"})
    return (
        _met("a ledger that never traded elsewhere", not foreign, ", ".join(foreign) or "polymarket only"),
        _met(f"{bar.fills} paper fills", len(filled) >= bar.fills, f"{len(filled)}"),
        _met(f"on {bar.days} days", days >= bar.days, f"{days}"),
        _met(f"e-value of the outcomes at least {bar.e_value:g}", wealth >= bar.e_value, f"{wealth:.3g}"),
    )


def measured(reading: Reading, bar: Bar = DEFAULT_BAR) -> tuple[Criterion, ...]:
    """What takes marks, samples and controls. What was not measured is not met."""
    mark, scores = reading.trading.marks.get(MARK_S), reading.forecasts
    market = scores.brier_market if scores is not None else None
    model = scores.brier_model if scores is not None else None
    better = model is not None and market is not None and model <= market
    said = f"{model:.4f} and {market:.4f}" if model is not None and market is not None else "not measured"
    weight = scores.stacking if scores is not None else None
    deserved = weight is not None and weight.coefficients[-1] > 0 and weight.p_values[-1] < bar.p_value
    p_value = (
        "not measured" if weight is None else f"weight {weight.coefficients[-1]:+.2f}, p {weight.p_values[-1]:.3g}"
    )
    return (
        _met("marks after 5 s and fees above 0", mark is not None and mark.low > 0, cents(mark)),
        _met("the model's Brier score is not worse than the market's", better, said),
        _met("the model deserves weight beside the market", deserved, p_value),
        _loses("the opposite side", reading.trading.opposite),
        _loses("random times", reading.trading.random),
    )


def circumstantial(found: Circumstances, *, now: int, bar: Bar = DEFAULT_BAR) -> tuple[Criterion, ...]:
    """The machine, the doctor and the drill."""
    speed = found.latency_ms
    age = (now - found.drilled_at) / NANOS / 86_400
    drilled = found.drilled_at > 0 and 0 <= age <= DRILL_DAYS
    said = "not measured" if speed is None else f"{speed:.0f} ms"
    return (
        _met(f"tick to wire within {bar.latency_ms:g} ms, p90", speed is not None and speed < bar.latency_ms, said),
        _met("the doctor finds nothing", not found.complaints, ", ".join(found.complaints) or "nothing"),
        _met(
            f"a kill drilled within {DRILL_DAYS} days, verified empty",
            drilled,
            f"{age:.1f} days ago" if found.drilled_at else "never",
        ),
    )


def shut_by(bets: Sequence[Bet], draws: Draws, *, rounds: int = 1000, bar: Bar = DEFAULT_BAR) -> str:
    """Why real results since the gate opened close it again; empty if they do not."""
    filled = [bet for bet in bets if bet.filled is not None]
    wealth = outcome_wealth(filled, bar)
    if wealth < bar.shut_e_value:
        return f"the e-value of {len(filled)} real fills fell to {wealth:.3g}, below {bar.shut_e_value:g}"
    marked = [(bet.window, float(bet.marks[MARK_S] - bet.filled.cost)) for bet in filled
              if bet.filled is not None and MARK_S in bet.marks]  # fmt: skip
    if len(marked) >= bar.shut_fills:
        found = clustered_mean(marked, draws, rounds=rounds)
        if found is not None and found.high < 0:
            return f"marks after 5 s and fees of {found.count} real fills are {cents(found)}: it loses"
    results = [(bet.window, float(bet.payout - bet.filled.cost)) for bet in filled if bet.filled is not None]
    if len(results) >= bar.shut_fills:
        found = clustered_mean(results, draws, rounds=rounds)
        if found is not None and found.high < 0:
            return f"the results of {found.count} real fills are {cents(found)} a share: it loses"
    return ""


def outcome_wealth(filled: Sequence[Bet], bar: Bar = DEFAULT_BAR) -> float:
    """The wealth of who stakes a fraction on every fill at its all-in cost; fills that end together count together."""
    blocks: dict[int, list[tuple[float, float]]] = {}
    for bet in filled:
        if bet.filled is not None:
            blocks.setdefault(bet.block, []).append((float(bet.filled.cost), float(bet.won)))
    return e_value((blocks[key] for key in sorted(blocks)), fraction=bar.fraction)


def demoted(why: str, *, now: int) -> Alert:
    """What a person hears when real results closed it."""
    return Alert(
        kind=AlertKind.GATE_CLOSED,
        priority=Priority.CRITICAL,
        dedupe_key=f"gate:{why}",
        title="Demoted to paper: real money is locked again",
        body=f"{why}. What is open is still settled. Then go on with EXECUTION=paper; `pm-arb gate show` says what it "
        "takes to open it again.",
        ts_event=now,
        ts_init=now,
    )


def missing(criteria: Sequence[Criterion]) -> str:
    """What is not met, in words; empty if all is."""
    return "; ".join(_words(criteria))


def _words(criteria: Sequence[Criterion]) -> Iterator[str]:
    for criterion in criteria:
        if not criterion.met:
            yield f"{criterion.name}: {criterion.found}"


def _met(name: str, met: bool, found: str) -> Criterion:
    return Criterion(name=name, met=met, found=found)


def _loses(what: str, found: Interval | None) -> Criterion:
    return _met(f"the control loses: {what}", found is not None and found.mean < 0, cents(found))
