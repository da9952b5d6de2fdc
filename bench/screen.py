"""Leaves out looks that the rules are sure to end with nothing: nine of ten in a trial of many seeds.

What is left out is decided by the rules' own formulas for a window on averages: too early or too late, or the better
side's edge at the top of the book is below the threshold. Whatever might be found is looked at by the rules themselves,
so the decisions are the same with and without the screen (`tests/unit/test_meter_trial.py`); only the counts of reasons
for doing nothing are not.
"""

import math
from typing import Final

from pmarb.domain.fairvalue import Moments, cumulative, error_terms
from pmarb.domain.market import Twap
from pmarb.domain.values import NANOS
from services.replay.engine import Engine, Window
from services.scanner.decide import Limits

ROUNDING: Final = 1e-6
"""Edges this close below the threshold are looked at."""


class ScreenedEngine(Engine):
    """The replay's engine for markets of which one token's book is told, and the price to beat is stated."""

    def look(self, window: Window, now: int) -> None:
        if not hopeless(window, self._limits, now):
            super().look(window, now)


def hopeless(window: Window, limits: Limits, now: int) -> bool:
    """Whether a look is sure to find nothing."""
    watched, underlying = window.watched, window.underlying
    market, model, fees = watched.market, limits.model, watched.market.fees
    left = (market.closes_at - now) / NANOS
    if now < market.opens_at + limits.first_s * NANOS or left < limits.min_left_s.get(market.family, 0.0):
        return True
    strike, nowcast, sigma = watched.stated_strike, underlying.nowcast, underlying.sigma(left)
    if strike is None or nowcast is None or sigma is None or fees is None or not isinstance(market.settlement, Twap):
        return False
    lookback = market.settlement.lookback
    if left < lookback:
        return False
    sigma = model.scaled(sigma, market.family)
    variance = (left - lookback) + (lookback + 1) * (2 * lookback + 1) / (6 * lookback)
    moments = Moments(mean=nowcast, sd=nowcast * sigma * math.sqrt(variance))
    bid, ask, rate = watched.up.bid, watched.up.ask, float(fees.rate)
    middle = (bid + ask) / 2
    up = middle + limits.model_weight * (model.clipped(cumulative(moments.z(strike), model.nu)) - middle)
    edge = max(up - ask - rate * ask * (1 - ask), bid - up - rate * bid * (1 - bid))
    if edge < float(limits.min_edge) - ROUNDING:
        return True
    error = math.hypot(
        *error_terms(
            moments=moments,
            strike=strike,
            sigma=sigma,
            spot_se_bps=model.spot_se_bps,
            order_time=model.order_time(market),
            cv_sigma=model.cv_sigma,
        )
    )
    return edge < limits.k_se * error - ROUNDING
