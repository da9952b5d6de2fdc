"""What can be said of a market whatever its prices are: what bars it, and from when until when it may be traded."""

from typing import NamedTuple

from pmarb.domain.market import MarketInfo, Unknown
from pmarb.domain.values import NANOS
from services.scanner.limits import Limits, SkipReason


class Terms(NamedTuple):
    """Kept, so that it need not be asked at every look. Times are venue time, nanoseconds."""

    limits: Limits
    barred: SkipReason | None
    opens: int
    first: int
    last: int

    def forbid(self, now: int) -> SkipReason | None:
        """Why it may not be traded now."""
        if self.barred is not None or self.first <= now <= self.last:
            return self.barred
        if now < self.first:
            return SkipReason.TOO_EARLY if now >= self.opens else SkipReason.NOT_OPEN
        return SkipReason.TOO_LATE


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
    return Terms(
        limits=limits,
        barred=barred(market, limits),
        opens=market.opens_at,
        first=market.opens_at + int(limits.first_s * NANOS),
        last=market.closes_at - limits.min_left(market.family),
    )
