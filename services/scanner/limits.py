"""What an opportunity must satisfy, and the reasons why there is none."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from pmarb.domain import limits as guardian
from pmarb.domain.fair import DEFAULT_MODEL, Model
from pmarb.domain.limits import SLOW_FAMILIES

MS: Final = 1_000_000
GUARDIAN: Final = guardian.Limits()
"""What risk will ask of an opportunity: to ask less here would only make it deny more."""


class SkipReason(StrEnum):
    """Why a market was looked at and nothing emitted. Counted, never silent."""

    UNKNOWN_FEE = "unknown_fee"
    UNKNOWN_RULE = "unknown_rule"
    UNKNOWN_TEMPLATE = "unknown_template"
    NOT_ACCEPTING = "not_accepting"
    NOT_OPEN = "not_open"
    TOO_EARLY = "too_early"
    TOO_LATE = "too_late"
    NO_SPOT = "no_spot"
    NO_ORACLE = "no_oracle"
    STALE_SPOT = "stale_spot"
    STALE_ORACLE = "stale_oracle"
    WARMING_UP = "warming_up"
    SPOT_DISPUTED = "spot_disputed"
    BASIS_UNKNOWN = "basis_unknown"
    BASIS_TOO_LARGE = "basis_too_large"
    REFERENCE_MISSING = "reference_missing"
    ELAPSED_MISSING = "elapsed_missing"
    ALREADY_TOUCHED = "already_touched"
    NO_BOOK = "no_book"
    STALE_BOOK = "stale_book"
    ONE_SIDED = "one_sided"
    CROSSED = "crossed"
    MIRROR_BROKEN = "mirror_broken"
    BOOK_PAUSED = "book_paused"
    NO_SIZES = "no_sizes"
    NEAR_TIE = "near_tie"
    PRICE_BAND = "price_band"
    EDGE_TOO_THIN = "edge_too_thin"
    DEPTH_TOO_THIN = "depth_too_thin"
    COOLDOWN = "cooldown"

    __hash__ = str.__hash__  # An enum's own is a Python function, and reasons are counted at every look


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an opportunity must satisfy. Defaults are those of quant.md; times in seconds unless named.

    `model_weight` pulls the fair value toward the market's middle until the model has proven itself; the standard
    error is not shrunk with it. `templates` are the rule texts a person has read; empty trusts every readable rule.
    """

    order_usd: Decimal
    hard_cap_usd: Decimal = Decimal(10)
    min_edge: Decimal = Decimal("0.02")
    k_se: float = 2.0
    slippage_ticks: int = 1
    lowest_price: float = 0.05
    highest_price: float = 0.95
    first_s: float = 5.0
    stale_spot_ms: int = GUARDIAN.stale_spot // MS
    stale_spot_long_ms: int = GUARDIAN.stale_spot_long // MS
    stale_book_ms: int = 500
    stale_book_long_ms: int = 2000
    stale_oracle_ms: int = 5000
    model: Model = DEFAULT_MODEL
    model_weight: float = 1.0
    near_tie_bps: float = 1.0
    mirror_ticks: float = 1.0
    mirror_ms: int = 750
    leg_skew_ms: int = 250
    ttl_s: float = 2.0
    cooldown_s: float = 1.0
    grown: Decimal = Decimal("0.01")
    templates: frozenset[str] = frozenset()

    def min_left(self, family: str) -> int:
        """Least nanoseconds to the end."""
        return GUARDIAN.time_left(family)

    def stale_spot(self, family: str) -> int:
        """Milliseconds; an hour forgives more than five minutes."""
        return self.stale_spot_long_ms if family in SLOW_FAMILIES else self.stale_spot_ms

    def stale_book(self, family: str) -> int:
        """Milliseconds."""
        return self.stale_book_long_ms if family in SLOW_FAMILIES else self.stale_book_ms
