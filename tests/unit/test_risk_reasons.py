"""Every reason for which risk can say no is tripped here, alone, with the words that a person reads."""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

import pytest

from pmarb.domain.limits import Limits, Sizing
from pmarb.domain.messages import Opportunity, Rejection, TradingState
from pmarb.domain.orders import OrderState
from pmarb.domain.sizing import Record
from pmarb.domain.values import NANOS
from services.cli.words import reason as in_words
from services.risk.portfolio import Outcome, Portfolio
from tests.builders import a_leg, a_set, a_set_leg, an_opportunity
from tests.judging import AT, LIMITS, TODAY, Reason, a_portfolio, an_answer, another, approved, denied, lost

ANY_RATE: Final = replace(LIMITS, orders_per_second=99)


def an(**changes: Any) -> Callable[[], Rejection]:
    """Of an opportunity with these fields."""
    return lambda: denied(an_opportunity(**changes))


def of(limits: Limits = LIMITS, **changes: Any) -> Callable[[], Rejection]:
    """Of a sound opportunity, in a portfolio with these fields."""
    return lambda: denied(an_opportunity(), a_portfolio(**changes), limits)


def of_set(opportunity: Opportunity) -> Callable[[], Rejection]:
    roomy = replace(LIMITS, order_usd=Decimal(20), order_pct=Decimal("0.05"))
    return lambda: denied(opportunity, a_portfolio(capital=Decimal(500)), roomy)


def capped(**changes: Any) -> Callable[[], Rejection]:
    return of(replace(LIMITS, **changes))


def after(count: int, then: Opportunity, limits: Limits = ANY_RATE) -> Callable[[], Rejection]:
    """Once so many opportunities in markets of their own were approved."""

    def rejection() -> Rejection:
        portfolio = a_portfolio()
        for number in range(count):
            portfolio.on_approval(approved(another(number), portfolio, limits))
        return denied(then, portfolio, limits)

    return rejection


def refused_orders() -> Portfolio:
    portfolio = a_portfolio()
    for number in range(20):
        portfolio.on_order(an_answer(number, OrderState.REJECTED, "invalid signature" if number < 13 else "no_match: "))
    return portfolio


