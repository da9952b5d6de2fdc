"""The meter's arithmetic against hand-computed values, exact identities and seeded simulations."""

import math
import random
import statistics
from decimal import Decimal

import pytest

from pmarb.domain.attribution import added, attribute
from pmarb.domain.bootstrap import clustered_mean
from pmarb.domain.edge import break_even
from pmarb.domain.evidence import Paid
from pmarb.domain.fees import FeeSchedule
from pmarb.domain.logistic import fit, inverted
from pmarb.domain.proportion import benjamini_hochberg, clopper_pearson, wilson
from pmarb.domain.scoring import brier, brier_skill, calibration, log_loss, stacking
from pmarb.domain.sequential import Decision, e_value, mixture_e_value, sample_size, sprt
from pmarb.domain.values import Side
from tests.evidence import a_bet


def test_scores_of_four_forecasts_by_hand() -> None:
    forecasts, outcomes = [0.9, 0.8, 0.3, 0.4], [True, False, False, True]
    assert brier(forecasts, outcomes) == pytest.approx((0.01 + 0.64 + 0.09 + 0.36) / 4)
    assert log_loss(forecasts, outcomes) == pytest.approx(-math.log(0.9 * 0.2 * 0.7 * 0.4) / 4)
    assert brier_skill(forecasts, [0.5] * 4, outcomes) == pytest.approx(1 - 0.275 / 0.25)
    assert log_loss([0.0], [True]) < 15, "one wrong certainty is not infinitely wrong"


def test_reliability_bins_hold_what_was_said_and_what_happened() -> None:
    found = calibration([0.05, 0.15, 0.18, 0.95, 1.0], [False, True, False, True, True])
    assert [(b.low, b.count, b.happened) for b in found.bins] == [(0.0, 1, 0), (0.1, 2, 0.5), (0.9, 2, 1)]
    assert found.bins[1].said == pytest.approx(0.165)
    assert found.error == pytest.approx((0.05 + 2 * abs(0.165 - 0.5) + 2 * 0.025) / 5)


def test_a_logistic_line_through_a_two_by_two_table_is_the_log_odds_ratio() -> None:
    table = {(0, False): 30, (0, True): 10, (1, False): 15, (1, True): 45}
    rows = [(1.0, float(x)) for (x, _), n in table.items() for _ in range(n)]
    outcomes = [y for (_, y), n in table.items() for _ in range(n)]
    found = fit(rows, outcomes)
    assert found is not None
    assert found.coefficients[0] == pytest.approx(math.log(10 / 30), abs=1e-9)
    assert found.coefficients[1] == pytest.approx(math.log((45 / 15) / (10 / 30)), abs=1e-9)
    few = math.sqrt(100 / 99)
    assert found.errors[1] == pytest.approx(few * math.sqrt(1 / 30 + 1 / 10 + 1 / 15 + 1 / 45), rel=1e-9)


def test_clusters_of_repeated_rows_carry_no_more_than_one_row_each() -> None:
    rng = random.Random(3)
    rows = [(1.0, rng.gauss(0, 1)) for _ in range(120)]
    outcomes = [rng.random() < 1 / (1 + math.exp(-x)) for _, x in rows]
    names = [str(n) for n in range(120)]
    once, thrice = fit(rows, outcomes, names), fit(rows * 3, outcomes * 3, names * 3)
    assert once is not None
    assert thrice is not None
    assert thrice.errors == pytest.approx(once.errors, rel=1e-9)


def test_stacking_finds_the_weights_that_made_the_outcomes() -> None:
    rng = random.Random(5)
    market, model, outcomes = [], [], []
    for _ in range(6000):
        m, p = rng.gauss(0, 1), rng.gauss(0, 1)
        market.append(1 / (1 + math.exp(-m)))
        model.append(1 / (1 + math.exp(-p)))
        outcomes.append(rng.random() < 1 / (1 + math.exp(-(0.7 * m + 0.3 * p))))
    found = stacking(market, model, outcomes, [str(n) for n in range(6000)])
    assert found is not None
    for coefficient, error, true in zip(found.coefficients, found.errors, (0.0, 0.7, 0.3), strict=True):
        assert abs(coefficient - true) < 3 * error
    assert found.p_values[2] < 0.001


