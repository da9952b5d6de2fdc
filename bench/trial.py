"""`make meter-trial`: many seeds of two markets whose truth is known, each to the meter's verdict.

    efficient      makers as quick as measured and competitors: an edge here is a false promotion
    slow_makers    makers ten times later, nobody else: an edge here is right

The rules are those that trade; the volatility of these markets is drawn anew every five minutes, so its estimate is
off by 0.4 of itself and not by the 0.22 of real prices, and the rules are told so. Time is simulated and every draw
follows from the seed: neither the machine nor what else runs on it changes an outcome. `--json FILE` keeps outcomes as
they come, and lives only those that are not in it yet.
"""

import argparse
import json
import logging
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from bench.market import SimulatedMarket
from bench.screen import ScreenedEngine
from pmarb.domain.attribution import MARK_S
from pmarb.domain.bootstrap import clustered_mean
from pmarb.domain.meter import Reading, Standard, Verdict, cents, read
from pmarb.domain.proportion import clopper_pearson, wilson
from pmarb.domain.updown import Model
from services.replay.engine import Engine
from services.risk.decide import Limits as RiskLimits
from services.scanner.decide import Limits

SCENARIOS: Final = ("efficient", "slow_makers")
HOURS: Final = {"efficient": 5.0, "slow_makers": 4.0}
"""Sixty and 48 windows of each of two assets. Slow makers are met in nearly every one; the others, if at all, in one
of four, and the more of these there are, the more chances has the meter to be wrong."""
RARITY_SEEDS: Final = 3
ROUNDS: Final = 1000
BANKROLL: Final = Decimal(2000)
"""Enough that the day's stops rarely end a seed before its evidence is in; an order is still five dollars."""
RISK: Final = RiskLimits(losses_in_a_row=50, calibration_z=Decimal(-100))
"""For the same reason no rest after six losses, nor an end when the fair values prove wrong: either would save money
that is not there, and cost evidence."""
LIMITS: Final = Limits(order_usd=Decimal(5), model=Model(cv_sigma=0.4))
KEYS: Final = {Verdict.EDGE: "edge", Verdict.NO_EDGE: "no_edge", Verdict.NOT_ENOUGH: "not_enough"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One seed of one scenario."""

    scenario: str
    seed: int
    hours: float
    k_se: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it. `marks` are (window, mark after fees in dollars a share) of its fills; `but_few` says that an
    edge failed for want of windows alone; `seconds` are of CPU."""

    task: Task
    verdict: Verdict
    words: str
    orders: int
    fills: int
    but_few: bool
    marks: tuple[tuple[str, float], ...]
    seconds: float


def live(
    scenario: str, seed: int, hours: float, limits: Limits = LIMITS, kind: type[Engine] = ScreenedEngine
) -> Engine:
    """The engine after so many hours of the scenario."""
    engine = kind(name=f"{scenario}:{seed}", limits=limits, risk=RISK, bankroll=BANKROLL)
    SimulatedMarket(scenario=scenario, seed=seed, engine=engine).run(hours)
    return engine


def measure(engine: Engine, seed: int) -> Reading:
    return read(engine.report.evidence, random.Random(seed), Standard(rounds=ROUNDS))


def one(task: Task) -> Outcome:
    """A whole seed, in whatever process runs it."""
    logging.disable(logging.WARNING)
    started = time.process_time()
    engine = live(task.scenario, task.seed, task.hours, replace(LIMITS, k_se=task.k_se))
    reading = measure(engine, task.seed)
    return Outcome(
        task=task,
        verdict=reading.verdict,
        words=reading.words,
        orders=reading.trading.orders,
        fills=reading.trading.filled,
        but_few=[criterion.met for criterion in reading.criteria] == [False] + [True] * (len(reading.criteria) - 1),
        marks=tuple(
            (bet.window, float(bet.marks[MARK_S] - bet.filled.cost))
            for bet in engine.report.evidence.bets
            if bet.filled is not None and MARK_S in bet.marks
        ),
        seconds=time.process_time() - started,
    )


def rarity(seed: int, hours: float) -> tuple[int, int]:
    """Opportunities in the efficient market without and with the demand of two standard errors."""
    logging.disable(logging.WARNING)
    found = [live("efficient", seed, hours, replace(LIMITS, k_se=k)).report.opportunities for k in (0.0, 2.0)]
    return found[0], found[1]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    tasks = [
        Task(scenario=name, seed=seed, hours=options.hours or HOURS[name], k_se=options.k_se)
        for seed in range(options.first_seed, options.first_seed + options.seeds)
        for name in options.scenarios
    ]
    book = Notebook(options.json)
    found = [book.known[task] for task in tasks if task in book.known]
    with ProcessPoolExecutor(options.workers, initializer=_leave_signals) as pool:
        try:
            for outcome in _all(pool, [task for task in tasks if task not in book.known]):
                book.note(outcome)
                found.append(outcome)
            _say_rarity(pool, options.first_seed, options.rarity_hours)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            _say("stopped: the counts are of the seeds done so far")
    counts = {name: Counter(KEYS[each.verdict] for each in _of(found, name)) for name in SCENARIOS}
    for name in options.scenarios:
        _say_marks(name, _of(found, name))
    _say_promotions(counts["efficient"], sum(each.but_few for each in _of(found, "efficient")))
    print(json.dumps({name: {key: counts[name][key] for key in KEYS.values()} for name in SCENARIOS}))
    return 0


class Notebook:
    """Outcomes by their task, kept in a file of JSON lines if there is one."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.known: dict[Task, Outcome] = {}
        if path is not None and path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                outcome = _read(json.loads(line))
                self.known[outcome.task] = outcome

    def note(self, outcome: Outcome) -> None:
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(outcome)) + "\n")


def _read(line: dict[str, Any]) -> Outcome:
    marks = tuple((window, mark) for window, mark in line.pop("marks"))
    return Outcome(**line | {"task": Task(**line["task"]), "verdict": Verdict(line["verdict"]), "marks": marks})


def _of(outcomes: Sequence[Outcome], scenario: str) -> list[Outcome]:
    return [outcome for outcome in outcomes if outcome.task.scenario == scenario]


def _all(pool: ProcessPoolExecutor, tasks: Sequence[Task]) -> Iterator[Outcome]:
    """Outcomes as they are done, with progress and the time that is left."""
    futures = [pool.submit(one, task) for task in tasks]
    started = time.perf_counter()
    for done, future in enumerate(as_completed(futures), start=1):
        outcome = future.result()
        left = (time.perf_counter() - started) / done * (len(futures) - done)
        filled = f"{outcome.fills} of {outcome.orders} filled, {outcome.seconds:.0f} s of CPU"
        _say(
            f"{done}/{len(futures)} {outcome.task.scenario} seed {outcome.task.seed}: {outcome.words[:110]} ({filled})"
        )
        if left >= 60:
            _say(f"  about {left / 60:.0f} min left")
        yield outcome


def _say_rarity(pool: ProcessPoolExecutor, first_seed: int, hours: float) -> None:
    """Of several seeds: a wrong idea of the oracle's basis may last a window, and be found again every second of it."""
    if hours > 0:
        seeds = range(first_seed, first_seed + RARITY_SEEDS)
        found = [future.result() for future in [pool.submit(rarity, seed, hours) for seed in seeds]]
        loose, strict = sum(one for one, _ in found), sum(other for _, other in found)
        times = f"{loose / strict:.1f} times rarer" if strict else "gone"
        each = f"{RARITY_SEEDS} seeds of {hours:g} h"
        _say(f"efficient, {each}: {loose} opportunities with k_se 0, {strict} with k_se 2: {times}")


def _say_marks(scenario: str, found: Sequence[Outcome]) -> None:
    """What a share really earned there, all seeds together."""
    marks = [((each.task.seed, window), mark) for each in found for window, mark in each.marks]
    mean = clustered_mean(marks, random.Random(0), rounds=ROUNDS)
    fills, orders = sum(each.fills for each in found), sum(each.orders for each in found)
    _say(f"{scenario}: {fills} of {orders} orders filled, marks after fees {cents(mean)} a share, all seeds together")


def _say_promotions(found: Counter[str], but_few: int) -> None:
    trials, false = sum(found.values()), found["edge"]
    if trials:
        low, high = wilson(false, trials)
        exact_low, exact_high = clopper_pearson(false, trials)
        _say(
            f"false promotions: {false} of {trials} = {false / trials:.1%} "
            f"(95% Wilson {low:.1%} to {high:.1%}, Clopper-Pearson {exact_low:.1%} to {exact_high:.1%}); "
            f"{but_few} more without the least number of windows"
        )


def _leave_signals() -> None:
    """Ctrl-C is for the parent, which then ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="meter-trial", description="The meter on markets whose truth is known.")
    parser.add_argument("--seeds", type=int, default=4, help="how many")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, default=SCENARIOS, help="(default: both)")
    parser.add_argument("--hours", type=float, help="of market time a seed (default: 5 and 4)")
    parser.add_argument("--k-se", type=float, default=LIMITS.k_se, help="standard errors an edge must have")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep outcomes here, and go on from those in it")
    parser.add_argument("--rarity-hours", type=float, default=2.0, help="for k_se 0 against 2; 0 leaves it out")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
