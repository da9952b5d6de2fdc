"""Every question risk asks of an opportunity, in the order of quant.md 4, with the value found and the limit it met.

`judge` stops at the first that is not passed, `pm-arb why` shows all. Pure and lazy.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Final

from pmarb.domain.fees import FeeSchedule
from pmarb.domain.limits import Limits
from pmarb.domain.messages import CONTRACTS, Leg, RejectionReason, TradingState
from pmarb.domain.values import MICRO, NANOS, ONE, ZERO, Side
from services.risk.case import Case, Gate, least_shares
from services.risk.portfolio import Portfolio
from services.risk.sizes import sizes

Reason = RejectionReason
HIGHEST_EXPONENT: Final = 8


def gates(case: Case) -> Iterator[Gate]:
    """All questions in order. After one that was not passed the later ones may make no sense, but none raises, except
    that a malformed opportunity or one with an impossible fee has no further questions."""
    shape = _shape(case)
    yield shape
    yield from _standing(case, sound=shape.passed)
    if not shape.passed:
        return
    yield from _fresh(case)
    yield from _price(case)
    yield from _time(case)
    fee = _fee(case)
    yield fee
    if not fee.passed:
        return
    case.fees = tuple(FeeSchedule(leg.fee_rate, leg.fee_exponent) for leg in case.legs)
    yield from _edge(case)
    yield from sizes(case)
    yield from _losses(case)
    yield from _repeats(case)
    yield from _rate(case)
    free = case.portfolio.equity - case.held.total
    yield Gate(Reason.INSUFFICIENT_CASH, free >= case.needed, "free_usd", free, case.needed)


def _shape(case: Case) -> Gate:
    legs = case.legs
    if not legs:
        return Gate(Reason.MALFORMED, False, "legs", 0, 1)
    if case.is_set:
        complete = all(leg.slug and leg.event and leg.family and leg.expiry and leg.other_token for leg in legs)
        apart = len({leg.market for leg in legs}) == len(legs)
        if not complete or not apart or not ZERO < case.opportunity.fair <= len(legs):
            found = (complete, apart, case.opportunity.fair)
            return Gate(Reason.MALFORMED, False, "complete,apart,payoff", found, f"legs of {len(legs)} markets")
    return _of_legs(case, _leg_shape)


def _leg_shape(leg: Leg) -> Gate:
    if leg.side is not Side.BUY:
        return Gate(Reason.MALFORMED, False, "side", leg.side, Side.BUY)
    if not MICRO <= leg.tick < ONE:
        return Gate(Reason.MALFORMED, False, "tick", leg.tick, "0.000001..1")
    sound = ZERO < leg.price <= leg.limit < ONE and leg.shares > ZERO and leg.limit % leg.tick == ZERO
    found = (leg.price, leg.limit, leg.tick, leg.shares)
    if sound and not all(ZERO < price < ONE and size > ZERO for price, size in leg.levels):
        return Gate(Reason.MALFORMED, False, "levels", leg.levels, "0<price<1 and shares")
    return Gate(Reason.MALFORMED, sound, "price,limit,tick,shares", found, "0<price<=limit<1 on the tick")


def _of_legs(case: Case, ask: Callable[[Leg], Gate]) -> Gate:
    """The answer of the first leg that does not pass, else of the first; of a set it says which leg."""
    if not case.is_set:
        return ask(case.leg)
    asked = [ask(leg) for leg in case.legs]
    index = next((index for index, gate in enumerate(asked) if not gate.passed), 0)
    return asked[index]._replace(name=f"{asked[index].name}[{index}]")


_OF_STATE: Final = {
    TradingState.ACTIVE: Reason.TRADING_HALTED,
    TradingState.HALTED: Reason.TRADING_HALTED,
    TradingState.KILLED: Reason.TRADING_KILLED,
    TradingState.REDUCING: Reason.REDUCING_ONLY,
}


def _standing(case: Case, *, sound: bool) -> Iterator[Gate]:
    """Whether anything may be traded at all, and this market."""
    portfolio = case.portfolio
    yield Gate(Reason.INSUFFICIENT_CASH, portfolio.capital > ZERO, "capital", portfolio.capital, "booked by executor")
    state = portfolio.state
    allowed = state is TradingState.ACTIVE or (case.reducing and sound and _lowers(case))
    found = state if state is TradingState.ACTIVE else f"{state} ({portfolio.state_why})"
    yield Gate(_OF_STATE[state], allowed, "state", found, TradingState.ACTIVE)
    yield Gate(Reason.GATE_LOCKED, not portfolio.locked, "gate", portfolio.locked or "open", "open")
    markets = [CONTRACTS, *(leg.market for leg in case.legs)]
    changed = "; ".join(filter(None, (portfolio.tripwires.get(market, "") for market in markets)))
    yield Gate(Reason.RULES_CHANGED, not changed, "rules", changed or "as first seen", "as first seen")


def _lowers(case: Case) -> bool:
    return not case.is_set and case.portfolio.hedge(case.leg.market, case.leg.token) >= least_shares(
        case.leg, case.limits
    )


def _fresh(case: Case) -> Iterator[Gate]:
    opportunity, limits, now = case.opportunity, case.limits, case.now
    late = now - opportunity.expires_at
    yield Gate(Reason.EXPIRED, late <= 0, "late_ms", _ms(late), 0)
    ahead = opportunity.ts_init - now
    yield Gate(Reason.CLOCK_SKEW, ahead <= limits.clock_skew, "ahead_ms", _ms(ahead), _ms(limits.clock_skew))
    yield _of_legs(
        case,
        lambda leg: _age(case, Reason.STALE_BOOK, "book_age_ms", leg.book_ts_init, limits.book_age(case.family(leg))),
    )
    for reason, name, seen, allowed in (
        (Reason.STALE_SPOT, "spot_age_ms", opportunity.spot_ts_init, limits.spot_age(opportunity.family)),
        (Reason.STALE_REFERENCE, "settlement_age_ms", opportunity.reference_ts_init, limits.stale_reference),
    ):
        yield _age(case, reason, name, seen, allowed)
    if case.is_set:
        seen_at = [leg.book_ts_init for leg in case.legs]
        skew = max(seen_at) - min(seen_at)
        yield Gate(Reason.LEG_SKEW, skew <= limits.leg_skew, "leg_skew_ms", _ms(skew), _ms(limits.leg_skew))
        yield _of_legs(
            case, lambda leg: Gate(Reason.CROSSED_BOOK, leg.bid < leg.price, "bid_below_offer", leg.bid, leg.price)
        )
        return
    mid, price = opportunity.mid, case.leg.price
    yield Gate(Reason.CROSSED_BOOK, mid < price, "mid_below_offer", mid, price)


def _age(case: Case, reason: RejectionReason, name: str, seen: int, allowed: int) -> Gate:
    return Gate(reason, case.now - seen <= allowed, name, _ms(case.now - seen), _ms(allowed))


def _price(case: Case) -> Iterator[Gate]:
    limits, band = case.limits, (case.limits.price_low, case.limits.price_high)
    yield _of_legs(case, lambda leg: Gate(Reason.PRICE_BAND, band[0] <= leg.price <= band[1], "price", leg.price, band))
    yield _of_legs(
        case,
        lambda leg: Gate(
            Reason.SPREAD_TOO_WIDE,
            _spread(case, leg) <= limits.max_spread,
            "spread",
            _spread(case, leg),
            limits.max_spread,
        ),
    )


def _spread(case: Case, leg: Leg) -> Decimal:
    return leg.price - leg.bid if case.is_set else 2 * (leg.price - case.opportunity.mid)


def _time(case: Case) -> Iterator[Gate]:
    limits = case.limits
    since = case.now - case.opportunity.opens_at
    yield Gate(Reason.TOO_EARLY, since >= limits.no_trade_first, "open_for_s", _s(since), _s(limits.no_trade_first))

    def left(leg: Leg) -> Gate:
        left, needed = case.expiry(leg) - case.now, limits.time_left(case.family(leg))
        return Gate(Reason.TOO_LATE, left >= needed, "left_s", _s(left), _s(needed))

    yield _of_legs(case, left)


def _fee(case: Case) -> Gate:
    """A rate nobody could charge would make nonsense of every price that follows."""
    highest = case.limits.max_fee_rate

    def known(leg: Leg) -> Gate:
        sane = ZERO <= leg.fee_rate <= highest and ZERO <= leg.fee_exponent <= HIGHEST_EXPONENT
        found = (leg.fee_rate, leg.fee_exponent)
        return Gate(Reason.UNKNOWN_FEE, sane, "rate,exponent", found, (highest, HIGHEST_EXPONENT))

    return _of_legs(case, known)


def _edge(case: Case) -> Iterator[Gate]:
    """Of a set the edge must bear the chance of being left with a part of it, priced here and not by the sender."""
    net, least = case.net(), case.limits.min_edge
    needed = least if case.is_set else max(least, case.opportunity.threshold)
    yield Gate(Reason.EDGE_TOO_THIN, net >= needed, "net_edge", net, needed)
    if case.is_set:
        left = net - case.leg_risk()
        yield Gate(Reason.LEG_RISK, left >= least, "edge_after_leg_risk", left, least)


def _losses(case: Case) -> Iterator[Gate]:
    portfolio, limits = case.portfolio, case.limits
    equity = portfolio.equity
    fallen = portfolio.drawdown
    yield Gate(Reason.DRAWDOWN, fallen < limits.drawdown_kill_pct, "drawdown", fallen, limits.drawdown_kill_pct)
    worst = -limits.daily_loss_pct * portfolio.capital
    yield _of_day(case, worst)
    burnt, bearable = portfolio.fees_today, limits.fee_burn_pct * equity
    yield Gate(Reason.FEE_BURN, burnt < bearable, "fees_today", burnt, bearable)
    z = calibration_z(portfolio, limits)
    yield Gate(
        Reason.CALIBRATION, z is None or z >= limits.calibration_z, "calibration_z", _or(z), limits.calibration_z
    )
    ratio = reject_ratio(portfolio, limits)
    yield Gate(
        Reason.REJECT_RATIO, ratio is None or ratio <= limits.reject_ratio, "refused", _or(ratio), limits.reject_ratio
    )
    cooling = cooling_until(portfolio, limits) - case.now
    calm = cooling <= 0 or case.reducing
    yield Gate(Reason.LOSS_STREAK, calm, "losses_in_a_row", portfolio.losses_in_a_row, limits.losses_in_a_row)


def _of_day(case: Case, worst: Decimal) -> Gate:
    """Results and what open positions have lost: without a fresh bid, all that they cost."""
    portfolio = case.portfolio
    lost = portfolio.open_loss(since=case.now - case.limits.stale_mark)
    today = portfolio.day_pnl + lost
    if lost == ZERO:
        return Gate(Reason.DAILY_LOSS, today > worst, "pnl_today", today, worst)
    return Gate(Reason.DAILY_LOSS, today > worst, "pnl_today,of_it_open", (today, lost), worst)


def calibration_z(portfolio: Portfolio, limits: Limits) -> Decimal | None:
    """How many standard deviations the latest positions paid less than they cost; None for too few of them."""
    if len(portfolio.outcomes) < limits.calibration_window:
        return None
    latest = list(portfolio.outcomes)[-limits.calibration_window :]
    variance = sum((o.cost * (ONE - o.cost) for o in latest), ZERO)
    if variance <= 0:
        return None
    return sum((o.paid - o.cost for o in latest), ZERO) / variance.sqrt()


def reject_ratio(portfolio: Portfolio, limits: Limits) -> Decimal | None:
    """The part of the latest orders that the venue refused; None for too few of them."""
    refused, answered = portfolio.refusals(limits.reject_window)
    return None if answered < limits.reject_window else Decimal(refused) / answered


def cooling_until(portfolio: Portfolio, limits: Limits) -> int:
    """When a pause after losses in a row ends; 0 without one."""
    if portfolio.losses_in_a_row < limits.losses_in_a_row:
        return 0
    return portfolio.last_loss_at + limits.cool_down


def _repeats(case: Case) -> Iterator[Gate]:
    portfolio, limits = case.portfolio, case.limits
    again = case.opportunity.opportunity_id in portfolio.commitments
    yield Gate(Reason.DUPLICATE, not again, "approved_before", again, False)

    def entered(leg: Leg) -> Gate:
        entries = portfolio.entries_of_market(leg.market, case.now)
        free = entries < limits.entries_per_window or case.reducing
        return Gate(Reason.ENTRIES_PER_WINDOW, free, "entries", entries, limits.entries_per_window)

    yield _of_legs(case, entered)

    def rested(leg: Leg) -> Gate:
        last = portfolio.last_approval_of_market(leg.market)
        since, least = case.now - last, limits.duplicate_cooldown
        calm = not last or since >= least
        return Gate(Reason.DUPLICATE, calm, "since_last_s", _s(since) if last else "never", _s(least))

    yield _of_legs(case, rested)


def _rate(case: Case) -> Iterator[Gate]:
    portfolio, limits, now = case.portfolio, case.limits, case.now
    trades = portfolio.trades_today(now)
    yield Gate(Reason.TRADES_PER_DAY, trades < limits.trades_per_day, "trades_today", trades, limits.trades_per_day)
    for seconds, allowed in ((1, limits.orders_per_second), (60, limits.orders_per_minute)):
        sent = portfolio.approvals_since(now - seconds * NANOS)
        yield Gate(Reason.ORDER_RATE, sent < allowed, f"approvals_in_{seconds}_s", sent, allowed)


def _or(value: object) -> object:
    return "too few to tell" if value is None else value


def _ms(nanoseconds: int) -> int:
    return nanoseconds // 1_000_000


def _s(nanoseconds: int) -> int:
    return nanoseconds // NANOS
