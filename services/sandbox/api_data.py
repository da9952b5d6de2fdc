"""Data API v1 (lists, camelCase) and v2 (envelopes with cursors, snake_case), venue.md 7."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.sandbox.accounts import Account, Activity, Holding
from services.sandbox.clock import SECOND_NS
from services.sandbox.gamma import event_number, iso
from services.sandbox.http import query_int, query_list, reply_json
from services.sandbox.markets import Market
from services.sandbox.money import MICRO, number
from services.sandbox.refusals import Refusal
from services.sandbox.world import World

Row = dict[str, Any]
PAGE_V1 = 100
PAGE_V2 = 1000
SORT_KEYS = {
    "CURRENT": "currentValue",
    "INITIAL": "initialValue",
    "TOKENS": "size",
    "CASHPNL": "cashPnl",
    "PERCENTPNL": "percentPnl",
    "TITLE": "title",
    "PRICE": "curPrice",
}


class Data:
    """Handlers of the wallet's history and holdings. Wallets are public: no credentials are asked for."""

    def __init__(self, world: World) -> None:
        self.world = world

    def router(self) -> APIRouter:
        router = APIRouter(prefix="/data-api")
        for path, handler in (
            ("/positions", self.positions_v1),
            ("/trades", self.trades_v1),
            ("/activity", self.activity_v1),
            ("/value", self.value_v1),
            ("/v2/positions", self.positions_v2),
            ("/v2/trades", self.trades_v2),
            ("/v2/activity", self.activity_v2),
            ("/v2/value", self.value_v2),
        ):
            router.add_api_route(path, handler, methods=["GET"])
        return router

    async def positions_v1(self, request: Request) -> Response:
        account, wanted = self._account(request), query_list(request, "market")
        rows = [
            position_v1(account, market, outcome, held)
            for market, outcome, held in self._holdings(account)
            if held.shares and (not wanted or market.condition_id in wanted)
        ]
        if request.query_params.get("redeemable") == "true":
            rows = [row for row in rows if row["redeemable"]]
        if request.query_params.get("mergeable") == "true":
            rows = [row for row in rows if row["mergeable"]]
        events = query_list(request, "eventId")
        rows = [row for row in rows if not events or row["eventId"] in events]
        key = SORT_KEYS.get(request.query_params.get("sortBy", ""))
        if key is not None:
            rows.sort(key=lambda row: str(row[key]) if key == "title" else row[key])
            if request.query_params.get("sortDirection", "DESC") == "DESC":
                rows.reverse()
        threshold = size_threshold(request)
        return reply_json(slice_v1(request, [row for row in rows if row["size"] >= threshold]))

    async def trades_v1(self, request: Request) -> Response:
        return reply_json(slice_v1(request, self._lines(request, trade_v1, kinds=("TRADE",))))

    async def activity_v1(self, request: Request) -> Response:
        kinds = tuple(query_list(request, "type"))
        return reply_json(slice_v1(request, self._lines(request, activity_v1, kinds=kinds)))

    async def value_v1(self, request: Request) -> Response:
        account = self._account(request)
        return reply_json([{"user": account.wallet, "value": number(self._value(account))}])

    async def positions_v2(self, request: Request) -> Response:
        account, wanted = self._account(request), query_list(request, "condition_id")
        status = request.query_params.get("status")
        rows = [
            position_v2(account, market, outcome, held)
            for market, outcome, held in self._holdings(account)
            if not wanted or market.condition_id in wanted
        ]
        rows = [row for row in rows if (row["status"] == status if status else row["status"] != "CLOSED")]
        return reply_json(page_v2(request, rows))

    async def trades_v2(self, request: Request) -> Response:
        return reply_json(page_v2(request, self._lines(request, trade_v2, kinds=("TRADE",))))

    async def activity_v2(self, request: Request) -> Response:
        kinds = tuple(query_list(request, "type"))
        return reply_json(page_v2(request, self._lines(request, activity_v2, kinds=kinds)))

    async def value_v2(self, request: Request) -> Response:
        account = self._account(request)
        return reply_json({"data": {"proxy_wallet": account.wallet, "value": number(self._value(account))}})

    def _account(self, request: Request) -> Account:
        """The account of `user`; an unknown wallet has an empty history, as on the venue."""
        user = request.query_params.get("user", "")
        if not user:
            raise Refusal("required query param 'user' not provided")
        return self.world.accounts.find(user) or Account(address=user, wallet=user, signature_type=3)

    def _holdings(self, account: Account) -> list[tuple[Market, int, Holding]]:
        found = []
        for token, held in account.holdings.items():
            market = self.world.markets.by_token.get(token)
            if market is not None:
                found.append((market, market.outcome_of(token), held))
        return found

    def _value(self, account: Account) -> int:
        return sum(
            held.shares * market.outcome_price(outcome) // MICRO for market, outcome, held in self._holdings(account)
        )

    def _lines(
        self, request: Request, shape: Callable[[Account, Activity, Market | None], Row], *, kinds: tuple[str, ...]
    ) -> list[Row]:
        """History of the wallet, newest first, in the given shape."""
        account = self._account(request)
        query = request.query_params
        wanted = query_list(request, "market") + query_list(request, "condition_id")
        side = query.get("side")
        start, end = query_int(request, "start", 0), query_int(request, "end", 10**12)
        rows = []
        for line in reversed(account.activity):
            fits = (
                (not kinds or line.kind in kinds)
                and (not wanted or line.condition_id in wanted)
                and (not side or line.side == side)
                and start <= line.at_ns // SECOND_NS <= end
            )
            if fits:
                rows.append(shape(account, line, self.world.markets.by_condition.get(line.condition_id)))
        return rows


