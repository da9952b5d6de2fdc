"""Asking risk: portfolios, answers, and opportunities in markets of their own."""

from collections import defaultdict
from dataclasses import replace
from decimal import Decimal
from typing import Any

from pmarb.domain.limits import Limits
from pmarb.domain.messages import (
    Approval,
    Opportunity,
    OrderUpdate,
    Rejection,
    RejectionReason,
    TradingState,
)
from pmarb.domain.orders import OrderState
from pmarb.domain.values import NANOS, Side
from services.risk.decide import judge
from services.risk.portfolio import DAY, Portfolio
from tests.builders import NOW, a_leg, an_opportunity

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


def lost(dollars: int | str, day: int = TODAY) -> Any:
    return defaultdict(Decimal, {day: -Decimal(dollars)})


def an_answer(number: int, state: OrderState, cause: str = "") -> OrderUpdate:
    return OrderUpdate(
        opportunity_id=f"o{number}", leg=0, order_hash=f"0x{number}", state=state, cause=cause, slug="", market="",
        token="", outcome="Up", side=Side.BUY, price=Decimal(1), shares=Decimal(1), reserved=Decimal(1),
        filled=Decimal(0), ts_event=AT, ts_init=AT,
    )  # fmt: skip
