"""Fees, books, edges and sizes: what must hold for every number, not for ten of them."""

from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pmarb.domain.book import Level, mirror, walk
from pmarb.domain.edge import break_even, max_buy_price, min_sell_price, net_edge
from pmarb.domain.fees import FEE_GRID, FREE, LEGACY_TENT, FeeSchedule, for_category
from pmarb.domain.sizing import fixed, kelly, kelly_spend, reserve_for_spend
from pmarb.domain.values import MIN_ORDER_SHARES, ONE, SHARE_GRID, ZERO, Side, on_grid

TICKS = st.sampled_from([Decimal("0.1"), Decimal("0.01"), Decimal("0.005"), Decimal("0.0025"), Decimal("0.001")])
PRICES = st.decimals(min_value="0.001", max_value="0.999", places=3)
SHARES = st.decimals(min_value="0.01", max_value="5000", places=2)
RATES = st.sampled_from([Decimal(r) for r in ("0", "0.04", "0.05", "0.07", "0.25")])
SCHEDULES = st.builds(FeeSchedule, RATES, st.sampled_from([Decimal(1), Decimal(2)]))
LEVELS = st.lists(st.tuples(PRICES, SHARES), min_size=1, max_size=6, unique_by=lambda level: level[0]).map(
    lambda levels: tuple(Level(price, size) for price, size in sorted(levels))
)
PROBABILITIES = st.decimals(min_value="0.005", max_value="0.995", places=3)


@given(SCHEDULES, SHARES, PRICES)
def test_what_we_reserve_is_never_below_what_the_venue_books(
    fees: FeeSchedule, shares: Decimal, price: Decimal
) -> None:
    exact = fees.fee(shares=shares, price=price)
    charged, reserved = fees.charged(shares=shares, price=price), fees.reserved(shares=shares, price=price)
    assert charged <= exact <= reserved
    assert reserved - charged <= FEE_GRID
    assert on_grid(charged, FEE_GRID)
    assert on_grid(reserved, FEE_GRID)


@given(SCHEDULES, SHARES, PRICES)
def test_the_fee_is_the_same_for_both_outcomes(fees: FeeSchedule, shares: Decimal, price: Decimal) -> None:
    assert fees.fee(shares=shares, price=price) == fees.fee(shares=shares, price=ONE - price)


@given(SCHEDULES, SHARES, PRICES)
def test_the_old_tent_is_never_used_below_the_real_schedule(fees: FeeSchedule, shares: Decimal, price: Decimal) -> None:
    enabled = LEGACY_TENT.at_least(fees)
    assert enabled.charged(shares=shares, price=price) >= fees.charged(shares=shares, price=price)


@pytest.mark.parametrize(
    ("shares", "price", "rate", "charged"),
    [
        ("580.677591", "0.527058567", "0.07", "10.13209"),  # The one on-chain fee that was published
        ("25", "0.13", "0.05", "0.14137"),
        ("100", "0.5", "0.07", "1.75"),
        ("100", "0.5", "0.04", "1.00"),
        ("0.0001", "0.5", "0.07", "0"),
    ],
)
def test_fees_the_venue_has_booked(shares: str, price: str, rate: str, charged: str) -> None:
    assert FeeSchedule(Decimal(rate)).charged(shares=Decimal(shares), price=Decimal(price)) == Decimal(charged)


def test_the_old_tent_understates_todays_crypto_fee_everywhere() -> None:
    crypto = for_category("crypto")
    for cents in range(1, 100):
        price = Decimal(cents) / 100
        assert LEGACY_TENT.fee(shares=ONE, price=price) < crypto.fee(shares=ONE, price=price)


def test_an_unknown_category_and_corrupt_schedules_are_refused() -> None:
    with pytest.raises(ValueError, match="politics"):
        for_category("astrology")
    with pytest.raises(ValueError, match="not in"):
        FeeSchedule(Decimal(1000))  # The base fee in basis points is not a rate
    with pytest.raises(TypeError):
        FeeSchedule(0.07)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="price"):
        FREE.fee(shares=ONE, price=Decimal("1.01"))


@given(LEVELS, SCHEDULES, st.decimals(min_value="0.01", max_value="2000", places=2))
def test_a_walk_never_spends_more_than_its_budget(
    levels: tuple[Level, ...], fees: FeeSchedule, budget: Decimal
) -> None:
    take = walk(levels, side=Side.BUY, fees=fees, budget=budget)
    if take is None:
        cheapest = levels[0].price
        assert SHARE_GRID * cheapest + fees.reserved(shares=SHARE_GRID, price=cheapest) > budget
        return
    assert take.notional + fees.reserved(shares=take.shares, price=take.vwap) <= budget
    assert take.all_in <= budget
    assert on_grid(take.shares, SHARE_GRID)
    more = walk(levels, side=Side.BUY, fees=fees, shares=take.shares + SHARE_GRID)
    assert more is not None
    enough_depth = more.shares > take.shares
    assert not enough_depth or more.notional + fees.reserved(shares=more.shares, price=more.vwap) > budget


@given(LEVELS, SCHEDULES, SHARES, PRICES)
def test_a_walk_touches_no_level_beyond_its_limit(
    levels: tuple[Level, ...], fees: FeeSchedule, shares: Decimal, limit: Decimal
) -> None:
    take = walk(levels, side=Side.BUY, fees=fees, shares=shares, limit=limit)
    depth = sum((level.size for level in levels if level.price <= limit), ZERO)
    if take is None:
        assert depth < SHARE_GRID
        return
    assert take.worst <= limit
    assert levels[0].price <= take.vwap <= take.worst
    assert take.shares == min(shares, depth)
    assert take.fee == fees.charged(shares=take.shares, price=take.vwap)