def size_threshold(request: Request) -> float:
    """v1 hides positions below one share unless told otherwise."""
    try:
        return float(request.query_params.get("sizeThreshold", "1"))
    except ValueError as error:
        raise Refusal("invalid sizeThreshold") from error


def status_of(market: Market, held: Holding) -> str:
    if held.shares == 0:
        return "CLOSED"
    return "REDEEMABLE" if market.closed else "OPEN"


def _average(held: Holding) -> float:
    return held.cost / held.shares if held.shares else 0.0


def position_v1(account: Account, market: Market, outcome: int, held: Holding) -> Row:
    price = market.outcome_price(outcome)
    value = held.shares * price // MICRO
    return {
        "proxyWallet": account.wallet,
        "asset": market.tokens[outcome],
        "conditionId": market.condition_id,
        "size": number(held.shares),
        "avgPrice": round(_average(held), 6),
        "initialValue": number(held.cost),
        "grossInitialValue": number(held.cost + held.fees),
        "entryFeesUsdc": number(held.fees),
        "currentValue": number(value),
        "cashPnl": number(value - held.cost),
        "percentPnl": round(100 * (value - held.cost) / held.cost, 4) if held.cost else 0,
        "totalBought": number(held.bought),
        "realizedPnl": number(held.realized),
        "percentRealizedPnl": 0,
        "curPrice": number(price),
        "redeemable": market.closed,
        "mergeable": all(account.shares(token) for token in market.tokens),
        "title": market.terms.question,
        "slug": market.slug,
        "icon": "",
        "eventId": str(event_number(market)),
        "eventSlug": market.terms.event_slug,
        "outcome": market.labels[outcome],
        "outcomeIndex": outcome,
        "oppositeOutcome": market.labels[1 - outcome],
        "oppositeAsset": market.tokens[1 - outcome],
        "endDate": iso(market.end)[:10],
        "negativeRisk": market.neg_risk,
    }


