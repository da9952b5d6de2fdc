"""What is not the CLOB: spot REST and the web site's two calls."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from services.sandbox.clock import MS_NS, SECOND_NS
from services.sandbox.http import reply_json
from services.sandbox.prices import ASSETS, Oracle
from services.sandbox.refusals import Refusal
from services.sandbox.spot import KLINES_DEFAULT
from services.sandbox.terms import MINUTE_S
from services.sandbox.world import World

PRICE_VARIANTS = {"fiveminute": 300, "fifteen": 900, "fourhour": 14_400, "hourly": 3600, "daily": 86_400}


class Outside:
    """Handlers of the neighbours of the venue."""

    def __init__(self, world: World) -> None:
        self.world = world

    def router(self) -> APIRouter:
        router = APIRouter()
        for method, path, handler in (
            ("GET", "/spot/api/v3/klines", self.klines),
            ("GET", "/spot/api/v3/time", self.spot_time),
            ("GET", "/spot/api/v3/ping", self.spot_ping),
            ("GET", "/web/api/geoblock", self.geoblock),
            ("GET", "/web/api/crypto/crypto-price", self.crypto_price),
        ):
            router.add_api_route(path, handler, methods=[method])
        return router

    async def klines(
        self,
        symbol: str = "",
        interval: str = "",
        start_ms: Annotated[int | None, Query(alias="startTime")] = None,
        limit: int = KLINES_DEFAULT,
    ) -> Response:
        return reply_json(self.world.spot.klines(ticker=symbol, interval=interval, start_ms=start_ms, limit=limit))

    async def spot_time(self) -> Response:
        return reply_json({"serverTime": self.world.clock.now_ns() // MS_NS})

    async def spot_ping(self) -> Response:
        return reply_json({})

    async def geoblock(self) -> Response:
        return reply_json({"blocked": False, "ip": "127.0.0.1", "country": "IE", "region": "L"})

    async def crypto_price(self, request: Request) -> Response:
        """Opening and closing price of a window. Without the TWAP parameters the answer is the single tick: a trap."""
        query = request.query_params
        code = query.get("symbol", "").lower()
        if code not in ASSETS:
            raise Refusal("invalid symbol")
        start = _epoch(query.get("eventStartTime", ""))
        end = (
            _epoch(query["endDate"])
            if "endDate" in query
            else start + PRICE_VARIANTS.get(query.get("variant", ""), 300)
        )
        variant, now_s = query.get("variant", ""), self.world.clock.now_s()
        twap = query.get("twapEnabled") == "true" and query.get("twapLookbackSeconds") == "60"
        # The page knows the opening price about two seconds after the start.
        known = start > self.world.paths[code].origin_ns // SECOND_NS + Oracle.WINDOW_S
        opened, ended = (
            known and now_s >= start + 2,
            known and now_s >= end + 2 + (MINUTE_S if variant == "daily" else 0),
        )
        return reply_json(
            {
                "openPrice": self._price(code, start, variant, twap=twap, opening=True) if opened else None,
                "closePrice": self._price(code, end, variant, twap=twap, opening=False) if ended else None,
                "timestamp": self.world.clock.now_ms(),
                "completed": ended,
                "incomplete": not ended,
                "cached": False,
            }
        )

    def _price(self, code: str, second: int, variant: str, *, twap: bool, opening: bool) -> float:
        """Of the oracle, or for hourly and daily markets of the exchange's candle."""
        path, oracle = self.world.paths[code], self.world.oracles[code]
        if variant == "daily":
            return round(path.at((second + MINUTE_S) * SECOND_NS - 1), 2)
        if variant == "hourly":
            return round(path.at(second * SECOND_NS - (0 if opening else 1)), 2)
        return oracle.twap(second) if twap else oracle.tick(second)


def _epoch(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except ValueError as error:
        raise Refusal("invalid date") from error
