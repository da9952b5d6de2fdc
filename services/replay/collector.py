"""Collects the meter's evidence while a replay runs: samples of every window, and every paper order to its end."""

from dataclasses import dataclass, field
from decimal import Decimal

from pmarb.domain.evidence import Bet, Evidence, Paid, Sample
from pmarb.domain.messages import Opportunity


@dataclass(slots=True, kw_only=True)
class Pending:
    """An order whose market is not decided yet."""

    opportunity: Opportunity
    filled: Paid | None = None
    optimistic: Paid | None = None
    pessimistic: Paid | None = None
    opposite: Paid | None = None
    matched_at: int = 0
    marks: dict[int, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """A sample before its outcome is known."""

    at: int
    closes_at: int
    model: float
    mid: float | None
    asks: tuple[float, float] | None
    fee_rate: Decimal


class Collector:
    """Evidence of one tape or one simulated run."""

    def __init__(self) -> None:
        self._samples: list[Sample] = []
        self._bets: list[Bet] = []
        self._glances: dict[str, list[Glance]] = {}
        self._pending: dict[str, list[Pending]] = {}

    def glanced(self, window: str, glance: Glance) -> None:
        self._glances.setdefault(window, []).append(glance)

    def sent(self, opportunity: Opportunity) -> Pending:
        """An order left; whoever fills it in keeps what is returned."""
        pending = Pending(opportunity=opportunity)
        self._pending.setdefault(opportunity.slug, []).append(pending)
        return pending

    def decided(self, window: str, winner: str, *, first: str) -> None:
        """The window's outcome is known; fair values are of its side `first`."""
        for glance in self._glances.pop(window, ()):
            self._samples.append(
                Sample(
                    window=window,
                    at=glance.at,
                    closes_at=glance.closes_at,
                    model=glance.model,
                    mid=glance.mid,
                    asks=glance.asks,
                    fee_rate=glance.fee_rate,
                    happened=winner == first,
                )
            )
        self._bets += [_bet(pending, winner) for pending in self._pending.pop(window, ())]

    def evidence(self) -> Evidence:
        """What is complete so far, in order of time."""
        return Evidence(
            samples=tuple(sorted(self._samples, key=lambda sample: sample.at)),
            bets=tuple(sorted(self._bets, key=lambda bet: bet.decided_at)),
            unsettled=sum(map(len, self._pending.values())),
        )


def _bet(pending: Pending, winner: str) -> Bet:
    opportunity = pending.opportunity
    leg = opportunity.legs[0]
    return Bet(
        bet_id=opportunity.opportunity_id,
        window=opportunity.slug,
        underlying=opportunity.underlying,
        family=opportunity.family,
        outcome=leg.outcome,
        decided_at=opportunity.ts_init,
        closes_at=opportunity.expiry,
        fair=opportunity.fair,
        se=opportunity.fair_se,
        ask=leg.price,
        mid=opportunity.mid,
        expected=opportunity.net_edge,
        won=leg.outcome == winner,
        token=leg.token,
        matched_at=pending.matched_at,
        filled=pending.filled,
        optimistic=pending.optimistic,
        pessimistic=pending.pessimistic,
        opposite=pending.opposite,
        marks=dict(pending.marks),
    )
