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
        self._refined: set[str] = set()

    def unexplained(self, market: MarketInfo, middles: Iterable[float]) -> bool:
        """Whether its tick became finer before our eyes and none of these is extreme: the middles of its books, now
        and when it did."""
        return self._finer(market) and not self._own(market, middles)

    def news(self, market: MarketInfo, *, middles: Iterable[float], now: int) -> MarketRules | None:
        """What to tell: rules not told yet. A tick that the venue refined by its own rule is told as it was before."""
        rules, before = rules_of(market), self._told.get(market.slug)
        if self._finer(market) and self._own(market, middles):
            rules["tick"] = f"{COARSE}"
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
        kept = set(slugs)
        self._told = {slug: rules for slug, rules in self._told.items() if slug in kept}
        self._refined &= kept

    def _finer(self, market: MarketInfo) -> bool:
        """Whether its tick is fine, and was not told so."""
        told = self._told.get(market.slug)
        return market.tick == FINE and (told is None or Decimal(told["tick"]) == COARSE)

    def _own(self, market: MarketInfo, middles: Iterable[float]) -> bool:
        """Whether the finer tick is the venue's usual doing: once taken so, it is for the market's life."""
        unseen = market.slug not in self._told  # Nobody saw it happen, and three of four windows do it
        if unseen or any(not EXTREME < middle < 1 - EXTREME for middle in middles):
            self._refined.add(market.slug)
        return market.slug in self._refined
