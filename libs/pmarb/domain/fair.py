"""What a fair value is, what it may lack, and the parameters behind it (quant.md 2)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from pmarb.domain.fairvalue import Moments
from pmarb.domain.market import MarketInfo


class Missing(StrEnum):
    """What a fair value lacks."""

    WARMING_UP = "warming_up"
    SPOT_DISPUTED = "spot_disputed"
    BASIS_UNKNOWN = "basis_unknown"
    BASIS_TOO_LARGE = "basis_too_large"
    REFERENCE_MISSING = "reference_missing"
    ELAPSED_MISSING = "elapsed_missing"
    ALREADY_TOUCHED = "already_touched"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Parameters of the model: `k_variance` scales the variance by family, `nu` is the Student-t tail.

    `cv_sigma` is how far off the volatility's estimate usually is, as a fraction of it (quant.md 2.4).
    `order_path_s` is how long an order travels, `hold_s` how long the venue holds a taker's: what we buy is the value
    after both, which today's price tells the less the longer they are (quant.md 2.6, 24).
    Two spot exchanges farther than `max_spot_gap_bps` from their usual distance are believed neither; a price of the
    second one instead of the first is uncertain by `stand_in_se_bps` more.
    """

    k_variance: Mapping[str, float] = field(default_factory=lambda: {"5m": 1.0, "15m": 1.1, "4h": 1.1, "1h": 1.0})
    nu: float = 8.0
    lowest_probability: float = 0.005
    max_basis_bps: float = 25.0
    max_spot_gap_bps: float = 10.0
    stand_in_se_bps: float = 1.0
    order_path_s: float = 0.23
    hold_s: float = 0.15
    spot_se_bps: float = 0.4
    cv_sigma: float = 0.22

    def order_time(self, market: MarketInfo) -> float:
        """Seconds from our decision to the match."""
        return self.order_path_s + (self.hold_s if market.taker_delay else 0.0)

    def clipped(self, probability: float) -> float:
        """No model is surer than this."""
        return min(max(probability, self.lowest_probability), 1 - self.lowest_probability)

    def scaled(self, sigma: float, family: str) -> float:
        """The volatility by the family's own variance multiplier."""
        return sigma * math.sqrt(self.k_variance.get(family, 1.0))


DEFAULT_MODEL: Final = Model()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fair:
    """P(Up or Yes), clipped, with its standard error and the numbers it came from.

    `se_price` and `se_sigma` are the parts of `se` that come from not knowing the price at the match (its error, its
    age and the order's way there) and the volatility.
    """

    up: float
    se: float
    se_price: float
    se_sigma: float
    strike: float
    nowcast: float
    basis: float
    sigma: float
    tau: float
    mean_elapsed: float | None
    moments: Moments
