"""Public CLOB lists that clients page through: markets in long and short form, price histories, last trades."""

from __future__ import annotations

import base64
import binascii
from decimal import Decimal
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.sandbox import gamma, messages
from services.sandbox.api_clob import base_fee, batch
from services.sandbox.book import Fill
from services.sandbox.chain import COLLATERAL
from services.sandbox.clock import SECOND_NS
from services.sandbox.fees import taker_fee
from services.sandbox.http import parse_json, query_int, reply_json
from services.sandbox.markets import MIN_ORDER_SHARES, Market
from services.sandbox.money import MICRO, number
from services.sandbox.refusals import INVALID_PAYLOAD, MARKET_NOT_FOUND, Refusal
from services.sandbox.trades import TradeStatus
from services.sandbox.world import World

PAGE = 500
END_CURSOR = "LTE="
NO_ADDRESS = "0x" + "00" * 20
INTERVALS_S = {
    "1m": 30 * 86_400,
    "1w": 7 * 86_400,
    "1d": 86_400,
    "6h": 21_600,
    "1h": 3600,
    "max": 10**10,
    "all": 10**10,
}
FAR_FUTURE_S = 10**12


class Lists:
    """Handlers of the lists."""

    def __init__(self, world: World) -> None:
        self.world = world

    def router(self) -> APIRouter:
        router = APIRouter()
        for path, handler in (
            ("/markets", self.markets),
            ("/sampling-markets", self.open_markets),
            ("/simplified-markets", self.simplified),
            ("/sampling-simplified-markets", self.open_simplified),
            ("/markets/{condition_id}", self.market),
            ("/markets/live-activity/{condition_id}", self.live_activity),
            ("/prices-history", self.prices_history),
            ("/prices", self.all_prices),
            ("/rewards/markets/current", self.no_rewards),
            ("/rewards/markets/{condition_id}", self.no_rewards),
            ("/builder/trades", self.no_rewards),
            ("/fees/builder-fees/{code}", self.builder_fees),
            ("/rebates/current", self.rebates),
        ):
            router.add_api_route(path, handler, methods=["GET"])
        router.add_api_route("/last-trades-prices", self.last_trades, methods=["GET", "POST"])
        router.add_api_route("/batch-prices-history", self.batch_history, methods=["POST"])
        return router

    async def markets(self, request: Request) -> Response:
        return reply_json(self._page(request, [long_row(market) for market in self._all()]))

    async def open_markets(self, request: Request) -> Response:
        return reply_json(self._page(request, [long_row(market) for market in self._all() if market.accepting]))

    async def simplified(self, request: Request) -> Response:
        return reply_json(self._page(request, [short_row(market) for market in self._all()]))

    async def open_simplified(self, request: Request) -> Response:
        return reply_json(self._page(request, [short_row(market) for market in self._all() if market.accepting]))

    async def market(self, condition_id: str) -> Response:
        return reply_json(long_row(self._market(condition_id)))

    async def live_activity(self, condition_id: str) -> Response:
        self._market(condition_id)
        return reply_json([])

    async def all_prices(self) -> Response:
        """Best bid and ask of every open market, by token and side."""
        prices = {}
        for market in self._all():
            if market.accepting:
                for outcome, token in enumerate(market.tokens):
                    bid, ask = messages.tops(market, outcome)
                    prices[token] = {"BUY": bid, "SELL": ask}
        return reply_json(prices)

    async def last_trades(self, request: Request) -> Response:
        """Last trade of each token that has one; others are left out."""
        wanted = (
            [str(entry.get("token_id", "")) for entry in await batch(request)]
            if request.method == "POST"
            else list(self.world.markets.by_token)
        )
        rows = []
        for token in wanted:
            market = self.world.markets.by_token.get(token)
            if market is not None and market.last_price is not None:
                price = messages.last_price(market, market.outcome_of(token))
                rows.append({"token_id": token, "price": price, "side": str(market.last_side)})
        return reply_json(rows)

    async def prices_history(self, request: Request) -> Response:
        """Middles, one a minute. Needs `market` (a token id) and `interval` or both of `startTs` and `endTs`."""
        query = request.query_params
        interval = query.get("interval")
        if interval is None and not (query.get("startTs") and query.get("endTs")):
            raise Refusal("invalid filters: either interval or startTs and endTs are needed")
        start, end = query_int(request, "startTs", 0), query_int(request, "endTs", FAR_FUTURE_S)
        return reply_json(
            {
                "history": self._history(
                    query.get("market", ""),
                    start=max(start, self._since(interval)),
                    end=end,
                    minutes=query_int(request, "fidelity", 1),
                )
            }
        )

    async def batch_history(self, request: Request) -> Response:
        """`{"markets": [token ids], "interval"? or "start_ts" and "end_ts", "fidelity"?}`, at most twenty tokens."""
        given = parse_json(await request.body())
        tokens = given.get("markets") if isinstance(given, dict) else None
        if not isinstance(given, dict) or not isinstance(tokens, list) or len(tokens) > 20:
            raise Refusal(INVALID_PAYLOAD)
        start = max(int(given.get("start_ts") or 0), self._since(given.get("interval")))
        end, minutes = int(given.get("end_ts") or FAR_FUTURE_S), int(given.get("fidelity") or 1)
        rows = {str(token): self._history(str(token), start=start, end=end, minutes=minutes) for token in tokens}
        return reply_json({"history": rows})

    async def no_rewards(self, request: Request) -> Response:
        return reply_json(self._page(request, []))

    async def rebates(self, date: str = "", maker_address: str = "") -> Response:
        """What a maker has earned on a day (UTC): its share of the fees that its fills brought. Never paid out here."""
        account = self.world.accounts.find(maker_address)
        earned: dict[str, Decimal] = {}
        for trade in account.trades if account else ():
            if trade.status is not TradeStatus.FAILED and gamma.iso(trade.matched_ns / SECOND_NS)[:10] == date:
                own = sum(_maker_fee(trade.market, fill) for fill in trade.fills if fill.maker.account is account)
                share = Decimal(own) / MICRO * trade.market.fees.rebate_rate
                earned[trade.market.condition_id] = earned.get(trade.market.condition_id, Decimal(0)) + share
        return reply_json(
            [
                {
                    "date": date,
                    "condition_id": condition,
                    "asset_address": COLLATERAL,
                    "maker_address": maker_address,
                    "rebated_fees_usdc": str(amount),
                }
                for condition, amount in earned.items()
                if amount
            ]
        )

    async def builder_fees(self, code: str) -> Response:  # noqa: ARG002 - a path parameter
        return reply_json({"builder_maker_fee_rate_bps": 0, "builder_taker_fee_rate_bps": 0})

    def _all(self) -> list[Market]:
        return list(self.world.markets.by_slug.values())

    def _market(self, condition_id: str) -> Market:
        market = self.world.markets.by_condition.get(condition_id.lower())
        if market is None:
            raise Refusal(MARKET_NOT_FOUND, status=404)
        return market

    def _since(self, interval: str | None) -> int:
        if interval is None:
            return 0
        if interval not in INTERVALS_S:
            raise Refusal("invalid interval")
        return self.world.clock.now_s() - INTERVALS_S[interval]

    def _history(self, token: str, *, start: int, end: int, minutes: int) -> list[dict[str, float]]:
        market = self.world.markets.by_token.get(token)
        if market is None:
            return []
        outcome = market.outcome_of(token)
        return [
            {"t": second, "p": number(price if outcome == 0 else MICRO - price)}
            for second, price in market.history
            if start <= second <= end and second // 60 % max(1, minutes) == 0
        ]

    def _page(self, request: Request, rows: list[dict[str, Any]]) -> dict[str, Any]:
        cursor = request.query_params.get("next_cursor") or "MA=="
        try:
            start = int(base64.b64decode(cursor, validate=True))
        except (binascii.Error, ValueError) as error:
            raise Refusal("invalid next_cursor") from error
        chunk = [] if start < 0 else rows[start : start + PAGE]
        more = start >= 0 and start + PAGE < len(rows)
        following = base64.b64encode(str(start + PAGE).encode()).decode() if more else END_CURSOR
        return {"limit": PAGE, "count": len(chunk), "next_cursor": following, "data": chunk}


