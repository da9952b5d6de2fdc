"""Sizes: what an optimiser finds, never above a cap, never below the venue's minimum, and they follow the edge."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal, localcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pmarb.domain.book import Level
from pmarb.domain.fees import FeeSchedule
from pmarb.domain.limits import CEILING_USD, Limits, Sizing
from pmarb.domain.messages import Approval
from pmarb.domain.sizing import Record, kelly_spend, share_of
from pmarb.domain.values import CENT, NANOS, SHARE_GRID, on_grid
from services.risk.decide import judge
from services.risk.portfolio import DAY, Portfolio
from tests.builders import NOW, a_leg, an_opportunity

AT = NOW + 100 * NANOS
CRYPTO = FeeSchedule(Decimal("0.07"))
FREE_SIZING = replace(
    Limits(), order_pct=Decimal("0.5"), order_usd=Decimal(1000), market_pct=Decimal(1), event_pct=Decimal(1),
    underlying_pct=Decimal(1), total_pct=Decimal(1), fee_burn_pct=Decimal(1),
)  # fmt: skip


def growth(levels: list[Level], spend: Decimal, *, fair: Decimal, bankroll: Decimal) -> Decimal:
    """Expected logarithm of wealth after spending `spend`, best level first."""
    left, shares = spend, Decimal(0)
    for price, size in levels:
        cost = price + CRYPTO.fee(shares=Decimal(1), price=price)
        taken = min(size, left / cost)
        shares, left = shares + taken, left - taken * cost
    lose = bankroll - spend + left  # What the book could not take stays
    return fair * (lose + shares).ln() + (1 - fair) * lose.ln()


def maximum(of: Callable[[Decimal], Decimal], low: Decimal, high: Decimal) -> Decimal:
    """Where a concave function is greatest, by golden section."""
    ratio = (Decimal(5).sqrt() - 1) / 2
    a, b = high - ratio * (high - low), low + ratio * (high - low)
    at_a, at_b = of(a), of(b)
    while high - low > Decimal("1e-8"):
        if at_a < at_b:
            low, a, at_a = a, b, at_b
            b = low + ratio * (high - low)
            at_b = of(b)
        else:
            high, b, at_b = b, a, at_a
            a = high - ratio * (high - low)
            at_a = of(a)
    return (low + high) / 2


@st.composite
def books(draw: st.DrawFn) -> list[Level]:
    first = draw(st.integers(10, 80))
    steps = draw(st.lists(st.integers(1, 4), min_size=0, max_size=3))
    prices = [first]
    for step in steps:
        prices.append(prices[-1] + step)
    sizes = st.integers(500, 20_000).map(lambda n: Decimal(n) / 100)
    return [Level(Decimal(price) / 100, draw(sizes)) for price in prices]


@settings(max_examples=40)
@given(books(), st.integers(1, 30), st.sampled_from([Decimal(200), Decimal(300), Decimal(500)]))
def test_kelly_with_depth_and_fees_is_what_an_optimiser_finds(
    levels: list[Level], edge: int, bankroll: Decimal
) -> None:
    fair = min(levels[0].price + Decimal(edge) / 100, Decimal("0.98"))
    with localcontext() as context:
        context.prec = 50
        there_is = sum(
            level.size * (level.price + CRYPTO.fee(shares=Decimal(1), price=level.price)) for level in levels
        )
        most = min(Decimal(there_is), bankroll - Decimal("1e-9"))
        best = maximum(lambda spend: growth(levels, spend, fair=fair, bankroll=bankroll), Decimal(0), most)
        found = kelly_spend(levels, fair=fair, fees=CRYPTO, bankroll=bankroll)
        assert abs(found - best) < Decimal("1e-6")


@settings(max_examples=100)
@given(st.sampled_from(Sizing), books(), st.integers(3, 40), st.sampled_from([20, 60, 200, 300, 500, 5000]))
def test_no_size_is_above_a_cap_below_the_minimum_or_more_than_is_displayed(
    sizing: Sizing, levels: list[Level], edge: int, bankroll: int
) -> None:
    limits = replace(Limits(), sizing=sizing)
    answer = asked(levels, edge, limits, bankroll)
    if not isinstance(answer, Approval):
        return
    (leg,) = answer.legs
    assert leg.reserved <= min(limits.order_usd, limits.hard_cap_usd, CEILING_USD, Decimal(bankroll) * Decimal("0.015"))
    assert leg.shares <= sum(level.size for level in levels if level.price <= leg.limit)
    assert leg.shares >= 5
    assert leg.usd >= 1
    assert on_grid(leg.shares, SHARE_GRID)
    assert on_grid(leg.usd, CENT)
    assert leg.usd <= leg.shares * leg.limit
    assert leg.reserved >= leg.usd
    if sizing.kelly_fraction is not None:
        fair = answer.fair
        spend = kelly_spend(levels[:2], fair=fair, fees=CRYPTO, bankroll=Decimal(bankroll)) * sizing.kelly_fraction
        assert leg.reserved <= spend


def asked(levels: list[Level], edge: int, limits: Limits, bankroll: int) -> object:
    """The answer to an offer of these levels, up to a tick above the best, whose fair value is `edge` cents above."""
    price = levels[0].price
    taken = tuple(level for level in levels if level.price <= price + CENT)
    leg = a_leg(
        price=price, limit=taken[-1].price, shares=sum(level.size for level in taken), levels=taken,
        book_ts_init=AT,
    )  # fmt: skip
    opportunity = an_opportunity(
        legs=(leg,), fair=min(price + Decimal(edge) / 100, Decimal("0.98")), mid=price - CENT / 2,
        threshold=Decimal("0.02"),
    )  # fmt: skip
    return judge(opportunity, Portfolio(capital=Decimal(bankroll), today=AT // DAY), limits, now=AT)


@pytest.mark.parametrize("sizing", [Sizing.KELLY, Sizing.HALF_KELLY, Sizing.QUARTER_KELLY])
def test_a_larger_edge_is_a_larger_order_until_a_cap(sizing: Sizing) -> None:
    sizes = []
    limits = replace(FREE_SIZING, sizing=sizing, hard_cap_usd=Decimal(20))
    for edge in (4, 5, 6, 7):
        answer = asked([Level(Decimal("0.50"), Decimal(1000))], edge, limits, 300)
        sizes.append(answer.legs[0].shares if isinstance(answer, Approval) else Decimal(0))
    assert sizes == sorted(sizes)
    assert sizes[-1] > sizes[0]


def test_capital_is_shared_by_the_chance_to_earn_anything() -> None:
    sixty = Decimal("0.6")
    good, bad = (
        Record(count=100, total=Decimal(20), squares=Decimal(100)),
        Record(count=100, total=Decimal(-30), squares=Decimal(100)),
    )
    assert share_of("new", {}, most=sixty) == 1
    assert share_of("new", {"old": Record()}, most=sixty) == Decimal("0.5")
    assert share_of("good", {"good": good, "new": Record()}, most=sixty) == sixty
    assert share_of("new", {"good": good, "new": Record()}, most=sixty) == Decimal("0.3380")
    assert share_of("bad", {"good": good, "bad": bad}, most=sixty) == 0
    assert share_of("good", {"good": good, "bad": bad}, most=sixty) == 1
    names = {name: Record(count=50, total=Decimal(n), squares=Decimal(60)) for n, name in enumerate("abcd")}
    shares = {name: share_of(name, names, most=sixty) for name in names}
    assert Decimal("0.999") < sum(shares.values()) <= 1
    assert list(shares.values()) == sorted(shares.values())
