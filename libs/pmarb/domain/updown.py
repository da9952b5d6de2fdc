"""P(Up) of an up/down market, from the reference that settles this very market (quant.md 1.2, 2)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from pmarb.domain.fairvalue import Moments, cumulative, point_moments, standard_error, twap_moments
from pmarb.domain.market import MarketInfo, SpotTick, Twap, Unknown
from pmarb.domain.underlying import Underlying
from pmarb.domain.values import NANOS


class Missing(StrEnum):
    """What a fair value lacks."""

    WARMING_UP = "warming_up"
    BASIS_UNKNOWN = "basis_unknown"
    BASIS_TOO_LARGE = "basis_too_large"
    REFERENCE_MISSING = "reference_missing"
    ELAPSED_MISSING = "elapsed_missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Parameters of the model: `k_variance` scales the variance by family, `nu` is the Student-t tail.

    `cv_sigma` is how far off the volatility's estimate usually is, as a fraction of it (quant.md 2.4).
    `order_time_s` is how long an order travels and is held: the price moves on meanwhile, so it widens the error.
    """

    k_variance: Mapping[str, float] = field(default_factory=lambda: {"5m": 1.0, "15m": 1.1, "4h": 1.1})
    nu: float = 8.0
    lowest_probability: float = 0.005
    max_basis_bps: float = 25.0
    order_time_s: float = 0.38
    cv_sigma: float = 0.22


DEFAULT_MODEL: Final = Model()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fair:
    """P(Up), clipped, with its standard error and the numbers it came from."""

    up: float
    se: float
    strike: float
    nowcast: float
    basis: float
    sigma: float
    tau: float
    mean_elapsed: float | None
    moments: Moments


def fair_value(
    market: MarketInfo,
    underlying: Underlying,
    model: Model,
    *,
    now: int,
    real: int,
    stated_strike: float | None = None,
) -> Fair | Missing:
    """The fair value at venue time `now`; `real` is our clock, for the age of the spot. Both nanoseconds."""
    nowcast, basis, sigma = underlying.nowcast, underlying.basis, underlying.volatility.sigma()
    if sigma is None:
        return Missing.WARMING_UP
    if nowcast is None or basis is None:
        return Missing.BASIS_UNKNOWN
    if abs(basis) * 1e4 > model.max_basis_bps:
        return Missing.BASIS_TOO_LARGE
    strike = reference(market, underlying) if stated_strike is None else stated_strike
    if strike is None:
        return Missing.REFERENCE_MISSING
    sigma *= model.k_variance.get(market.family, 1.0) ** 0.5
    outlook = _outlook(market, underlying, nowcast, sigma, now=now)
    if outlook is None:
        return Missing.ELAPSED_MISSING
    moments, tau, mean_elapsed = outlook
    age = max(0, real - underlying.spot_stamp.real) / NANOS
    up = cumulative(moments.z(strike), model.nu)
    return Fair(
        up=min(max(up, model.lowest_probability), 1 - model.lowest_probability),
        se=standard_error(
            moments=moments,
            strike=strike,
            sigma=sigma,
            data_age=age,
            order_time=model.order_time_s,
            cv_sigma=model.cv_sigma,
        ),
        strike=strike,
        nowcast=nowcast,
        basis=basis,
        sigma=sigma,
        tau=tau,
        mean_elapsed=mean_elapsed,
        moments=moments,
    )


def reference(market: MarketInfo, underlying: Underlying) -> float | None:
    """The price to beat as the oracle's own ticks give it; None until, or if, we have not seen them."""
    return settled_by(market, underlying, second=market.opens_at // NANOS)


def final(market: MarketInfo, underlying: Underlying) -> float | None:
    """The price that decides, by the same rule at the end of the window."""
    return settled_by(market, underlying, second=market.closes_at // NANOS)


def settled_by(market: MarketInfo, underlying: Underlying, *, second: int) -> float | None:
    """What the market's rule reads from the oracle at `second`."""
    oracle = underlying.oracle
    match market.settlement:
        case Twap(lookback=lookback):
            if oracle.last is None or oracle.last < second - 1:
                return None  # Its last ticks are still on their way
            return oracle.mean(second - lookback, second)
        case SpotTick():
            return oracle.exactly(second)
        case Unknown():
            return None


def _outlook(
    market: MarketInfo, underlying: Underlying, nowcast: float, sigma: float, *, now: int
) -> tuple[Moments, float, float | None] | None:
    """Moments of the price that settles, the seconds left, and the mean of what has passed of a closing average."""
    left = max(0.0, (market.closes_at - now) / NANOS)
    settlement = market.settlement
    if not isinstance(settlement, Twap):
        return point_moments(spot=nowcast, sigma=sigma, tau=left), left, None
    lookback = settlement.lookback
    if left >= lookback:
        return twap_moments(spot=nowcast, sigma=sigma, tau=left, lookback=lookback), left, None
    closing, second = market.closes_at // NANOS, now // NANOS
    whole = max(0, min(lookback, closing - second))
    elapsed = underlying.elapsed_mean(closing - lookback, closing - whole)
    if elapsed is None:
        return None
    moments = twap_moments(spot=nowcast, sigma=sigma, tau=float(whole), lookback=lookback, mean_elapsed=elapsed)
    return moments, float(whole), elapsed
