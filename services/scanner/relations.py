"""Markets compared with each other: ladders, levels, whole sets of ranges, windows of one end (quant.md 3.6).

Looked at in turn, off the path of ticks: such a set hardly ever shows, and when it does its books are stale more often
than wrong. It is told only if its payoff is proven, every leg is as readable as a single one must be, the books were
seen within `leg_skew_ms` of each other, and the edge beats the threshold on top of what a lone leg would cost.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from itertools import permutations
from typing import Final

from pmarb.domain.book import Book
from pmarb.domain.bundles import Basket, Wanted, basket, best_bid, exhaustive, implies, same_settlement
from pmarb.domain.fair import Fair
from pmarb.domain.fees import FeeSchedule
from pmarb.domain.market import ExchangeRule, MarketInfo, Twap
from pmarb.domain.messages import Leg, Opportunity
from pmarb.domain.underlying import Underlying
from pmarb.domain.updown import Missing, fair_value
from pmarb.domain.values import NANOS, ONE, ZERO, Side, round_down
from services.scanner.decide import GRAIN, MS, Watched, digest, unfed_for, unreadable
from services.scanner.limits import Limits
from services.scanner.terms import terms_of

SETS_EVERY: Final = 2 * NANOS
"""Nanoseconds (real) from one proof of all sets to the next."""
SET_COOLDOWN_S: Final = 30.0
"""Venue seconds before the same set is told again."""
DAY_S: Final = 86_400
LONG_LOCK_S: Final = 30 * DAY_S
LEAST_APR: Final = Decimal("0.10")
"""What money locked for months must earn a year (quant.md 3.6)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoughtSide:
    """One leg: a market, and whether its first outcome (Up, Yes) is bought or its second."""

    watched: Watched
    first: bool

    @property
    def quote(self) -> float:
        return (self.watched.up if self.first else self.watched.down).ask

    def book(self) -> Book:
        return (self.watched.up if self.first else self.watched.down).book()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Legs that together pay at least `payoff` a share, by the rules of their markets."""

    strategy: str
    sides: tuple[BoughtSide, ...]
    payoff: int


def bundles(watched: Sequence[Watched]) -> Iterator[Bundle]:
    """Every proven set among these markets."""
    known = [one for one in watched if one.market.fees is not None and one.labels is not None]
    for group in _comparable(known):
        for less, more in permutations(group, 2):
            if _surely(less, more):
                pair = (BoughtSide(watched=more, first=True), BoughtSide(watched=less, first=False))
                yield Bundle(strategy="bundle_pair", sides=pair, payoff=1)
    events: dict[str, list[Watched]] = {}
    for each in known:
        if each.market.neg_risk:
            events.setdefault(each.market.event, []).append(each)
    for members in events.values():
        if exhaustive([member.market for member in members]):
            for first, payoff in ((True, 1), (False, len(members) - 1)):
                sides = tuple(BoughtSide(watched=member, first=first) for member in members)
                yield Bundle(strategy="bundle_set", sides=sides, payoff=payoff)


class Proven:
    """The proven sets among markets, worked out anew only when these or the references of their windows change."""

    def __init__(self) -> None:
        self._of: list[tuple[Watched, MarketInfo, float | None]] = []
        self._sets: tuple[Bundle, ...] = ()

    def among(self, watched: Sequence[Watched]) -> tuple[Bundle, ...]:
        """What `bundles` says of them."""
        if len(watched) != len(self._of) or not all(map(_the_same, watched, self._of)):
            self._of = [(one, one.market, _reference(one)) for one in watched]
            self._sets = tuple(bundles(watched))
        return self._sets


def _the_same(one: Watched, before: tuple[Watched, MarketInfo, float | None]) -> bool:
    return one is before[0] and one.market is before[1] and _reference(one) == before[2]


def _reference(one: Watched) -> float | None:
    """What two windows of one end are compared by; the references of other markets prove nothing."""
    return one.stated_strike if isinstance(one.market.settlement, Twap) else None


def _comparable(watched: Sequence[Watched]) -> list[list[Watched]]:
    """Markets that could imply each other: of one asset's exchange, or of one oracle's moment. Never all with all."""
    groups: dict[tuple[str, int], list[Watched]] = {}
    for each in watched:
        by_exchange = isinstance(each.market.settlement, ExchangeRule)
        moment = 0 if by_exchange else each.market.closes_at
        groups.setdefault((each.market.underlying, moment), []).append(each)
    return list(groups.values())


def _surely(less: Watched, more: Watched) -> bool:
    """Whether `less` cannot come true without `more`."""
    if implies(less.market, more.market):
        return True
    strike, than = _reference(less), _reference(more)
    return strike is not None and than is not None and same_settlement(less.market, more.market, strike, than)


Worth = Callable[[Watched], Fair | None]
"""What the model says of a market by itself, None where it says nothing."""


def alone(watched: Watched, underlying: Underlying, limits: Limits, *, now: int, real: int) -> Fair | None:
    """A `Worth`, of the prices that are known now."""
    if unfed_for(watched.market, underlying, limits, real=real) is not None:
        return None
    strike = watched.stated_strike
    fair = fair_value(watched.market, underlying, limits.model, now=now, real=real, stated_strike=strike)
    return None if isinstance(fair, Missing) else fair


def judge(
    bundle: Bundle, limits: Limits, *, now: int, real: int, worth: Worth = lambda _watched: None
) -> Opportunity | None:
    """The set as an opportunity, if it is one now."""
    quick = sum(side.quote for side in bundle.sides)
    if quick >= bundle.payoff or any(_unfit(side.watched, limits, now=now, real=real) for side in bundle.sides):
        return None
    ages = [side.watched.proven for side in bundle.sides]
    if max(ages) - min(ages) > limits.leg_skew_ms * MS:
        return None
    shares = _shares(bundle, limits)
    wanted = [Wanted(book=side.book(), fees=_fees(side)) for side in bundle.sides]
    found = basket(wanted, payoff=Decimal(bundle.payoff), shares=shares)
    if found is None or found.shares < max(side.watched.market.min_size for side in bundle.sides):
        return None
    locked_s = max(ONE, Decimal(max(side.watched.market.decided_at for side in bundle.sides) - now) / NANOS)
    threshold = limits.min_edge + found.leg_risk.quantize(GRAIN, rounding=ROUND_CEILING)
    apr = found.apr(locked_s)
    if found.net < threshold or (locked_s > LONG_LOCK_S and apr < LEAST_APR):
        return None
    receipt = {
        "payoff": str(bundle.payoff),
        "cost": f"{found.cost:.6f}",
        "leg_risk": f"{found.leg_risk:.6f}",
        "unwind": f"{max(found.unwinds):.6f}",
        "skew_ms": f"{(max(ages) - min(ages)) / MS:.1f}",
        "lock_s": f"{locked_s:.0f}",
        "apr": f"{apr:.4g}",
        "rules": " | ".join(repr(side.watched.market.settlement) for side in bundle.sides),
    }
    legs = tuple(_leg(side, found, index, worth, limits, now=now, real=real) for index, side in enumerate(bundle.sides))
    return _opportunity(bundle, found, legs, threshold, receipt, limits, now=now)


def _unfit(watched: Watched, limits: Limits, *, now: int, real: int) -> bool:
    """A leg is as sound as a single one has to be; only the prices of the underlying are of no account."""
    market = watched.market
    return bool(terms_of(market, limits).forbid(now) or unreadable(watched, limits, real=real))


def _fees(side: BoughtSide) -> FeeSchedule:
    fees = side.watched.market.fees
    assert fees is not None  # `bundles` passes over the others
    return fees


def _shares(bundle: Bundle, limits: Limits) -> Decimal:
    """As many sets as the stake buys, at least the venue's minimum of every leg."""
    least = max(side.watched.market.min_size for side in bundle.sides)
    dearest = max(Decimal(repr(side.quote)) for side in bundle.sides)
    if dearest <= ZERO:
        return least
    return max(least, round_down(limits.order_usd / dearest, ONE))


