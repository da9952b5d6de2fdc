"""Public CLOB endpoints: books, prices, market metadata, time (venue.md 6.4)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from services.sandbox import messages
from services.sandbox.clock import MS_NS
from services.sandbox.gateway import taker_delay_ms
from services.sandbox.http import parse_json, reply_json
from services.sandbox.markets import Market
from services.sandbox.money import MICRO, number, text
from services.sandbox.refusals import MARKET_NOT_FOUND, NO_ORDERBOOK, Refusal
from services.sandbox.world import World

BASE_FEE_BPS = 1000
BATCH_MAX = 500
INVALID_BATCH, TOO_MANY = "Invalid payload", "Payload exceeds the limit"


class PublicClob:
    """Handlers over the live books."""

    def __init__(self, world: World) -> None:
        self.world = world

    def router(self) -> APIRouter:
        router = APIRouter()
        for path, handler in (
            ("/time", self.time),
            ("/ok", self.ok),
            ("/", self.ok),
            ("/version", self.version),
            ("/book", self.book),
            ("/price", self.price),
            ("/midpoint", self.midpoint),
            ("/spread", self.spread),
            ("/last-trade-price", self.last_trade_price),
            ("/tick-size", self.tick_size),
            ("/neg-risk", self.neg_risk),
            ("/fee-rate", self.fee_rate),
            ("/markets-by-token/{token_id}", self.market_by_token),
            ("/clob-markets/{condition_id}", self.clob_market),
        ):
            router.add_api_route(path, handler, methods=["GET"])
        for path, batch in (
            ("/books", self.books),
            ("/prices", self.prices),
            ("/midpoints", self.midpoints),
            ("/spreads", self.spreads),
        ):
            router.add_api_route(path, batch, methods=["POST"])
        return router

    async def time(self) -> Response:
        return reply_json(self.world.clock.now_s())

    async def ok(self) -> Response:
        return PlainTextResponse('"OK"', media_type="application/json")

    async def version(self) -> Response:
        return reply_json({"version": 2})

    async def book(self, token_id: str = "") -> Response:
        return reply_json(self._summary(token_id))

    async def books(self, request: Request) -> Response:
        wanted = [str(entry.get("token_id", "")) for entry in await batch(request)]
        known = [token for token in wanted if self._open(token)]
        return reply_json([self._summary(token) for token in known])

    async def price(self, token_id: str = "", side: str = "") -> Response:
        """BUY answers the best bid, SELL the best ask."""
        if side.upper() not in ("BUY", "SELL"):
            raise Refusal("Invalid side")
        bid, ask = self._tops(token_id)
        value = bid if side.upper() == "BUY" else ask
        return reply_json({"price": text(value or 0)})

    async def prices(self, request: Request) -> Response:
        out: dict[str, dict[str, str]] = {}
        for entry in await batch(request):
            token = str(entry.get("token_id", ""))
            if self._open(token):
                bid, ask = self._tops(token)
                side = str(entry.get("side", "BUY")).upper()
                out.setdefault(token, {})[side] = text((bid if side == "BUY" else ask) or 0)
        return reply_json(out)

    async def midpoint(self, token_id: str = "") -> Response:
        return reply_json({"mid": text(self._middle(token_id))})

    async def midpoints(self, request: Request) -> Response:
        tokens = [str(entry.get("token_id", "")) for entry in await batch(request)]
        return reply_json({token: text(self._middle(token)) for token in tokens if self._open(token)})

    async def spread(self, token_id: str = "") -> Response:
        return reply_json({"spread": text(self._spread(token_id))})

    async def spreads(self, request: Request) -> Response:
        tokens = [str(entry.get("token_id", "")) for entry in await batch(request)]
        return reply_json({token: text(self._spread(token)) for token in tokens if self._open(token)})

    async def last_trade_price(self, token_id: str = "") -> Response:
        market = self._market(token_id)
        price = messages.last_price(market, market.outcome_of(token_id))
        return reply_json({"price": price or "0.5", "side": str(market.last_side) if price else ""})

    async def tick_size(self, token_id: str = "") -> Response:
        return reply_json({"minimum_tick_size": number(self._market(token_id).tick)})

    async def neg_risk(self, token_id: str = "") -> Response:
        return reply_json({"neg_risk": self._market(token_id).neg_risk})

    async def fee_rate(self, token_id: str = "") -> Response:
        """The trap of venue.md 4.3: the on-chain cap of every paying market, not its fee."""
        return reply_json({"base_fee": base_fee(self._market(token_id))})

    async def market_by_token(self, token_id: str) -> Response:
        market = self.world.markets.by_token.get(token_id)
        if market is None:
            raise Refusal(MARKET_NOT_FOUND, status=404)
        return reply_json(
            {
                "condition_id": market.condition_id,
                "primary_token_id": market.tokens[0],
                "secondary_token_id": market.tokens[1],
            }
        )

    async def clob_market(self, condition_id: str) -> Response:
        market = self.world.markets.by_condition.get(condition_id.lower())
        if market is None:
            raise Refusal(MARKET_NOT_FOUND, status=404)
        return reply_json(clob_market(market, held=taker_delay_ms(market, self.world.scenario) > 0))

    def _open(self, token_id: str) -> bool:
        market = self.world.markets.by_token.get(token_id)
        return market is not None and market.accepting

    def _market(self, token_id: str) -> Market:
        if not token_id.isdecimal():
            raise Refusal("Invalid token id")
        market = self.world.markets.by_token.get(token_id)
        if market is None or not market.accepting:
            raise Refusal(NO_ORDERBOOK, status=404)
        return market

    def _summary(self, token_id: str) -> dict[str, Any]:
        market = self._market(token_id)
        stamp_ms = ((market.changed_ns or market.created_ns) + self.world.clock.skew_ns) // MS_NS
        return messages.book_summary(market, market.outcome_of(token_id), stamp_ms=stamp_ms)

    def _tops(self, token_id: str) -> tuple[int | None, int | None]:
        market = self._market(token_id)
        return market.best(market.outcome_of(token_id))

    def _middle(self, token_id: str) -> int:
        bid, ask = self._tops(token_id)
        return ((bid or 0) + (MICRO if ask is None else ask)) // 2

    def _spread(self, token_id: str) -> int:
        bid, ask = self._tops(token_id)
        return (MICRO if ask is None else ask) - (bid or 0)


async def batch(request: Request) -> list[dict[str, Any]]:
    """Up to 500 entries `{token_id, side?}`. Raises Refusal 400 for anything else."""
    try:
        entries = parse_json(await request.body())
    except Refusal as error:
        raise Refusal(INVALID_BATCH) from error
    if not isinstance(entries, list):
        raise Refusal(INVALID_BATCH)
    if len(entries) > BATCH_MAX:
        raise Refusal(TOO_MANY)
    return [entry for entry in entries if isinstance(entry, dict)]


def base_fee(market: Market) -> int:
    return BASE_FEE_BPS if market.fees.rate else 0


def clob_market(market: Market, *, held: bool) -> dict[str, Any]:
    """Short-keyed metadata: labelled tokens, tick, minimum, fee schedule, taker delay (venue.md 3.8, 4.3)."""
    return {
        "c": market.condition_id,
        "t": [{"t": token, "o": label} for token, label in zip(market.tokens, market.labels, strict=True)],
        "mts": number(market.tick),
        "mos": number(market.min_size),
        "nr": market.neg_risk,
        "mbf": base_fee(market),
        "tbf": base_fee(market),
        "fd": {"r": float(market.fees.rate), "e": market.fees.exponent, "to": True},
        "itode": held,
        "sd": market.terms.seconds_delay,
        "oas": 0,
        "ao": market.accepting,
        "cbos": market.terms.game,
    }
