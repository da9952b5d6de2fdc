"""The simulated crowd: makers with a late view of the index, takers who race for their stale quotes, noise.

Everybody moves on the grid of the index, every 50 ms. Makers see the index with a lag that is drawn again every 200 ms;
their view never moves backwards, which makes the effective reaction much quicker than the median lag (quant.md 6). They
quote their own fair value, not the client's.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from random import Random

from services.sandbox.accounts import Account
from services.sandbox.book import BookOrder, Side
from services.sandbox.clock import MS_NS, SECOND_NS
from services.sandbox.exchange import Exchange
from services.sandbox.fair import Values
from services.sandbox.markets import Market, MarketState
from services.sandbox.money import MICRO
from services.sandbox.quotes import Rung, ladder, lognormal, shares, spread_ticks, touch_prices
from services.sandbox.scenario import Lognormal, Scenario

STEP_NS = 50 * MS_NS
RESAMPLE_NS = 200 * MS_NS
PREFIX = "house-"
# A competitor who arrives takes only levels that still leave this share of the edge that called him.
STILL_WORTH = 0.5


@dataclass(slots=True)
class Desk:
    """What the house remembers about one market.

    Lag and noise of its makers stand until the next draw. No competitor sees anything while the fair value is within
    `bounds`, which stand for one version of the book, and so while the index is within `calm`, until the second ends.
    """

    lively_ns: int
    every_ns: int
    redraw_ns: int = 0
    second: int = -1
    draws: list[tuple[int, float, float]] = field(default_factory=list)
    lag_ns: int = 0
    noise: float = 0.0
    drawn_ns: int = 0
    view_ns: int = 0
    fair: float = -1.0
    touch: tuple[int, int] = (0, 0)
    tick: int = 0
    trades_seen: int = -1
    racers: int = 0
    race_at_ns: int = 0
    next_ns: int = 0
    away_until_ns: int = 0
    resting: dict[Rung, tuple[BookOrder, Lognormal]] = field(default_factory=dict)
    offered: int = -1
    bounds: tuple[float, float] = (0.0, 1.0)
    calm: tuple[float, float] = (0.0, 0.0)
    calm_until_ns: int = 0


class House:
    """Steps every active market. One instance serves all markets of a run."""

    def __init__(
        self,
        *,
        exchange: Exchange,
        makers: Account,
        takers: Account,
        values: Values,
        scenario: Scenario,
        seed: int,
    ) -> None:
        self.scenario = scenario
        self._exchange = exchange
        self.makers = makers
        self._takers = takers
        self._values = values
        self._seed = seed
        self._desks: dict[str, Desk] = {}
        self._active: list[tuple[Market, Desk]] = []
        self._called = (-1, -1)
        self._errors: dict[str, float] = {}
        self._rng = Random()
        self._serial = 0

    def step(self, now_ns: int) -> None:
        """Move makers and takers of every market once; cheap for markets that are far from their start."""
        called = (now_ns // SECOND_NS, len(self._exchange.markets.by_slug))
        if called != self._called:
            self._called = called
            self._active = self._call_roll(now_ns)
        for market, desk in self._active:
            if now_ns >= desk.next_ns and now_ns >= desk.away_until_ns and market.state is MarketState.OPEN:
                self._visit(market, desk, now_ns)

    def _call_roll(self, now_ns: int) -> list[tuple[Market, Desk]]:
        """Whom to look at in this second: a market far from its start only if it has no quotes, or lost some."""
        active = []
        for market in self._exchange.markets.live():
            if market.accepting:
                desk = self._desk(market)
                if now_ns >= desk.lively_ns or desk.fair < 0 or desk.trades_seen != market.trades:
                    active.append((market, desk))
        return active

    def _desk(self, market: Market) -> Desk:
        desk = self._desks.get(market.slug)
        if desk is None:
            making = market.terms.making
            desk = self._desks[market.slug] = Desk(
                lively_ns=(market.start - making.lively_from_s) * SECOND_NS, every_ns=int(making.every_s * SECOND_NS)
            )
        return desk

    def _visit(self, market: Market, desk: Desk, now_ns: int) -> None:
        lively = now_ns >= desk.lively_ns
        if not lively or desk.every_ns > RESAMPLE_NS:
            desk.next_ns = now_ns + desk.every_ns
        fresh = now_ns >= desk.redraw_ns
        strays = fresh and self._draw(market, desk, now_ns, lively=lively)
        self._make(market, desk, now_ns)
        if lively:
            self._race(market, desk, now_ns)
            if strays:
                self._stray(market, now_ns)

    def _draw(self, market: Market, desk: Desk, now_ns: int, *, lively: bool) -> bool:
        """Draw the makers' lag and noise until the next draw; says whether a noise taker comes."""
        second, slot = now_ns // SECOND_NS, now_ns % SECOND_NS // RESAMPLE_NS
        if second != desk.second:
            self._draw_from(f"{market.slug}:{second}")
            desk.second, desk.draws = second, [self._drawn() for _ in range(SECOND_NS // RESAMPLE_NS)]
        desk.lag_ns, desk.noise, luck = desk.draws[slot]
        desk.redraw_ns = (now_ns // RESAMPLE_NS + 1) * RESAMPLE_NS
        since_s = (now_ns - desk.drawn_ns) / SECOND_NS if desk.drawn_ns else 0.0
        desk.drawn_ns = now_ns if lively else 0
        return luck < self.scenario.noise_takes_per_minute / 60 * since_s

    def _drawn(self) -> tuple[int, float, float]:
        lag_s = lognormal(self._rng, self.scenario.maker_lag) * self.scenario.maker_lag_scale
        return int(lag_s * SECOND_NS), self._rng.gauss(0.0, self.scenario.maker_noise), self._rng.random()

    def _draw_from(self, label: str) -> None:
        """What is drawn next depends on the seed, a market and a moment, not on what was drawn before."""
        self._rng.seed(self._seed * 1_000_003 + zlib.crc32(label.encode()))

    def pause(self, market: Market, *, until_ns: int) -> None:
        """Nobody of the house moves in this market for a while; what it quotes stays."""
        self._desk(market).away_until_ns = until_ns

    def leave(self, market: Market, *, until_ns: int) -> None:
        """The makers take their quotes away and come back later."""
        self.forget(market)
        self.pause(market, until_ns=until_ns)

    def forget(self, market: Market) -> None:
        """Drop the desk of a market that no longer trades, and its quotes."""
        self._desks.pop(market.slug, None)
        self._called = (-1, -1)
        for order_id in [key for key in market.book.orders if key.startswith(PREFIX)]:
            market.book.remove(order_id)

    def fair(self, market: Market, at_ns: int) -> float:
        """Probability of Up seen from venue time `at_ns`, with the true variance, as the house has it."""
        return self._values.fair(market, at_ns) + self._errors.get(market.slug, 0.0)

    def err(self, market: Market, by: float) -> None:
        """From now on all of the house take the first outcome to be worth so much more than it is."""
        self._errors[market.slug] = by
        desk = self._desk(market)
        desk.fair, desk.next_ns = -1.0, 0  # Quote anew in the next step
        self._called = (-1, -1)

    # --- makers -----------------------------------------------------------------------------------------------------

    def _make(self, market: Market, desk: Desk, now_ns: int) -> None:
        """Quote what a late view says. A maker who was hit looks up at once, and does not offer the same again."""
        taken = desk.trades_seen != market.trades
        view_ns = now_ns if taken else now_ns - desk.lag_ns
        if view_ns > desk.view_ns:
            desk.view_ns = view_ns
        elif desk.fair >= 0:
            return
        fair = min(0.9995, max(0.0005, self.fair(market, desk.view_ns) + desk.noise))
        stale = abs(fair - desk.fair) > self.scenario.maker_hysteresis or desk.tick != market.tick
        if not (taken or stale):
            return
        self._draw_from(f"{market.slug}:quote:{now_ns // STEP_NS}")
        desk.tick = market.tick
        if stale:
            desk.fair = fair
            desk.touch = touch_prices(fair=fair, ticks=spread_ticks(self._rng, self.scenario), tick=market.tick)
        self._quote(market, desk)
        desk.trades_seen = market.trades
        self._exchange.publish(market)

    def _quote(self, market: Market, desk: Desk) -> None:
        """Replace the ladder: keep levels that stay, drop the others, then meet clients' orders that now look wrong.

        The touch is laid anew with every quote, a deeper level once more than half of it was taken.
        """
        bid, ask = desk.touch
        book, resting = market.book, desk.resting
        wanted = ladder(bid=bid, ask=ask, tick=market.tick, making=market.terms.making, scenario=self.scenario)
        for rung, (order, dollars) in list(resting.items()):
            if dollars != wanted.get(rung) or rung[1] in (bid, ask) or order.remaining * 2 <= order.size:
                book.remove(order.id)
                del resting[rung]
        self._take(market, outcome=0, limit=bid)
        self._take(market, outcome=1, limit=MICRO - ask)
        for rung, dollars in wanted.items():
            if rung not in resting:
                is_bid, price = rung
                own = price if is_bid else MICRO - price
                order = self._order(
                    self.makers,
                    outcome=0 if is_bid else 1,
                    price=own,
                    shares=shares(lognormal(self._rng, dollars), own),
                )
                if not book.crosses(order):
                    book.add(order)
                    resting[rung] = order, dollars

    # --- takers -----------------------------------------------------------------------------------------------------

    def _race(self, market: Market, desk: Desk, now_ns: int) -> None:
        """Competitors notice quotes that are wrong by their edge, one for each time it fits in, and arrive later.

        The first of them takes what is wrong. So large mistakes are corrected sooner than small ones.
        """
        if not self.scenario.competitors:
            return
        book = market.book
        if desk.offered != book.version:
            desk.offered, desk.bounds, desk.calm_until_ns = book.version, self._bounds(market), 0
        if not desk.racers and now_ns < desk.calm_until_ns:
            lowest, highest = desk.calm
            if lowest < self._values.spot(market, now_ns) < highest:
                return
        fair = self.fair(market, now_ns)
        if desk.racers and now_ns >= desk.race_at_ns:
            desk.racers = 0
            self._arrive(market, fair)
            return
        low, high = desk.bounds
        if low < fair < high:
            desk.calm = self._values.calm(market, now_ns, fair, desk.bounds)
            desk.calm_until_ns = (now_ns // SECOND_NS + 1) * SECOND_NS
            return
        noticed = 1 + int(max(low - fair, fair - high) / self.scenario.competitor_edge)
        if noticed > desk.racers:
            self._draw_from(f"{market.slug}:race:{now_ns // STEP_NS}")
            lags = [lognormal(self._rng, self.scenario.competitor_lag) for _ in range(noticed - desk.racers)]
            first_ns = now_ns + int(min(lags) * SECOND_NS)
            desk.race_at_ns = min(desk.race_at_ns, first_ns) if desk.racers else first_ns
            desk.racers = noticed

    def _arrive(self, market: Market, fair: float) -> None:
        for outcome, worth in ((0, fair), (1, 1 - fair)):
            ask = market.best(outcome)[1]
            if ask is None or _edge(worth, ask, market) < self.scenario.competitor_edge:
                continue
            while _edge(worth, ask + market.tick, market) > self.scenario.competitor_edge * STILL_WORTH:
                ask += market.tick
            self._take(market, outcome=outcome, limit=ask)

    def _bounds(self, market: Market) -> tuple[float, float]:
        """The fair values between which nothing on offer is worth a race."""
        up, down = market.best(0)[1], market.best(1)[1]
        edge = self.scenario.competitor_edge
        low = -1.0 if down is None else 1 - edge + _edge(0.0, down, market)
        high = 2.0 if up is None else edge - _edge(0.0, up, market)
        return low, high

    def _stray(self, market: Market, now_ns: int) -> None:
        """Noise takers: people who trade for reasons of their own, at the touch."""
        self._draw_from(f"{market.slug}:stray:{now_ns // STEP_NS}")
        outcome = self._rng.randrange(2)
        ask = market.best(outcome)[1]
        if ask is not None:
            wanted = lognormal(self._rng, self.scenario.noise_take_usd) * MICRO / ask
            self._take(market, outcome=outcome, limit=ask, shares=int(wanted * 100) * MICRO // 100)

    def _take(self, market: Market, *, outcome: int, limit: int, shares: int = 10**15) -> None:
        """Buy one outcome up to `limit` with a house party, if anything is there."""
        if not 0 < limit < MICRO or shares <= 0:
            return
        taker = self._order(self._takers, outcome=outcome, price=limit, shares=shares)
        fills = market.book.plan(taker)
        if fills:
            self._exchange.execute(market, taker, fills)
            self._exchange.publish(market)

    def _order(self, account: Account, *, outcome: int, price: int, shares: int) -> BookOrder:
        self._serial += 1
        return BookOrder(
            id=f"{PREFIX}{self._serial}", account=account, outcome=outcome, side=Side.BUY, price=price, size=shares
        )


def _edge(worth: float, ask: int, market: Market) -> float:
    """Net expectation of buying one share at `ask`, after the fee, in dollars."""
    price = ask / MICRO
    return worth - price - float(market.fees.rate) * price * (1 - price)
