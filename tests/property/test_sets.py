"""Sets of legs, whatever the books do: no cap is passed, no loss is possible when all legs match, no leg is larger."""

from dataclasses import replace
from decimal import Decimal

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pmarb.domain.book import Book, Level
from pmarb.domain.bundles import leg_risk, unwind
from pmarb.domain.fees import FeeSchedule
from pmarb.domain.limits import CEILING_USD, Limits
from pmarb.domain.messages import Approval, Opportunity
from pmarb.domain.orders import OrderType
from pmarb.domain.values import CENT, ONE, ZERO
from pmarb.venue.port import Intent
from services.executor.decide import Skip, fees_of
from services.executor.sets import Held, Kept, further, leaving, opening, sequence, surplus
from services.risk.decide import judge
from tests.builders import NOW, a_set, a_set_leg
from tests.judging import AT, a_portfolio

RATES = st.sampled_from([Decimal(0), Decimal("0.04"), Decimal("0.07")])
CENTS = st.integers(6, 94).map(lambda cents: Decimal(cents) / 100)
LIMITS = st.builds(
    Limits,
    order_pct=st.sampled_from([Decimal("0.01"), Decimal("0.05")]),
    order_usd=st.sampled_from([Decimal(5), Decimal(20)]),
    hard_cap_usd=st.sampled_from([Decimal(5), Decimal(10), Decimal(20)]),
    market_pct=st.sampled_from([Decimal("0.01"), Decimal("0.03")]),
    event_pct=st.sampled_from([Decimal("0.01"), Decimal("0.04")]),
    underlying_pct=st.sampled_from([Decimal("0.015"), Decimal("0.06")]),
    min_edge=st.sampled_from([Decimal("0.001"), Decimal("0.02")]),
)


@st.composite
def sets(draw: st.DrawFn) -> Opportunity:
    """Two or three legs that cost less than they pay, by little or by much."""
    prices = draw(st.lists(st.integers(6, 60), min_size=2, max_size=3).filter(lambda found: sum(found) < 97))
    one_event = draw(st.booleans())
    legs = tuple(
        a_set_leg(
            number,
            price=str(Decimal(cents) / 100),
            fee_rate=draw(RATES),
            shares=Decimal(draw(st.integers(5, 60))),
            bid=Decimal(cents - draw(st.integers(1, 3))) / 100,
            event="one" if one_event else f"e{number}",
        )
        for number, cents in enumerate(prices)
    )
    return a_set(legs=legs)


@st.composite
def approvals(draw: st.DrawFn) -> Approval:
    capital = draw(st.sampled_from([Decimal(500), Decimal(2000)]))
    answer = judge(draw(sets()), a_portfolio(capital=capital), draw(LIMITS), now=AT)
    assume(isinstance(answer, Approval))
    assert isinstance(answer, Approval)
    return answer


def a_market(data: st.DataObject, token: str, around: Decimal) -> Book:
    """Some levels near a price, on the grid of cents."""
    lowest = max(int(around * 100) + data.draw(st.integers(-3, 3)), 2)
    prices = sorted(data.draw(st.sets(st.integers(lowest, min(lowest + 6, 98)), min_size=1, max_size=4)))
    asks = tuple(Level(Decimal(cents) / 100, Decimal(data.draw(st.integers(1, 80)))) for cents in prices)
    bids = (Level(asks[0].price - CENT, Decimal(50)),)
    return Book(token=token, bids=bids, asks=asks, ts_event=AT, ts_init=AT)


@settings(max_examples=150)
@given(sets(), LIMITS, st.sampled_from([Decimal(300), Decimal(500), Decimal(2000)]))
def test_no_size_of_a_set_passes_a_cap_or_misses_a_minimum(
    wanted: Opportunity, limits: Limits, capital: Decimal
) -> None:
    portfolio = a_portfolio(capital=capital)
    answer = judge(wanted, portfolio, limits, now=AT)
    if not isinstance(answer, Approval):
        return
    portfolio.on_approval(answer)
    (shares,) = {leg.shares for leg in answer.legs}
    assert shares == shares.to_integral_value()
    assert limits.min_shares <= shares <= min(leg.shares for leg in wanted.legs)
    assert all(leg.shares * leg.leg.limit >= limits.min_usd for leg in answer.legs)
    assert answer.reserved == sum(leg.reserved for leg in answer.legs)
    assert answer.reserved <= min(limits.order_usd, limits.hard_cap_usd, CEILING_USD)
    assert answer.reserved <= max(limits.order_pct, limits.order_pct_to_reach_minimum) * capital
    assert all(leg.reserved <= limits.market_pct * capital for leg in answer.legs)
    for event in {leg.leg.event for leg in answer.legs}:
        together = sum(leg.reserved for leg in answer.legs if leg.leg.event == event)
        assert together == portfolio.exposed(AT).of_event(event) <= limits.event_pct * capital
    assert answer.reserved <= limits.underlying_pct * capital  # All legs end together here
    left = [answer.reserved - leg.reserved for leg in answer.legs]
    assert answer.worst_loss == max(left)
    fees = [FeeSchedule(leg.fee_rate) for leg in wanted.legs]
    cost = sum(leg.limit + f.fee(shares=ONE, price=leg.limit) for leg, f in zip(wanted.legs, fees, strict=True))
    risk = leg_risk([unwind(price=leg.limit, bid=leg.bid, fees=f) for leg, f in zip(wanted.legs, fees, strict=True)])
    assert ONE - cost - risk >= limits.min_edge


