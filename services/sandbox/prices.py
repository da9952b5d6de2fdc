"""The index price: a path on a 50 ms grid that is a pure function of (seed, asset, grid index).

Grid index 0 lies `HISTORY_S` before the anchor, so candles and averages of earlier windows exist at start. The path
is generated in blocks of 300 s: a lognormal volatility for each block, Gaussian steps, and rare jumps (quant.md 6).
A block needs only its starting price, so old blocks can be dropped and made again.
"""

from __future__ import annotations

import math
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from services.sandbox.clock import MS_NS, SECOND_NS
from services.sandbox.digital import Spreads
from services.sandbox.scenario import Scenario

GRID_NS = 50 * MS_NS
STEPS_PER_SECOND = 20
BLOCK_S = 300
BLOCK_STEPS = BLOCK_S * STEPS_PER_SECOND
HISTORY_S = 9000
# Markets of a whole day need their beginnings: a day, an hour of daylight saving, and some minutes.
DAY_HISTORY_S = 96_000
BASIS_POINT = 1e-4
BLOCKS_KEPT = 48
# The law of a move tells so many jumps apart; where more are to be expected it is as good as Gaussian.
JUMPS_COUNTED = 4
MANY_JUMPS = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Asset:
    """An underlying: its tickers on each feed and the price its path starts from, in USD."""

    code: str
    name: str
    spot_symbol: str
    oracle_symbol: str
    start_price: float


ASSETS: dict[str, Asset] = {
    asset.code: asset
    for asset in (
        Asset(code="btc", name="Bitcoin", spot_symbol="btcusdt", oracle_symbol="btc/usd", start_price=84_000.0),
        Asset(code="eth", name="Ethereum", spot_symbol="ethusdt", oracle_symbol="eth/usd", start_price=2_900.0),
    )
}


