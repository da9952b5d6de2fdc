"""How large it may be: counts, then every cap, each of which must leave room for the least the venue takes. Pure."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from pmarb.domain.book import Level
from pmarb.domain.limits import CEILING_USD, Sizing
from pmarb.domain.messages import RejectionReason
from pmarb.domain.sizing import kelly_spend, share_of
from pmarb.domain.values import ZERO, round_down, round_up
from services.risk.case import Cap, Case, Gate, least_shares

Reason: Final = RejectionReason


def sizes(case: Case) -> Iterator[Gate]:
    """Of a set every cap is asked of the whole, or of those legs that it bounds together."""
    portfolio, limits, now = case.portfolio, case.limits, case.now
    orders = portfolio.open_orders(now)
    case.held = portfolio.exposed(now)
    positions = case.held.markets
    yield Gate(Reason.TOO_MANY_ORDERS, orders < limits.max_open_orders, "orders_open", orders, limits.max_open_orders)
    new = {leg.market for leg in case.legs} - positions
    room = not new or len(positions) + len(new) <= limits.max_positions
    yield Gate(Reason.TOO_MANY_POSITIONS, room, "positions", len(positions), limits.max_positions)
    case.least = round_up(max(least_shares(leg, limits) for leg in case.legs), case.step)
    displayed = offered(case)
    yield Gate(Reason.BELOW_MINIMUM, displayed >= case.least, "shares_displayed", displayed, case.least)
    case.needed, caps = case.cost(case.least, case.whole), []
    for cap in _caps(case):
        caps.append(cap)
        needed = case.needed if cap.legs == case.whole else case.cost(case.least, cap.legs)
        yield Gate(cap.reason, cap.room >= needed, cap.name, cap.room, needed)
    case.caps = tuple(caps)


def offered(case: Case) -> Decimal:
    """Shares displayed of the thinnest leg."""
    return round_down(min(leg.shares for leg in case.legs), case.step)


def sized(case: Case) -> tuple[Decimal, str]:
    """Shares of every leg within every cap and what is displayed, and what bound them. Every cap has room for the least
    order."""
    within, name = min((_within(case, cap) for cap in _tightest(case)), key=lambda found: found[0])
    displayed = offered(case)
    most = min(displayed, case.portfolio.hedge(case.leg.market, case.leg.token)) if case.reducing else displayed
    within = max(within, case.least)
    if within < most:
        return within, name.removesuffix("_room_usd")
    return round_down(most, case.step), "hedge" if most < displayed else "displayed"


def _tightest(case: Case) -> Iterator[Cap]:
    """The narrowest cap of each group of legs."""
    for legs in dict.fromkeys(cap.legs for cap in case.caps):
        yield min((cap for cap in case.caps if cap.legs == legs), key=lambda cap: cap.room)


def _within(case: Case, cap: Cap) -> tuple[Decimal, str]:
    """The most shares at the limits whose whole cost, with the dearest fee, fits the cap."""
    price = sum((case.limit(case.legs[index]) for index in cap.legs), ZERO)
    shares = round_down(cap.room / price, case.step)
    over = case.cost(shares, cap.legs) - cap.room
    while shares > ZERO and over > ZERO:
        shares = max(shares - max(round_down(over / price, case.step), case.step), ZERO)
        over = case.cost(shares, cap.legs) - cap.room
    return shares, cap.name


def _caps(case: Case) -> Iterator[Cap]:
    portfolio, limits, opportunity = case.portfolio, case.limits, case.opportunity
    equity, whole = portfolio.equity, case.whole
    yield Cap("order_room_usd", Reason.BELOW_MINIMUM, _of_order(case), whole)
    yield Cap("hard_cap_room_usd", Reason.ORDER_CAP, min(limits.hard_cap_usd, CEILING_USD), whole)
    for index, leg in enumerate(case.legs):
        market = limits.market_pct * equity - case.held.of_market(leg.market)
        yield Cap("market_room_usd", Reason.MARKET_CAP, market, (index,))
    for event in dict.fromkeys(map(case.event, case.legs)):
        legs = tuple(index for index in whole if case.event(case.legs[index]) == event)
        room = limits.event_pct * equity - case.held.of_event(event)
        yield Cap("event_room_usd", Reason.EVENT_CAP, room, legs)
    for expiry in dict.fromkeys(map(case.expiry, case.legs)):
        legs = tuple(i for i in whole if abs(case.expiry(case.legs[i]) - expiry) <= limits.same_expiry)
        bet = case.held.of_underlying(opportunity.underlying, expiry=expiry, within=limits.same_expiry)
        yield Cap("underlying_room_usd", Reason.UNDERLYING_CAP, limits.underlying_pct * equity - bet, legs)
    if limits.sizing is Sizing.ALLOCATOR:
        share = share_of(opportunity.strategy, portfolio.records, most=limits.strategy_pct)
        used = case.held.of_strategy(opportunity.strategy)
        yield Cap("strategy_room_usd", Reason.STRATEGY_CAP, share * limits.total_pct * equity - used, whole)
    yield Cap("total_room_usd", Reason.TOTAL_CAP, limits.total_pct * equity - case.held.total, whole)


def _of_order(case: Case) -> Decimal:
    """What one order, or a whole set, may cost: a share of equity, or a wider one if only so the venue's minimum is
    reached.

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
    """What a fractional Kelly bettor would spend; no bound where sizing does not look at the edge, nor on a set, which
    cannot lose when it is whole."""
    fraction, equity = case.limits.sizing.kelly_fraction, case.portfolio.equity
    if fraction is None or case.is_set:
        return max(equity, ZERO)
    levels = case.leg.levels or (Level(case.leg.limit, case.leg.shares),)  # Of unknown depth, all at the worst price
    return kelly_spend(levels, fair=case.opportunity.fair, fees=case.fees[0], bankroll=max(equity, ZERO)) * fraction
