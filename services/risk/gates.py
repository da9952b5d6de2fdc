"""Every question risk asks of an opportunity, in the order of quant.md 4, with the value found and the limit it met.

`judge` stops at the first that is not passed, `pm-arb why` shows all. Pure and lazy.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple

from pmarb.domain.book import Level
from pmarb.domain.fees import FREE, FeeSchedule
from pmarb.domain.limits import CEILING_USD, Limits, Sizing
from pmarb.domain.messages import CONTRACTS, Leg, Opportunity, RejectionReason, TradingState
from pmarb.domain.sizing import kelly_spend, reserve_for_spend, share_of
from pmarb.domain.values import CENT, NANOS, ONE, SHARE_GRID, ZERO, Side, round_down, round_up
from services.risk.portfolio import Portfolio

Reason = RejectionReason
HIGHEST_EXPONENT: Final = 8


class Gate(NamedTuple):
    """A question, its answer and what the answer had to be. `reason` is that of the denial if it was not passed."""

    reason: RejectionReason
    passed: bool
    name: str
    found: object
    limit: object

    @property
    def detail(self) -> str:
        return f"{self.name}={shown(self.found)} limit={shown(self.limit)}"


class Cap(NamedTuple):
    """A limit on the order's size: the dollars, with the fee, that it still allows."""

    name: str
    reason: RejectionReason
    room: Decimal


def shown(value: object) -> str:
    """Numbers with at most four decimals, without trailing zeros."""
    if isinstance(value, Decimal | float):
        return f"{round(Decimal(value), 4).normalize():f}"
    return ",".join(map(shown, value)) if isinstance(value, tuple) else str(value)


@dataclass(slots=True, kw_only=True)
class Case:
    """One opportunity before one portfolio at one time.

    `fees` are there once the fee was found sane; `least` shares, what they `needed` and the `caps` once its size was
    asked for; `held` is all exposure.
    """

    opportunity: Opportunity
    portfolio: Portfolio
    limits: Limits
    now: int
    fees: FeeSchedule = FREE
    caps: tuple[Cap, ...] = ()
    least: Decimal = ZERO
    needed: Decimal = ZERO
    held: Decimal = ZERO

    @property
    def leg(self) -> Leg:
        return self.opportunity.legs[0]

    @property
    def reducing(self) -> bool:
        """Only what lowers exposure is allowed, and so some limits on opening do not apply."""
        return self.portfolio.state is TradingState.REDUCING

    def cost(self, shares: Decimal) -> Decimal:
        """All that so many shares may cost."""
        usd = round_down(shares * self.leg.limit, CENT)
        return reserve_for_spend(usd=usd, limit=self.leg.limit, tick=self.leg.tick, fees=self.fees)


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
    case.fees = FeeSchedule(case.leg.fee_rate, case.leg.fee_exponent)
    yield from _edge(case)
    yield from _sizes(case)
    yield from _losses(case)
    yield from _repeats(case)
    yield from _rate(case)
    free = case.portfolio.equity - case.held
    yield Gate(Reason.INSUFFICIENT_CASH, free >= case.needed, "free_usd", free, case.needed)


def _shape(case: Case) -> Gate:
    legs = case.opportunity.legs
    if len(legs) != 1:
        return Gate(Reason.MALFORMED, False, "legs", len(legs), 1)
    leg = legs[0]
    if leg.side is not Side.BUY:
        return Gate(Reason.MALFORMED, False, "side", leg.side, Side.BUY)
    if not ZERO < leg.tick < ONE:
        return Gate(Reason.MALFORMED, False, "tick", leg.tick, "0..1")
    sound = ZERO < leg.price <= leg.limit < ONE and leg.shares > ZERO and leg.limit % leg.tick == ZERO
    found = (leg.price, leg.limit, leg.tick, leg.shares)
    return Gate(Reason.MALFORMED, sound, "price,limit,tick,shares", found, "0<price<=limit<1 on the tick")


_OF_STATE: Final = {
    TradingState.ACTIVE: Reason.TRADING_HALTED,
    TradingState.HALTED: Reason.TRADING_HALTED,
    TradingState.KILLED: Reason.TRADING_KILLED,
    TradingState.REDUCING: Reason.REDUCING_ONLY,
}