@given(LEVELS, SCHEDULES, SHARES)
def test_selling_the_mirror_is_worth_a_dollar_less(
    levels: tuple[Level, ...], fees: FeeSchedule, shares: Decimal
) -> None:
    bought = walk(levels, side=Side.BUY, fees=fees, shares=shares)
    sold = walk(mirror(levels), side=Side.SELL, fees=fees, shares=shares)
    assert bought is not None
    assert sold is not None
    assert bought.shares == sold.shares
    assert bought.notional + sold.notional == bought.shares
    assert abs(bought.fee - sold.fee) <= FEE_GRID


def test_a_walk_wants_exactly_one_measure() -> None:
    with pytest.raises(ValueError, match="exactly one"):
        walk((), side=Side.BUY, fees=FREE)
    with pytest.raises(ValueError, match="SELL"):
        walk((), side=Side.SELL, fees=FREE, budget=ONE)


@given(PROBABILITIES, st.decimals(min_value="0", max_value="0.2", places=3), SCHEDULES, TICKS)
def test_the_highest_buy_price_keeps_the_edge_and_the_next_tick_does_not(
    fair: Decimal, min_edge: Decimal, fees: FeeSchedule, tick: Decimal
) -> None:
    price = max_buy_price(fair=fair, min_edge=min_edge, fees=fees, tick=tick)
    following = tick if price is None else price + tick
    if price is not None:
        assert on_grid(price, tick)
        assert net_edge(side=Side.BUY, fair=fair, price=price, fees=fees) >= min_edge
    if following < ONE:
        assert net_edge(side=Side.BUY, fair=fair, price=following, fees=fees) < min_edge


@given(PROBABILITIES, st.decimals(min_value="0", max_value="0.2", places=3), SCHEDULES, TICKS)
def test_buying_one_outcome_is_selling_the_other(
    fair: Decimal, min_edge: Decimal, fees: FeeSchedule, tick: Decimal
) -> None:
    buy = max_buy_price(fair=fair, min_edge=min_edge, fees=fees, tick=tick)
    sell = min_sell_price(fair=ONE - fair, min_edge=min_edge, fees=fees, tick=tick)
    assert sell == (None if buy is None else ONE - buy)


@given(PRICES, SCHEDULES, st.sampled_from(Side))
def test_at_break_even_nothing_is_earned(price: Decimal, fees: FeeSchedule, side: Side) -> None:
    fair = break_even(side=side, price=price, fees=fees)
    assert net_edge(side=side, fair=fair, price=price, fees=fees) == ZERO


@given(st.decimals(min_value="0.5", max_value="500", places=2), PRICES, SCHEDULES)
def test_a_fixed_size_never_costs_more_than_it_may(usd: Decimal, price: Decimal, fees: FeeSchedule) -> None:
    shares = fixed(usd=usd, price=price, fees=fees)
    assert shares == ZERO or shares >= MIN_ORDER_SHARES
    assert on_grid(shares, SHARE_GRID)
    assert shares * price + fees.reserved(shares=shares, price=price) <= usd or shares == ZERO


@given(LEVELS, PROBABILITIES, SCHEDULES, st.sampled_from([Decimal("0.25"), Decimal("0.5"), ONE]))
def test_kelly_never_risks_more_than_its_fraction(
    levels: tuple[Level, ...], fair: Decimal, fees: FeeSchedule, fraction: Decimal
) -> None:
    bankroll = Decimal(300)
    full = kelly_spend(levels, fair=fair, fees=fees, bankroll=bankroll)
    assert ZERO <= full <= bankroll
    shares = kelly(levels, fair=fair, fees=fees, bankroll=bankroll, fraction=fraction)
    assert shares == ZERO or shares >= MIN_ORDER_SHARES
    take = walk(levels, side=Side.BUY, fees=fees, shares=shares) if shares else None
    assert take is None or take.all_in <= full * fraction


@given(st.decimals(min_value="0.05", max_value="0.9", places=2), SCHEDULES)
def test_kelly_bets_more_on_more_edge_and_nothing_on_none(price: Decimal, fees: FeeSchedule) -> None:
    levels = (Level(price, Decimal(100_000)),)
    even = break_even(side=Side.BUY, price=price, fees=fees)
    assume(even < Decimal("0.97"))
    spends = [
        kelly_spend(levels, fair=even + Decimal(extra), fees=fees, bankroll=Decimal(300))
        for extra in ("-0.01", "0", "0.01", "0.02")
    ]
    assert spends[0] == spends[1] == ZERO
    assert ZERO < spends[2] < spends[3]


@pytest.mark.parametrize(("fraction", "spend"), [("1", "20.21"), ("0.5", "10.10"), ("0.25", "5.05")])
def test_kelly_on_a_flat_book_at_evens(fraction: str, spend: str) -> None:
    full = kelly_spend(
        (Level(Decimal("0.5"), Decimal(10_000)),),
        fair=Decimal("0.55"),
        fees=for_category("crypto"),
        bankroll=Decimal(300),
    )
    assert round(full * Decimal(fraction), 2) == Decimal(spend)


@given(
    st.decimals(min_value="1", max_value="20", places=2),
    st.decimals(min_value="0.02", max_value="0.98", places=2),
    st.decimals(min_value="0.01", max_value="0.98", places=2),
    SCHEDULES,
)
def test_the_reserve_covers_the_fee_at_any_better_price(
    usd: Decimal, limit: Decimal, price: Decimal, fees: FeeSchedule
) -> None:
    assume(price <= limit)
    reserved = reserve_for_spend(usd=usd, limit=limit, tick=Decimal("0.01"), fees=fees)
    if fees.exponent == ONE:
        assert reserved >= usd + fees.charged(shares=usd / price, price=price)