@settings(max_examples=200)
@given(approvals(), st.data())
def test_when_every_leg_matches_at_its_limit_nothing_is_lost_and_never_more_is_spent_than_reserved(
    approval: Approval, data: st.DataObject
) -> None:
    books = [a_market(data, leg.leg.token, leg.leg.limit) for leg in approval.legs]
    order = sequence(approval, books, now=AT)
    if isinstance(order, Skip):
        return
    depths = [sum(size for price, size in books[i].asks if price <= approval.legs[i].limit) for i in order]
    assert depths == sorted(depths), "the thinnest comes first"
    held: list[Held] = []
    for step, index in enumerate(order):
        leg, later = approval.legs[index], order[step + 1 :]
        if held:
            moved = a_market(data, leg.leg.token, leg.leg.limit)  # Meanwhile the market went on
            intent = further(approval, index, held, later, moved, now=AT)
        else:
            intent = opening(leg, books[index])
        if isinstance(intent, Skip):
            break
        assert intent.order_type is (OrderType.FAK if held else OrderType.FOK)
        assert intent.limit <= leg.limit
        assert intent.usd == intent.shares * intent.limit
        assert intent.usd % CENT == ZERO
        assert intent.usd <= leg.usd
        fee = fees_of(leg).reserved(shares=intent.shares, price=intent.limit)
        assert intent.usd + fee <= leg.reserved
        part = Decimal(data.draw(st.integers(60, 100))) / 100 if held else ONE  # A FAK may match in part
        shares = (intent.shares * part).quantize(CENT)
        paid = shares * intent.limit + fees_of(leg).reserved(shares=shares, price=intent.limit)
        held.append(Held(shares=shares, paid=paid))
        assert sum(each.paid for each in held) <= approval.reserved
    bought = dict(zip(order, held, strict=False))
    whole, extra = surplus(bought, len(approval.legs), {})
    spent = sum((each.paid for each in held), ZERO)
    if whole and not any(extra.values()):
        assert approval.fair * whole >= spent, "a whole set lost money"
    if len(held) < len(approval.legs):
        assert spent <= approval.worst_loss, "more than the stated bound is at stake"


@settings(max_examples=150)
@given(approvals(), st.data())
def test_leaving_a_leg_never_loses_more_than_holding_it_to_nothing(approval: Approval, data: st.DataObject) -> None:
    leg = approval.legs[0]
    fair = data.draw(st.none() | CENTS)
    leg = replace(leg, leg=replace(leg.leg, fair=fair, fair_se=data.draw(st.sampled_from([ZERO, Decimal("0.03")]))))
    shares = Decimal(data.draw(st.integers(1, 40)))
    book = a_market(data, leg.leg.other_token, ONE - leg.leg.limit)
    choice = leaving(leg, shares, book, now=AT)
    if isinstance(choice, Kept):
        return
    assert isinstance(choice, Intent)
    assert choice.token == leg.leg.other_token
    assert choice.shares <= shares
    cost = choice.usd + fees_of(leg).reserved(shares=choice.shares, price=choice.limit)
    assert cost <= choice.shares + Decimal("0.00001"), "a pair cost more than its dollar"
    brings = ONE - choice.limit - fees_of(leg).fee(shares=ONE, price=choice.limit)
    if fair is not None:
        assert brings >= max(fair - 2 * leg.leg.fair_se, ZERO), "what was worth more was left"


def test_a_leg_worth_more_than_it_brings_is_held_and_one_worth_less_is_left() -> None:
    answer = judge(a_set("0.45", "0.40"), a_portfolio(capital=Decimal(500)), Limits(), now=AT)
    assert isinstance(answer, Approval)
    leg = answer.legs[0]
    other = Book(
        token=leg.leg.other_token, bids=(Level(Decimal("0.55"), Decimal(50)),),
        asks=(Level(Decimal("0.56"), Decimal(50)),), ts_event=NOW, ts_init=AT,
    )  # fmt: skip
    dear, cheap, unsure = (
        replace(leg, leg=replace(leg.leg, fair=fair, fair_se=Decimal("0.01")))
        for fair in (Decimal("0.46"), Decimal("0.43"), None)
    )
    assert isinstance(leaving(dear, Decimal(5), other, now=AT), Kept)
    for each in (cheap, unsure):
        left = leaving(each, Decimal(5), other, now=AT)
        assert isinstance(left, Intent)
        assert (left.limit, left.order_type) == (Decimal("0.57"), OrderType.FAK)
    assert isinstance(leaving(cheap, Decimal("4.99"), other, now=AT), Kept)
    assert isinstance(leaving(cheap, Decimal(5), None, now=AT), Kept)
