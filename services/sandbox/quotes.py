"""The house's ladder: which prices and sizes to show around a fair value. Pure; randomness comes in as an argument."""

from __future__ import annotations

import math
from random import Random

from services.sandbox.money import MICRO
from services.sandbox.scenario import Lognormal, Scenario
from services.sandbox.terms import Making

LEVELS = 8
SIZE_STEP = MICRO // 100
DEPTH_SIGMA = 0.45

Rung = tuple[bool, int]
"""Whether it is a bid, and its price in the book."""


def lognormal(rng: Random, shape: Lognormal) -> float:
    return shape.median * math.exp(rng.gauss(0.0, shape.sigma)) if shape.median else 0.0


def spread_ticks(rng: Random, scenario: Scenario) -> int:
    draw = rng.random()
    for ticks, chance in scenario.spread_ticks:
        draw -= chance
        if draw < 0:
            return ticks
    return scenario.spread_ticks[-1][0]


def touch_prices(*, fair: float, ticks: int, tick: int) -> tuple[int, int]:
    """Best bid and ask `ticks` apart around `fair`; one outside the tradable range means an empty side."""
    bid = math.floor((fair * MICRO - (ticks - 1) * tick / 2) / tick) * tick
    return bid, bid + ticks * tick


def ladder(*, bid: int, ask: int, tick: int, making: Making, scenario: Scenario) -> dict[Rung, Lognormal]:
    """Dollars to show on each rung, `LEVELS` on each side of the touch, inside [tick, 1 - tick]."""
    touch = Lognormal(median=making.touch_usd, sigma=scenario.touch_usd_sigma)
    deeper = Lognormal(median=(making.top3_usd - making.touch_usd) / 2, sigma=DEPTH_SIGMA)
    return {
        (is_bid, price): deeper if step else touch
        for step in range(LEVELS)
        for is_bid, price in ((True, bid - step * tick), (False, ask + step * tick))
        if tick <= price <= MICRO - tick
    }


def shares(dollars: float, price: int) -> int:
    """House orders are BUYs of one outcome: dollars buy more shares of the cheaper side, up to a cap near the edges."""
    found = dollars * MICRO / max(price, 50_000)
    return max(5 * MICRO, round(found * 100) * SIZE_STEP)
