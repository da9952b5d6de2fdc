"""Sets of legs before risk: sized as a whole, priced with the risk of a part, and their worst loss stated."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from pmarb.domain.messages import Approval, Fill, OrderUpdate
from pmarb.domain.orders import EXIT_LEG, FillStatus, OrderState
from pmarb.domain.values import NANOS, Side
from services.risk.decide import weigh
from services.risk.portfolio import Portfolio
from tests.builders import NOW, a_set, a_set_leg
from tests.judging import AT, LIMITS, Reason, a_portfolio, approved, denied

RICH = Decimal(500)


def rich(**changes: Any) -> Portfolio:
    return a_portfolio(capital=RICH, **changes)


def with_leg(number: int, **changes: Any) -> Any:
    legs = list(a_set().legs)
    legs[number] = replace(legs[number], **changes)
    return a_set(legs=tuple(legs))


def test_a_set_is_approved_with_equal_whole_shares_and_the_bound_of_its_loss() -> None:
    approval = approved(a_set(), rich())
    assert {leg.shares for leg in approval.legs} == {Decimal(5)}
    assert [leg.limit for leg in approval.legs] == [Decimal("0.46"), Decimal("0.41")]
    assert approval.reserved == sum(leg.reserved for leg in approval.legs) <= Decimal(5)
    assert approval.worst_loss == max(leg.reserved for leg in approval.legs)
    assert approval.threshold > LIMITS.min_edge


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"other_token": ""}, Reason.MALFORMED),
        ({"market": "0xm0"}, Reason.MALFORMED),
        ({"slug": ""}, Reason.MALFORMED),
        ({"side": Side.SELL}, Reason.MALFORMED),
        ({"book_ts_init": AT - 3 * NANOS}, Reason.STALE_BOOK),
        ({"book_ts_init": AT - NANOS}, Reason.LEG_SKEW),
        ({"bid": Decimal("0.40")}, Reason.CROSSED_BOOK),
        ({"bid": Decimal("0.35")}, Reason.SPREAD_TOO_WIDE),
        ({"price": Decimal("0.04"), "limit": Decimal("0.04"), "bid": Decimal("0.03")}, Reason.PRICE_BAND),
        ({"expiry": AT + 119 * NANOS}, Reason.TOO_LATE),
        ({"fee_rate": Decimal("0.11")}, Reason.UNKNOWN_FEE),
        ({"shares": Decimal("4.99")}, Reason.BELOW_MINIMUM),
    ],
)
def test_one_bad_leg_denies_the_set_and_is_named(changes: dict[str, Any], reason: Reason) -> None:
    answer = denied(with_leg(1, **changes), rich())
    assert answer.reason is reason
    assert reason in (Reason.LEG_SKEW, Reason.BELOW_MINIMUM) or "[1]" in answer.detail or "legs of 2" in answer.detail


def test_an_edge_that_does_not_pay_for_a_lone_leg_is_denied_for_that() -> None:
    roomy = replace(LIMITS, order_usd=Decimal(20), order_pct=Decimal("0.05"))
    thin = a_set("0.50", "0.44")
    answer = denied(thin, rich(), roomy)
    assert (answer.reason, answer.detail) == (Reason.LEG_RISK, "edge_after_leg_risk=0.0177 limit=0.02")
    assert denied(a_set("0.50", "0.46"), rich(), roomy).reason is Reason.EDGE_TOO_THIN
    approved(a_set("0.50", "0.43"), rich(), roomy)


def test_a_set_is_held_against_every_cap_as_a_whole_and_by_what_its_legs_share() -> None:
    assert denied(a_set(), a_portfolio()).reason is Reason.BELOW_MINIMUM  # 1.5 % of $300 is less than the set costs
    limits = replace(LIMITS, order_usd=Decimal(20), hard_cap_usd=Decimal(20), order_pct=Decimal("0.05"))
    assert denied(a_set(), rich(), replace(limits, hard_cap_usd=Decimal("4.50"))).reason is Reason.ORDER_CAP
    assert denied(a_set(), rich(), replace(limits, market_pct=Decimal("0.004"))).reason is Reason.MARKET_CAP
    assert denied(a_set(), rich(), replace(limits, total_pct=Decimal("0.009"))).reason is Reason.TOTAL_CAP
    both = tuple(replace(leg, event="one") for leg in a_set().legs)
    tight = replace(limits, event_pct=Decimal("0.008"))
    assert denied(a_set(legs=both), rich(), tight).reason is Reason.EVENT_CAP
    approved(a_set(), rich(), tight)  # Two events, each with one leg
    same_end = replace(limits, underlying_pct=Decimal("0.008"))
    assert denied(a_set(), rich(), same_end).reason is Reason.UNDERLYING_CAP
    later = replace(a_set().legs[1], expiry=NOW + 7200 * NANOS)
    approved(a_set(legs=(a_set().legs[0], later)), rich(), same_end)
    assert denied(a_set(), rich(), replace(limits, max_positions=1)).reason is Reason.TOO_MANY_POSITIONS


def test_each_leg_counts_in_its_own_market_until_the_ledger_says_otherwise() -> None:
    portfolio = rich()
    approval = approved(a_set(), portfolio)
    portfolio.on_approval(approval)
    for number, leg in enumerate(approval.legs):
        assert portfolio.exposed(AT).of_market(f"0xm{number}") == leg.reserved
        assert portfolio.exposed(AT).of_event(f"e{number}") == leg.reserved
    assert len(portfolio.exposed(AT).markets) == 2
    assert portfolio.exposed(AT).total == approval.reserved
    again = a_set(opportunity_id="opp-2", legs=(a_set_leg(1), a_set_leg(7)))
    later = replace(LIMITS, orders_per_second=9)
    assert denied(again, portfolio, later).reason is Reason.ENTRIES_PER_WINDOW


def test_an_exit_turns_what_a_leg_holds_into_what_is_lost_for_sure() -> None:
    portfolio = rich()
    approval = approved(a_set(), portfolio)
    portfolio.on_approval(approval)
    portfolio.on_order(update_of(approval, 0, OrderState.FILLED))
    portfolio.on_fill(fill_of(approval, 0, "0.45"))
    portfolio.on_order(update_of(approval, 1, OrderState.REJECTED))
    assert portfolio.exposed(AT).total == Decimal("2.26")
    portfolio.on_order(update_of(approval, EXIT_LEG, OrderState.MATCHED))
    assert portfolio.exposed(AT).total == Decimal("2.26")  # Nothing is better before it has matched
    portfolio.on_fill(fill_of(approval, EXIT_LEG, "0.57"))
    assert portfolio.exposed(AT).total == Decimal("2.26") + Decimal("2.86") - 5
    assert portfolio.exposed(AT).of_market("0xm1") == 0


def test_why_shows_every_gate_of_a_set() -> None:
    judged = weigh(a_set(), rich(), LIMITS, now=AT)
    names = [gate.name for gate in (*judged.asked, *judged.rest)]
    assert {"leg_skew_ms", "edge_after_leg_risk", "spread[0]", "order_room_usd"} <= set(names)


def update_of(approval: Approval, leg: int, state: OrderState) -> OrderUpdate:
    of = approval.legs[leg % EXIT_LEG]
    return OrderUpdate(
        opportunity_id=approval.opportunity_id, leg=leg, order_hash=f"0x{leg}", state=state, cause="", slug="",
        market=of.leg.market, token=of.leg.token if leg < EXIT_LEG else of.leg.other_token, outcome="Yes",
        side=Side.BUY, price=of.limit, shares=of.shares, reserved=of.reserved, filled=Decimal(0), ts_event=AT,
        ts_init=AT,
    )  # fmt: skip


def fill_of(approval: Approval, leg: int, price: str) -> Fill:
    update = update_of(approval, leg, OrderState.MATCHED)
    return Fill(
        trade_id=f"t{leg}", order_hash=f"0x{leg}", opportunity_id=approval.opportunity_id, slug="",
        market=update.market, token=update.token, outcome="Yes", side=Side.BUY, shares=Decimal(5),
        price=Decimal(price), fee=Decimal("0.01"), status=FillStatus.PROVISIONAL, ts_event=AT, ts_init=AT,
    )  # fmt: skip
