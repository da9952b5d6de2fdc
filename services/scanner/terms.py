"""What can be said of a market whatever its prices are: what bars it, and from when until when it may be traded."""

from typing import NamedTuple

from pmarb.domain.market import MarketInfo, Unknown
from pmarb.domain.values import NANOS
from services.scanner.limits import Limits, SkipReason


class Terms(NamedTuple):
    """Kept, so that it need not be asked at every look."""

    limits: Limits
    barred: SkipReason | None
    first: int
    last: int


def barred(market: MarketInfo, limits: Limits) -> SkipReason | None:
    """What is wrong with the market itself."""
    if market.fees is None:
        return SkipReason.UNKNOWN_FEE
    if isinstance(market.settlement, Unknown) or market.sides is None:
        return SkipReason.UNKNOWN_RULE
    if limits.templates and market.template not in limits.templates:
        return SkipReason.UNKNOWN_TEMPLATE
    if market.closed or not market.accepting:
        return SkipReason.NOT_ACCEPTING
    return None


def terms_of(market: MarketInfo, limits: Limits) -> Terms:
    """What these limits say of it."""
    first, last = market.opens_at + int(limits.first_s * NANOS), market.closes_at - limits.min_left(market.family)
    return Terms(limits=limits, barred=barred(market, limits), first=first, last=last)


def untimely(market: MarketInfo, limits: Limits, *, now: int) -> SkipReason | None:
    """Whether the window is one we trade in now."""
    if now < market.opens_at:
        return SkipReason.NOT_OPEN
    terms = terms_of(market, limits)
    if now < terms.first:
        return SkipReason.TOO_EARLY
    return SkipReason.TOO_LATE if now > terms.last else None
