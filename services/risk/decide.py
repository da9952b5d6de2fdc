"""May this opportunity be traded, and how large? The first gate that is not passed answers, with its numbers.

Pure: the portfolio, the limits and the time come as arguments, and the answer is a value.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from pmarb.domain.limits import Limits
from pmarb.domain.messages import Approval, ApprovedLeg, Opportunity, Rejection
from pmarb.domain.values import CENT, SHARE_GRID, ZERO, round_down
from services.risk.gates import Case, Gate, gates
from services.risk.portfolio import Portfolio

__all__ = ["Judgement", "Limits", "Portfolio", "judge", "weigh"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The answer, the gates asked for it, and those behind the first that was not passed, if anybody wants them."""

    answer: Approval | Rejection
    asked: tuple[Gate, ...]
    rest: Iterator[Gate]


def judge(opportunity: Opportunity, portfolio: Portfolio, limits: Limits, *, now: int) -> Approval | Rejection:
    """Approve with sizes, or deny with the first reason. `now` is venue time, nanoseconds."""
    return weigh(opportunity, portfolio, limits, now=now).answer


def weigh(opportunity: Opportunity, portfolio: Portfolio, limits: Limits, *, now: int) -> Judgement:
    """The same, with the gates."""
    case, asked = Case(opportunity=opportunity, portfolio=portfolio, limits=limits, now=now), []
    asking = gates(case)
    for gate in asking:
        asked.append(gate)
        if not gate.passed:
            return Judgement(answer=_deny(case, gate), asked=tuple(asked), rest=asking)
    return Judgement(answer=_approve(case), asked=tuple(asked), rest=asking)


def _approve(case: Case) -> Approval:
    opportunity, limits, now = case.opportunity, case.limits, case.now
    shares, bound_by = _sized(case)
    leg = ApprovedLeg(
        leg=case.leg,
        shares=shares,
        limit=case.leg.limit,
        usd=round_down(shares * case.leg.limit, CENT),
        reserved=case.cost(shares),
    )
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
        strategy=opportunity.strategy,
    )


def _sized(case: Case) -> tuple[Decimal, str]:
    """Shares within every cap and what is displayed, and what bound them. Every cap has room for the least order."""
    tightest = min(case.caps, key=lambda cap: cap.room)
    offered = round_down(case.leg.shares, SHARE_GRID)
    most = min(offered, case.portfolio.hedge(case.leg.market, case.leg.token)) if case.reducing else offered
    within = max(_shares_within(case, tightest.room), case.least)
    if within < most:
        return within, tightest.name.removesuffix("_room_usd")
    return round_down(most, SHARE_GRID), "hedge" if most < offered else "displayed"


def _shares_within(case: Case, allowed: Decimal) -> Decimal:
    """The most shares at the limit whose whole cost, with the dearest fee, fits `allowed`."""
    limit = case.leg.limit
    shares = round_down(allowed / limit, SHARE_GRID)
    over = case.cost(shares) - allowed
    while shares > ZERO and over > ZERO:
        shares = max(shares - max(round_down(over / limit, SHARE_GRID), SHARE_GRID), ZERO)
        over = case.cost(shares) - allowed
    return shares


def _deny(case: Case, gate: Gate) -> Rejection:
    return Rejection(
        opportunity_id=case.opportunity.opportunity_id,
        reason=gate.reason,
        detail=gate.detail,
        slug=case.opportunity.slug,
        ts_event=case.now,
        ts_init=case.now,
    )
