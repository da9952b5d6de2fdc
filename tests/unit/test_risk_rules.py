"""Every rule of the Guardian has a test that trips it, with the numbers a person reads."""

import json
from collections import defaultdict, deque
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pmarb.db.portfolio import Snapshot, StoredState
from pmarb.domain.limits import CEILING_USD, WORDS, Limits, Sizing, plainly, warnings_at
from pmarb.domain.messages import (
    Approval,
    Fill,
    Halt,
    Kill,
    Opportunity,
    OrderUpdate,
    Rejection,
    RejectionReason,
    Resume,
    TradingState,
)
from pmarb.domain.orders import FillStatus, OrderState
from pmarb.domain.sizing import Record
from pmarb.domain.values import NANOS, Side
from services.risk.breakers import Breaker, tripped
from services.risk.decide import judge, weigh
from services.risk.gates import calibration_z
from services.risk.portfolio import DAY, Outcome, Portfolio
from services.risk.rebuild import rebuilt
from services.risk.settings import RiskSettings
from tests.builders import NOW, a_leg, a_settlement, an_opportunity

Reason = RejectionReason
AT = NOW + 100 * NANOS
TODAY = AT // DAY
LIMITS = Limits()
ROOMY = replace(LIMITS, order_usd=Decimal(20))


def a_portfolio(**changes: Any) -> Portfolio:
    fields: dict[str, Any] = {"capital": Decimal(300), "today": TODAY}
    return Portfolio(**(fields | changes))


def state_at(portfolio: Portfolio, now: int) -> TradingState:
    portfolio.at(now)
    return portfolio.state


def denied(opportunity: Opportunity, portfolio: Portfolio | None = None, limits: Limits = LIMITS) -> Rejection:
    answer = judge(opportunity, portfolio or a_portfolio(), limits, now=AT)
    assert isinstance(answer, Rejection), answer
    return answer


def approved(opportunity: Opportunity, portfolio: Portfolio | None = None, limits: Limits = LIMITS) -> Approval:
    answer = judge(opportunity, portfolio or a_portfolio(), limits, now=AT)
    assert isinstance(answer, Approval), answer
    return answer


def another(number: int, **changes: Any) -> Opportunity:
    """An opportunity in a market of its own."""
    leg = a_leg(market=f"0xm{number}", token=f"t{number}")
    fields = {"opportunity_id": f"opp-{number}", "legs": (leg,), "event": f"e{number}", "underlying": f"u{number}"}
    return an_opportunity(**(fields | changes))


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


def test_a_halt_does_not_soften_a_kill() -> None:
    portfolio = a_portfolio()
    portfolio.on_control(Kill(who="me", why="fire", ts_event=AT, ts_init=AT))
    portfolio.on_control(Halt(who="risk", why="day stop", clears_at=AT + 1, ts_event=AT, ts_init=AT))
    portfolio.at(AT + DAY)
    assert portfolio.state is TradingState.KILLED