@pytest.mark.parametrize("rows", [[(1.0, 0.0)] * 4, [(1.0, 2.0), (1.0, 2.0), (1.0, 2.0), (1.0, 2.0), (1.0, 2.0)]])
def test_what_cannot_be_fitted_is_none(rows: list[tuple[float, float]]) -> None:
    assert fit(rows, [True, False, True, False, True][: len(rows)]) is None
    assert fit([(1.0, float(x)) for x in range(-4, 5)], [x > 0 for x in range(-4, 5)]) is None, "separated"


def test_a_matrix_times_its_inverse_is_one() -> None:
    matrix = [[0.0, 2.0, 1.0], [1.0, 1.0, 0.0], [3.0, 0.0, 1.0]]
    inverse = inverted(matrix)
    assert inverse is not None
    product = [[sum(matrix[i][k] * inverse[k][j] for k in range(3)) for j in range(3)] for i in range(3)]
    assert [x for row in product for x in row] == pytest.approx([1, 0, 0, 0, 1, 0, 0, 0, 1], abs=1e-12)
    assert inverted([[1.0, 2.0], [2.0, 4.0]]) is None


def test_sprt_bounds_and_steps() -> None:
    test = sprt([(0.5, True)])
    assert (round(test.upper, 2), round(test.lower, 2)) == (2.77, -1.56)
    assert test.ratio == pytest.approx(math.log(0.52 / 0.5))
    assert sprt([(0.5, False)]).ratio == pytest.approx(math.log(0.48 / 0.5))
    wins = sprt([(0.5, True)] * 200)
    assert (wins.decision, wins.trades) == (Decision.EDGE, math.ceil(test.upper / test.ratio))


@pytest.mark.parametrize(("edge", "median", "no_edge"), [(0.0, 1091, 0.95), (0.02, 1827, 0.20), (-0.015, 577, 1.0)])
def test_sprt_takes_the_published_number_of_trades(edge: float, median: int, no_edge: float) -> None:
    rng, runs = random.Random(11), []
    for _ in range(200):
        costs = (rng.uniform(0.25, 0.75) for _ in range(30_000))
        runs.append(sprt((c, rng.random() < c + edge) for c in costs))
    assert statistics.median(run.trades for run in runs) == pytest.approx(median, rel=0.2)
    assert sum(run.decision is Decision.NO_EDGE for run in runs) / 200 == pytest.approx(no_edge, abs=0.08)


def test_wealth_is_the_product_of_bets_and_adds_what_is_decided_together() -> None:
    assert e_value([[(0.5, 1.0)], [(0.4, 0.0)]]) == pytest.approx((1 + 0.05) * 0.95)
    assert e_value([[(0.4, 1.0), (0.5, 1.0)]]) == pytest.approx(1 + 0.05 * 1.5 + 0.05)
    assert e_value([]) == 1.0
    both = mixture_e_value([[(0.5, 1.0)]], (0.1, 0.3))
    assert both == pytest.approx((1.1 + 1.3) / 2)


def test_wealth_without_an_edge_rarely_reaches_twenty_even_when_everything_is_one_bet() -> None:
    rng = random.Random(2)
    alarms = 0
    for _ in range(400):
        wealth = 1.0
        for _ in range(150):
            won = float(rng.random() < 0.5)
            wealth *= e_value([[(0.5, won)] * 5])  # Five orders on the same coin
            alarms += wealth >= 20
            if wealth >= 20:
                break
    assert alarms / 400 <= 0.05


def test_sample_sizes_are_the_published_ones() -> None:
    assert [sample_size(sd=0.5, delta=d) for d in (0.01, 0.02, 0.03, 0.05)] == [15456, 3864, 1717, 618]
    assert sample_size(sd=0.05, delta=0.02) == 39