def _standing(case: Case, *, sound: bool) -> Iterator[Gate]:
    """Whether anything may be traded at all, and this market."""
    portfolio, market = case.portfolio, case.leg.market if case.opportunity.legs else ""
    yield Gate(Reason.INSUFFICIENT_CASH, portfolio.capital > ZERO, "capital", portfolio.capital, "booked by executor")
    state = portfolio.state
    allowed = state is TradingState.ACTIVE or (case.reducing and sound and _lowers(case))
    found = state if state is TradingState.ACTIVE else f"{state} ({portfolio.state_why})"
    yield Gate(_OF_STATE[state], allowed, "state", found, TradingState.ACTIVE)
    yield Gate(Reason.GATE_LOCKED, not portfolio.locked, "gate", portfolio.locked or "open", "open")
    changed = portfolio.tripwires.get(CONTRACTS, "") or portfolio.tripwires.get(market, "")
    yield Gate(Reason.RULES_CHANGED, not changed, "rules", changed or "as first seen", "as first seen")


def _lowers(case: Case) -> bool:
    return case.portfolio.hedge(case.leg.market, case.leg.token) >= least_shares(case.leg, case.limits)


def _fresh(case: Case) -> Iterator[Gate]:
    opportunity, limits, now = case.opportunity, case.limits, case.now
    late = now - opportunity.expires_at
    yield Gate(Reason.EXPIRED, late <= 0, "late_ms", _ms(late), 0)
    ahead = opportunity.ts_init - now
    yield Gate(Reason.CLOCK_SKEW, ahead <= limits.clock_skew, "ahead_ms", _ms(ahead), _ms(limits.clock_skew))
    for reason, name, seen, allowed in (
        (Reason.STALE_BOOK, "book_age_ms", case.leg.book_ts_init, limits.book_age(opportunity.family)),
        (Reason.STALE_SPOT, "spot_age_ms", opportunity.spot_ts_init, limits.spot_age(opportunity.family)),
        (Reason.STALE_REFERENCE, "settlement_age_ms", opportunity.reference_ts_init, limits.stale_reference),
    ):
        yield Gate(reason, now - seen <= allowed, name, _ms(now - seen), _ms(allowed))
    mid, price = opportunity.mid, case.leg.price
    yield Gate(Reason.CROSSED_BOOK, mid < price, "mid_below_offer", mid, price)


def _price(case: Case) -> Iterator[Gate]:
    price, limits = case.leg.price, case.limits
    inside = limits.price_low <= price <= limits.price_high
    yield Gate(Reason.PRICE_BAND, inside, "price", price, (limits.price_low, limits.price_high))
    spread = 2 * (price - case.opportunity.mid)
    yield Gate(Reason.SPREAD_TOO_WIDE, spread <= limits.max_spread, "spread", spread, limits.max_spread)


def _time(case: Case) -> Iterator[Gate]:
    opportunity, limits = case.opportunity, case.limits
    since, left = case.now - opportunity.opens_at, opportunity.expiry - case.now
    needed = limits.time_left(opportunity.family)
    yield Gate(Reason.TOO_EARLY, since >= limits.no_trade_first, "open_for_s", _s(since), _s(limits.no_trade_first))
    yield Gate(Reason.TOO_LATE, left >= needed, "left_s", _s(left), _s(needed))


def _fee(case: Case) -> Gate:
    """A rate nobody could charge would make nonsense of every price that follows."""
    leg, highest = case.leg, case.limits.max_fee_rate
    known = ZERO <= leg.fee_rate <= highest and ZERO <= leg.fee_exponent <= HIGHEST_EXPONENT
    return Gate(
        Reason.UNKNOWN_FEE, known, "rate,exponent", (leg.fee_rate, leg.fee_exponent), (highest, HIGHEST_EXPONENT)
    )


def _edge(case: Case) -> Iterator[Gate]:
    leg, opportunity = case.leg, case.opportunity
    per_share = case.fees.fee(shares=ONE, price=leg.price)
    net = opportunity.fair - leg.price - per_share  # Ours, from the parts: the sender's sum is not trusted
    needed = max(case.limits.min_edge, opportunity.threshold)
    yield Gate(Reason.EDGE_TOO_THIN, net >= needed, "net_edge", net, needed)