POOR: Final = Record(count=400, total=Decimal(-40), squares=Decimal(400))
TINY: Final = Decimal("0.001")
MISSED: Final = deque([Outcome(cost=Decimal("0.5"), paid=Decimal(0))] * 30)
CASES: Final[dict[Reason, tuple[Callable[[], Rejection], str]]] = {
    Reason.MALFORMED: (an(legs=(a_leg(tick=Decimal(0)),)), "tick=0 limit=0.000001..1"),
    Reason.TRADING_HALTED: (of(state=TradingState.HALTED, state_why="lunch"), "state=HALTED (lunch) limit=ACTIVE"),
    Reason.TRADING_KILLED: (of(state=TradingState.KILLED, state_why="fire"), "state=KILLED (fire) limit=ACTIVE"),
    Reason.REDUCING_ONLY: (of(state=TradingState.REDUCING, state_why="6"), "state=REDUCING (6) limit=ACTIVE"),
    Reason.GATE_LOCKED: (of(locked="300 paper fills: 12"), "gate=300 paper fills: 12 limit=open"),
    Reason.RULES_CHANGED: (of(tripwires={"0xmarket": "fee 1 -> 2"}), "rules=fee 1 -> 2 limit=as first seen"),
    Reason.EXPIRED: (an(expires_at=AT - NANOS), "late_ms=1000 limit=0"),
    Reason.CLOCK_SKEW: (an(ts_init=AT + NANOS), "ahead_ms=1000 limit=250"),
    Reason.STALE_BOOK: (an(legs=(a_leg(book_ts_init=AT - NANOS),)), "book_age_ms=1000 limit=500"),
    Reason.LEG_SKEW: (
        of_set(a_set(legs=(a_set_leg(0), a_set_leg(1, book_ts_init=AT - NANOS)))),
        "leg_skew_ms=1000 limit=250",
    ),
    Reason.STALE_SPOT: (an(spot_ts_init=AT - 2 * NANOS), "spot_age_ms=2000 limit=1000"),
    Reason.STALE_REFERENCE: (an(reference_ts_init=AT - 6 * NANOS), "settlement_age_ms=6000 limit=5000"),
    Reason.CROSSED_BOOK: (an(mid=Decimal("0.5")), "mid_below_offer=0.5 limit=0.5"),
    Reason.PRICE_BAND: (
        an(legs=(a_leg(price=Decimal("0.04"), limit=Decimal("0.04")),), mid=Decimal("0.03")),
        "price=0.04 limit=0.05,0.95",
    ),
    Reason.SPREAD_TOO_WIDE: (an(mid=Decimal("0.47")), "spread=0.06 limit=0.04"),
    Reason.TOO_EARLY: (an(opens_at=AT - 4 * NANOS), "open_for_s=4 limit=5"),
    Reason.TOO_LATE: (an(expiry=AT + 59 * NANOS), "left_s=59 limit=60"),
    Reason.UNKNOWN_FEE: (an(legs=(a_leg(fee_rate=Decimal("0.11")),)), "rate,exponent=0.11,1 limit=0.1,8"),
    Reason.EDGE_TOO_THIN: (an(fair=Decimal("0.53"), threshold=Decimal(0)), "net_edge=0.0125 limit=0.02"),
    Reason.LEG_RISK: (of_set(a_set("0.50", "0.44")), "edge_after_leg_risk=0.0177 limit=0.02"),
    Reason.TOO_MANY_ORDERS: (after(4, another(9)), "orders_open=4 limit=4"),
    Reason.TOO_MANY_POSITIONS: (after(5, another(9), replace(ANY_RATE, max_open_orders=9)), "positions=5 limit=5"),
    Reason.BELOW_MINIMUM: (an(legs=(a_leg(shares=Decimal("4.99")),)), "shares_displayed=4.99 limit=5"),
    Reason.ORDER_CAP: (capped(hard_cap_usd=Decimal("0.5")), "hard_cap_room_usd=0.5 limit=2.6732"),
    Reason.MARKET_CAP: (capped(market_pct=TINY), "market_room_usd=0.3 limit=2.6732"),
    Reason.EVENT_CAP: (capped(event_pct=TINY), "event_room_usd=0.3 limit=2.6732"),
    Reason.UNDERLYING_CAP: (capped(underlying_pct=TINY), "underlying_room_usd=0.3 limit=2.6732"),
    Reason.STRATEGY_CAP: (
        of(replace(LIMITS, sizing=Sizing.ALLOCATOR), records={"updown_twap": POOR}),
        "strategy_room_usd=0 limit=2.6732",
    ),
    Reason.TOTAL_CAP: (capped(total_pct=TINY), "total_room_usd=0.3 limit=2.6732"),
    Reason.DRAWDOWN: (
        of(
            replace(LIMITS, order_usd=Decimal(20)),
            capital=Decimal(900),
            realised=Decimal(-180),
            peak=Decimal(900),
        ),
        "drawdown=0.2 limit=0.2",
    ),
    Reason.DAILY_LOSS: (of(results=lost(15)), "pnl_today=-15 limit=-15"),
    Reason.FEE_BURN: (of(fees={"t": (TODAY, Decimal(6))}), "fees_today=6 limit=6"),
    Reason.CALIBRATION: (of(outcomes=MISSED), "calibration_z=-5.4772 limit=-2.5"),
    Reason.REJECT_RATIO: (lambda: denied(an_opportunity(), refused_orders()), "refused=0.65 limit=0.6"),
    Reason.LOSS_STREAK: (of(losses_in_a_row=6, last_loss_at=AT - NANOS), "losses_in_a_row=6 limit=6"),
    Reason.DUPLICATE: (after(1, another(0)), "approved_before=True limit=False"),
    Reason.ENTRIES_PER_WINDOW: (after(1, another(0, opportunity_id="again")), "entries=1 limit=1"),
    Reason.TRADES_PER_DAY: (of(entered={str(n): TODAY for n in range(200)}), "trades_today=200 limit=200"),
    Reason.ORDER_RATE: (of(approvals_at=deque([AT - NANOS // 2])), "approvals_in_1_s=1 limit=1"),
    Reason.INSUFFICIENT_CASH: (of(capital=Decimal(0)), "capital=0 limit=booked by executor"),
}


@pytest.mark.parametrize("reason", Reason)
def test_it_says_no_for_each_reason_with_the_value_and_the_limit(reason: Reason) -> None:
    assert reason in CASES, f"no test trips {reason}: add a case"
    trip, detail = CASES[reason]
    rejection = trip()
    assert rejection.reason is reason
    assert rejection.detail == detail
    assert in_words(str(reason)) != str(reason), "a person must be able to read it"
