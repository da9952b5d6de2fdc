"""The market and user channels: what the exchange reports, sent to whoever subscribed (venue.md 6.1, 6.2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
from starlette.websockets import WebSocket

from services.sandbox import messages, user_messages
from services.sandbox.accounts import Account
from services.sandbox.auth import Keys
from services.sandbox.book import BookOrder, Fill
from services.sandbox.clock import VenueClock
from services.sandbox.markets import Market, Markets
from services.sandbox.orders import Order
from services.sandbox.scenario import Scenario
from services.sandbox.streams import Connection, Hub, encode
from services.sandbox.trades import Trade


class MarketClient(Connection):
    """A market-channel connection and what it asked for."""

    def __init__(self, socket: WebSocket, clock: VenueClock) -> None:
        super().__init__(socket, clock)
        self.tokens: set[str] = set()
        self.custom = False


class UserClient(Connection):
    """A user-channel connection; its account is None until its credentials were accepted."""

    def __init__(self, socket: WebSocket, clock: VenueClock) -> None:
        super().__init__(socket, clock)
        self.markets: set[str] = set()


class Feeds:
    """Implements the exchange's Events over the two hubs."""

    def __init__(self, *, clock: VenueClock, markets: Markets, keys: Keys, scenario: Scenario) -> None:
        self.scenario = scenario
        self.market_hub: Hub[MarketClient] = Hub()
        self.user_hub: Hub[UserClient] = Hub()
        self._clock = clock
        self._markets = markets
        self._keys = keys
        self._tops: dict[str, tuple[str, str]] = {}

    # --- what the exchange reports ----------------------------------------------------------------------------------

    def book_changed(self, market: Market) -> None:
        changes = market.book.drain_changes()
        if not changes or not self._listeners(market):
            return
        stamp_ms = self._clock.now_ms()
        self._send(market, messages.price_change(market, changes, stamp_ms=stamp_ms))
        if self._tops.get(market.slug) != (top := messages.tops(market, 0)):
            self._tops[market.slug] = top
            for outcome in (0, 1):
                self._send(market, messages.best_bid_ask(market, outcome, stamp_ms=stamp_ms), custom=True)

    def traded(self, market: Market, taker: BookOrder, fills: list[Fill], transaction: str) -> None:
        if not self._listeners(market):
            return
        stamp_ms = self._clock.now_ms()
        token = market.tokens[taker.outcome]
        trade = messages.last_trade(market, taker, fills, transaction=transaction, stamp_ms=stamp_ms)
        self._send(market, trade, token=token)
        for outcome in (0, 1):
            book = messages.book_event(market, outcome, stamp_ms=stamp_ms)
            self._send(market, book, token=market.tokens[outcome])

    def tick_changed(self, market: Market, old: int) -> None:
        for outcome in (0, 1):
            change = messages.tick_size_change(market, outcome, old=old, stamp_ms=self._clock.now_ms())
            self._send(market, change, token=market.tokens[outcome])

    def market_created(self, market: Market) -> None:
        text = encode(messages.new_market(market, stamp_ms=self._clock.now_ms()))
        for client in self.market_hub.each():
            if client.custom:
                client.push(text, delay_ms=self.scenario.clob_ws_ms)

    def market_resolved(self, market: Market) -> None:
        self._send(market, messages.market_resolved(market, stamp_ms=self._clock.now_ms()), custom=True)

    def order_changed(self, order: Order, kind: str, reason: str = "") -> None:
        event = user_messages.order_event(order, kind=kind, reason=reason, now_ns=self._clock.stamp_ns())
        self._tell(order.account, order.market, event)

    def trade_changed(self, trade: Trade) -> None:
        for account in trade.parties():
            event = user_messages.trade_event(trade, account, now_ns=self._clock.stamp_ns())
            self._tell(account, trade.market, event)

    # --- connections ------------------------------------------------------------------------------------------------

    async def serve_market(self, socket: WebSocket) -> None:
        await socket.accept()
        await self.market_hub.serve(MarketClient(socket, self._clock), on_text=self._on_market_text)

    async def serve_user(self, socket: WebSocket) -> None:
        await socket.accept()
        await self.user_hub.serve(UserClient(socket, self._clock), on_text=self._on_user_text)

    def _on_market_text(self, client: MarketClient, text: str) -> None:
        frame = parse_frame(client, text)
        if frame is None:
            return
        tokens = [str(token) for token in frame.get("assets_ids") or frame.get("asset_ids") or []]
        if frame.get("operation") == "unsubscribe":
            client.tokens.difference_update(tokens)
            return
        if "custom_feature_enabled" in frame:
            client.custom = bool(frame["custom_feature_enabled"])
        fresh = [token for token in tokens if token not in client.tokens]
        client.tokens.update(fresh)
        books = [
            messages.book_event(market, market.outcome_of(token), stamp_ms=self._clock.now_ms())
            for token in fresh
            if (market := self._markets.by_token.get(token)) is not None and not market.closed
        ]
        if books:
            client.push_json(books, delay_ms=self.scenario.clob_ws_ms)

    def _on_user_text(self, client: UserClient, text: str) -> None:
        frame = parse_frame(client, text)
        if frame is None:
            return
        markets = {str(market) for market in frame.get("markets") or []}
        if frame.get("operation") == "unsubscribe":
            client.markets.difference_update(markets)
            return
        client.markets.update(markets)
        auth = frame.get("auth")
        if isinstance(auth, dict):
            key = self._keys.check(
                key=str(auth.get("apiKey")), secret=str(auth.get("secret")), passphrase=str(auth.get("passphrase"))
            )
            client.account = self._keys.account_of(key) if key else None
            if client.account is None:
                client.push_json({"error": "Unauthorized/Invalid api key"})

    # --- sending ----------------------------------------------------------------------------------------------------

    def _listeners(self, market: Market) -> bool:
        return any(not client.tokens.isdisjoint(market.tokens) for client in self.market_hub.clients)

    def _send(self, market: Market, message: dict[str, Any], *, token: str | None = None, custom: bool = False) -> None:
        wanted = (token,) if token else market.tokens
        receivers = [client for client in self.market_hub.clients if _wants(client, wanted, custom=custom)]
        if receivers:
            text = encode(message)
            for client in receivers:
                client.push(text, delay_ms=self.scenario.clob_ws_ms)

    def _tell(self, account: Account, market: Market, event: dict[str, Any]) -> None:
        for client in self.user_hub.each():
            if client.account is account and (not client.markets or market.condition_id in client.markets):
                client.push_json(event, delay_ms=self.scenario.clob_ws_ms)


def _wants(client: MarketClient, tokens: Iterable[str], *, custom: bool) -> bool:
    return (client.custom or not custom) and not client.tokens.isdisjoint(tokens)


def parse_frame(client: Connection, text: str) -> dict[str, Any] | None:
    """The JSON object of a frame; answers PING itself. The venue ignores what it cannot read."""
    if text == "PING":
        client.answer("PONG")
        return None
    try:
        frame = orjson.loads(text)
    except orjson.JSONDecodeError:
        client.answer("INVALID OPERATION")
        return None
    return frame if isinstance(frame, dict) else None
