"""What risk's questions are asked of, and what an answer looks like. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from pmarb.domain.bundles import leg_risk, unwind
from pmarb.domain.fees import FeeSchedule
from pmarb.domain.limits import Limits
from pmarb.domain.messages import Leg, Opportunity, RejectionReason, TradingState
from pmarb.domain.sizing import reserve_for_spend
from pmarb.domain.values import CENT, ONE, SHARE_GRID, ZERO, round_down, round_up
from services.risk.commitments import Exposed
from services.risk.portfolio import Portfolio


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
    """A limit on what the `legs` cost together: the dollars, with the fee, that it still allows."""

    name: str
    reason: RejectionReason
    room: Decimal
    legs: tuple[int, ...]


def shown(value: object) -> str:
    """Numbers with at most four decimals, without trailing zeros."""
    if isinstance(value, Decimal | float):
        return f"{round(Decimal(value), 4).normalize():f}"
    return ",".join(map(shown, value)) if isinstance(value, tuple) else str(value)


@dataclass(slots=True, kw_only=True)
class Case:
    """One opportunity before one portfolio at one time.

    `fees` are there, by leg, once they were found sane; what it `needed` for the `least` shares, what is `held` and the
    `caps` once its size was asked for. `whole` are the numbers of all legs; several make a set, whose legs are worth
    something together only.
    """

    opportunity: Opportunity
    portfolio: Portfolio
    limits: Limits
    now: int
    fees: tuple[FeeSchedule, ...] = ()
    caps: tuple[Cap, ...] = ()
    least: Decimal = ZERO
    needed: Decimal = ZERO
    held: Exposed = field(default_factory=lambda: Exposed([]))

    _costs: dict[tuple[int, Decimal], Decimal] = field(default_factory=dict)
    """What was asked before: the same sizes are asked of several caps."""

    legs: tuple[Leg, ...] = field(init=False)
    whole: tuple[int, ...] = field(init=False)
    is_set: bool = field(init=False)

    def __post_init__(self) -> None:
        self.legs = self.opportunity.legs
        self.whole = tuple(range(len(self.legs)))
        self.is_set = len(self.legs) > 1

    @property
    def leg(self) -> Leg:
        return self.legs[0]

    @property
    def step(self) -> Decimal:
        """Sizes are multiples of this: whole shares of a set have exact amounts at every cent."""
        return ONE if self.is_set else SHARE_GRID

    @property
    def reducing(self) -> bool:
        """Only what lowers exposure is allowed, and so some limits on opening do not apply."""
        return self.portfolio.state is TradingState.REDUCING

    def event(self, leg: Leg) -> str:
        return leg.event or self.opportunity.event

    def expiry(self, leg: Leg) -> int:
        return leg.expiry or self.opportunity.expiry

    def family(self, leg: Leg) -> str:
        return leg.family or self.opportunity.family

    def limit(self, leg: Leg) -> Decimal:
        """The worst price to approve: of a set the ticks above what was seen too, for the later legs."""
        if not self.is_set:
            return leg.limit
        return min(leg.limit + self.limits.slippage_ticks * leg.tick, ONE - leg.tick)

    def cost(self, shares: Decimal, legs: Sequence[int]) -> Decimal:
        """All that so many shares of each of these legs may cost."""
        return sum((self.cost_of(index, shares) for index in legs), ZERO)

    def cost_of(self, index: int, shares: Decimal) -> Decimal:
        cost = self._costs.get((index, shares))
        if cost is None:
            leg = self.legs[index]
            limit = self.limit(leg)
            usd = round_down(shares * limit, CENT)
            cost = reserve_for_spend(usd=usd, limit=limit, tick=leg.tick, fees=self.fees[index])
            self._costs[index, shares] = cost
        return cost

    def net(self) -> Decimal:
        """What a share is expected to earn, from the parts: the sender's sum is not trusted.

        A set is priced at its limits: a BUY spends its dollars whole, and shares beyond the set are worth nothing sure.
        """
        prices = [leg.limit if self.is_set else leg.price for leg in self.legs]
        cost = sum((p + fees.fee(shares=ONE, price=p) for p, fees in zip(prices, self.fees, strict=True)), ZERO)
        return self.opportunity.fair - cost

    def leg_risk(self) -> Decimal:
        """The edge a share that being left with a part of the set eats; nothing of a single leg."""
        legs = zip(self.legs, self.fees, strict=True)
        return leg_risk([unwind(price=leg.limit, bid=leg.bid, fees=fees) for leg, fees in legs])


def least_shares(leg: Leg, limits: Limits) -> Decimal:
    """The smallest order the venue takes at this limit."""
    return max(limits.min_shares, round_up(limits.min_usd / leg.limit, SHARE_GRID))
