"""P(Up or Yes) of a market, from the reference that settles this very market (quant.md 1.2, 2)."""

import math
from typing import Final

from pmarb.domain.candles import candle_value
from pmarb.domain.fair import DEFAULT_MODEL, Fair, Missing, Model
from pmarb.domain.fairvalue import Moments, cumulative, error_terms, point_moments, twap_moments
from pmarb.domain.market import ExchangeRule, MarketInfo, SpotTick, Twap
from pmarb.domain.underlying import Underlying
from pmarb.domain.values import NANOS

AVERAGED_S: Final = 60
"""The oracle's averages that a feed tells ready-made are those of so many seconds."""

LARGE_BPS: Final = 1.0
"""More than twice the largest error ever measured of a price to beat made from ticks (quant.md 1.2)."""

DISPUTABLE_S: Final = 30
"""Venue seconds that a feed may take to tell an average that ours is compared with."""

__all__ = ["DEFAULT_MODEL", "Fair", "Missing", "Model", "fair_value", "final", "reference", "settled_by"]


def fair_value(
    market: MarketInfo,
    underlying: Underlying,
    model: Model,
    *,
    now: int,
    real: int,
    stated_strike: float | None = None,
) -> Fair | Missing:
    """The fair value at venue time `now`; `real` is our clock, for the age of the spot. Both nanoseconds.

    `stated_strike` is the reference where it was learnt elsewhere: the price to beat as the venue tells it, the candle
    that opened the window, or the highest (lowest) price of the period so far for a level to be touched.
    """
    settlement = market.settlement
    if underlying.disagreement(real=real) * 1e4 > model.max_spot_gap_bps:
        return Missing.SPOT_DISPUTED
    age = max(0, real - underlying.spot_stamp.real) / NANOS
    if isinstance(settlement, ExchangeRule):
        return candle_value(market, settlement, underlying, model, now=now, age=age, reference=stated_strike)
    strike = reference(market, underlying) if stated_strike is None else stated_strike
    return _oracle_value(market, underlying, model, now=now, age=age, strike=strike)


def _oracle_value(
    market: MarketInfo, underlying: Underlying, model: Model, *, now: int, age: float, strike: float | None
) -> Fair | Missing:
    left = max(0.0, (market.closes_at - now) / NANOS)
    nowcast, basis, sigma = underlying.nowcast, underlying.basis, underlying.sigma(left)
    if sigma is None:
        return Missing.WARMING_UP
    if nowcast is None or basis is None:
        return Missing.BASIS_UNKNOWN
    if abs(basis) * 1e4 > model.max_basis_bps:
        return Missing.BASIS_TOO_LARGE
    if strike is None:
        return Missing.REFERENCE_MISSING
    sigma = model.scaled(sigma, market.family)
    outlook = _outlook(market, underlying, nowcast, sigma, now=now)
    if outlook is None:
        return Missing.ELAPSED_MISSING
    moments, tau, mean_elapsed = outlook
    by_price, by_sigma = error_terms(
        moments=moments,
        strike=strike,
        sigma=sigma,
        spot_se_bps=math.hypot(model.spot_se_bps, model.stand_in_se_bps if underlying.standing_in else 0.0),
        data_age=age,
        order_time=model.order_time(market),
        cv_sigma=model.cv_sigma,
    )
    return Fair(
        up=model.clipped(cumulative(moments.z(strike), model.nu)),
        se=math.hypot(by_price, by_sigma),
        se_price=by_price,
        se_sigma=by_sigma,
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
    """What the market's rule reads from the oracle at `second`; None while unknown, or where two feeds differ."""
    own = by_ticks(market, underlying, second=second)
    if market.settlement != Twap(lookback=AVERAGED_S):
        return own
    told = underlying.averages.exactly(second)
    if own is None or told is None:
        return told if own is None else own
    return None if abs(own / told - 1) * 1e4 > LARGE_BPS else own


def by_ticks(market: MarketInfo, underlying: Underlying, *, second: int) -> float | None:
    """The same from the oracle's own ticks alone; None while they are on their way, or where one was not seen."""
    oracle = underlying.oracle
    match market.settlement:
        case Twap(lookback=lookback):
            seen = oracle.last is not None and oracle.last >= second - 1
            return oracle.mean(second - lookback, second) if seen else None
        case SpotTick():
            return oracle.exactly(second)
        case _:
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