def position_v2(account: Account, market: Market, outcome: int, held: Holding) -> Row:
    price = market.outcome_price(outcome)
    value = held.shares * price // MICRO
    unrealized = value - held.cost
    return {
        "proxy_wallet": account.wallet,
        "token_id": market.tokens[outcome],
        "condition_id": market.condition_id,
        "current_size": number(held.shares),
        "avg_price": round(_average(held), 6),
        "entry_cost_usdc": number(held.cost),
        "entry_fees_usdc": number(held.fees),
        "total_cost_usdc": number(held.cost + held.fees),
        "current_price": number(price),
        "current_value": number(value),
        "total_size": number(held.bought),
        "realized_pnl": number(held.realized),
        "unrealized_pnl": number(unrealized),
        "total_pnl": number(held.realized + unrealized),
        "percent_pnl": round(100 * unrealized / held.cost, 4) if held.cost else 0,
        "percent_realized_pnl": 0,
        "status": status_of(market, held),
        "redeemable": market.closed and held.shares > 0,
        "mergeable": all(account.shares(token) for token in market.tokens),
        "negative_risk": market.neg_risk,
        "archived": False,
        "verified": False,
        "title": market.terms.question,
        "slug": market.slug,
        "event_slug": market.terms.event_slug,
        "event_id": event_number(market),
        "outcome": market.labels[outcome],
        "outcome_index": outcome,
        "opposite_outcome": market.labels[1 - outcome],
        "opposite_token_id": market.tokens[1 - outcome],
        "end_date": iso(market.end)[:10],
        "last_event_at": held.last_ns // SECOND_NS,
        "first_entry_at": held.first_ns // SECOND_NS,
    }


def _common(line: Activity, market: Market | None) -> tuple[str, int, str]:
    """(outcome label, outcome index, slug) of a line; 999 where it concerns no outcome."""
    if market is None or line.token_id not in market.tokens:
        return "", 999, market.slug if market else ""
    outcome = market.outcome_of(line.token_id)
    return market.labels[outcome], outcome, market.slug


def trade_v1(account: Account, line: Activity, market: Market | None) -> Row:
    outcome, index, slug = _common(line, market)
    return {
        "proxyWallet": account.wallet,
        "side": line.side,
        "asset": line.token_id,
        "conditionId": line.condition_id,
        "size": number(line.shares),
        "price": float(line.price),
        "timestamp": line.at_ns // SECOND_NS,
        "title": market.terms.question if market else "",
        "slug": slug,
        "icon": "",
        "eventSlug": market.terms.event_slug if market else "",
        "outcome": outcome,
        "outcomeIndex": index,
        "name": "",
        "pseudonym": "",
        "bio": "",
        "profileImage": "",
        "profileImageOptimized": "",
        "transactionHash": line.transaction,
    }


def activity_v1(account: Account, line: Activity, market: Market | None) -> Row:
    return {**trade_v1(account, line, market), "type": line.kind, "usdcSize": number(line.dollars)}


def trade_v2(account: Account, line: Activity, market: Market | None) -> Row:
    outcome, index, slug = _common(line, market)
    return {
        "proxy_wallet": account.wallet,
        "token_id": line.token_id,
        "condition_id": line.condition_id,
        "side": line.side,
        "size": number(line.shares),
        "price": float(line.price),
        "timestamp": line.at_ns // SECOND_NS,
        "transaction_hash": line.transaction,
        "title": market.terms.question if market else "",
        "slug": slug,
        "event_slug": market.terms.event_slug if market else "",
        "outcome": outcome,
        "outcome_index": index,
    }


def activity_v2(account: Account, line: Activity, market: Market | None) -> Row:
    return {
        **trade_v2(account, line, market),
        "type": line.kind,
        "usdc_size": number(line.dollars),
        "is_combo": False,
    }


def slice_v1(request: Request, rows: list[Row]) -> list[Row]:
    offset, limit = query_int(request, "offset", 0), query_int(request, "limit", PAGE_V1)
    return rows[offset : offset + limit]


def page_v2(request: Request, rows: list[Row]) -> Row:
    start = query_int(request, "cursor", 0)
    limit = min(query_int(request, "limit", PAGE_V2), PAGE_V2)
    following = start + limit
    more = following < len(rows)
    return {
        "data": rows[start:following],
        "pagination": {"has_more": more, "next_cursor": str(following) if more else None},
    }