def _sizes(case: Case) -> Iterator[Gate]:
    """Counts, then every cap: each must leave room for the least the venue takes."""
    portfolio, limits, now = case.portfolio, case.limits, case.now
    orders, positions = portfolio.open_orders(now), portfolio.positions(now)
    yield Gate(Reason.TOO_MANY_ORDERS, orders < limits.max_open_orders, "orders_open", orders, limits.max_open_orders)
    held = positions >= limits.max_positions and portfolio.exposure_of_market(case.leg.market, now) > ZERO
    room = positions < limits.max_positions or held
    yield Gate(Reason.TOO_MANY_POSITIONS, room, "positions", positions, limits.max_positions)
    case.least = least_shares(case.leg, limits)
    offered = round_down(case.leg.shares, SHARE_GRID)
    yield Gate(Reason.BELOW_MINIMUM, offered >= case.least, "shares_displayed", offered, case.least)
    case.needed, case.held, caps = case.cost(case.least), portfolio.exposure(now), []
    for cap in _caps(case):
        caps.append(cap)
        yield Gate(cap.reason, cap.room >= case.needed, cap.name, cap.room, case.needed)
    case.caps = tuple(caps)


def least_shares(leg: Leg, limits: Limits) -> Decimal:
    """The smallest order the venue takes at this limit."""
    return max(limits.min_shares, round_up(limits.min_usd / leg.limit, SHARE_GRID))


def _caps(case: Case) -> Iterator[Cap]:
    portfolio, limits, opportunity, now = case.portfolio, case.limits, case.opportunity, case.now
    equity = portfolio.equity
    yield Cap("order_room_usd", Reason.BELOW_MINIMUM, _of_order(case))
    yield Cap("hard_cap_room_usd", Reason.ORDER_CAP, min(limits.hard_cap_usd, CEILING_USD))
    market = limits.market_pct * equity - portfolio.exposure_of_market(case.leg.market, now)
    yield Cap("market_room_usd", Reason.MARKET_CAP, market)
    yield Cap(
        "event_room_usd",
        Reason.EVENT_CAP,
        limits.event_pct * equity - portfolio.exposure_of_event(opportunity.event, now),
    )
    bet = portfolio.exposure_of_underlying(
        opportunity.underlying, expiry=opportunity.expiry, within=limits.same_expiry, now=now
    )
    yield Cap("underlying_room_usd", Reason.UNDERLYING_CAP, limits.underlying_pct * equity - bet)
    if limits.sizing is Sizing.ALLOCATOR:
        share = share_of(opportunity.strategy, portfolio.records, most=limits.strategy_pct)
        used = portfolio.exposure_of_strategy(opportunity.strategy, now)
        yield Cap("strategy_room_usd", Reason.STRATEGY_CAP, share * limits.total_pct * equity - used)
    yield Cap("total_room_usd", Reason.TOTAL_CAP, limits.total_pct * equity - case.held)


def _of_order(case: Case) -> Decimal:
    """What one order may cost: a share of equity, or a wider one if only so the venue's minimum is reached.

    Not in a drawdown: there sizes halve, and half of too little is nothing.
    """
    limits, equity = case.limits, case.portfolio.equity
    bound = min(limits.order_usd, _kelly(case))
    plain = min(limits.order_pct * equity, bound)
    if case.portfolio.drawdown >= limits.drawdown_reduce_pct:
        return plain / 2
    wider = min(limits.order_pct_to_reach_minimum * equity, bound)
    return case.needed if plain < case.needed <= wider else plain


def _kelly(case: Case) -> Decimal:
    """What a fractional Kelly bettor would spend; no bound where sizing does not look at the edge."""
    fraction, equity = case.limits.sizing.kelly_fraction, case.portfolio.equity
    if fraction is None:
        return max(equity, ZERO)
    levels = case.leg.levels or (Level(case.leg.limit, case.leg.shares),)  # Of unknown depth, all at the worst price
    return kelly_spend(levels, fair=case.opportunity.fair, fees=case.fees, bankroll=max(equity, ZERO)) * fraction


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
    portfolio, limits, market = case.portfolio, case.limits, case.leg.market
    again = case.opportunity.opportunity_id in portfolio.commitments
    yield Gate(Reason.DUPLICATE, not again, "approved_before", again, False)
    entries = portfolio.entries_of_market(market, case.now)
    free = entries < limits.entries_per_window or case.reducing
    yield Gate(Reason.ENTRIES_PER_WINDOW, free, "entries", entries, limits.entries_per_window)
    last = portfolio.last_approval_of_market(market)
    since = case.now - last
    rested = not last or since >= limits.duplicate_cooldown
    yield Gate(Reason.DUPLICATE, rested, "since_last_s", _s(since) if last else "never", _s(limits.duplicate_cooldown))


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
