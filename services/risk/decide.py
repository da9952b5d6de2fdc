"""May this opportunity be traded, and how large? The first gate that is not passed answers, with its numbers.

Pure: the portfolio, the limits and the time come as arguments, and the answer is a value.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from pmarb.domain.limits import Limits
from pmarb.domain.messages import Approval, ApprovedLeg, Opportunity, Rejection
from pmarb.domain.values import CENT, MICRO, ZERO, round_down, round_up
from services.risk.case import Case, Gate
from services.risk.gates import gates
from services.risk.portfolio import Portfolio
from services.risk.sizes import sized

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
    shares, bound_by = sized(case)
    legs = tuple(_leg(case, index, shares) for index in case.whole)
    reserved = [leg.reserved for leg in legs]
    threshold = max(opportunity.threshold, limits.min_edge)
    if case.is_set:
        threshold = limits.min_edge + round_up(case.leg_risk(), MICRO)
    return Approval(
        opportunity_id=opportunity.opportunity_id,
        legs=legs,
        reserved=sum(reserved, ZERO),
        bound_by=bound_by,
        slug=opportunity.slug,
        event=opportunity.event,
        underlying=opportunity.underlying,
        family=opportunity.family,
        expiry=opportunity.expiry,
        expires_at=min(opportunity.expires_at, now + limits.approval_ttl),
        fair=opportunity.fair,
        threshold=threshold,
        ts_event=now,
        ts_init=now,
        tick_real=opportunity.tick_real,
        strategy=opportunity.strategy,
        worst_loss=sum(reserved, ZERO) - min(reserved) if case.is_set else ZERO,
    )


def _leg(case: Case, index: int, shares: Decimal) -> ApprovedLeg:
    leg = case.legs[index]
    limit = case.limit(leg)
    return ApprovedLeg(
        leg=leg,
        shares=shares,
        limit=limit,
        usd=round_down(shares * limit, CENT),
        reserved=case.cost_of(index, shares),
    )


def _deny(case: Case, gate: Gate) -> Rejection:
    return Rejection(
        opportunity_id=case.opportunity.opportunity_id,
        reason=gate.reason,
        detail=gate.detail,
        slug=case.opportunity.slug,
        ts_event=case.now,
        ts_init=case.now,
    )