class IndexPath:
    """Index price of one asset at any venue time from `history_s` before the anchor on."""

    def __init__(
        self, *, asset: Asset, seed: int, anchor_ns: int, scenario: Scenario, history_s: int = HISTORY_S
    ) -> None:
        self.asset = asset
        self.origin_ns = anchor_ns - history_s * SECOND_NS
        self._anchor_step = (anchor_ns - self.origin_ns) // GRID_NS
        self._seed = seed
        self._scenario = scenario
        self._jump_rate = scenario.jumps_per_hour / 3600
        self._jump_variance = (scenario.jump_bps * BASIS_POINT) ** 2
        self.oracle_late_s = scenario.oracle_lag_s + 1
        self._starts = [math.log(asset.start_price)]
        self._blocks: OrderedDict[int, array[float]] = OrderedDict()
        self._sigmas: dict[int, float] = {}
        self._basis_ends: list[float] = [0.0]
        self._basis: OrderedDict[int, array[float]] = OrderedDict()

    def at(self, venue_ns: int) -> float:
        """Price at the last grid point not after `venue_ns`, in USD."""
        number, step = divmod(max(0, (venue_ns - self.origin_ns) // GRID_NS), BLOCK_STEPS)
        block = self._blocks.get(number)
        return (self.block(number) if block is None else block)[step]

    def span(self, start_ns: int, end_ns: int) -> array[float]:
        """All grid prices with start_ns <= time < end_ns."""
        first = max(0, -(-(start_ns - self.origin_ns) // GRID_NS))
        last = max(first, -(-(end_ns - self.origin_ns) // GRID_NS))
        prices = array("d")
        while first < last:
            block, offset = divmod(first, BLOCK_STEPS)
            take = min(BLOCK_STEPS - offset, last - first)
            prices.extend(self.block(block)[offset : offset + take])
            first += take
        return prices

    def expected_variance(self, venue_ns: int, seconds: float) -> float:
        """Variance of the log price a second to expect on average over the next `seconds`, jumps included."""
        return self._diffusion(venue_ns, seconds) + self._jump_rate * self._jump_variance

    def spreads(self, venue_ns: int, seconds: float) -> Spreads:
        """The law of the log price over the next `seconds`, by the number of jumps in them: what the makers know."""
        diffusion, mean = self._diffusion(venue_ns, seconds), self._jump_rate * max(seconds, 0.0)
        if not 0 < mean < MANY_JUMPS:
            return ((1.0, math.sqrt(self.expected_variance(venue_ns, seconds))),)
        chances = [math.exp(-mean) * mean**jumps / math.factorial(jumps) for jumps in range(JUMPS_COUNTED)]
        chances[-1] += 1 - sum(chances)
        by_jump = self._jump_variance / seconds
        return tuple((chance, math.sqrt(diffusion + jumps * by_jump)) for jumps, chance in enumerate(chances))

    def _diffusion(self, venue_ns: int, seconds: float) -> float:
        """Variance a second without jumps: that of this block, then of any block."""
        block, into = divmod(max(0, venue_ns - self.origin_ns), BLOCK_S * SECOND_NS)
        this = (self._sigma(block) * BASIS_POINT) ** 2
        near = min(seconds, BLOCK_S - into / SECOND_NS)
        if seconds <= near:
            return this
        spread = self._scenario.sigma_window_sd
        usual = (self._scenario.sigma_bps * BASIS_POINT) ** 2 * math.exp(2 * spread * spread)
        return (this * near + usual * (seconds - near)) / seconds

    def oracle(self, second: int) -> float:
        """Oracle tick stamped with the venue second `second`: lagged index times the basis."""
        lagged = second * SECOND_NS - int(self._scenario.oracle_lag_s * SECOND_NS)
        return self.at(lagged) * math.exp(self.basis(second * SECOND_NS))

    def basis(self, venue_ns: int) -> float:
        """Log distance of the oracle from the index: an Ornstein-Uhlenbeck process on a 1 s grid."""
        offset = max(0, (venue_ns - self.origin_ns) // SECOND_NS)
        block, second = divmod(offset, BLOCK_S)
        return self._basis_block(block)[second] + self._basis_jump(venue_ns)

    def _basis_jump(self, venue_ns: int) -> float:
        """The steps of a scenario: none before the first, then there and back by turns."""
        since_s = (venue_ns - self.origin_ns) / SECOND_NS - self._anchor_step / STEPS_PER_SECOND
        if not self._scenario.basis_jump_bps or since_s < 0:
            return 0.0
        away = int(since_s / self._scenario.basis_jump_every_s) % 2
        return away * self._scenario.basis_jump_bps * BASIS_POINT

    def _gap_step(self) -> int:
        """Grid points between two gaps; 0 without gaps."""
        return round(self._scenario.spot_gap_every_s * STEPS_PER_SECOND) if self._scenario.spot_gap_bps else 0

    def block(self, number: int) -> array[float]:
        found = self._blocks.get(number)
        if found is not None:
            return found
        while len(self._starts) <= number:
            self._make_block(len(self._starts) - 1)
        return self._make_block(number)

    def _sigma(self, number: int) -> float:
        if number not in self._sigmas:
            rng = Random(f"{self._seed}:{self.asset.code}:sigma:{number}")
            self._sigmas[number] = self._scenario.sigma_bps * math.exp(rng.gauss(0.0, self._scenario.sigma_window_sd))
        return self._sigmas[number]

    def _make_block(self, number: int) -> array[float]:
        *levels, end = self._levels(number)
        if len(self._starts) == number + 1:
            self._starts.append(end)
        prices = array("d", map(math.exp, levels))
        _remember(self._blocks, number, prices)
        return prices

    def _levels(self, number: int) -> list[float]:
        """Log price at each grid point of a block, and where the next begins."""
        rng = Random(f"{self._seed}:{self.asset.code}:path:{number}")
        luck, normal = rng.random, normals(rng).__next__
        step_sd = self._sigma(number) * BASIS_POINT / math.sqrt(STEPS_PER_SECOND)
        jump_chance = self._scenario.jumps_per_hour / 3600 / STEPS_PER_SECOND
        jump_sd = self._scenario.jump_bps * BASIS_POINT
        level, levels = self._starts[number], []
        gap_step, begin = self._gap_step(), number * BLOCK_STEPS + 1 - self._anchor_step
        for since in range(begin, begin + BLOCK_STEPS):
            levels.append(level)
            level += normal() * step_sd
            if luck() < jump_chance:
                level += normal() * jump_sd
            if gap_step and since > 0 and since % gap_step == 0:
                level += (1 if luck() < 0.5 else -1) * self._scenario.spot_gap_bps * BASIS_POINT
        levels.append(level)
        return levels

    def _basis_block(self, number: int) -> array[float]:
        found = self._basis.get(number)
        if found is not None:
            return found
        while len(self._basis_ends) <= number:
            self._make_basis(len(self._basis_ends) - 1)
        return self._make_basis(number)

    def _make_basis(self, number: int) -> array[float]:
        rng = Random(f"{self._seed}:{self.asset.code}:basis:{number}")
        decay = 0.5 ** (1.0 / self._scenario.basis_half_life_s)
        kick = self._scenario.basis_sd_bps * BASIS_POINT * math.sqrt(1 - decay * decay)
        value = self._basis_ends[number]
        if number == 0:
            value = rng.gauss(0.0, self._scenario.basis_sd_bps * BASIS_POINT)
        values = array("d")
        for _ in range(BLOCK_S):
            values.append(value)
            value = value * decay + rng.gauss(0.0, kick)
        if len(self._basis_ends) == number + 1:
            self._basis_ends.append(value)
        _remember(self._basis, number, values)
        return values


def normals(rng: Random) -> Iterator[float]:
    """What `rng.gauss(0, 1)` would draw one after the other, in half the time: a day has two million steps."""
    uniform = rng.random
    while True:
        angle, radius = uniform() * math.tau, math.sqrt(-2.0 * math.log(1.0 - uniform()))
        yield math.cos(angle) * radius
        yield math.sin(angle) * radius


def _remember(store: OrderedDict[int, array[float]], number: int, values: array[float]) -> None:
    store[number] = values
    while len(store) > BLOCKS_KEPT:
        store.popitem(last=False)


class Oracle:
    """The settlement stream: 60 s averages of 1 Hz ticks (quant.md 1.2). `twap(T)` averages the ticks in [T-60, T)."""

    WINDOW_S = 60

    def __init__(self, path: IndexPath) -> None:
        self._path = path
        self._ticks: OrderedDict[int, float] = OrderedDict()

    def tick(self, second: int) -> float:
        value = self._ticks.get(second)
        if value is None:
            value = self._ticks[second] = self._path.oracle(second)
            while len(self._ticks) > 4000:
                self._ticks.popitem(last=False)
        return value

    def twap(self, second: int) -> float:
        return self.partial(start=second - self.WINDOW_S, end=second)

    def partial(self, *, start: int, end: int) -> float:
        """Mean of the ticks in [start, end); `end` must lie after `start`."""
        return math.fsum(self.tick(second) for second in range(start, end)) / (end - start)
