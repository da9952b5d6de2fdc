"""Gamma endpoints: discovery of markets, events, series and tags, and search (venue.md 5.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.sandbox import gamma
from services.sandbox.http import query_list, reply_json
from services.sandbox.markets import Market
from services.sandbox.refusals import Refusal
from services.sandbox.terms import Series
from services.sandbox.world import World

LIMIT_DEFAULT = 20
LIMIT_MAX = 500
KEYSET_MAX = 100
# The plain lists refuse to page deeper; the keyset lists do not.
OFFSET_MAX = 2000
SEARCH_LIMIT = 5
Item = TypeVar("Item")
ORDERS: dict[str, Callable[[Market], float]] = {
    "startDate": lambda market: market.created_ns,
    "endDate": lambda market: market.end,
    "volume": lambda market: market.volume,
    "volumeNum": lambda market: market.volume,
    "volume24hr": lambda market: market.volume,
    "liquidity": lambda market: len(market.book.orders),
    "id": lambda market: market.number,
}


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
            ("/markets/{number}/tags", self.market_tags),
            ("/events", self.events),
            ("/events/keyset", self.events_keyset),
            ("/events/slug/{slug}", self.event_by_slug),
            ("/events/{number}", self.event_by_number),
            ("/series", self.series),
            ("/series/{number}", self.series_by_number),
            ("/tags", self.tags),
            ("/public-search", self.search),
        ):
            router.add_api_route(path, handler, methods=["GET"])
        return router

    async def market_by_slug(self, slug: str) -> Response:
        return reply_json(self._market(found(self.world.markets.by_slug.get(slug))))

    async def market_by_number(self, number: str) -> Response:
        return reply_json(self._market(found(self.world.markets.by_number.get(number))))

    async def market_tags(self, number: str) -> Response:
        market = found(self.world.markets.by_number.get(number))
        return reply_json([gamma.tag_object(tag) for tag in market.terms.tags])

    async def event_by_slug(self, slug: str) -> Response:
        return reply_json(gamma.event_object(found(self.world.markets.by_event.get(slug))))

    async def event_by_number(self, number: str) -> Response:
        market = found(self.world.markets.by_number.get(str(_int(number, 0) - gamma.EVENT_OFFSET)))
        return reply_json(gamma.event_object(self._siblings(market)))

    async def markets(self, request: Request) -> Response:
        chosen, _ = _page(request, self._matching(request), cursor_name="offset", limit_max=LIMIT_MAX)
        return reply_json([self._market(market) for market in chosen])

    async def events(self, request: Request) -> Response:
        chosen, _ = _page(request, self._events(request), cursor_name="offset", limit_max=LIMIT_MAX)
        return reply_json([gamma.event_object(markets) for markets in chosen])

    async def markets_keyset(self, request: Request) -> Response:
        chosen, cursor = _page(request, self._matching(request), cursor_name="after_cursor", limit_max=KEYSET_MAX)
        body: dict[str, object] = {"markets": [self._market(market) for market in chosen]}
        return reply_json(body | ({"next_cursor": cursor} if cursor else {}))

    async def events_keyset(self, request: Request) -> Response:
        chosen, cursor = _page(request, self._events(request), cursor_name="after_cursor", limit_max=KEYSET_MAX)
        body: dict[str, object] = {"events": [gamma.event_object(markets) for markets in chosen]}
        return reply_json(body | ({"next_cursor": cursor} if cursor else {}))

    async def series(self, request: Request) -> Response:
        slugs = query_list(request, "slug")
        rows = [gamma.series_object(each) for each in self._all_series() if not slugs or each.slug in slugs]
        start = _int(request.query_params.get("offset"), 0)
        return reply_json(rows[start : start + _int(request.query_params.get("limit"), LIMIT_MAX)])

    async def series_by_number(self, number: str) -> Response:
        for each in self._all_series():
            row = gamma.series_object(each)
            if row["id"] == number:
                events = [self.world.markets.by_event[slug] for slug in self._events_of(each)]
                return reply_json(row | {"events": [gamma.event_header(markets) for markets in events]})
        raise Refusal("not found", status=404)

    async def tags(self, request: Request) -> Response:
        names = sorted({tag for market in self.world.markets.live() for tag in market.terms.tags})
        start = _int(request.query_params.get("offset"), 0)
        limit = _int(request.query_params.get("limit"), LIMIT_MAX)
        return reply_json([gamma.tag_object(name) for name in names[start : start + limit]])

    async def search(self, request: Request) -> Response:
        """Events whose title holds every word of `q`; closed ones only when asked for."""
        query = request.query_params
        words = query.get("q", "").lower().split()
        if not words:
            raise Refusal("invalid q")
        closed = query.get("keep_closed_markets", "0") in ("1", "true")
        hits = [
            markets
            for markets in self.world.markets.by_event.values()
            if (closed or not all(market.closed for market in markets))
            and all(word in f"{markets[0].terms.event_title} {markets[0].terms.event_slug}".lower() for word in words)
        ]
        limit = max(1, _int(query.get("limit_per_type"), SEARCH_LIMIT))
        start = (max(1, _int(query.get("page"), 1)) - 1) * limit
        return reply_json(
            {
                "events": [gamma.event_object(markets) for markets in hits[start : start + limit]],
                "tags": [],
                "profiles": [],
                "pagination": {"hasMore": start + limit < len(hits), "totalResults": len(hits)},
            }
        )

    def _market(self, market: Market) -> dict[str, Any]:
        return gamma.market_object(market, self._siblings(market))

    def _siblings(self, market: Market) -> list[Market]:
        return self.world.markets.by_event[market.terms.event_slug]

    def _all_series(self) -> list[Series]:
        found_series = [family.series for family in self.world.markets.families]
        return list(dict.fromkeys(each for each in found_series if each is not None))

    def _events_of(self, series: Series) -> list[str]:
        return [slug for slug, markets in self.world.markets.by_event.items() if markets[0].terms.series == series]

    def _matching(self, request: Request) -> list[Market]:
        return _sorted(request, [market for market in self._candidates(request) if _fits(request, market)])

    def _candidates(self, request: Request) -> Iterator[Market]:
        """Without closed=true the venue hides closed markets, even when they are named."""
        closed = request.query_params.get("closed", "false").lower() == "true"
        slugs = query_list(request, "slug")
        numbers = query_list(request, "id")
        for market in self.world.markets.by_slug.values():
            named = (not slugs or market.slug in slugs) and (not numbers or str(market.number) in numbers)
            if market.closed is closed and named:
                yield market

    def _events(self, request: Request) -> list[list[Market]]:
        closed = request.query_params.get("closed", "false").lower() == "true"
        slugs, numbers = query_list(request, "slug"), query_list(request, "id")
        chosen = []
        for markets in self.world.markets.by_event.values():
            first = markets[0]
            named = (not slugs or first.terms.event_slug in slugs) and (
                not numbers or str(gamma.event_number(first)) in numbers
            )
            if named and all(market.closed for market in markets) is closed and _fits(request, first):
                chosen.append(markets)
        return [self._siblings(market) for market in _sorted(request, [markets[0] for markets in chosen])]


def _fits(request: Request, market: Market) -> bool:
    tokens, conditions = query_list(request, "clob_token_ids"), query_list(request, "condition_ids")
    series = query_list(request, "series_id") + query_list(request, "series_slug")
    own = market.terms.series
    described = gamma.series_object(own) if own is not None else {"id": "", "slug": ""}
    tags = [gamma.tag_object(tag) for tag in market.terms.tags]
    tag_ids, tag_slugs = query_list(request, "tag_id"), query_list(request, "tag_slug")
    return (
        (not tokens or not set(tokens).isdisjoint(market.tokens))
        and (not conditions or market.condition_id in conditions)
        and (not series or described["id"] in series or described["slug"] in series)
        and (not tag_ids or any(tag["id"] in tag_ids for tag in tags))
        and (not tag_slugs or any(tag["slug"] in tag_slugs for tag in tags))
        and _in_span(request, "end_date", market.end)
        and _in_span(request, "start_date", market.created_ns / 1e9)
    )


def _in_span(request: Request, name: str, second: float) -> bool:
    """Between `<name>_min` and `<name>_max` where they are given; ISO text compares like time."""
    low, high = request.query_params.get(f"{name}_min"), request.query_params.get(f"{name}_max")
    text = gamma.iso(second)
    return (not low or text[: len(low)] >= low.rstrip("Z")) and (not high or text[: len(high)] <= high)


def _sorted(request: Request, markets: list[Market]) -> list[Market]:
    """In order of start unless another order is asked for."""
    wanted = ORDERS.get(request.query_params.get("order", ""))
    markets.sort(key=lambda market: (wanted(market) if wanted else market.start, market.slug))
    if request.query_params.get("ascending") == "false":
        markets.reverse()
    return markets


def _page(
    request: Request, rows: Sequence[Item], *, cursor_name: str, limit_max: int
) -> tuple[Sequence[Item], str | None]:
    """One page, and the cursor of the next or None. Raises Refusal 422 for an offset that is too deep."""
    start = _int(request.query_params.get(cursor_name), 0)
    if cursor_name == "offset" and start > OFFSET_MAX:
        raise Refusal("offset too large, use keyset pagination", status=422)
    limit = min(_int(request.query_params.get("limit"), LIMIT_DEFAULT), limit_max)
    following = start + limit
    return rows[start:following], str(following) if following < len(rows) else None


def found(item: Item | None) -> Item:
    if item is None:
        raise Refusal("not found", status=404)
    return item


def _int(value: str | None, default: int) -> int:
    return int(value) if value and value.isdecimal() else default