def test_a_day_stop_ends_at_midnight_and_another_halt_does_not() -> None:
    midnight = (AT // DAY + 1) * DAY
    portfolio = a_portfolio()
    portfolio.on_control(Halt(who="risk", why="day stop", clears_at=midnight, ts_event=AT, ts_init=AT))
    assert state_at(portfolio, midnight - 1) is TradingState.HALTED
    assert state_at(portfolio, midnight) is TradingState.ACTIVE
    portfolio.on_control(Halt(who="me", why="lunch", clears_at=0, ts_event=AT, ts_init=AT))
    assert state_at(portfolio, midnight + DAY) is TradingState.HALTED


def test_a_clock_that_is_set_back_forgets_no_loss() -> None:
    lost = a_settlement(pnl=Decimal(-20), won=False, payout=Decimal(0), ts_event=AT)
    portfolio = a_portfolio()
    portfolio.on_settlement(lost)
    portfolio.at(AT - DAY)
    assert portfolio.day_pnl == -20
    breaker = tripped(portfolio, LIMITS, now=AT - DAY)
    assert breaker is not None
    assert breaker.clears_at == (AT // DAY + 1) * DAY
    snapshot = Snapshot(
        capital=Decimal(300), orders=(), fills=(), settlements=(lost,), resumed_at=0,
        state=StoredState(state=TradingState.ACTIVE, who="", why="", since=0, clears_at=0),
    )  # fmt: skip
    for now in (AT, AT - DAY, AT - 30 * DAY):
        again = rebuilt(snapshot, (), now=now)
        again.at(now)
        assert (again.day_pnl, again.drawdown) == (portfolio.day_pnl, portfolio.drawdown)


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


def test_losses_stop_and_say_how_much() -> None:
    assert denied(an_opportunity(), a_portfolio(results=lost(15))).detail == "pnl_today=-15 limit=-15"
    assert (
        denied(
            an_opportunity(), a_portfolio(capital=Decimal(900), realised=Decimal(-180), peak=Decimal(900)), ROOMY
        ).reason
        is Reason.DRAWDOWN
    )
    assert denied(an_opportunity(), a_portfolio(fees={"t": (TODAY, Decimal(6))})).reason is Reason.FEE_BURN
    streak = a_portfolio(losses_in_a_row=6, last_loss_at=AT - 60 * NANOS)
    assert denied(an_opportunity(), streak).detail == "losses_in_a_row=6 limit=6"
    approved(an_opportunity(), a_portfolio(losses_in_a_row=6, last_loss_at=AT - 3600 * NANOS))


def lost(dollars: int | str, day: int = TODAY) -> Any:
    return defaultdict(Decimal, {day: -Decimal(dollars)})


def test_thirty_positions_that_win_less_than_they_cost_stop_trading_for_a_person() -> None:
    portfolio = a_portfolio(outcomes=deque([Outcome(cost=Decimal("0.5"), paid=Decimal(0))] * 20))
    approved(an_opportunity(), portfolio)  # Twenty prove nothing yet
    portfolio.outcomes.extend([Outcome(cost=Decimal("0.5"), paid=Decimal(0))] * 2)
    portfolio.outcomes.extend([Outcome(cost=Decimal("0.5"), paid=Decimal(1))] * 8)
    assert calibration_z(portfolio, LIMITS) == pytest.approx(-7 / (30 * 0.25) ** 0.5)
    refusal = denied(an_opportunity(), portfolio)
    assert (refusal.reason, refusal.detail) == (Reason.CALIBRATION, "calibration_z=-2.556 limit=-2.5")
    breaker = tripped(portfolio, LIMITS, now=AT)
    assert breaker is not None
    assert (breaker.state, breaker.clears_at) == (TradingState.HALTED, 0)
    assert breaker.why == "the last 30 positions paid 2.6 standard deviations less than they cost"
    portfolio.restart_counts(AT)
    approved(an_opportunity(), portfolio)


def an_answer(number: int, state: OrderState, cause: str = "") -> OrderUpdate:
    return OrderUpdate(
        opportunity_id=f"o{number}", leg=0, order_hash=f"0x{number}", state=state, cause=cause, slug="", market="",
        token="", outcome="Up", side=Side.BUY, price=Decimal(1), shares=Decimal(1), reserved=Decimal(1),
        filled=Decimal(0), ts_event=AT, ts_init=AT,
    )  # fmt: skip


def test_refusals_stop_trading_but_late_orders_and_pauses_do_not() -> None:
    portfolio = a_portfolio()
    for number in range(20):
        portfolio.on_order(an_answer(number, OrderState.REJECTED, "no_match: nothing left"))
        portfolio.on_order(an_answer(100 + number, OrderState.REJECTED, "paused: restarting"))
    approved(an_opportunity(), portfolio)
    for number in range(20, 32):
        portfolio.on_order(an_answer(number, OrderState.REJECTED, "not enough balance"))
    approved(an_opportunity(), portfolio)  # Twelve of twenty are sixty percent, no more
    portfolio.on_order(an_answer(33, OrderState.REJECTED, "invalid signature"))
    portfolio.on_order(an_answer(33, OrderState.REJECTED, "invalid signature"))
    assert denied(an_opportunity(), portfolio).detail == "refused=0.65 limit=0.6"
    breaker = tripped(portfolio, LIMITS, now=AT)
    assert breaker is not None
    assert (breaker.state, breaker.why) == (TradingState.HALTED, "the venue refused 65% of the last 20 orders")


def test_six_losses_in_a_row_reduce_for_an_hour() -> None:
    portfolio = a_portfolio()
    for number in range(6):
        assert tripped(portfolio, LIMITS, now=AT) is None
        portfolio.on_settlement(
            a_settlement(token=str(number), pnl=Decimal(-1), payout=Decimal(0), ts_event=AT + number)
        )
    breaker = tripped(portfolio, LIMITS, now=AT + 6)
    assert breaker is not None
    assert (breaker.state, breaker.clears_at) == (TradingState.REDUCING, AT + 5 + 3600 * NANOS)
    assert breaker.why == "6 losses in a row, cooling down for 60 minutes"
    assert tripped(portfolio, LIMITS, now=breaker.clears_at) is None


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
    won, lost = Record(count=400, total=40.0, squares=400.0), Record(count=400, total=-12.0, squares=400.0)
    approved(an_opportunity(), a_portfolio(records={"updown_twap": won, "other": lost}), limits)
    poor = a_portfolio(capital=Decimal(250), records={"updown_twap": lost, "other": won})
    refusal = denied(an_opportunity(), poor, replace(limits, total_pct=Decimal("0.03")))
    assert refusal.reason is Reason.STRATEGY_CAP
    hopeless = a_portfolio(records={"updown_twap": replace(lost, total=-40.0)})
    assert denied(an_opportunity(), hopeless, limits).detail == "strategy_room_usd=0 limit=2.6732"


@pytest.mark.parametrize("state", [state for state in OrderState if not state.terminal])
def test_an_order_in_doubt_is_exposure(state: OrderState) -> None:
    portfolio = a_portfolio()
    approval = approved(an_opportunity(), portfolio)
    portfolio.on_approval(approval)
    order = replace(an_answer(1, state), opportunity_id=approval.opportunity_id, reserved=approval.reserved)
    portfolio.on_order(order)
    assert portfolio.exposure(AT + DAY) == approval.reserved
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


def test_a_clock_that_was_ahead_for_a_while_forgets_no_loss() -> None:
    portfolio = a_portfolio()
    portfolio.on_settlement(a_settlement(pnl=Decimal(-15), ts_event=AT))
    portfolio.at(AT + 3 * DAY)
    assert portfolio.day_pnl == 0
    portfolio.on_settlement(a_settlement(token="o", pnl=Decimal(-2), ts_event=AT + 3 * DAY))
    portfolio.at(AT)
    assert portfolio.day_pnl == Decimal(-17)


def test_money_taken_out_is_no_drawdown() -> None:
    portfolio = a_portfolio()
    portfolio.on_settlement(a_settlement(pnl=Decimal(-3)))
    portfolio.learn_capital(Decimal(150))
    assert portfolio.equity == Decimal(147)
    assert portfolio.drawdown == Decimal(3) / 150


def test_every_gate_has_a_reason_a_value_and_a_limit_and_they_come_in_the_order_of_the_enum() -> None:
    found = weigh(an_opportunity(), a_portfolio(), replace(LIMITS, sizing=Sizing.ALLOCATOR), now=AT).asked
    assert all(gate.passed and "limit=" in gate.detail for gate in found)
    order = list(Reason)
    asked = list(dict.fromkeys(gate.reason for gate in found))  # Some have two questions
    asked.remove(Reason.INSUFFICIENT_CASH)  # Is there a wallet at all; at the end, is there enough in it
    assert asked == sorted(asked, key=order.index)
    unasked = {Reason.TRADING_KILLED, Reason.REDUCING_ONLY, Reason.INSUFFICIENT_CASH}
    assert set(asked) == set(order) - unasked


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


def test_breakers_name_the_state_the_reason_and_when_it_ends() -> None:
    midnight = (AT // DAY + 1) * DAY
    assert tripped(a_portfolio(), LIMITS, now=AT) is None
    day = tripped(a_portfolio(results=lost("15.5")), LIMITS, now=AT)
    assert day is not None
    assert (day.state, day.why, day.clears_at) == (TradingState.HALTED, "lost $15.50 today, limit $15.00", midnight)
    fees = tripped(a_portfolio(fees={"t": (TODAY, Decimal("6.10"))}), LIMITS, now=AT)
    assert fees is not None
    assert fees.why == "paid $6.10 in fees today, limit $6.00"
    kill = tripped(a_portfolio(realised=Decimal(-60), peak=Decimal(300)), LIMITS, now=AT)
    assert kill is not None
    assert (kill.state, kill.clears_at) == (TradingState.KILLED, 0)


def test_settlements_move_equity_once() -> None:
    portfolio = a_portfolio()
    for _ in range(2):
        portfolio.on_settlement(a_settlement(pnl=Decimal("-3.105")))
    assert portfolio.equity == Decimal("296.895")
    assert portfolio.losses_in_a_row == 1
    portfolio.on_settlement(a_settlement(token="other", pnl=Decimal(1)))
    assert portfolio.losses_in_a_row == 0


@pytest.mark.parametrize(
    ("state", "clears_at", "stricter"),
    [
        (TradingState.ACTIVE, 0, True),
        (TradingState.REDUCING, AT + 1, True),
        (TradingState.HALTED, AT, True),
        (TradingState.HALTED, AT + DAY, False),
        (TradingState.HALTED, 0, False),
        (TradingState.KILLED, 0, False),
    ],
)
def test_a_breaker_never_softens_what_stands(state: TradingState, clears_at: int, stricter: bool) -> None:
    breaker = Breaker(state=TradingState.HALTED, why="day", clears_at=AT + 10)
    assert breaker.says_more_than(state, clears_at) is stricter


def test_a_limit_below_the_venues_minimum_is_said_in_words() -> None:
    assert warnings_at(LIMITS, Decimal(1000)) == []
    (warning,) = warnings_at(LIMITS, Decimal(200))
    assert "above 0.60" in warning
    (warning,) = warnings_at(replace(LIMITS, hard_cap_usd=Decimal("0.5")), Decimal(300))
    assert warning.startswith("NOTHING can be traded: the venue's minimum of 5 shares (and $1) costs more")
    (warning,) = warnings_at(LIMITS, Decimal(15))
    assert warning.startswith("NOTHING can be traded")


@pytest.mark.parametrize(
    ("bankroll", "order", "widest", "market", "event", "bet", "total", "day", "fees"),
    [
        (200, "2.00", "3.00", "6", "8", "12", "40", "10", "4"),
        (300, "3.00", "4.50", "9", "12", "18", "60", "15", "6"),
        (500, "5.00", "7.50", "15", "20", "30", "100", "25", "10"),
    ],
)
def test_the_defaults_are_those_of_the_table(bankroll: int, order: str, widest: str, market: str, event: str,
                                             bet: str, total: str, day: str, fees: str) -> None:  # fmt: skip
    at = [
        LIMITS.order_pct, LIMITS.order_pct_to_reach_minimum, LIMITS.market_pct, LIMITS.event_pct,
        LIMITS.underlying_pct, LIMITS.total_pct, LIMITS.daily_loss_pct, LIMITS.fee_burn_pct,
    ]  # fmt: skip
    assert [of * bankroll for of in at] == [Decimal(v) for v in (order, widest, market, event, bet, total, day, fees)]


def test_the_defaults_are_those_of_the_research() -> None:
    path = Path(__file__).parents[3] / "shared/domain/defaults.json"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    risk = json.loads(path.read_text(), parse_float=Decimal)["risk"]
    limits = RiskSettings().limits()
    assert (limits.order_usd, limits.order_pct) == (risk["max_order_usd"], risk["max_order_pct_equity"])
    assert (limits.hard_cap_usd, CEILING_USD) == (risk["hard_cap_order_usd"], risk["absolute_ceiling_usd"])
    assert (limits.market_pct, limits.event_pct) == (risk["max_market_pct"], risk["max_event_pct"])
    assert (limits.underlying_pct, limits.total_pct) == (
        risk["max_underlying_expiry_pct"], risk["max_total_exposure_pct"],
    )  # fmt: skip
    assert (limits.max_positions, limits.max_open_orders) == (risk["max_open_positions"], risk["max_open_orders"])
    assert (limits.daily_loss_pct, limits.fee_burn_pct) == (risk["daily_loss_pct"], risk["daily_fee_burn_pct"])
    assert (limits.drawdown_reduce_pct, limits.drawdown_kill_pct) == (
        risk["drawdown_reduce_pct"], risk["drawdown_kill_pct"],
    )  # fmt: skip
    assert (limits.reject_window, limits.reject_ratio) == tuple(risk["reject_ratio_halt"].values())
    assert (limits.losses_in_a_row, limits.cool_down // (60 * NANOS)) == tuple(risk["cooldown_after_losses"].values())
    assert (limits.calibration_window, limits.calibration_z) == tuple(risk["calibration_z_halt"].values())
    assert [limits.price_low, limits.price_high, limits.max_spread] == [*risk["price_band"], risk["max_spread"]]
    assert (limits.orders_per_second, limits.orders_per_minute) == (
        risk["order_rate_per_s"], risk["order_rate_per_min"],
    )  # fmt: skip
    assert limits.trades_per_day == risk["max_trades_day_paper"]
    live = RiskSettings(venue="polymarket", execution="live").limits()
    assert live.trades_per_day == risk["max_trades_day"]


def test_every_limit_has_its_words() -> None:
    assert set(WORDS) == set(plainly(LIMITS))
