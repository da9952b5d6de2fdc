"""Every rule of the Guardian has a test that trips it, with the numbers a person reads."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from pmarb.domain.book import Level
from pmarb.domain.limits import Limits, Sizing
from pmarb.domain.messages import (
    Fill,
    Halt,
    Kill,
    RejectionReason,
    Resume,
    TradingState,
)
from pmarb.domain.orders import FillStatus, OrderState
from pmarb.domain.sizing import Record
from pmarb.domain.values import NANOS, Side
from services.risk.decide import weigh
from services.risk.portfolio import DAY
from tests.builders import a_leg, a_set, an_opportunity
from tests.judging import AT, LIMITS, TODAY, Reason, a_portfolio, an_answer, another, approved, denied


def test_a_sound_opportunity_is_approved_within_one_percent_of_equity() -> None:
    approval = approved(an_opportunity())
    (leg,) = approval.legs
    assert (leg.shares, leg.usd) == (Decimal("5.59"), Decimal("2.79"))
    assert leg.reserved <= Decimal("3.00")
    assert approval.bound_by == "order"
    assert approval.expires_at <= AT + LIMITS.approval_ttl


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"expires_at": AT - 1}, Reason.EXPIRED),
        ({"ts_init": AT + NANOS}, Reason.CLOCK_SKEW),
        ({"spot_ts_init": AT - 2 * NANOS}, Reason.STALE_SPOT),
        ({"reference_ts_init": AT - 6 * NANOS}, Reason.STALE_REFERENCE),
        ({"expiry": AT + 59 * NANOS}, Reason.TOO_LATE),
        ({"opens_at": AT - 4 * NANOS}, Reason.TOO_EARLY),
        ({"mid": Decimal("0.47")}, Reason.SPREAD_TOO_WIDE),
        ({"fair": Decimal("0.53"), "threshold": Decimal(0)}, Reason.EDGE_TOO_THIN),
        ({"threshold": Decimal("0.11")}, Reason.EDGE_TOO_THIN),
        ({"net_edge": Decimal("0.9"), "fair": Decimal("0.52")}, Reason.EDGE_TOO_THIN),
        ({"legs": ()}, Reason.MALFORMED),
        ({"legs": (a_leg(), a_leg())}, Reason.MALFORMED),
        ({"legs": (a_leg(side=Side.SELL),)}, Reason.MALFORMED),
        ({"legs": (a_leg(limit=Decimal("0.505")),)}, Reason.MALFORMED),
        ({"legs": (a_leg(levels=(Level(Decimal(40), Decimal(1)),)),)}, Reason.MALFORMED),
        ({"legs": (a_leg(book_ts_init=AT - NANOS),)}, Reason.STALE_BOOK),
        (
            {"legs": (a_leg(price=Decimal("0.04"), limit=Decimal("0.04")),), "mid": Decimal("0.03")},
            Reason.PRICE_BAND,
        ),
        ({"legs": (a_leg(shares=Decimal("4.99")),)}, Reason.BELOW_MINIMUM),
        ({"legs": (a_leg(tick=Decimal(0)),)}, Reason.MALFORMED),
        ({"legs": (a_leg(fee_rate=Decimal("0.11")),)}, Reason.UNKNOWN_FEE),
        ({"legs": (a_leg(fee_rate=Decimal(-1)),)}, Reason.UNKNOWN_FEE),
        ({"legs": (a_leg(fee_exponent=Decimal(99)),)}, Reason.UNKNOWN_FEE),
        ({"mid": Decimal("0.50")}, Reason.CROSSED_BOOK),
    ],
)
def test_what_is_wrong_with_the_opportunity_itself(changes: dict[str, Any], reason: RejectionReason) -> None:
    rejection = denied(an_opportunity(**changes))
    assert rejection.reason is reason
    assert "=" in rejection.detail


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (Halt(who="me", why="lunch", clears_at=0, ts_event=AT, ts_init=AT), Reason.TRADING_HALTED),
        (Kill(who="me", why="fire", ts_event=AT, ts_init=AT), Reason.TRADING_KILLED),
    ],
)
def test_a_stop_stops_and_resume_starts(message: Halt | Kill, reason: RejectionReason) -> None:
    portfolio = a_portfolio()
    portfolio.on_control(message)
    assert denied(an_opportunity(), portfolio).reason is reason
    portfolio.on_control(Resume(who="me", why="back", ts_event=AT, ts_init=AT))
    approved(an_opportunity(), portfolio)


def test_reducing_opens_nothing() -> None:
    assert denied(an_opportunity(), a_portfolio(state=TradingState.REDUCING)).reason is Reason.REDUCING_ONLY


def test_without_booked_capital_nothing_is_sized() -> None:
    assert denied(an_opportunity(), a_portfolio(capital=Decimal(0))).reason is Reason.INSUFFICIENT_CASH


def test_the_same_opportunity_twice_and_the_same_market_soon_are_duplicates() -> None:
    portfolio = a_portfolio()
    portfolio.on_approval(approved(an_opportunity(), portfolio))
    assert denied(an_opportunity(), portfolio).reason is Reason.DUPLICATE
    again = denied(an_opportunity(opportunity_id="opp-2"), portfolio)
    assert again.reason is Reason.ENTRIES_PER_WINDOW
    assert again.detail == "entries=1 limit=1"
    generous = replace(LIMITS, entries_per_window=9)
    assert denied(an_opportunity(opportunity_id="opp-2"), portfolio, generous).reason is Reason.DUPLICATE


def test_orders_are_counted_by_second_minute_and_day() -> None:
    portfolio = a_portfolio()
    portfolio.approvals_at.append(AT - NANOS // 2)
    assert denied(an_opportunity(), portfolio).detail == "approvals_in_1_s=1 limit=1"
    portfolio = a_portfolio()
    portfolio.approvals_at.extend([AT - 30 * NANOS] * 20)
    assert denied(an_opportunity(), portfolio).reason is Reason.ORDER_RATE
    portfolio = a_portfolio(entered={str(n): TODAY for n in range(200)})
    assert denied(an_opportunity(), portfolio).reason is Reason.TRADES_PER_DAY


def test_open_orders_and_positions_are_counted() -> None:
    roomy = replace(LIMITS, orders_per_second=99)
    portfolio = a_portfolio()
    for number in range(4):
        portfolio.on_approval(approved(another(number), portfolio, roomy))
    assert denied(another(9), portfolio, roomy).reason is Reason.TOO_MANY_ORDERS
    more_orders = replace(roomy, max_open_orders=99)
    portfolio.on_approval(approved(another(4), portfolio, more_orders))
    assert denied(another(9), portfolio, more_orders).reason is Reason.TOO_MANY_POSITIONS


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (replace(LIMITS, market_pct=Decimal("0.001")), Reason.MARKET_CAP),
        (replace(LIMITS, event_pct=Decimal("0.001")), Reason.EVENT_CAP),
        (replace(LIMITS, underlying_pct=Decimal("0.001")), Reason.UNDERLYING_CAP),
        (replace(LIMITS, total_pct=Decimal("0.001")), Reason.TOTAL_CAP),
        (replace(LIMITS, hard_cap_usd=Decimal("0.50")), Reason.ORDER_CAP),
        (
            replace(LIMITS, order_pct=Decimal("0.001"), order_pct_to_reach_minimum=Decimal("0.002")),
            Reason.BELOW_MINIMUM,
        ),
    ],
)
def test_each_cap_refuses_when_not_even_the_minimum_fits(limits: Limits, reason: RejectionReason) -> None:
    assert denied(an_opportunity(), limits=limits).reason is reason


def test_windows_of_one_price_that_end_together_are_one_bet() -> None:
    limits = replace(LIMITS, orders_per_second=99, underlying_pct=Decimal("0.02"))
    portfolio = a_portfolio()
    for number in range(2):
        portfolio.on_approval(approved(another(number, underlying="btc"), portfolio, limits))
    assert denied(another(2, underlying="btc"), portfolio, limits).reason is Reason.UNDERLYING_CAP
    far = another(3, underlying="btc", expiry=AT + 4000 * NANOS)
    approved(far, portfolio, limits)
    approved(another(4, underlying="eth"), portfolio, limits)


def test_the_minimum_may_pass_the_order_cap_but_not_the_wider_one() -> None:
    dear = an_opportunity(
        legs=(a_leg(price=Decimal("0.70"), limit=Decimal("0.70")),), fair=Decimal("0.85"), mid=Decimal("0.695")
    )
    assert approved(dear).legs[0].shares == LIMITS.min_shares
    assert denied(dear, a_portfolio(capital=Decimal(200))).reason is Reason.BELOW_MINIMUM


def test_locked_real_money_and_changed_rules_deny_before_anything_is_computed() -> None:
    locked = denied(an_opportunity(), a_portfolio(locked="12 of 300 paper fills"))
    assert (locked.reason, locked.detail) == (Reason.GATE_LOCKED, "gate=12 of 300 paper fills limit=open")
    changed = a_portfolio(tripwires={"0xmarket": "fee 0.07 -> 0.10"})
    assert denied(an_opportunity(), changed).detail == "rules=fee 0.07 -> 0.10 limit=as first seen"
    approved(another(1), changed)


def test_a_denial_can_tell_the_gates_behind_it_too() -> None:
    judged = weigh(an_opportunity(spot_ts_init=AT - 2 * NANOS), a_portfolio(), LIMITS, now=AT)
    assert judged.asked[-1].reason is Reason.STALE_SPOT
    assert [gate.reason for gate in judged.rest][-1] is Reason.INSUFFICIENT_CASH
    malformed = weigh(an_opportunity(legs=()), a_portfolio(), LIMITS, now=AT)
    assert {gate.passed for gate in malformed.rest} == {True}


def test_a_strategy_cannot_use_more_than_its_share() -> None:
    limits = replace(LIMITS, sizing=Sizing.ALLOCATOR)
    approved(an_opportunity(), limits=limits)  # The only one there is may use all
    won, lost = (
        Record(count=400, total=Decimal(40), squares=Decimal(400)),
        Record(count=400, total=Decimal(-12), squares=Decimal(400)),
    )
    approved(an_opportunity(), a_portfolio(records={"updown_twap": won, "other": lost}), limits)
    poor = a_portfolio(capital=Decimal(250), records={"updown_twap": lost, "other": won})
    refusal = denied(an_opportunity(), poor, replace(limits, total_pct=Decimal("0.03")))
    assert refusal.reason is Reason.STRATEGY_CAP
    hopeless = a_portfolio(records={"updown_twap": replace(lost, total=Decimal(-40))})
    assert denied(an_opportunity(), hopeless, limits).detail == "strategy_room_usd=0 limit=2.6732"


@pytest.mark.parametrize("state", [state for state in OrderState if not state.terminal])
def test_an_order_in_doubt_is_exposure(state: OrderState) -> None:
    portfolio = a_portfolio()
    approval = approved(an_opportunity(), portfolio)
    portfolio.on_approval(approval)
    order = replace(an_answer(1, state), opportunity_id=approval.opportunity_id, reserved=approval.reserved)
    portfolio.on_order(order)
    assert portfolio.exposed(AT + DAY).total == approval.reserved
    assert portfolio.open_orders(AT + DAY) == 1


def test_reducing_takes_the_other_outcome_of_what_is_held_and_no_more() -> None:
    portfolio = a_portfolio()
    approval = approved(an_opportunity(), portfolio)
    portfolio.on_approval(approval)
    portfolio.on_order(
        replace(an_answer(1, OrderState.FILLED), opportunity_id=approval.opportunity_id, reserved=approval.reserved)
    )
    fill = Fill(
        trade_id="t1", order_hash="0x1", opportunity_id=approval.opportunity_id, slug="", market="0xmarket",
        token="1001", outcome="Up", side=Side.BUY, shares=Decimal("5.30"), price=Decimal("0.5"), fee=Decimal("0.1"),
        status=FillStatus.CONFIRMED, ts_event=AT, ts_init=AT,
    )  # fmt: skip
    portfolio.on_fill(fill)
    portfolio.state, portfolio.losses_in_a_row, portfolio.last_loss_at = TradingState.REDUCING, 6, AT
    portfolio.approvals_at.clear()
    later = replace(LIMITS, duplicate_cooldown=0)
    other = an_opportunity(opportunity_id="opp-2", legs=(a_leg(token="1002"),))
    hedge = approved(other, portfolio, later)
    assert (hedge.legs[0].shares, hedge.bound_by) == (Decimal("5.30"), "hedge")
    assert denied(an_opportunity(opportunity_id="opp-3"), portfolio, later).reason is Reason.REDUCING_ONLY
    assert denied(another(1), portfolio, later).reason is Reason.REDUCING_ONLY


def test_every_gate_has_a_reason_a_value_and_a_limit_and_they_come_in_the_order_of_the_enum() -> None:
    rich, limits, order = a_portfolio(capital=Decimal(500)), replace(LIMITS, sizing=Sizing.ALLOCATOR), list(Reason)
    ever: set[Reason] = set()
    for opportunity in (an_opportunity(), a_set()):
        found = weigh(opportunity, rich, limits, now=AT).asked
        assert all(gate.passed and "limit=" in gate.detail for gate in found)
        asked = list(dict.fromkeys(gate.reason for gate in found))  # Some have two questions
        asked.remove(Reason.INSUFFICIENT_CASH)  # Is there a wallet at all; at the end, is there enough in it
        assert asked == sorted(asked, key=order.index)
        ever.update(asked)
    unasked = {Reason.TRADING_KILLED, Reason.REDUCING_ONLY, Reason.INSUFFICIENT_CASH}
    assert ever == set(order) - unasked


def test_in_a_drawdown_sizes_halve_and_the_minimum_is_not_forced() -> None:
    deep = a_portfolio(capital=Decimal(900), realised=Decimal(-100), peak=Decimal(900))
    roomy = replace(LIMITS, order_usd=Decimal(20))
    assert Decimal("3.90") < approved(an_opportunity(), deep, roomy).legs[0].reserved <= Decimal(4)
    poor = a_portfolio(capital=Decimal(300), realised=Decimal(-35), peak=Decimal(300))
    assert denied(an_opportunity(), poor).reason is Reason.BELOW_MINIMUM


def test_quarter_kelly_bets_less_on_less() -> None:
    limits = replace(LIMITS, sizing=Sizing.QUARTER_KELLY, order_pct=Decimal("0.05"), order_usd=Decimal(20))
    thin = an_opportunity(fair=Decimal("0.545"), threshold=Decimal("0.02"))
    fat = an_opportunity(fair=Decimal("0.60"), threshold=Decimal("0.02"))
    small, large = approved(thin, limits=limits).legs[0], approved(fat, limits=limits).legs[0]
    assert small.shares < large.shares
    tiny = an_opportunity(fair=Decimal("0.5385"), threshold=Decimal("0.02"))
    assert denied(tiny, a_portfolio(capital=Decimal(200)), limits).reason is Reason.BELOW_MINIMUM