def _opportunity(
    bundle: Bundle,
    found: Basket,
    legs: tuple[Leg, ...],
    threshold: Decimal,
    receipt: dict[str, str],
    limits: Limits,
    *,
    now: int,
) -> Opportunity:
    markets = [side.watched.market for side in bundle.sides]
    first = markets[0]
    parts = [f"{leg.token} {leg.limit} {leg.price} {leg.book_hash} {leg.book_ts_event}" for leg in legs]
    seen = min(leg.book_ts_init for leg in legs)
    return Opportunity(
        opportunity_id=hashlib.sha256("|".join([bundle.strategy, *parts]).encode()).hexdigest()[:20],
        strategy=bundle.strategy,
        legs=legs,
        fair=found.payoff,
        fair_se=ZERO,
        mid=found.cost,
        gross_edge=found.payoff - found.cost,
        fee=found.fee,
        net_edge=found.net,
        threshold=threshold,
        bound_by="leg_risk",
        slug=first.slug,
        event=first.event,
        underlying=first.underlying,
        family=first.family,
        opens_at=max(market.opens_at for market in markets),
        expiry=min(market.closes_at for market in markets),
        expires_at=now + int(limits.ttl_s * NANOS),
        spot_ts_init=seen,
        reference_ts_init=seen,
        ts_event=max(leg.book_ts_event for leg in legs),
        ts_init=now,
        inputs=receipt,
    )


def _leg(side: BoughtSide, found: Basket, index: int, worth: Worth, limits: Limits, *, now: int, real: int) -> Leg:
    market, book, take, fees = side.watched.market, side.book(), found.takes[index], _fees(side)
    assert side.watched.labels is not None  # `bundles` passes over the others
    mine, other = side.watched.labels if side.first else reversed(side.watched.labels)
    fair, error = _alone(side, worth(side.watched), limits)
    return Leg(
        market=market.condition_id,
        token=book.token,
        outcome=mine,
        side=Side.BUY,
        limit=take.worst,
        price=take.vwap,
        shares=take.shares,
        tick=book.tick,
        fee=fees.charged(shares=take.shares, price=take.vwap),
        fee_rate=fees.rate,
        fee_exponent=fees.exponent,
        book_hash=book.hash or digest(book),
        book_ts_event=book.ts_event,
        book_ts_init=now - max(0, real - side.watched.proven),
        levels=tuple(level for level in book.asks if level.price <= take.worst),
        slug=market.slug,
        event=market.event,
        family=market.family,
        expiry=market.closes_at,
        bid=best_bid(book),
        other_token=(side.watched.down if side.first else side.watched.up).book().token,
        other_outcome=other,
        fair=fair,
        fair_se=error,
    )


def _alone(side: BoughtSide, fair: Fair | None, limits: Limits) -> tuple[Decimal | None, Decimal]:
    """(value, standard error) of a share of this side by itself, as a single order would be priced; never in our
    favour."""
    if fair is None:
        return None, ZERO
    mid = (side.watched.up.bid + side.watched.up.ask) / 2
    up = mid + limits.model_weight * (fair.up - mid)
    value = Decimal(up if side.first else 1 - up).quantize(GRAIN, rounding=ROUND_FLOOR)
    return value, Decimal(fair.se).quantize(GRAIN, rounding=ROUND_CEILING)