def _maker_fee(market: Market, fill: Fill) -> int:
    """The fee that a taker pays for this fill alone."""
    return taker_fee(shares=fill.shares, value=fill.value, schedule=market.fees)


def short_row(market: Market) -> dict[str, Any]:
    return {
        "condition_id": market.condition_id,
        "rewards": {"rates": None, "min_size": 50, "max_spread": 4.5},
        "tokens": tokens(market),
        "active": True,
        "closed": market.closed,
        "archived": False,
        "accepting_orders": market.accepting,
    }


def tokens(market: Market) -> list[dict[str, Any]]:
    return [
        {
            "token_id": token,
            "outcome": market.labels[outcome],
            "price": number(market.outcome_price(outcome)),
            "winner": market.closed and market.winner == outcome,
        }
        for outcome, token in enumerate(market.tokens)
    ]


def long_row(market: Market) -> dict[str, Any]:
    """One row of GET /markets, as the CLOB has listed markets since its first version."""
    terms = market.terms
    return {
        "enable_order_book": True,
        "active": True,
        "closed": market.closed,
        "archived": False,
        "accepting_orders": market.accepting,
        "accepting_order_timestamp": gamma.iso(market.created_ns / SECOND_NS),
        "minimum_order_size": MIN_ORDER_SHARES // MICRO,
        "minimum_tick_size": number(market.tick),
        "condition_id": market.condition_id,
        "question_id": "0x" + market.condition_id[:1:-1],
        "question": terms.question,
        "description": terms.description,
        "market_slug": market.slug,
        "end_date_iso": gamma.iso(market.end),
        "game_start_time": gamma.iso(terms.start) if terms.game else None,
        "seconds_delay": terms.seconds_delay,
        "fpmm": "",
        "maker_base_fee": base_fee(market),
        "taker_base_fee": base_fee(market),
        "notifications_enabled": True,
        "neg_risk": market.neg_risk,
        "neg_risk_market_id": terms.neg_risk_id if market.neg_risk else "",
        "neg_risk_request_id": gamma.neg_risk_request(terms) if market.neg_risk else "",
        "icon": "",
        "image": "",
        "rewards": {"rates": None, "min_size": 50, "max_spread": 4.5},
        "is_50_50_outcome": market.even,
        "tokens": tokens(market),
        "tags": list(terms.tags),
    }
