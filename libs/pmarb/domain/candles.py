"""Fair values of markets that the exchange's own candles decide: hours, noons, strikes, ranges, levels (quant.md 2).

The exchange's trades are the spot, so there is no basis; what is uncertain is where the price will be.
"""

import math
from collections.abc import Callable

from pmarb.domain.digitals import range_digital, touch_digital
from pmarb.domain.fair import Fair, Missing, Model
from pmarb.domain.fairvalue import point_digital, point_moments
from pmarb.domain.market import Above, Between, ExchangeRule, HourCandle, MarketInfo, NoonToNoon, Touch
from pmarb.domain.underlying import Underlying
from pmarb.domain.values import NANOS

Chance = Callable[[float, float], float]
"""Probability by spot and volatility."""


def candle_value(
    market: MarketInfo,
    rule: ExchangeRule,
    underlying: Underlying,
    model: Model,
    *,
    now: int,
    age: float,
    reference: float | None,
) -> Fair | Missing:
    """P(Up or Yes) at venue time `now`. `reference` as in `updown.fair_value`; `age` of the spot in seconds."""
    spot, tau = underlying.price, max(0.0, (market.decided_at - now) / NANOS)
    sigma = underlying.sigma(tau)
    if spot is None or sigma is None:
        return Missing.WARMING_UP
    strike = _strike(rule, reference, spot)
    if isinstance(strike, Missing):
        return strike
    sigma = model.scaled(sigma, market.family)
    chance = _chance(rule, strike, tau, model.nu)
    blur = spot * math.hypot(model.spot_se_bps * 1e-4, sigma * math.sqrt(age + model.order_time(market)))
    by_price = abs(chance(spot + blur, sigma) - chance(spot - blur, sigma)) / 2
    by_sigma = abs(chance(spot, sigma * (1 + model.cv_sigma)) - chance(spot, sigma * (1 - model.cv_sigma))) / 2
    return Fair(
        up=model.clipped(chance(spot, sigma)),
        se=math.hypot(by_price, by_sigma),  # Central differences: over the price's error, over the volatility's
        se_price=by_price,
        se_sigma=by_sigma,
        strike=strike,
        nowcast=spot,
        basis=0.0,
        sigma=sigma,
        tau=tau,
        mean_elapsed=None,
        moments=point_moments(spot=spot, sigma=sigma, tau=tau),
    )


def _strike(rule: ExchangeRule, reference: float | None, spot: float) -> float | Missing:
    """The price that matters, of several the nearest."""
    match rule:
        case HourCandle() | NoonToNoon():
            return Missing.REFERENCE_MISSING if reference is None else reference
        case Above(strike=strike):
            return strike
        case Between(low=low, high=high):
            return min((border for border in (low, high) if border is not None), key=lambda border: abs(border - spot))
        case Touch(level=level, up=up):
            if reference is None:
                return Missing.REFERENCE_MISSING
            beyond = max(reference, spot) >= level if up else min(reference, spot) <= level
            return Missing.ALREADY_TOUCHED if beyond else level


def _chance(rule: ExchangeRule, strike: float, tau: float, nu: float) -> Chance:
    match rule:
        case Between(low=low, high=high):
            return lambda spot, sigma: range_digital(spot=spot, low=low, high=high, sigma=sigma, tau=tau, nu=nu)
        case Touch(level=level, up=up):
            return lambda spot, sigma: touch_digital(spot=spot, level=level, sigma=sigma, tau=tau, up=up)
        case _:
            return lambda spot, sigma: point_digital(spot=spot, strike=strike, sigma=sigma, tau=tau, nu=nu)
