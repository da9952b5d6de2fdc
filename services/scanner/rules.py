"""A market's rules, and whether the venue states others than before."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from pmarb.domain.market import Above, Between, MarketInfo, Touch
from pmarb.domain.messages import MarketRules

COARSE, FINE = Decimal("0.01"), Decimal("0.001")
EXTREME: Final = 0.05
"""This near 0 or 1 the venue itself refines the tick (venue.md 5.6, at 0.04), which is no change of its rules."""


def rules_of(market: MarketInfo) -> dict[str, str]:
    """What trading relies on. The exchange contract follows from `neg_risk`, what is paid from the tokens."""
    fees = market.fees
    return {
        "fee": "unknown" if fees is None else f"{fees.rate.normalize():f}^{fees.exponent.normalize():f}",
        "tick": f"{market.tick.normalize():f}",
        "min_size": f"{market.min_size.normalize():f}",
        "delay": "yes" if market.taker_delay else "no",
        "template": market.template or "none",
        "settlement": repr(market.settlement),
        "neg_risk": "yes" if market.neg_risk else "no",
        "tokens": ",".join(f"{outcome.label}={outcome.token}" for outcome in market.outcomes),
    }


def series_of(market: MarketInfo) -> str:
    """Markets with the same rules; one with a price of its own in its rule is a series by itself."""
    own = isinstance(market.settlement, Above | Between | Touch)
    return market.slug if own else f"{market.underlying}-{market.family}"


class RuleBook:
    """The rules of each market as they were last told."""

    def __init__(self) -> None:
        self._told: dict[str, dict[str, str]] = {}

    def news(self, market: MarketInfo, *, refined_at: float | None, now: int) -> MarketRules | None:
        """What to tell: rules not told yet. `refined_at` is the middle at which the venue made the tick finer."""
        rules, before = rules_of(market), self._told.get(market.slug)
        if before is not None and _refined(before["tick"], market.tick, refined_at):
            rules["tick"] = before["tick"]
        if rules == before:
            return None
        return MarketRules(
            slug=market.slug,
            market=market.condition_id,
            series=series_of(market),
            rules=rules,
            ts_event=now,
            ts_init=now,
        )

    def knows(self, slug: str) -> bool:
        """Whether its rules were told before."""
        return slug in self._told

    def told(self, message: MarketRules) -> None:
        """It went out."""
        self._told[message.slug] = message.rules

    def keep(self, slugs: Iterable[str]) -> None:
        """Forget all others."""
        self._told = {slug: self._told[slug] for slug in slugs if slug in self._told}


def _refined(before: str, tick: Decimal, at: float | None) -> bool:
    extreme = at is not None and not EXTREME < at < 1 - EXTREME
    return extreme and (Decimal(before), tick) == (COARSE, FINE)
