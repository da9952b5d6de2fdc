"""Sets of shares that together pay at least a known sum, whatever happens (quant.md 3.6).

A set is worth buying only if what it pays is *proven* by the rules of its markets, on the depth that is there, after
the fee of every leg, and after what it costs when one leg fills and another does not. Money exact, chances floats.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Final

from pmarb.domain.book import Book, Take, walk
from pmarb.domain.fees import FeeSchedule
from pmarb.domain.market import Above, Between, MarketInfo, Touch, Twap
from pmarb.domain.values import ONE, ZERO, Side

P_BOTH: Final = Decimal("0.545")
P_ONE: Final = Decimal("0.091")
"""How often both, and exactly one, of two fast legs filled where it was measured."""

REFERENCE_GAP: Final = 1e-4
"""Two prices to beat nearer than this, relatively, may be in the other order: ours have erred by up to 0.45 bp."""

YEAR_S: Final = Decimal(365 * 86_400)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A leg to buy: a book and what its market charges."""

    book: Book
    fees: FeeSchedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Basket:
    """Equal shares of every leg. Per share of the set: `cost` without fees, `fee`, `net` after both.

    `skew` is the time between the oldest and the youngest book, nanoseconds; `unwinds` what leaving each leg costs.
    """

    shares: Decimal
    takes: tuple[Take, ...]
    payoff: Decimal
    cost: Decimal
    fee: Decimal
    net: Decimal
    unwinds: tuple[Decimal, ...]
    skew: int

    @property
    def leg_risk(self) -> Decimal:
        return leg_risk(self.unwinds)

    def apr(self, locked_s: Decimal) -> Decimal:
        """The net edge on the money that is away, as a yearly rate without compounding."""
        return self.net / (self.cost + self.fee) * YEAR_S / max(locked_s, ONE)


def leg_risk(unwinds: Sequence[Decimal]) -> Decimal:
    """The edge a share that the chance of being left with a part of the set eats, by what leaving each leg costs.

    Of two legs P_one * unwind / P_both (quant.md 3.6). Of more, every further leg is taken to miss as often as the
    second one did, by itself, and the dearest to leave are taken to be there first.
    """
    fills = P_BOTH / (P_BOTH + P_ONE)
    dearest = sorted(unwinds, reverse=True)
    lost = (fills ** (count - 1) * (ONE - fills) * sum(dearest[:count], ZERO) for count in range(1, len(dearest)))
    return sum(lost, ZERO) / fills ** max(len(dearest) - 1, 0)


def unwind(*, price: Decimal, bid: Decimal, fees: FeeSchedule) -> Decimal:
    """What leaving a share bought at `price` costs: the spread and two fees; without a bid the whole price."""
    if bid <= ZERO:
        return price
    return price - bid + fees.fee(shares=ONE, price=price) + fees.fee(shares=ONE, price=bid)


def basket(legs: Sequence[Wanted], *, payoff: Decimal, shares: Decimal) -> Basket | None:
    """What `shares` of every leg cost on the depth that is there; None if a leg has not that many.

    Every leg is cut to what the thinnest one gives, so that no leg is ever larger than another.
    """
    depth = min((sum((size for _, size in leg.book.asks), ZERO) for leg in legs), default=ZERO)
    found = [walk(leg.book.asks, side=Side.BUY, fees=leg.fees, shares=min(shares, depth)) for leg in legs]
    takes = tuple(take for take in found if take is not None)
    if len(takes) != len(legs) or not takes or len({take.shares for take in takes}) != 1:
        return None
    size = takes[0].shares
    cost = sum((take.vwap for take in takes), ZERO)
    fee = sum((leg.fees.reserved(shares=size, price=take.vwap) for leg, take in zip(legs, takes, strict=True)), ZERO)
    seen = [leg.book.ts_init for leg in legs]
    return Basket(
        shares=size,
        takes=takes,
        payoff=payoff,
        cost=cost,
        fee=fee / size,
        net=payoff - cost - fee / size,
        unwinds=tuple(
            unwind(price=take.vwap, bid=best_bid(leg.book), fees=leg.fees)
            for leg, take in zip(legs, takes, strict=True)
        ),
        skew=max(seen) - min(seen),
    )


def best_bid(book: Book) -> Decimal:
    """Zero where nobody bids."""
    return ZERO if book.best_bid is None else book.best_bid.price


def implies(one: MarketInfo, other: MarketInfo) -> bool:
    """Whether the first outcome of `one` cannot come true without that of `other`, by their rules alone."""
    if one.underlying != other.underlying or not one.underlying or one.slug == other.slug:
        return False
    rule, then = one.settlement, other.settlement
    match rule, then:
        case (Above(strike=high), Above(strike=low)):
            return one.closes_at == other.closes_at and high > low
        case (Between(low=float(low)), Above(strike=strike)):
            return one.closes_at == other.closes_at and low > strike
        case (Touch(level=far, up=up), Touch(level=near, up=same)):
            return up is same and _within(one, other) and (far >= near if up else far <= near)
        case (Above(strike=price) | Between(low=float(price)), Touch(level=level, up=True)):
            return _noon_within(one, other) and price >= level
        case (Between(high=float(price)), Touch(level=level, up=False)):
            return _noon_within(one, other) and price <= level
        case _:
            return False


def same_settlement(one: MarketInfo, other: MarketInfo, strike: float, than: float) -> bool:
    """Whether two windows end on the same average and `one`, which began higher, cannot be Up alone."""
    same = isinstance(one.settlement, Twap) and one.settlement == other.settlement
    together = one.closes_at == other.closes_at and one.underlying == other.underlying and bool(one.underlying)
    return same and together and strike > than * (1 + REFERENCE_GAP)


def exhaustive(markets: Sequence[MarketInfo]) -> bool:
    """Whether exactly one of these ranges comes true: one event, one noon, no gap, no overlap, both ends open."""
    first = markets[0] if markets else None
    if first is None or len(markets) < 2 or not first.event:
        return False
    for market in markets:
        alike = (market.event, market.underlying, market.closes_at) == (first.event, first.underlying, first.closes_at)
        if not alike or not market.neg_risk or market.augmented:
            return False
    ranges = [market.settlement for market in markets if isinstance(market.settlement, Between)]
    ranges.sort(key=lambda bracket: float("-inf") if bracket.low is None else bracket.low)
    if len(ranges) != len(markets) or ranges[0].low is not None or ranges[-1].high is not None:
        return False
    return all(one.high is not None and one.high == other.low for one, other in pairwise(ranges))


def _within(one: MarketInfo, other: MarketInfo) -> bool:
    return other.opens_at <= one.opens_at and one.closes_at <= other.closes_at


def _noon_within(one: MarketInfo, other: MarketInfo) -> bool:
    """The candle of noon belongs to the period in which the level may be touched."""
    return other.opens_at <= one.closes_at and one.decided_at <= other.closes_at