def test_break_even_at_even_odds() -> None:
    assert break_even(side=Side.BUY, price=Decimal("0.5"), fees=FeeSchedule(Decimal("0.07"))) == Decimal("0.5175")
    paid = Paid(shares=Decimal(5), price=Decimal("0.5"), fee=Decimal("0.0875"))
    assert paid.cost == Decimal("0.5175")


def test_the_bootstrap_agrees_with_the_normal_interval_and_follows_its_seed() -> None:
    rng = random.Random(1)
    values = [(n, rng.gauss(0.3, 1)) for n in range(400)]
    found = clustered_mean(values, random.Random(9), rounds=2000)
    assert found is not None
    half = 1.96 * found.sd / 20
    assert (found.low, found.high) == pytest.approx((found.mean - half, found.mean + half), abs=0.12 * half)
    assert found == clustered_mean(values, random.Random(9), rounds=2000)


def test_copies_inside_a_cluster_do_not_narrow_the_interval() -> None:
    rng = random.Random(1)
    values = [(n, rng.gauss(0, 1)) for n in range(100)]
    once = clustered_mean(values, random.Random(9), rounds=1000)
    four = clustered_mean(values * 4, random.Random(9), rounds=1000)
    assert once is not None
    assert four is not None
    assert (four.low, four.high) == pytest.approx((once.low, once.high))
    assert clustered_mean([("a", 1.0), ("a", 2.0)], random.Random(1)) is None


def test_wilson_solves_its_own_equation() -> None:
    low, high = wilson(7, 100)
    for p in (low, high):
        assert abs(0.07 - p) == pytest.approx(1.959964 * math.sqrt(p * (1 - p) / 100), rel=1e-6)
    assert wilson(0, 100)[0] == 0


def test_clopper_pearson_leaves_a_fortieth_in_each_tail() -> None:
    assert clopper_pearson(0, 100) == pytest.approx((0.0, 1 - 0.025**0.01))
    assert clopper_pearson(100, 100) == pytest.approx((0.025**0.01, 1.0))
    low, high = clopper_pearson(3, 100)
    tail = sum(math.comb(100, n) * high**n * (1 - high) ** (100 - n) for n in range(4))
    head = sum(math.comb(100, n) * low**n * (1 - low) ** (100 - n) for n in range(3, 101))
    assert (tail, head) == pytest.approx((0.025, 0.025), rel=1e-6)


def test_benjamini_hochberg_of_the_paper() -> None:
    paper = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719]
    paper += [0.6528, 0.7590, 1.0]
    assert benjamini_hochberg(paper) == (True,) * 4 + (False,) * 11
    assert benjamini_hochberg([0.04, 0.01]) == (True, True)


def test_the_parts_of_every_result_sum_to_it_exactly() -> None:
    rng = random.Random(4)
    bets = []
    for n in range(200):
        price = Decimal(rng.randrange(1, 99)) / 100 + Decimal(rng.randrange(10**9)) / 10**11
        shares, fee = Decimal(rng.randrange(500, 9000)) / 100, Decimal(rng.randrange(9999)) / 10**5
        bets.append(
            a_bet(
                n,
                won=rng.random() < 0.5,
                fair=Decimal(rng.randrange(10**6)) / 10**6,
                ask=Decimal(rng.randrange(1, 99)) / 100,
                filled=Paid(shares=shares, price=price, fee=fee),
                marks={5: Decimal(rng.randrange(10**5)) / 10**5},
            )
        )
    parts = [attribute(bet) for bet in bets]
    for bet, part in zip(bets, parts, strict=True):
        assert part is not None
        assert bet.filled is not None
        assert part.total == bet.filled.shares * (bet.payout - bet.filled.price) - bet.filled.fee
    known = [part for part in parts if part is not None]
    assert added(known).total == sum(part.total for part in known)
    assert attribute(a_bet(0, marks={})) is None
