"""Sets that cannot lose: proven by rules, priced on depth after every fee, and never by a coincidence of names."""

import itertools
import random
from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from pmarb.domain.book import Book, Level
from pmarb.domain.bundles import Wanted, basket, exhaustive, implies, leg_risk, same_settlement
from pmarb.domain.fees import FeeSchedule
from pmarb.domain.market import Above, Between, HourCandle, MarketInfo, Settlement, Touch, Twap
from pmarb.domain.values import NANOS
from pmarb.venue import rules
from tests.scanning import a_market

NOON = rules.noon(date(2026, 11, 26))
DAY = (rules.midnight(date(2026, 11, 26)), rules.midnight(date(2026, 11, 27)))


def ruled(rule: Settlement, name: str = "m", **changes: Any) -> MarketInfo:
    opens, closes = DAY if isinstance(rule, Touch) else (NOON - 86_400 * NANOS, NOON)
    market = replace(a_market(), settlement=rule, slug=f"{name}-{rule}", opens_at=opens, closes_at=closes, event="e")
    return replace(market, **changes)


def wanted(*asks: tuple[str, str], bid: str = "0.01", rate: str = "0.07", at: int = 0) -> Wanted:
    levels = tuple(Level(Decimal(price), Decimal(size)) for price, size in asks)
    book = Book(token=f"t{asks}", bids=(Level(Decimal(bid), Decimal(100)),), asks=levels, ts_event=at, ts_init=at)
    return Wanted(book=book, fees=FeeSchedule(Decimal(rate)))


@pytest.mark.parametrize(
    ("asks", "rate", "payoff", "net"),
    [  # quant.md 3.6, in dollars a set
        ((".48", ".50"), "0.07", "1", "-0.014972"),
        ((".48", ".48"), "0.07", "1", "0.005056"),
        ((".46", ".49"), "0.07", "1", "0.015119"),
        ((".48", ".51"), "0", "1", "0.01"),
        ((".30", ".25", ".20", ".14", ".09"), "0.04", "1", "-0.010392"),
        ((".30", ".25", ".20", ".10", ".08"), "0.04", "1", "0.041156"),
    ],
)
def test_published_examples_come_out(asks: tuple[str, ...], rate: str, payoff: str, net: str) -> None:
    found = basket([wanted((ask, "100"), rate=rate) for ask in asks], payoff=Decimal(payoff), shares=Decimal(100))
    assert found is not None
    assert found.net == pytest.approx(Decimal(net), abs=Decimal("0.000002"))


def test_the_depth_is_walked_and_the_thinnest_leg_decides() -> None:
    legs = [wanted(("0.40", "10"), ("0.45", "30"), rate="0"), wanted(("0.50", "20"), rate="0", at=7)]
    found = basket(legs, payoff=Decimal(1), shares=Decimal(100))
    assert found is not None
    assert [take.shares for take in found.takes] == [Decimal(20)] * 2
    assert found.cost == Decimal("0.425") + Decimal("0.50")
    assert found.skew == 7
    assert basket([*legs, wanted(rate="0")], payoff=Decimal(1), shares=Decimal(5)) is None


def test_a_lone_leg_costs_its_spread_and_two_fees() -> None:
    found = basket(
        [wanted(("0.50", "9"), bid="0.48"), wanted(("0.40", "9"), bid="0.39")], payoff=Decimal(1), shares=Decimal(5)
    )
    assert found is not None
    dearest = max(found.unwinds)
    assert dearest == Decimal("0.02") + Decimal("0.0175") + Decimal("0.07") * Decimal("0.48") * Decimal("0.52")
    assert abs(found.leg_risk - Decimal("0.091") * dearest / Decimal("0.545")) < Decimal("1e-20")
    assert found.apr(Decimal(365 * 86_400)) == pytest.approx(found.net / (found.cost + found.fee))


