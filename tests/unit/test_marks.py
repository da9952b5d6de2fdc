"""Open positions at the bid: their losses count toward the day's, their gains make no room, what is unknown is lost."""

from dataclasses import replace
from decimal import Decimal

from pmarb.domain.messages import Fill, Marks, Merge, MergedPart, TradingState
from pmarb.domain.orders import FillStatus, OrderState
from pmarb.domain.values import NANOS, Side
from services.risk.breakers import tripped
from services.risk.portfolio import Portfolio
from tests.builders import a_settlement, an_opportunity
from tests.judging import AT, LIMITS, Reason, a_portfolio, an_answer, another, approved, denied, lost


def holding(shares: str = "20", token: str = "1001", **changes: object) -> Portfolio:
    """So many shares bought at 0.50 with a fee of 0.35 a twenty."""
    portfolio = a_portfolio(**changes)
    buy(portfolio, shares, token)
    return portfolio


def buy(portfolio: Portfolio, shares: str, token: str, opportunity_id: str = "opp-1") -> None:
    approval = approved(an_opportunity(), a_portfolio())
    portfolio.on_approval(replace(approval, opportunity_id=opportunity_id))
    order = replace(an_answer(1, OrderState.FILLED), opportunity_id=opportunity_id, order_hash=f"0x{token}")
    portfolio.on_order(order)
    portfolio.approvals_at.clear()
    fill = Fill(
        trade_id=f"t{token}", order_hash=f"0x{token}", opportunity_id=opportunity_id, slug="", market="0xmarket",
        token=token, outcome="Up", side=Side.BUY, shares=Decimal(shares), price=Decimal("0.5"),
        fee=Decimal(shares) * Decimal("0.0175"), status=FillStatus.CONFIRMED, ts_event=AT, ts_init=AT,
    )  # fmt: skip
    portfolio.on_fill(fill)


def marks(at: int = AT, **bids: str) -> Marks:
    return Marks(bids={token.removeprefix("t"): Decimal(bid) for token, bid in bids.items()}, ts_event=at, ts_init=at)


def test_a_position_is_worth_its_bid() -> None:
    portfolio = holding()
    portfolio.on_marks(marks(t1001="0.30"))
    assert portfolio.open_loss(since=AT) == Decimal(6) - Decimal("10.35")
    assert portfolio.open_loss_seen == Decimal("-4.35")
    portfolio.results = lost("10.65")
    refusal = denied(another(9), portfolio)
    assert (refusal.reason, refusal.detail) == (Reason.DAILY_LOSS, "pnl_today,of_it_open=-15,-4.35 limit=-15")
    portfolio.on_marks(marks(t1001="0.31"))
    approved(another(9), portfolio)


def test_a_gain_that_nobody_realised_makes_no_room() -> None:
    portfolio = holding(results=lost(15))
    portfolio.on_marks(marks(t1001="0.99"))
    assert portfolio.open_loss(since=AT) == 0
    assert denied(another(9), portfolio).detail == "pnl_today=-15 limit=-15"


def test_without_a_fresh_bid_all_of_it_counts_as_lost_but_only_what_was_seen_stops_the_day() -> None:
    portfolio = holding("30")
    assert denied(another(9), portfolio).detail == "pnl_today,of_it_open=-15.525,-15.525 limit=-15"
    assert tripped(portfolio, LIMITS, now=AT) is None
    portfolio.on_marks(marks(AT - LIMITS.stale_mark - 1, t1001="0.45"))
    assert denied(another(9), portfolio).reason is Reason.DAILY_LOSS
    assert portfolio.open_loss_seen == Decimal("-2.025")
    portfolio.on_marks(marks(AT - LIMITS.stale_mark, t1001="0.45"))
    approved(another(9), portfolio)
    portfolio.on_marks(marks(AT, t1001="0.01"))
    breaker = tripped(portfolio, LIMITS, now=AT)
    assert breaker is not None
    assert breaker.state is TradingState.HALTED
    assert breaker.why == "lost $15.22 today ($15.22 of it on open positions, at the bid), limit $15.00"


def test_both_outcomes_are_a_dollar_and_a_settlement_or_merge_ends_it() -> None:
    portfolio = holding("20")
    buy(portfolio, "15", "1002", "opp-2")
    portfolio.on_marks(marks(t1001="0.10", t1002="0.85"))
    assert portfolio.open_loss(since=AT) == 15 + 5 * Decimal("0.10") - 35 * Decimal("0.5175")
    part = MergedPart(token="1001", outcome="Up", shares=Decimal(10), cost=Decimal(5), fees=Decimal("0.175"),
                      payout=Decimal(5))  # fmt: skip
    other = replace(part, token="1002", outcome="Down")
    portfolio.on_merge(Merge(merge_id="m", market="0xmarket", slug="", parts=(part, other), payout=Decimal(10),
                             pnl=Decimal("-0.35"), equity=Decimal(0), ts_event=AT, ts_init=AT))  # fmt: skip
    assert portfolio.open_loss(since=AT) == 5 + 5 * Decimal("0.10") - 15 * Decimal("0.5175")
    portfolio.on_settlement(a_settlement(token="1001", ts_event=AT))
    portfolio.on_settlement(a_settlement(token="1002", ts_event=AT))
    assert portfolio.open_loss(since=AT) == 0


def test_the_latest_bid_counts_and_what_is_held_is_not_forgotten() -> None:
    portfolio = holding()
    portfolio.on_marks(marks(AT, t1001="0.20", t7="0.5"))
    portfolio.on_marks(marks(AT - 1, t1001="0.50"))
    assert portfolio.open_loss_seen == Decimal("-6.35")
    portfolio.forget(AT + 3600 * NANOS)
    assert set(portfolio.marks) == {"1001"}
