"""The gate: each thing it asks for keeps it locked by its absence, and luck alone rarely opens it."""

import random
from dataclasses import replace
from decimal import Decimal

import pytest

from pmarb.domain.evidence import Evidence
from pmarb.domain.gate import (
    DEFAULT_BAR,
    Circumstances,
    Mode,
    circumstantial,
    measured,
    missing,
    mode_at,
    of_paper,
    recorded,
    shut_by,
)
from pmarb.domain.meter import Standard, read
from pmarb.domain.values import NANOS
from tests.evidence import a_bet, bets_with, samples_with

PAPER = Mode(venue="polymarket", execution="paper", since_real=0)
DAY = 86_400 * NANOS
NOW = 1_800_000_000 * NANOS


def an_earner(count: int = 400) -> Evidence:
    """Bets that win two times in three at evens, three a block apart: four hundred over twelve days."""
    return Evidence(bets=tuple(a_bet(9 * n, bet_id=f"b{n}", won=n % 3 != 0) for n in range(count)))


def test_what_the_ledger_must_have_earned() -> None:
    assert missing(recorded(an_earner(), (PAPER,))) == ""
    short = missing(recorded(an_earner(150), (PAPER,)))
    assert short.startswith("300 paper fills: 150; on 10 days: 6; e-value of the outcomes at least 20: 7")
    loser = Evidence(bets=tuple(replace(bet, won=not bet.won) for bet in an_earner().bets))
    assert missing(recorded(loser, (PAPER,))).startswith("e-value of the outcomes at least 20")
    mixed = (replace(PAPER, venue="sandbox"), replace(PAPER, since_real=1))
    assert missing(recorded(an_earner(), mixed)) == "a ledger that never traded elsewhere: sandbox"


def test_only_paper_at_the_venue_counts_and_only_since_the_gate_was_closed() -> None:
    evidence = an_earner(20)
    times = [bet.decided_at for bet in evidence.bets]
    modes = (replace(PAPER, venue="sandbox"), replace(PAPER, since_real=times[5]),
             Mode(venue="polymarket", execution="live", since_real=times[15]))  # fmt: skip
    assert [bet.decided_at for bet in of_paper(evidence, modes).bets] == times[5:15]
    assert [bet.decided_at for bet in of_paper(evidence, modes, since=times[10]).bets] == times[10:15]
    assert mode_at((), NOW) == ("unknown", "unknown")


def test_what_was_not_measured_is_not_met() -> None:
    bare = read(Evidence(bets=tuple(replace(bet, marks={}, opposite=None) for bet in an_earner(50).bets)),
                random.Random(1), Standard(rounds=100))  # fmt: skip
    assert not any(criterion.met for criterion in measured(bare))
    assert {criterion.found for criterion in measured(bare)} == {"not measured"}
    good = read(
        Evidence(bets=bets_with(0.05, count=150), samples=samples_with(0.02, 0.1, windows=150)),
        random.Random(1),
        Standard(rounds=100),
    )
    met = {criterion.name: criterion.met for criterion in measured(good)}
    assert met["marks after 5 s and fees above 0"]
    assert met["the model's Brier score is not worse than the market's"]
    assert met["the model deserves weight beside the market"]
    bad = read(
        Evidence(bets=bets_with(-0.03, count=150), samples=samples_with(0.2, 0.01, windows=150)),
        random.Random(1),
        Standard(rounds=100),
    )
    assert not any(criterion.met for criterion in measured(bad)[:3])


SOUND = Circumstances(modes=(PAPER,), latency_ms=120.0, drilled_at=NOW - 6 * DAY, complaints=())


@pytest.mark.parametrize(
    ("circumstances", "words"),
    [
        (SOUND, ""),
        (replace(SOUND, latency_ms=None), "tick to wire within 300 ms, p90: not measured"),
        (replace(SOUND, latency_ms=301.0), "tick to wire within 300 ms, p90: 301 ms"),
        (replace(SOUND, drilled_at=0), "a kill drilled within 7 days, verified empty: never"),
        (replace(SOUND, drilled_at=NOW - 8 * DAY), "a kill drilled within 7 days, verified empty: 8.0 days ago"),
        (replace(SOUND, drilled_at=NOW + DAY), "a kill drilled within 7 days, verified empty: -1.0 days ago"),
        (replace(SOUND, complaints=("clock", "redis_aof")), "the doctor finds nothing: clock, redis_aof"),
    ],
)
def test_the_machine_the_doctor_and_the_drill(circumstances: Circumstances, words: str) -> None:
    assert missing(circumstantial(circumstances, now=NOW)) == words


def test_real_results_that_fall_below_shut_it() -> None:
    draws = random.Random(1)
    assert shut_by((), draws) == ""
    assert shut_by(an_earner().bets, draws) == ""
    losers = [replace(a_bet(9 * n, bet_id=f"b{n}"), won=False) for n in range(60)]
    assert shut_by(losers, draws).startswith("the e-value of 60 real fills fell to 0.0461, below 0.05")
    marked = bets_with(-0.05, count=40)
    assert "marks after 5 s and fees of 40 real fills are -3.69c" in shut_by(marked, draws, rounds=200)
    unmarked = [replace(bet, marks={}) for bet in losers[:35]]
    assert shut_by(unmarked, draws, rounds=200).startswith("the results of 35 real fills are")


def test_a_cent_more_than_it_costs_does_not_open_it_by_luck_alone() -> None:
    """Ville: without an edge the wealth reaches 20 in at most one of twenty histories, whenever one looks."""
    opened = 0
    for seed in range(60):
        rng, wealth = random.Random(seed), 1.0
        for _ in range(2000):
            cost = float(Decimal(rng.randint(25, 75)) / 100)
            wealth *= 1 + DEFAULT_BAR.fraction * (1 / cost - 1) if rng.random() < cost else 1 - DEFAULT_BAR.fraction
            if wealth >= DEFAULT_BAR.e_value:
                opened += 1
                break
    assert opened <= 60 * 0.05 * 2.5
