"""What stops trading altogether, for how long, and what no restart and no clock forgets."""

from collections import deque
from decimal import Decimal

import pytest

from pmarb.db.portfolio import Snapshot, StoredState
from pmarb.domain.messages import (
    Halt,
    Kill,
    TradingState,
)
from pmarb.domain.orders import OrderState
from pmarb.domain.values import NANOS
from services.risk.breakers import Breaker, tripped
from services.risk.gates import calibration_z
from services.risk.portfolio import DAY, Outcome
from services.risk.rebuild import rebuilt
from tests.builders import a_settlement, an_opportunity
from tests.judging import AT, LIMITS, ROOMY, TODAY, Reason, a_portfolio, an_answer, approved, denied, lost, state_at


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


def test_thirty_positions_that_win_less_than_they_cost_stop_trading_for_a_person() -> None:
    portfolio = a_portfolio(outcomes=deque([Outcome(cost=Decimal("0.5"), paid=Decimal(0))] * 20))
    approved(an_opportunity(), portfolio)  # Twenty prove nothing yet
    portfolio.outcomes.extend([Outcome(cost=Decimal("0.5"), paid=Decimal(0))] * 2)
    portfolio.outcomes.extend([Outcome(cost=Decimal("0.5"), paid=Decimal(1))] * 8)
    assert calibration_z(portfolio, LIMITS) == pytest.approx(Decimal(-7) / Decimal("7.5").sqrt())
    refusal = denied(an_opportunity(), portfolio)
    assert (refusal.reason, refusal.detail) == (Reason.CALIBRATION, "calibration_z=-2.556 limit=-2.5")
    breaker = tripped(portfolio, LIMITS, now=AT)
    assert breaker is not None
    assert (breaker.state, breaker.clears_at) == (TradingState.HALTED, 0)
    assert breaker.why == "the last 30 positions paid 2.6 standard deviations less than they cost"
    portfolio.restart_counts(AT)
    approved(an_opportunity(), portfolio)


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
