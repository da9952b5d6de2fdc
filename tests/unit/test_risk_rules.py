"""Every rule of the Guardian has a test that trips it, with the numbers a person reads."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from pmarb.db.portfolio import Snapshot, StoredState
from pmarb.domain.messages import Approval, Halt, Kill, Opportunity, Rejection, RejectionReason, Resume, TradingState
from pmarb.domain.values import NANOS, Side
from services.risk.breakers import tripped
from services.risk.decide import judge
from services.risk.limits import Limits, Sizing, warnings_at
from services.risk.portfolio import DAY, Portfolio
from services.risk.rebuild import rebuilt
from tests.builders import NOW, a_leg, a_settlement, an_opportunity

Reason = RejectionReason
AT = NOW + 100 * NANOS
LIMITS = Limits()


def a_portfolio(**changes: Any) -> Portfolio:
    fields: dict[str, Any] = {"capital": Decimal(300), "day": AT // DAY}
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
        ({"legs": (a_leg(price=Decimal("0.04"), limit=Decimal("0.04")),)}, Reason.PRICE_BAND),
        ({"legs": (a_leg(shares=Decimal("4.99")),)}, Reason.BELOW_MINIMUM),
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
    assert denied(an_opportunity(), portfolio).detail.startswith("approvals=1 window_s=1")
    portfolio = a_portfolio()
    portfolio.approvals_at.extend([AT - 30 * NANOS] * 20)
    assert denied(an_opportunity(), portfolio).reason is Reason.ORDER_RATE
    portfolio = a_portfolio(day_trades={str(n) for n in range(200)})
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
    assert denied(an_opportunity(), a_portfolio(day_pnl=Decimal(-15))).detail == "today=-15.00 limit=-15.00"
    assert denied(an_opportunity(), a_portfolio(realised=Decimal(-60), peak=Decimal(300))).reason is Reason.DRAWDOWN
    assert denied(an_opportunity(), a_portfolio(day_fees={"t": Decimal(6)})).reason is Reason.FEE_BURN
    streak = a_portfolio(losses_in_a_row=6, last_loss_at=AT - 60 * NANOS)
    assert denied(an_opportunity(), streak).detail == "losses=6 resumes_in_s=3540"


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
    day = tripped(a_portfolio(day_pnl=Decimal("-15.5")), LIMITS, now=AT)
    assert day is not None
    assert (day.state, day.why, day.clears_at) == (TradingState.HALTED, "lost $15.50 today, limit $15.00", midnight)
    fees = tripped(a_portfolio(day_fees={"t": Decimal("6.10")}), LIMITS, now=AT)
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


def test_a_limit_below_the_venues_minimum_is_said_in_words() -> None:
    assert warnings_at(LIMITS, Decimal(1000)) == []
    (warning,) = warnings_at(LIMITS, Decimal(200))
    assert "above 0.60" in warning
