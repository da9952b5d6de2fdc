"""The end of a market: matching stops, the oracle decides, winners are redeemed (venue.md 5.3 and 7)."""

from __future__ import annotations

import math
from random import Random

from services.sandbox import positions
from services.sandbox.clock import SECOND_NS
from services.sandbox.eventlog import log_event
from services.sandbox.exchange import Exchange
from services.sandbox.house import House
from services.sandbox.markets import OUTCOMES, Market, MarketState
from services.sandbox.prices import Oracle
from services.sandbox.scenario import Scenario
from services.sandbox.trades import TradeStatus


class Settlement:
    """Walks markets and trades through their states; call `step` about once a venue second."""

    def __init__(
        self, *, exchange: Exchange, house: House, oracles: dict[str, Oracle], scenario: Scenario, seed: int
    ) -> None:
        self.scenario = scenario
        self._exchange = exchange
        self._house = house
        self._oracles = oracles
        self._seed = seed
        self._unredeemed: list[Market] = []

    def step(self, now_ns: int) -> None:
        for market in self._exchange.markets.roll(now_ns=now_ns):
            self._exchange.events.market_created(market)
        for market in self._exchange.markets.live():
            self._advance(market, now_ns)
        due = int(self.scenario.redeem_after_s * SECOND_NS)
        for market in [market for market in self._unredeemed if now_ns >= market.closed_ns + due]:
            self._unredeemed.remove(market)
            self.redeem(market, now_ns)
        self._exchange.expire()

    def step_trades(self, now_ns: int) -> None:
        """MATCHED, MINED, CONFIRMED by age; a ghost fill fails where another would be mined."""
        waiting = self._exchange.unsettled
        for _ in range(len(waiting)):
            trade = waiting.popleft()
            age_s = (now_ns - trade.matched_ns) / SECOND_NS
            before = trade.status
            if trade.status is TradeStatus.MATCHED and age_s >= self.scenario.mined_after_s:
                if trade.will_fail:
                    self._exchange.fail(trade)
                else:
                    trade.status = TradeStatus.MINED
            elif trade.status is TradeStatus.MINED and age_s >= self.scenario.confirmed_after_s:
                trade.status = TradeStatus.CONFIRMED
            if trade.status is not before:
                trade.updated_ns = now_ns
                self._exchange.events.trade_changed(trade)
            if trade.status not in (TradeStatus.CONFIRMED, TradeStatus.FAILED):
                waiting.append(trade)

    def settle_delay_s(self, market: Market) -> float:
        """Seconds from the end to the official close, the same for a market in every run of a seed."""
        rng = Random(f"{self._seed}:settle:{market.slug}")
        shape = self.scenario.settle
        return min(self.scenario.settle_max_s, shape.median * math.exp(rng.gauss(0.0, shape.sigma)))

    def resolve(self, market: Market, now_ns: int) -> None:
        """Close a market with the oracle's answer; a tie is Up."""
        self.stop(market)
        oracle = self._oracles[market.family.asset.code]
        market.price_to_beat = oracle.twap(market.start)
        market.final_price = oracle.twap(market.end)
        market.winner = 0 if market.final_price >= market.price_to_beat else 1
        market.state = MarketState.CLOSED
        market.closed_ns = now_ns
        self._unredeemed.append(market)
        self._exchange.events.market_resolved(market)
        log_event("market_resolved", market=market.slug, winner=OUTCOMES[market.winner], final_price=market.final_price)

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
        for account in self._exchange.accounts.everyone:
            for outcome in (0, 1):
                positions.redeem(account, market, outcome, now_ns=now_ns)

    def _advance(self, market: Market, now_ns: int) -> None:
        if market.accepting and now_ns >= market.end_ns + int(self.scenario.post_close_s * SECOND_NS):
            self.stop(market)
        if now_ns >= market.end_ns + int(self.settle_delay_s(market) * SECOND_NS):
            self.resolve(market, now_ns)
