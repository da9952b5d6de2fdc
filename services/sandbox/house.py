"""The simulated crowd: makers with a late view of the index, takers who race for their stale quotes, noise.

Everybody moves on the grid of the index, every 50 ms. Makers see the index with a lag that is drawn again every 200 ms;
their view never moves backwards, which makes the effective reaction much quicker than the median lag (quant.md 6). They
quote their own fair value, not the client's.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from random import Random

from services.sandbox.accounts import Account
from services.sandbox.book import BookOrder, Side
from services.sandbox.clock import MS_NS, SECOND_NS
from services.sandbox.exchange import Exchange
from services.sandbox.fair import Values
from services.sandbox.markets import Market
from services.sandbox.money import MICRO
from services.sandbox.quotes import ladder, lognormal, spread_ticks, touch_prices
from services.sandbox.scenario import Scenario

STEP_NS = 50 * MS_NS
RESAMPLE_NS = 200 * MS_NS
# Markets that are quoted at least this often are looked at in every step.
QUICK_S = 0.2
PREFIX = "house-"
# A competitor who arrives takes only levels that still leave this share of the edge that called him.
STILL_WORTH = 0.5


@dataclass(slots=True)
class Desk:
    """What the house remembers about one market."""

    view_ns: int = 0
    fair: float = -1.0
    touch: tuple[int, int] = (0, 0)
    tick: int = 0
    trades_seen: int = -1
    race_at_ns: int = 0
    stray_ns: int = 0
    next_ns: int = 0
    away_until_ns: int = 0


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
        self._rng = Random()
        self._serial = 0

    def step(self, now_ns: int) -> None:
        """Move makers and takers of every market once; cheap for markets that are far from their start."""
        for market in self._exchange.markets.live():
            if not market.accepting:
                continue
            desk = self._desks.setdefault(market.slug, Desk())
            if now_ns < desk.away_until_ns or now_ns < desk.next_ns:
                continue
            making = market.terms.making
            desk.next_ns = 0 if making.every_s <= QUICK_S else now_ns + int(making.every_s * SECOND_NS)
            far = market.start * SECOND_NS - now_ns > making.lively_from_s * SECOND_NS
            if far and desk.fair >= 0 and desk.trades_seen == market.trades:
                continue
            self._draw_from(f"{market.slug}:{now_ns // RESAMPLE_NS}")
            self._make(market, desk, now_ns)
            if not far:
                self._draw_from(f"{market.slug}:taking:{now_ns // STEP_NS}")
                self._race(market, desk, now_ns)
                self._stray(market, desk, now_ns)

    def _draw_from(self, label: str) -> None:
        """What is drawn next depends on the seed, a market and a moment, not on what was drawn before."""
        self._rng.seed(self._seed * 1_000_003 + zlib.crc32(label.encode()))

    def pause(self, market: Market, *, until_ns: int) -> None:
        """Nobody of the house moves in this market for a while; what it quotes stays."""
        self._desks.setdefault(market.slug, Desk()).away_until_ns = until_ns

    def leave(self, market: Market, *, until_ns: int) -> None:
        """The makers take their quotes away and come back later."""
        self.forget(market)
        self.pause(market, until_ns=until_ns)

    def forget(self, market: Market) -> None:
        """Drop the desk of a market that no longer trades, and its quotes."""
        self._desks.pop(market.slug, None)
        for order_id in [key for key in market.book.orders if key.startswith(PREFIX)]:
            market.book.remove(order_id)

    def fair(self, market: Market, at_ns: int) -> float:
        """Probability of Up seen from venue time `at_ns`, with the true variance."""
        return self._values.fair(market, at_ns)

    # --- makers -----------------------------------------------------------------------------------------------------

    def _make(self, market: Market, desk: Desk, now_ns: int) -> None:
        lag_s = lognormal(self._rng, self.scenario.maker_lag) * self.scenario.maker_lag_scale
        view_ns = max(desk.view_ns, now_ns - int(lag_s * SECOND_NS))
        moved = view_ns > desk.view_ns
        desk.view_ns = view_ns
        if not moved and desk.fair >= 0:
            return
        seen = self.fair(market, view_ns) + self._rng.gauss(0.0, self.scenario.maker_noise)
        fair = min(0.9995, max(0.0005, seen))
        taken = desk.trades_seen != market.trades
        stale = abs(fair - desk.fair) > self.scenario.maker_hysteresis or desk.tick != market.tick
        if not (taken or stale):
            return
        desk.trades_seen, desk.tick = market.trades, market.tick
        if stale:
            desk.fair = fair
            desk.touch = touch_prices(fair=fair, ticks=spread_ticks(self._rng, self.scenario), tick=market.tick)
        self._quote(market, desk)
        desk.trades_seen = market.trades
        self._exchange.publish(market)

    def _quote(self, market: Market, desk: Desk) -> None:
        """Replace the ladder: keep levels that stay, drop the others, then meet clients' orders that now look wrong."""
        bid, ask = desk.touch
        wanted = ladder(
            bid=bid,
            ask=ask,
            tick=market.tick,
            making=market.terms.making,
            rng=self._rng,
            scenario=self.scenario,
        )
        book = market.book
        shown = {(order.is_bid, order.book_price): order for order in book.orders.values() if order.account.house}
        for key, order in shown.items():
            if key not in wanted:
                book.remove(order.id)
        self._take(market, outcome=0, limit=bid)
        self._take(market, outcome=1, limit=MICRO - ask)
        for (is_bid, price), size in wanted.items():
            touched = price in (bid, ask)
            present = shown.get((is_bid, price))
            if present is not None and not touched and present.remaining * 2 > size:
                continue
            if present is not None:
                book.remove(present.id)
            self._rest(market, is_bid=is_bid, price=price, size=size)

    def _rest(self, market: Market, *, is_bid: bool, price: int, size: int) -> None:
        order = self._order(
            self.makers, outcome=0 if is_bid else 1, price=price if is_bid else MICRO - price, shares=size
        )
        if not market.book.crosses(order):
            market.book.add(order)

    # --- takers -----------------------------------------------------------------------------------------------------

    def _race(self, market: Market, desk: Desk, now_ns: int) -> None:
        """Competitors notice a quote that is wrong by more than their edge, and arrive after their own delay."""
        if not self.scenario.competitors:
            return
        if desk.race_at_ns and now_ns < desk.race_at_ns:
            return
        fair = self.fair(market, now_ns)
        arrived = desk.race_at_ns > 0
        desk.race_at_ns = 0
        edge = self.scenario.competitor_edge
        for outcome, worth in ((0, fair), (1, 1 - fair)):
            ask = market.best(outcome)[1]
            if ask is None or _edge(worth, ask, market) < edge:
                continue
            if not arrived:
                desk.race_at_ns = now_ns + int(lognormal(self._rng, self.scenario.competitor_lag) * SECOND_NS)
                return
            while _edge(worth, ask + market.tick, market) > edge * STILL_WORTH:
                ask += market.tick
            self._take(market, outcome=outcome, limit=ask)

    def _stray(self, market: Market, desk: Desk, now_ns: int) -> None:
        """Noise takers: people who trade for reasons of their own, at the touch."""
        since_s = (now_ns - desk.stray_ns) / SECOND_NS if desk.stray_ns else 0.0
        desk.stray_ns = now_ns
        if self._rng.random() >= self.scenario.noise_takes_per_minute / 60 * since_s:
            return
        outcome = self._rng.randrange(2)
        ask = market.best(outcome)[1]
        if ask is not None:
            shares = int(lognormal(self._rng, self.scenario.noise_take_usd) * MICRO / ask * 100) * MICRO // 100
            self._take(market, outcome=outcome, limit=ask, shares=shares)

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
