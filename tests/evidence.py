"""Bets and samples for tests of the meter."""

import random
from dataclasses import replace
from decimal import Decimal
from typing import Any

from pmarb.domain.evidence import Bet, Evidence, Paid, Sample
from pmarb.domain.values import NANOS

START = 1_795_000_200


def a_bet(number: int = 0, **changes: Any) -> Bet:
    """Bought Up at 0.50 in a five-minute window of its own."""
    opens = START + 300 * number
    paid = Paid(shares=Decimal(10), price=Decimal("0.5"), fee=Decimal("0.175"))
    bet = Bet(
        bet_id=f"bet{number}",
        window=f"btc-updown-5m-{opens}",
        underlying="btc",
        family="5m",
        outcome="Up",
        decided_at=(opens + 100) * NANOS,
        closes_at=(opens + 300) * NANOS,
        fair=Decimal("0.6"),
        se=Decimal("0.03"),
        ask=Decimal("0.5"),
        mid=Decimal("0.495"),
        expected=Decimal("0.0825"),
        won=True,
        filled=paid,
        optimistic=paid,
        pessimistic=paid,
        opposite=Paid(shares=Decimal(1), price=Decimal("0.51"), fee=Decimal("0.0175")),
        marks={5: Decimal("0.55")},
    )
    return replace(bet, **changes)


def bets_with(edge: float, *, count: int, scatter: float = 0.05, seed: int = 1) -> tuple[Bet, ...]:
    """Marks of the cost plus `edge` and noise; outcomes with the chance the mark says."""
    rng, bets = random.Random(seed), []
    for number in range(count):
        mark = min(max(0.5175 + edge + rng.gauss(0, scatter), 0.01), 0.99)
        marks = {seconds: Decimal(str(round(mark, 6))) for seconds in (1, 5, 30, 60)}
        bets.append(a_bet(number, marks=marks, won=rng.random() < mark))
    return tuple(bets)


def samples_with(model_noise: float, market_noise: float, *, windows: int, seed: int = 1) -> tuple[Sample, ...]:
    """Two forecasters of the same chances, each with its own error."""
    rng, samples = random.Random(seed), []
    for number in range(windows):
        true = rng.uniform(0.1, 0.9)
        happened, opens = rng.random() < true, START + 300 * number
        for tenth in (3, 5, 7):
            mid = min(max(true + rng.gauss(0, market_noise), 0.02), 0.98)
            samples.append(
                Sample(
                    window=f"btc-updown-5m-{opens}",
                    at=(opens + 30 * tenth) * NANOS,
                    closes_at=(opens + 300) * NANOS,
                    model=min(max(true + rng.gauss(0, model_noise), 0.02), 0.98),
                    mid=mid,
                    asks=(mid + 0.005, 1 - mid + 0.005),
                    fee_rate=Decimal("0.07"),
                    happened=happened,
                )
            )
    return tuple(samples)


def evidence(edge: float, *, count: int = 150, seed: int = 1) -> Evidence:
    """A market that the model knows better when there is an edge, and worse when there is none."""
    noises = (0.02, 0.06) if edge > 0 else (0.08, 0.01)
    return Evidence(
        samples=samples_with(*noises, windows=count, seed=seed), bets=bets_with(edge, count=count, seed=seed)
    )