def test_every_further_leg_makes_being_left_with_some_of_them_dearer() -> None:
    cent = Decimal("0.01")
    asked = [leg_risk([cent] * legs) for legs in range(1, 7)]
    assert asked[0] == 0
    assert all(more > less * 3 / 2 for less, more in pairwise(asked)), asked
    assert leg_risk([cent, 3 * cent]) == leg_risk([3 * cent, cent]) == leg_risk([3 * cent] * 2)


def holds(rule: Settlement, close: float, high: float, low: float) -> bool:
    match rule:
        case Above(strike=strike):
            return close > strike
        case Between(low=bottom, high=top):
            return (bottom is None or close >= bottom) and (top is None or close < top)
        case Touch(level=level, up=up):
            return high >= level if up else low <= level
        case _:
            raise AssertionError(rule)


def test_whatever_happens_what_is_implied_comes_true() -> None:
    """Every pair of many rules against random days, borders included; and enough of the pairs are found at all."""
    rng, levels = random.Random(2), [80_000.0, 82_000.0, 84_000.0]
    every: list[Settlement] = [Above(strike=level) for level in levels]
    every += [Touch(level=level, up=up) for level in levels for up in (True, False)]
    every += [Between(low=a, high=b) for a, b in ((None, 80_000.0), (80_000.0, 82_000.0), (84_000.0, None))]
    pairs = [(a, b) for a in every for b in every if implies(ruled(a), ruled(b))]
    assert len(pairs) > 15
    for _ in range(400):
        close = rng.choice([*levels, rng.uniform(78_000, 86_000)])
        high, low = close + rng.choice([0, rng.expovariate(1e-3)]), close - rng.choice([0, rng.expovariate(1e-3)])
        for one, other in pairs:
            assert not holds(one, close, high, low) or holds(other, close, high, low), (one, other, close, high, low)


def test_other_assets_other_days_and_other_rules_imply_nothing() -> None:
    high, low = Above(strike=84_000), Above(strike=82_000)
    assert implies(ruled(high), ruled(low))
    assert not implies(ruled(low), ruled(high))
    assert not implies(ruled(high), ruled(low, underlying="eth"))
    assert not implies(ruled(high), ruled(low, closes_at=NOON + 86_400 * NANOS))
    assert not implies(ruled(HourCandle()), ruled(low))
    earlier = ruled(Touch(level=84_000, up=True), opens_at=DAY[0] - 1)
    assert not implies(earlier, ruled(Touch(level=83_000, up=True)))
    assert implies(ruled(Touch(level=84_000, up=True)), replace(earlier, slug="longer"))


def test_two_windows_of_one_end_need_references_that_are_surely_apart() -> None:
    five, fifteen = a_market(), a_market(slug="btc-updown-15m-1", family="15m")
    assert same_settlement(five, fifteen, 84_100.0, 84_000.0)
    assert not same_settlement(five, fifteen, 84_005.0, 84_000.0)
    assert not same_settlement(five, fifteen, 84_000.0, 84_100.0)
    assert not same_settlement(five, replace(fifteen, settlement=Twap(lookback=30)), 84_100.0, 84_000.0)
    assert not same_settlement(five, replace(fifteen, closes_at=1), 84_100.0, 84_000.0)


def brackets(*borders: float, **changes: Any) -> list[MarketInfo]:
    ends = [None, *borders, None]
    found = [ruled(Between(low=a, high=b), neg_risk=True, **changes) for a, b in itertools.pairwise(ends)]
    return found[::-1]


def test_only_a_whole_set_of_one_event_is_exhaustive() -> None:
    whole = brackets(80_000, 82_000, 84_000)
    assert exhaustive(whole)
    for index in range(len(whole)):
        assert not exhaustive(whole[:index] + whole[index + 1 :])
    assert not exhaustive([*whole, whole[0]])
    assert not exhaustive(brackets(80_000, augmented=True))
    assert not exhaustive([replace(market, neg_risk=False) for market in whole])
    assert not exhaustive([*whole[:-1], replace(whole[-1], event="other")])
    assert not exhaustive([])
