"""`make meter-trial`: many seeds of two markets whose truth is known, each to the meter's verdict.

    efficient      makers as quick as measured and competitors: an edge here is a false promotion
    slow_makers    makers ten times later, nobody else: an edge here is right

The rules are those that trade; the volatility of these markets is drawn anew every five minutes, so its estimate is
off by 0.4 of itself and not by the 0.22 of real prices, and the rules are told so.
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
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from bench.market import SimulatedMarket
from pmarb.domain.meter import Reading, Standard, Verdict, read
from pmarb.domain.proportion import clopper_pearson, wilson
from pmarb.domain.updown import Model
from services.replay.engine import Engine
from services.risk.decide import Limits as RiskLimits
from services.scanner.decide import Limits

SCENARIOS: Final = ("efficient", "slow_makers")
HOURS: Final = 5.0
ROUNDS: Final = 1000
BANKROLL: Final = Decimal(2000)
"""Enough that the day's stops rarely end a seed before its evidence is in; an order is still five dollars."""
RISK: Final = RiskLimits(losses_in_a_row=50, calibration_z=Decimal(-100))
"""For the same reason no rest after six losses, nor an end when the fair values prove wrong: either would save money
that is not there, and cost evidence."""
LIMITS: Final = Limits(order_usd=Decimal(5), model=Model(cv_sigma=0.4))
KEYS: Final = {Verdict.EDGE: "edge", Verdict.NO_EDGE: "no_edge", Verdict.NOT_ENOUGH: "not_enough"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One seed of one scenario."""

    scenario: str
    seed: int
    verdict: Verdict
    words: str
    orders: int
    fills: int
    seconds: float


def live(scenario: str, seed: int, hours: float, limits: Limits = LIMITS) -> Engine:
    """The engine after so many hours of the scenario."""
    engine = Engine(name=f"{scenario}:{seed}", limits=limits, risk=RISK, bankroll=BANKROLL)
    SimulatedMarket(scenario=scenario, seed=seed, engine=engine).run(hours)
    return engine


def measure(engine: Engine, seed: int) -> Reading:
    return read(engine.report.evidence, random.Random(seed), Standard(rounds=ROUNDS))


def one(scenario: str, seed: int, hours: float) -> Outcome:
    """A whole seed, in whatever process runs it."""
    logging.disable(logging.WARNING)
    started = time.process_time()
    engine = live(scenario, seed, hours)
    reading = measure(engine, seed)
    return Outcome(
        scenario=scenario,
        seed=seed,
        verdict=reading.verdict,
        words=reading.words,
        orders=reading.trading.orders,
        fills=reading.trading.filled,
        seconds=time.process_time() - started,
    )


def rarity(seed: int, hours: float) -> tuple[int, int]:
    """Opportunities in the efficient market without and with the demand of two standard errors."""
    logging.disable(logging.WARNING)
    found = [live("efficient", seed, hours, replace(LIMITS, k_se=k)).report.opportunities for k in (0.0, 2.0)]
    return found[0], found[1]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    counts: dict[str, Counter[str]] = {scenario: Counter() for scenario in SCENARIOS}
    with ProcessPoolExecutor(options.workers, initializer=_leave_signals) as pool:
        try:
            for outcome in _all(pool, seeds, options.hours):
                counts[outcome.scenario][KEYS[outcome.verdict]] += 1
            _say_rarity(pool, seeds[0], options.rarity_hours)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            _say("stopped: the counts are of the seeds done so far")
    _say_promotions(counts["efficient"])
    body = {name: {key: found[key] for key in KEYS.values()} for name, found in counts.items()}
    print(json.dumps(body))
    return 0


def _all(pool: ProcessPoolExecutor, seeds: range, hours: float) -> Iterator[Outcome]:
    """Outcomes as they are done, with progress and the time that is left."""
    futures = [pool.submit(one, scenario, seed, hours) for seed in seeds for scenario in SCENARIOS]
    started = time.perf_counter()
    for done, future in enumerate(as_completed(futures), start=1):
        outcome = future.result()
        left = (time.perf_counter() - started) / done * (len(futures) - done)
        filled = f"{outcome.fills} of {outcome.orders} filled, {outcome.seconds:.0f} s of CPU"
        _say(f"{done}/{len(futures)} {outcome.scenario} seed {outcome.seed}: {outcome.words[:110]} ({filled})")
        if left >= 60:
            _say(f"  about {left / 60:.0f} min left")
        yield outcome


def _say_rarity(pool: ProcessPoolExecutor, seed: int, hours: float) -> None:
    if hours > 0:
        loose, strict = pool.submit(rarity, seed, hours).result()
        times = f"{loose / strict:.1f} times rarer" if strict else "gone"
        _say(f"efficient, {hours:g} h: {loose} opportunities with k_se 0, {strict} with k_se 2: {times}")


def _say_promotions(found: Counter[str]) -> None:
    trials, false = sum(found.values()), found["edge"]
    if trials:
        low, high = wilson(false, trials)
        exact_low, exact_high = clopper_pearson(false, trials)
        _say(
            f"false promotions: {false} of {trials} = {false / trials:.1%} "
            f"(95% Wilson {low:.1%} to {high:.1%}, Clopper-Pearson {exact_low:.1%} to {exact_high:.1%})"
        )


def _leave_signals() -> None:
    """Ctrl-C is for the parent, which then ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="meter-trial", description="The meter on markets whose truth is known.")
    parser.add_argument("--seeds", type=int, default=4, help="how many (100 take about an hour on two cores)")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--hours", type=float, default=HOURS, help="of market time a seed")
    parser.add_argument("--rarity-hours", type=float, default=1.0, help="for k_se 0 against 2; 0 leaves it out")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
