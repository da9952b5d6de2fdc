"""Gamma endpoints: discovery of markets, events and series (venue.md 5.1)."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.sandbox import gamma
from services.sandbox.http import query_list, reply_json
from services.sandbox.markets import FAMILIES, Market
from services.sandbox.refusals import Refusal
from services.sandbox.world import World

LIMIT_DEFAULT = 20
LIMIT_MAX = 500


class Gamma:
    """Handlers of the discovery API."""

    def __init__(self, world: World) -> None:
        self.world = world

    def router(self) -> APIRouter:
        router = APIRouter(prefix="/gamma")
        for path, handler in (
            ("/markets", self.markets),
            ("/markets/keyset", self.markets_keyset),
            ("/markets/slug/{slug}", self.market_by_slug),
            ("/markets/{number}", self.market_by_number),
            ("/events", self.events),
            ("/events/keyset", self.events_keyset),
            ("/events/slug/{slug}", self.event_by_slug),
            ("/events/{number}", self.event_by_number),
            ("/series", self.series),
        ):
            router.add_api_route(path, handler, methods=["GET"])
        return router

    async def market_by_slug(self, slug: str) -> Response:
        return reply_json(gamma.market_object(found(self.world.markets.by_slug.get(slug))))

    async def market_by_number(self, number: str) -> Response:
        return reply_json(gamma.market_object(found(self.world.markets.by_number.get(number))))

    async def event_by_slug(self, slug: str) -> Response:
        return reply_json(gamma.event_object(found(self.world.markets.by_slug.get(slug))))

    async def event_by_number(self, number: str) -> Response:
        market = self.world.markets.by_number.get(str(_int(number, 0) - gamma.EVENT_OFFSET))
        return reply_json(gamma.event_object(found(market)))

    async def markets(self, request: Request) -> Response:
        chosen, _ = self._page(request, cursor_name="offset")
        return reply_json([gamma.market_object(market) for market in chosen])

    async def events(self, request: Request) -> Response:
        chosen, _ = self._page(request, cursor_name="offset")
        return reply_json([gamma.event_object(market) for market in chosen])

    async def markets_keyset(self, request: Request) -> Response:
        chosen, cursor = self._page(request, cursor_name="after_cursor")
        body: dict[str, object] = {"markets": [gamma.market_object(market) for market in chosen]}
        return reply_json(body | ({"next_cursor": cursor} if cursor else {}))

    async def events_keyset(self, request: Request) -> Response:
        chosen, cursor = self._page(request, cursor_name="after_cursor")
        body: dict[str, object] = {"events": [gamma.event_object(market) for market in chosen]}
        return reply_json(body | ({"next_cursor": cursor} if cursor else {}))

    async def series(self, request: Request) -> Response:
        slugs = query_list(request, "slug")
        families = [family for family in FAMILIES if not slugs or family.series_slug in slugs]
        return reply_json([gamma.series_object(family) for family in families])

    def _page(self, request: Request, *, cursor_name: str) -> tuple[list[Market], str | None]:
        """Matching markets in order of start, and the cursor of the next page or None."""
        chosen = sorted(self._matching(request), key=lambda market: (market.start, market.slug))
        if request.query_params.get("ascending") == "false":
            chosen.reverse()
        start = _int(request.query_params.get(cursor_name), 0)
        limit = min(_int(request.query_params.get("limit"), LIMIT_DEFAULT), LIMIT_MAX)
        following = start + limit
        return chosen[start:following], str(following) if following < len(chosen) else None

    def _matching(self, request: Request) -> Iterator[Market]:
        slugs, numbers = query_list(request, "slug"), query_list(request, "id")
        tokens, conditions = query_list(request, "clob_token_ids"), query_list(request, "condition_ids")
        series = query_list(request, "series_id") + query_list(request, "series_slug")
        closed = request.query_params.get("closed", "false").lower() == "true"
        for market in self.world.markets.by_slug.values():
            # Without closed=true the venue hides closed markets, even when they are named.
            if market.closed is not closed:
                continue
            described = gamma.series_object(market.family)
            if (
                (not slugs or market.slug in slugs)
                and (not numbers or str(market.number) in numbers)
                and (not tokens or not set(tokens).isdisjoint(market.tokens))
                and (not conditions or market.condition_id in conditions)
                and (not series or described["id"] in series or described["slug"] in series)
            ):
                yield market


def found(market: Market | None) -> Market:
    if market is None:
        raise Refusal("not found", status=404)
    return market


def _int(value: str | None, default: int) -> int:
    return int(value) if value and value.isdecimal() else default
