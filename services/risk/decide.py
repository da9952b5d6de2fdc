"""May this opportunity be traded, and how large? The first rule that refuses answers; every refusal has its numbers.

The order is quant.md 4: state, freshness, price and time, edge, losses, rate and duplicates, size caps, cash. Pure:
the portfolio, the limits and the time come as arguments, and the answer is a value.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal

from pmarb.domain.book import Level
from pmarb.domain.fees import FeeSchedule
from pmarb.domain.messages import (
    Approval,
    ApprovedLeg,
    Leg,
    Opportunity,
    Rejection,
    RejectionReason,
    TradingState,
)
from pmarb.domain.sizing import kelly_spend, reserve_for_spend
from pmarb.domain.values import CENT, NANOS, SHARE_GRID, ZERO, Side, round_down
from services.risk.limits import CEILING_USD, Limits, Sizing
from services.risk.portfolio import Portfolio

__all__ = ["Limits", "Portfolio", "Sizing", "judge"]

Refusal = tuple[RejectionReason, str]
Rule = Callable[[Opportunity, Portfolio, Limits, int], Refusal | None]
Cap = tuple[str, RejectionReason, Decimal]
Reason = RejectionReason
QUARTER = Decimal("0.25")


def judge(opportunity: Opportunity, portfolio: Portfolio, limits: Limits, *, now: int) -> Approval | Rejection:
    """Approve with sizes, or deny with the first reason. `now` is venue time, nanoseconds."""
    for rule in _RULES:
        refusal = rule(opportunity, portfolio, limits, now)
        if refusal is not None:
            return _deny(opportunity, refusal, now)
    tightest = _binding(opportunity, portfolio, limits, now)
    sized = _size(opportunity, portfolio, limits, tightest, now)
    if isinstance(sized, ApprovedLeg):
        return _approve(opportunity, sized, tightest[0], limits, now)
    return _deny(opportunity, sized, now)


def _state(_opportunity: Opportunity, portfolio: Portfolio, _limits: Limits, _now: int) -> Refusal | None:
    if portfolio.capital <= ZERO:
        return Reason.INSUFFICIENT_CASH, "capital=0 (the executor has not booked the wallet yet)"
    why = f"state={portfolio.state} why={portfolio.state_why!r}"
    match portfolio.state:
        case TradingState.ACTIVE:
            return None
        case TradingState.KILLED:
            return Reason.TRADING_KILLED, why
        case TradingState.REDUCING:
            return Reason.REDUCING_ONLY, why
        case TradingState.HALTED:
            return Reason.TRADING_HALTED, why


def _shape(opportunity: Opportunity, _portfolio: Portfolio, _limits: Limits, _now: int) -> Refusal | None:
    if len(opportunity.legs) != 1:
        return Reason.MALFORMED, f"legs={len(opportunity.legs)} allowed=1"
    leg = opportunity.legs[0]
    if leg.side is not Side.BUY:
        return Reason.MALFORMED, f"side={leg.side} allowed=BUY"
    if not ZERO < leg.price <= leg.limit < 1 or leg.shares <= ZERO or leg.limit % leg.tick:
        return Reason.MALFORMED, f"price={leg.price} limit={leg.limit} tick={leg.tick} shares={leg.shares}"
    return None


def _fresh(opportunity: Opportunity, _portfolio: Portfolio, limits: Limits, now: int) -> Refusal | None:
    if now > opportunity.expires_at:
        return Reason.EXPIRED, f"late_ms={_ms(now - opportunity.expires_at)}"
    if opportunity.ts_init > now + limits.clock_skew:
        return Reason.CLOCK_SKEW, f"ahead_ms={_ms(opportunity.ts_init - now)} limit_ms={_ms(limits.clock_skew)}"
    ages = (
        (Reason.STALE_BOOK, opportunity.legs[0].book_ts_init, limits.book_age(opportunity.family)),
        (Reason.STALE_SPOT, opportunity.spot_ts_init, limits.stale_spot),
        (Reason.STALE_REFERENCE, opportunity.reference_ts_init, limits.stale_reference),
    )
    for reason, seen, allowed in ages:
        if now - seen > allowed:
            return reason, f"age_ms={_ms(now - seen)} limit_ms={_ms(allowed)}"
    return None


def _price(opportunity: Opportunity, _portfolio: Portfolio, limits: Limits, _now: int) -> Refusal | None:
    leg = opportunity.legs[0]
    if not limits.price_low <= leg.price <= limits.price_high:
        return Reason.PRICE_BAND, f"price={leg.price} band={limits.price_low}-{limits.price_high}"
    spread = 2 * (leg.price - opportunity.mid)
    if spread > limits.max_spread:
        return Reason.SPREAD_TOO_WIDE, f"spread={spread} limit={limits.max_spread}"
    return None


def _time(opportunity: Opportunity, _portfolio: Portfolio, limits: Limits, now: int) -> Refusal | None:
    left, needed = opportunity.expiry - now, limits.time_left(opportunity.family)
    if left < needed:
        return Reason.TOO_LATE, f"left_s={left // NANOS} needed_s={needed // NANOS}"
    since = now - opportunity.opens_at
    if since < limits.no_trade_first:
        return Reason.TOO_EARLY, f"open_for_s={since // NANOS} needed_s={limits.no_trade_first // NANOS}"
    return None


def _edge(opportunity: Opportunity, _portfolio: Portfolio, limits: Limits, _now: int) -> Refusal | None:
    leg = opportunity.legs[0]
    per_share = _fees(leg).fee(shares=Decimal(1), price=leg.price)
    net = opportunity.fair - leg.price - per_share  # Ours, from the parts: the sender's sum is not trusted
    needed = max(limits.min_edge, opportunity.threshold)
    if net < needed:
        return Reason.EDGE_TOO_THIN, f"net={net:.4f} needed={needed:.4f}"
    return None


def _losses(_opportunity: Opportunity, portfolio: Portfolio, limits: Limits, now: int) -> Refusal | None:
    equity = portfolio.equity
    if portfolio.drawdown >= limits.drawdown_kill_pct:
        return Reason.DRAWDOWN, f"drawdown={portfolio.drawdown:.3f} limit={limits.drawdown_kill_pct}"
    if -portfolio.day_pnl >= limits.daily_loss_pct * portfolio.capital:
        return (
            Reason.DAILY_LOSS,
            f"today={portfolio.day_pnl:.2f} limit={-limits.daily_loss_pct * portfolio.capital:.2f}",
        )
    if portfolio.fees_today >= limits.fee_burn_pct * equity:
        return Reason.FEE_BURN, f"fees_today={portfolio.fees_today:.2f} limit={limits.fee_burn_pct * equity:.2f}"
    cooling = portfolio.last_loss_at + limits.cool_down - now
    if portfolio.losses_in_a_row >= limits.losses_in_a_row and cooling > 0:
        return Reason.LOSS_STREAK, f"losses={portfolio.losses_in_a_row} resumes_in_s={cooling // NANOS}"
    return None


def _repeats(opportunity: Opportunity, portfolio: Portfolio, limits: Limits, now: int) -> Refusal | None:
    if opportunity.opportunity_id in portfolio.commitments:
        return Reason.DUPLICATE, "same_opportunity=true"
    market = opportunity.legs[0].market
    entries = portfolio.entries_of_market(market, now)
    if entries >= limits.entries_per_window:
        return Reason.ENTRIES_PER_WINDOW, f"entries={entries} limit={limits.entries_per_window}"
    since = now - portfolio.last_approval_of_market(market)
    if since < limits.duplicate_cooldown:
        return Reason.DUPLICATE, f"last_s={since / NANOS:.1f} cooldown_s={limits.duplicate_cooldown // NANOS}"
    return None


def _rate(_opportunity: Opportunity, portfolio: Portfolio, limits: Limits, now: int) -> Refusal | None:
    if len(portfolio.day_trades) >= limits.trades_per_day:
        return Reason.TRADES_PER_DAY, f"trades={len(portfolio.day_trades)} limit={limits.trades_per_day}"
    for window, allowed in ((NANOS, limits.orders_per_second), (60 * NANOS, limits.orders_per_minute)):
        sent = portfolio.approvals_since(now - window)
        if sent >= allowed:
            return Reason.ORDER_RATE, f"approvals={sent} window_s={window // NANOS} limit={allowed}"
    return None


def _counts(opportunity: Opportunity, portfolio: Portfolio, limits: Limits, now: int) -> Refusal | None:
    orders = portfolio.open_orders(now)
    if orders >= limits.max_open_orders:
        return Reason.TOO_MANY_ORDERS, f"open={orders} limit={limits.max_open_orders}"
    positions = portfolio.positions(now)
    if positions >= limits.max_positions and not portfolio.exposure_of_market(opportunity.legs[0].market, now):
        return Reason.TOO_MANY_POSITIONS, f"positions={positions} limit={limits.max_positions}"
    return None


_RULES: tuple[Rule, ...] = (_state, _shape, _fresh, _price, _time, _edge, _losses, _repeats, _rate, _counts)


def _caps(opportunity: Opportunity, portfolio: Portfolio, limits: Limits, now: int) -> Iterator[Cap]:
    """What each cap still allows, in dollars with the fee."""
    equity, market = portfolio.equity, opportunity.legs[0].market
    half = Decimal("0.5") if portfolio.drawdown >= limits.drawdown_reduce_pct else Decimal(1)
    yield "order", Reason.ORDER_CAP, min(_wanted(opportunity, equity, limits), limits.order_usd) * half
    yield "hard_cap", Reason.ORDER_CAP, min(limits.hard_cap_usd, CEILING_USD)
    yield (
        "market",
        Reason.MARKET_CAP,
        limits.market_pct * equity - portfolio.exposure_of_market(market, now),
    )
    yield "event", Reason.EVENT_CAP, limits.event_pct * equity - portfolio.exposure_of_event(opportunity.event, now)
    yield (
        "underlying",
        Reason.UNDERLYING_CAP,
        limits.underlying_pct * equity
        - portfolio.exposure_of_underlying(
            opportunity.underlying, expiry=opportunity.expiry, within=limits.same_expiry, now=now
        ),
    )
    exposure = portfolio.exposure(now)
    yield "total", Reason.TOTAL_CAP, limits.total_pct * equity - exposure
    yield "cash", Reason.INSUFFICIENT_CASH, equity - exposure
    leg = opportunity.legs[0]
    yield "displayed", Reason.BELOW_MINIMUM, _cost(leg, round_down(leg.shares * leg.limit, CENT))


def _binding(opportunity: Opportunity, portfolio: Portfolio, limits: Limits, now: int) -> Cap:
    """The tightest cap."""
    return min(_caps(opportunity, portfolio, limits, now), key=lambda cap: cap[2])


def _wanted(opportunity: Opportunity, equity: Decimal, limits: Limits) -> Decimal:
    return min(limits.order_pct * equity, _kelly(opportunity, equity, limits))


def _kelly(opportunity: Opportunity, equity: Decimal, limits: Limits) -> Decimal:
    """What a quarter-Kelly bettor would spend; no bound where sizing is fixed."""
    if limits.sizing is Sizing.FIXED:
        return equity
    leg = opportunity.legs[0]
    levels = (Level(leg.price, leg.shares),)
    return kelly_spend(levels, fair=opportunity.fair, fees=_fees(leg), bankroll=equity) * QUARTER


def _size(
    opportunity: Opportunity, portfolio: Portfolio, limits: Limits, tightest: Cap, now: int
) -> ApprovedLeg | Refusal:
    leg = opportunity.legs[0]
    name, reason, allowed = tightest
    shares = _shares_within(leg, allowed)
    if shares < limits.min_shares and name == "order":
        shares = _least(opportunity, portfolio, limits, now)
    usd = round_down(shares * leg.limit, CENT)
    if shares < limits.min_shares or usd < limits.min_usd:
        why = reason if name not in ("order", "displayed") else Reason.BELOW_MINIMUM
        return why, f"cap={name} allowed_usd={max(allowed, ZERO):.2f} needed_shares={limits.min_shares}"
    return ApprovedLeg(leg=leg, shares=shares, limit=leg.limit, usd=usd, reserved=_cost(leg, usd))


def _least(opportunity: Opportunity, portfolio: Portfolio, limits: Limits, now: int) -> Decimal:
    """The venue's minimum, where only the order cap forbids it and the wider one allows it; else zero.

    Not in a drawdown: half of too little is nothing.
    """
    if portfolio.drawdown >= limits.drawdown_reduce_pct:
        return ZERO
    leg = opportunity.legs[0]
    others = min(cap[2] for cap in _caps(opportunity, portfolio, limits, now) if cap[0] != "order")
    equity = portfolio.equity
    wider = min(limits.order_pct_to_reach_minimum * equity, limits.order_usd, _kelly(opportunity, equity, limits))
    cost = _cost(leg, limits.min_shares * leg.limit)
    return limits.min_shares if cost <= min(others, wider) else ZERO


def _shares_within(leg: Leg, allowed: Decimal) -> Decimal:
    """The most shares at the limit whose whole cost, with the dearest fee, fits `allowed`."""
    if allowed <= ZERO:
        return ZERO
    shares = min(round_down(allowed / leg.limit, SHARE_GRID), round_down(leg.shares, SHARE_GRID))
    over = _cost(leg, shares * leg.limit) - allowed
    while shares > ZERO and over > ZERO:
        shares = max(shares - max(round_down(over / leg.limit, SHARE_GRID), SHARE_GRID), ZERO)
        over = _cost(leg, shares * leg.limit) - allowed
    return shares


def _cost(leg: Leg, usd: Decimal) -> Decimal:
    return reserve_for_spend(usd=usd, limit=leg.limit, tick=leg.tick, fees=_fees(leg))


def _fees(leg: Leg) -> FeeSchedule:
    return FeeSchedule(leg.fee_rate, leg.fee_exponent)


def _approve(opportunity: Opportunity, leg: ApprovedLeg, bound_by: str, limits: Limits, now: int) -> Approval:
    return Approval(
        opportunity_id=opportunity.opportunity_id,
        legs=(leg,),
        reserved=leg.reserved,
        bound_by=bound_by,
        slug=opportunity.slug,
        event=opportunity.event,
        underlying=opportunity.underlying,
        family=opportunity.family,
        expiry=opportunity.expiry,
        expires_at=min(opportunity.expires_at, now + limits.approval_ttl),
        fair=opportunity.fair,
        threshold=max(opportunity.threshold, limits.min_edge),
        ts_event=now,
        ts_init=now,
        tick_real=opportunity.tick_real,
    )


def _deny(opportunity: Opportunity, refusal: Refusal, now: int) -> Rejection:
    reason, detail = refusal
    return Rejection(
        opportunity_id=opportunity.opportunity_id,
        reason=reason,
        detail=detail,
        slug=opportunity.slug,
        ts_event=now,
        ts_init=now,
    )


def _ms(nanoseconds: int) -> int:
    return nanoseconds // 1_000_000
