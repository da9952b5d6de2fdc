"""Leaves out looks that the rules are sure to end with nothing: nine of ten in a trial of many seeds.

What is left out is decided by the rules' own formulas for a window on averages: too early or too late, or the better
side's edge at the top of the book is below the threshold. Whatever might be found is looked at by the rules themselves,
so the decisions are the same with and without the screen (`tests/unit/test_meter_trial.py`); only the counts of reasons
for doing nothing are not.
"""

import math
from decimal import Decimal
from typing import Final

from pmarb.domain.fairvalue import Moments, cumulative, error_terms
from pmarb.domain.market import Twap
from pmarb.domain.underlying import Stamp
from pmarb.domain.values import NANOS
from services.replay.engine import Engine, Window
from services.risk.decide import Limits as RiskLimits
from services.scanner.decide import Limits

ROUNDING: Final = 1e-6
"""Edges this close below the threshold are looked at."""
STEEPEST: Final = 0.45
"""A Student-t of eight degrees and deviation 1 is nowhere denser, nor is a Gaussian."""
LOOK: Final = (0.0, 0.0)
ANY: Final = (0.0, math.inf)


class ScreenedEngine(Engine):
    """The replay's engine for markets of which one token's book is told.

    A price that cannot matter is handed over late: before anything else happens, and before the next second's.
    `_calm` is until when, by the price's clock and by ours, and between which prices of an asset that is so.
    """

    def __init__(self, *, name: str, limits: Limits, risk: RiskLimits, bankroll: Decimal) -> None:
        super().__init__(name=name, limits=limits, risk=risk, bankroll=bankroll)
        self._calm: dict[str, tuple[int, int, float, float]] = {}
        self._held: dict[str, tuple[float, int, int]] = {}

    def spot(self, asset: str, price: float, *, ts_event: int, now: int) -> None:
        calm = self._calm.get(asset)
        if calm is not None and ts_event < calm[0] and now < calm[1] and calm[2] < price < calm[3]:
            self._held[asset] = price, ts_event, now
            return
        self._catch_up()
        self._calm[asset] = (ts_event // NANOS + 1) * NANOS, (now // NANOS + 1) * NANOS, *ANY
        super().spot(asset, price, ts_event=ts_event, now=now)

    def oracle(self, asset: str, price: float, *, ts_event: int, now: int) -> None:
        self._catch_up()
        self._calm.pop(asset, None)
        super().oracle(asset, price, ts_event=ts_event, now=now)

    def advance(self, now: int) -> None:
        if self.agenda.next_due < now:
            self._catch_up()
            super().advance(now)

    def look(self, window: Window, now: int) -> None:
        self._catch_up()
        low, high = calm_between(window, self._limits, now)
        asset = window.market.underlying
        if asset in self._calm:
            seconds, ours, lowest, highest = self._calm[asset]
            self._calm[asset] = seconds, ours, max(low, lowest), min(high, highest)
        if low >= high:
            super().look(window, now)

    def _catch_up(self) -> None:
        if self._held:
            for asset, (price, ts_event, now) in self._held.items():
                stamp = Stamp(ts_event=ts_event, ts_init=now, real=now)
                self.underlying(asset).on_spot(price, second=ts_event // NANOS, stamp=stamp)
            self._held.clear()


def calm_between(window: Window, limits: Limits, now: int) -> tuple[float, float]:
    """Spot prices between which a look in this second is sure to find nothing; empty if one must look now.

    The bounds follow from the steepest that edge and threshold can be, and from the most that a second changes them.
    """
    watched, underlying = window.watched, window.underlying
    market, model, fees = watched.market, limits.model, watched.market.fees
    left = (market.closes_at - now) / NANOS
    if now < market.opens_at + limits.first_s * NANOS or left < limits.min_left(market.family) / NANOS:
        return ANY
    strike, nowcast, sigma, price = watched.stated_strike, underlying.nowcast, underlying.sigma(left), underlying.price
    if strike is None or nowcast is None or sigma is None or price is None or fees is None:
        return LOOK
    if not isinstance(market.settlement, Twap) or left < market.settlement.lookback:
        return LOOK
    lookback = market.settlement.lookback
    sigma = model.scaled(sigma, market.family)
    variance = (left - lookback) + (lookback + 1) * (2 * lookback + 1) / (6 * lookback)
    moments = Moments(mean=nowcast, sd=nowcast * sigma * math.sqrt(variance))
    bid, ask, rate = watched.up.bid, watched.up.ask, float(fees.rate)
    middle = (bid + ask) / 2
    up = middle + limits.model_weight * (model.clipped(cumulative(moments.z(strike), model.nu)) - middle)
    edge = max(up - ask - rate * ask * (1 - ask), bid - up - rate * bid * (1 - bid)) + ROUNDING
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
    if edge >= max(float(limits.min_edge), limits.k_se * error):
        return LOOK
    blur = (
        math.sqrt((model.spot_se_bps**2 + 0.15**2) * 1e-8 + sigma**2 * model.order_time(market)) * nowcast / moments.sd
    )
    steepness = STEEPEST + limits.k_se * (0.25 * blur + 0.4 * model.cv_sigma)
    by_itself = 0.5 / (variance - 1)
    deviations = max(
        (float(limits.min_edge) - edge - by_itself) / STEEPEST,
        (limits.k_se * error - edge - by_itself) / steepness,
        0.0,
    )
    reach = 0.98 * deviations * moments.sd * price / nowcast
    return price - reach, price + reach
