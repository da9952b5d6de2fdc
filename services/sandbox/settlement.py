"""The end of a market: matching stops, the oracle decides, winners are redeemed (venue.md 5.3 and 7)."""

from __future__ import annotations

import math
from random import Random

from services.sandbox import positions
from services.sandbox.clock import SECOND_NS
from services.sandbox.eventlog import log_event
from services.sandbox.exchange import Exchange
from services.sandbox.fair import Values
from services.sandbox.house import House
from services.sandbox.markets import Market, MarketState
from services.sandbox.prices import IndexPath
from services.sandbox.scenario import Scenario
from services.sandbox.terms import Rule
from services.sandbox.trades import Trade, TradeStatus

# Orders from before a game are looked for this long after its start.
CLEAR_NS = 5 * SECOND_NS
# No market is shown for a shorter time than this.
ROLL_NS = 300 * SECOND_NS


class Settlement:
    """Walks markets and trades through their states; call `step` about once a venue second."""

    def __init__(
        self,
        *,
        exchange: Exchange,
        house: House,
        values: Values,
        paths: dict[str, IndexPath],
        scenario: Scenario,
        seed: int,
    ) -> None:
        self.scenario = scenario
        self._exchange = exchange
        self._house = house
        self._values = values
        self._paths = paths
        self._seed = seed
        self.unredeemed: list[Market] = []
        # How many trades of clients have met their fate.
        self.settled = 0
        self._rolled_ns = 0

    def step(self, now_ns: int) -> None:
        for market in self.roll(now_ns):
            self._exchange.events.market_created(market)
        for market in self._exchange.markets.live():
            self._advance(market, now_ns)
        due = int(self.scenario.redeem_after_s * SECOND_NS)
        for market in [market for market in self.unredeemed if now_ns >= market.closed_ns + due]:
            self.unredeemed.remove(market)
            self.redeem(market, now_ns)
        self._exchange.expire()
        if now_ns // SECOND_NS % 60 == 0:
            self._note_prices(now_ns // SECOND_NS)

    def roll(self, now_ns: int) -> list[Market]:
        """Make the markets of this moment; returns the new ones."""
        fresh = self._exchange.markets.roll(now_ns=now_ns, spot=self._spot)
        if fresh:
            self._rolled_ns = now_ns
            self._exchange.journal.write("rolled", at=now_ns)
        return fresh

    def catch_up(self, now_ns: int) -> None:
        """After a time of standstill: the markets that would have come and gone meanwhile."""
        if self._rolled_ns:
            for missed_ns in range(self._rolled_ns + ROLL_NS, now_ns, ROLL_NS):
                self.roll(missed_ns)

    def _note_prices(self, second: int) -> None:
        for market in self._exchange.markets.live():
            if market.accepting and (not market.history or market.history[-1][0] != second):
                market.history.append((second, market.outcome_price(0)))

    def step_trades(self, now_ns: int) -> None:
        """MATCHED, MINED, CONFIRMED by age; a ghost fill fails where another would be mined."""
        waiting = self._exchange.unsettled
        for _ in range(len(waiting)):
            trade = waiting.popleft()
            with self._exchange.journal.together():
                self._step_trade(trade, now_ns)
            if trade.status not in (TradeStatus.CONFIRMED, TradeStatus.FAILED):
                waiting.append(trade)

    def _step_trade(self, trade: Trade, now_ns: int) -> None:
        before = trade.status
        self._move_on(trade, (now_ns - trade.matched_ns) / SECOND_NS)
        if trade.status is not before:
            trade.updated_ns = now_ns + self._exchange.clock.skew_ns
            self._exchange.journal.write("status", trade=trade.id, status=str(trade.status), at=trade.updated_ns)
            self._exchange.events.trade_changed(trade)

    def _move_on(self, trade: Trade, age_s: float) -> None:
        mined_s, confirmed_s = self.scenario.mined_after_s, self.scenario.confirmed_after_s
        if trade.status is TradeStatus.MATCHED and age_s >= mined_s:
            if trade.will_fail:
                self._exchange.fail(trade)
            else:
                trade.status = TradeStatus.RETRYING if trade.will_retry else TradeStatus.MINED
        elif trade.status is TradeStatus.RETRYING and age_s >= (mined_s + confirmed_s) / 2:
            trade.status = TradeStatus.MINED
        elif trade.status is TradeStatus.MINED and age_s >= confirmed_s:
            trade.status = TradeStatus.CONFIRMED

    def settle_delay_s(self, market: Market) -> float:
        """Seconds from the end to the official close, the same for a market in every run of a seed."""
        rng = Random(f"{self._seed}:settle:{market.slug}")
        shape, median = self.scenario.settle, market.terms.settle_s
        factor = math.exp(rng.gauss(0.0, shape.sigma))
        quiet_s = min(self.scenario.settle_max_s, shape.median * factor) if median is None else median * factor
        return quiet_s + market.dispute_s

    def fails(self) -> bool:
        """Does the next trade fail by itself? The n-th one of clients does so in every run of a seed."""
        self.settled += 1
        return Random(f"{self._seed}:fails:{self.settled}").random() < self.scenario.failed_prob

    def resolve(self, market: Market, now_ns: int, *, decided: tuple[int | str] | None = None) -> None:
        """Close a market with its answer, or with what the caller decided: an outcome or "even" for 50-50."""
        self.stop(market)
        answer = self._values.answer(market) if decided is None else decided[0]
        if market.split:
            answer = "even"
        market.winner, market.even = (answer, False) if isinstance(answer, int) else (None, True)
        if market.terms.rule is not Rule.DECLARED and now_ns >= market.end_ns:
            market.price_to_beat = self._values.reference(market)
            market.final_price = self._values.final(market)
        market.state = MarketState.CLOSED
        market.closed_ns = now_ns
        self.unredeemed.append(market)
        self._exchange.journal.write(
            "closed",
            market=market.slug,
            winner=market.winner,
            even=market.even,
            price_to_beat=market.price_to_beat,
            final_price=market.final_price,
            at=now_ns,
        )
        self._exchange.events.market_resolved(market)
        winner = None if market.winner is None else market.labels[market.winner]
        log_event("market_resolved", market=market.slug, winner=winner, final_price=market.final_price)

    def stop(self, market: Market) -> None:
        """No more matching: cancel what rests."""
        if market.state is not MarketState.OPEN:
            return
        market.state = MarketState.ENDED
        self._house.forget(market)
        orders = [self._exchange.orders[key] for key in list(market.book.orders) if key in self._exchange.orders]
        self._exchange.cancel_where(orders, reason="MARKET_RESOLVED")
        self._exchange.publish(market)

    def redeem(self, market: Market, now_ns: int) -> None:
        """The auto-redeemer: shares become what they are worth; one REDEEM row per outcome held."""
        journal = self._exchange.journal
        with journal.together():
            for account in self._exchange.accounts.everyone:
                if not self._exchange.pays(account, market):
                    continue
                known = len(account.activity)
                for outcome in (0, 1):
                    positions.redeem(account, market, outcome, now_ns=now_ns)
                self._exchange.note_history(account, since=known)
            journal.write("redeemed", market=market.slug, at=now_ns)

    def _spot(self, code: str, second: int) -> float:
        """Index price that strikes are laid around."""
        path = self._paths[code]
        return path.at(max(second * SECOND_NS, path.origin_ns))

    def _advance(self, market: Market, now_ns: int) -> None:
        touchable = market.terms.rule in (Rule.TOUCH_HIGH, Rule.TOUCH_LOW) and not market.decided_ns
        if touchable and self._values.touched(market, now_ns // SECOND_NS):
            market.decided_ns = now_ns
        end_ns = market.decided_ns or market.end_ns
        if market.accepting and now_ns >= market.end_ns + int(self.scenario.post_close_s * SECOND_NS):
            self.stop(market)
        if market.terms.game and market.terms.start * SECOND_NS <= now_ns < market.terms.start * SECOND_NS + CLEAR_NS:
            self._clear(market)
        if now_ns >= end_ns and now_ns >= end_ns + int(self.settle_delay_s(market) * SECOND_NS):
            self.resolve(market, now_ns)

    def _clear(self, market: Market) -> None:
        """Clients' orders of a game do not outlive its start."""
        orders = [self._exchange.orders[key] for key in list(market.book.orders) if key in self._exchange.orders]
        self._exchange.cancel_where([order for order in orders if order.created_ns < market.start * SECOND_NS])
