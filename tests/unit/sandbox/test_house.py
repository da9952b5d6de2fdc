"""Makers and competitors: what they know is exact, what they see is late, and who is hit looks up."""

import math
from dataclasses import replace
from random import Random

from services.sandbox.book import Side
from services.sandbox.clock import MS_NS, SECOND_NS
from services.sandbox.digital import up_probability
from services.sandbox.markets import Market
from services.sandbox.money import MICRO
from services.sandbox.orders import Order, OrderType
from services.sandbox.prices import ASSETS, BASIS_POINT, IndexPath
from services.sandbox.scenario import SCENARIOS
from services.sandbox.world import RunSettings, World
from tests.unit.sandbox.conftest import Bench

ANCHOR_NS = 1_795_000_200 * SECOND_NS
STEP_NS = 50 * MS_NS


class Town:
    """A world of five-minute windows whose time is set by hand."""

    def __init__(self, scenario: str, *, seed: int = 4) -> None:
        run = RunSettings(
            seed=seed,
            scenario=SCENARIOS[scenario],
            speed=1.0,
            anchor_ns=ANCHOR_NS,
            bankroll_usd=1000,
            families=("5m",),
        )
        self.now_ns = ANCHOR_NS
        self.world = World(run)
        self.world.clock.now_ns = lambda: self.now_ns  # type: ignore[method-assign]
        self.world.settlement.step(self.now_ns)

    def step(self) -> None:
        self.now_ns += STEP_NS
        if self.now_ns % SECOND_NS == 0:
            self.world.settlement.step(self.now_ns)
        self.world.house.step(self.now_ns)

    def running(self) -> list[Market]:
        return [m for m in self.world.markets.live() if m.start * SECOND_NS <= self.now_ns < (m.end - 70) * SECOND_NS]

    def wrong_by(self, market: Market) -> float:
        """How far the middle is from the truth."""
        bid, ask = market.best(0)
        middle = ((bid or 0) + (ask or MICRO)) / 2 / MICRO
        return middle - self.world.house.fair(market, self.now_ns)


def test_makers_know_how_often_prices_jump() -> None:
    """A simulation with jumps, and at one deviation some cents away from the Gaussian of the same variance."""
    scenario = replace(SCENARIOS["efficient"], sigma_window_sd=0.0, jump_bps=8.0)
    path = IndexPath(asset=ASSETS["btc"], seed=1, anchor_ns=ANCHOR_NS, scenario=scenario)
    spot, tau, window = 84_000.0, 240.0, 60
    sigma = scenario.sigma_bps * BASIS_POINT
    jump, rate = scenario.jump_bps * BASIS_POINT, scenario.jumps_per_hour / 3600
    still = (tau - window) + (window + 1) * (2 * window + 1) / (6 * window)
    deviation = math.sqrt(path.expected_variance(ANCHOR_NS, tau) * still)
    strike = spot * (1 - deviation)
    rng, runs, wins = Random(2), 40_000, 0
    for _ in range(runs):
        moved = rng.gauss(0.0, sigma * math.sqrt(still))
        at = rng.expovariate(rate)
        while at < tau:  # Later than the average's beginning it counts for what is left of it
            moved += rng.gauss(0.0, jump) * min(1.0, (tau - at) / window)
            at += rng.expovariate(rate)
        wins += spot * (1 + moved) >= strike
    asked = {"spot": spot, "strike": strike, "elapsed_mean": spot, "tau": tau}
    plain = up_probability(**asked, spreads=((1.0, deviation / math.sqrt(still)),))
    mixed = up_probability(**asked, spreads=path.spreads(ANCHOR_NS, tau))
    error = math.sqrt(mixed * (1 - mixed) / runs)
    assert abs(wins / runs - mixed) < 4 * error
    assert mixed - plain > 0.01


def test_while_the_index_is_calm_nobody_has_anything_to_see() -> None:
    """Inside the range that `calm` gives, the fair value stays within its bounds until the second ends."""
    town, rng, looked = Town("efficient"), Random(1), 0
    values = town.world.values
    for market in town.world.markets.live():
        for _ in range(150):
            at = (market.start - 5) * SECOND_NS + rng.randrange(304 * SECOND_NS)
            fair, width = values.fair(market, at), rng.choice((0.01, 0.03, 0.1))
            low, high = values.calm(market, at, fair, (fair - width, fair + width))
            for later in range(at, (at // SECOND_NS + 1) * SECOND_NS, STEP_NS):
                if low < values.spot(market, later) < high:
                    looked += 1
                    assert abs(values.fair(market, later) - fair) < width
    assert looked > 3000


def test_a_maker_who_is_hit_looks_up_at_once(bench: Bench) -> None:
    town = Town("slow_makers")
    while (market := late_in(town)) is None:
        town.step()
    before = town.wrong_by(market)
    outcome = 0 if before < 0 else 1  # What is too cheap
    ask = market.best(outcome)[1]
    assert ask is not None
    taken = bench.order(price=ask / MICRO + 0.01, dollars=10, order_type=OrderType.FAK, outcome=outcome, market=market)
    place(town, taken)
    town.step()
    assert abs(town.wrong_by(market)) < abs(before) / 2
    assert abs(town.wrong_by(market)) < 0.03


def late_in(town: Town) -> Market | None:
    """A market, not nearly decided, whose two-sided book is far from the truth."""
    for market in town.running():
        open_to_all = None not in market.best(0) and 0.25 < town.world.house.fair(market, town.now_ns) < 0.75
        if open_to_all and abs(town.wrong_by(market)) > 0.08:
            return market
    return None


def place(town: Town, order: Order) -> None:
    order.account = town.world.seeded[0]
    assert order.side is Side.BUY
    town.world.exchange.validate(order)
    town.world.exchange.hold(order)
    town.world.exchange.finish(order)
