"""Data API about markets rather than wallets: price history, resolutions, open interest, holders, volume."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.sandbox.accounts import Account, Holding
from services.sandbox.api_data import PAGE_V2, page_v2, position_v1, slice_v1
from services.sandbox.api_lists import INTERVALS_S
from services.sandbox.clock import SECOND_NS
from services.sandbox.gamma import event_number
from services.sandbox.http import query_int, query_list, reply_json
from services.sandbox.markets import Market
from services.sandbox.money import MICRO, number
from services.sandbox.refusals import Refusal
from services.sandbox.world import World

Row = dict[str, Any]
BUCKET_S = 60
HOLDERS = 20


class Analytics:
    """Handlers of the market side of the Data API, v1 and v2."""

    def __init__(self, world: World) -> None:
        self.world = world

    def router(self) -> APIRouter:
        router = APIRouter(prefix="/data-api")
        for path, handler in (
            ("/closed-positions", self.closed_positions),
            ("/holders", self.holders_v1),
            ("/oi", self.interest_v1),
            ("/v2/prices-history", self.prices_history),
            ("/v2/resolutions", self.resolutions),
            ("/v2/oi", self.interest_v2),
            ("/v2/holders", self.holders_v2),
            ("/v2/live-volume", self.live_volume),
            ("/v2/tokens", self.tokens),
        ):
            router.add_api_route(path, handler, methods=["GET"])
        return router

    async def closed_positions(self, request: Request) -> Response:
        """What a wallet held and holds no more."""
        user = request.query_params.get("user", "")
        account = self.world.accounts.find(user)
        wanted = query_list(request, "market")
        rows = []
        for token, held in account.holdings.items() if account else ():
            market = self.world.markets.by_token[token]
            if held.shares == 0 and held.bought and (not wanted or market.condition_id in wanted) and account:
                row = position_v1(account, market, market.outcome_of(token), held)
                rows.append(row | {"timestamp": held.last_ns // SECOND_NS})
        return reply_json(slice_v1(request, rows))

    async def holders_v1(self, request: Request) -> Response:
        rows = []
        for market in self._markets(query_list(request, "market")):
            for outcome, token in enumerate(market.tokens):
                holders = [holder_v1(account, token, held, outcome) for account, held in self._holders(token)]
                rows.append({"token": token, "holders": holders})
        return reply_json(rows)

    async def interest_v1(self, request: Request) -> Response:
        markets = self._markets(query_list(request, "market"))
        return reply_json([{"market": m.condition_id, "value": number(m.collateral)} for m in markets])

    async def interest_v2(self, request: Request) -> Response:
        wanted = query_list(request, "condition_id")
        if not wanted:
            total = sum(market.collateral for market in self.world.markets.by_slug.values())
            return reply_json({"data": [{"condition_id": "GLOBAL", "value": number(total)}]})
        rows = [{"condition_id": m.condition_id, "value": number(m.collateral)} for m in self._markets(wanted)]
        return reply_json({"data": rows})

    async def holders_v2(self, request: Request) -> Response:
        rows = [
            {"token_id": token, "holders": [holder_v2(a, token, h, outcome) for a, h in self._holders(token)]}
            for market in self._markets(query_list(request, "condition_id"))
            for outcome, token in enumerate(market.tokens)
        ]
        return reply_json(page_v2(request, rows))

    async def live_volume(self, request: Request) -> Response:
        wanted = query_list(request, "event_id") or query_list(request, "id")
        markets = [m for m in self.world.markets.by_slug.values() if str(event_number(m)) in wanted]
        rows = [{"condition_id": m.condition_id, "taker_volume": number(m.volume)} for m in markets]
        total = number(sum(m.volume for m in markets))
        return reply_json({"data": {"taker_volume_total": total, "conditions": rows}})

    async def prices_history(self, request: Request) -> Response:
        """Needs `token_id` and one of `interval`, `start` and `as_of`."""
        query = request.query_params
        market = self.world.markets.by_token.get(query.get("token_id", ""))
        interval = query.get("interval")
        if sum(name in query for name in ("interval", "start", "as_of")) != 1 or (
            interval is not None and interval not in INTERVALS_S
        ):
            raise Refusal("exactly one of interval, start and as_of is required")
        now_s = self.world.clock.now_s()
        start = query_int(request, "start", now_s - INTERVALS_S[interval] if interval else 0)
        end = query_int(request, "as_of", query_int(request, "end", now_s))
        bucket = query_int(request, "bucket_seconds", BUCKET_S)
        rows = history_rows(market, query.get("token_id", ""), start=start, end=end, bucket_s=max(BUCKET_S, bucket))
        return reply_json(page_v2(request, rows[-1:] if "as_of" in query else rows))

    async def resolutions(self, request: Request) -> Response:
        conditions, events = query_list(request, "condition_id"), query_list(request, "event_id")
        question = request.query_params.get("question_id")
        rows = [
            resolution_row(market)
            for market in self.world.markets.by_slug.values()
            if market.condition_id in conditions
            or str(event_number(market)) in events
            or (question is not None and question == question_id(market))
        ]
        return reply_json({"data": rows})

    async def tokens(self, request: Request) -> Response:
        """Which market and outcome a token is, by tokens or by conditions."""
        wanted = query_list(request, "token_id")
        for market in self._markets(query_list(request, "condition")):
            wanted.extend(market.tokens)
        known = self.world.markets.by_token
        return reply_json({"data": [token_row(known[token], token) for token in wanted if token in known]})

    def _markets(self, conditions: list[str]) -> list[Market]:
        known = self.world.markets.by_condition
        return [known[condition.lower()] for condition in conditions if condition.lower() in known]

    def _holders(self, token: str) -> list[tuple[Account, Holding]]:
        found = [(a, a.holdings[token]) for a in self.world.accounts.everyone if a.shares(token) > 0]
        return sorted(found, key=lambda pair: -pair[1].shares)[:HOLDERS]


def token_row(market: Market, token: str) -> Row:
    outcome = market.outcome_of(token)
    return {
        "token_id": token,
        "condition_id": market.condition_id,
        "structural_condition_id": None,
        "module": "binary" if market.is_position else "v1_ctf",
        "outcome_index": outcome,
        "clob_index": outcome,
        "outcome": market.labels[outcome],
        "opposite_token_id": market.tokens[1 - outcome],
        "resolved": market.closed,
        "final_price": number(market.payout(outcome)) if market.closed else None,
        "title": market.terms.question,
        "market_slug": market.slug,
        "closed": market.closed,
        "neg_risk": market.neg_risk,
        "neg_risk_market_id": market.terms.neg_risk_id if market.neg_risk else None,
        "question_index": int(market.terms.group_threshold) if market.neg_risk else None,
        "event_id": event_number(market),
        "event_slug": market.terms.event_slug,
    }


def question_id(market: Market) -> str:
    return "0x" + market.condition_id[:1:-1]


def history_rows(market: Market | None, token: str, *, start: int, end: int, bucket_s: int) -> list[Row]:
    if market is None:
        return []
    outcome = market.outcome_of(token)
    rows: dict[int, Row] = {}
    for second, price in market.history:
        if start <= second <= end:
            rows[second // bucket_s] = {
                "timestamp": second,
                "price": number(price if outcome == 0 else MICRO - price),
                "resolution_seconds": bucket_s,
            }
    return list(rows.values())[:PAGE_V2]


def resolution_row(market: Market) -> Row:
    closed = market.closed
    row: Row = {
        "question_id": question_id(market),
        "condition_id": market.condition_id,
        "status": "resolved" if closed else "initialized",
        "extended_review": False,
        "was_disputed": False,
        "new_version_q": False,
        "last_update_timestamp": (market.closed_ns or market.created_ns) // SECOND_NS,
    }
    if closed:
        row |= {
            "price": number(market.payout(0)),
            "payouts": [market.payout(0), market.payout(1)],
            "resolved_at": market.closed_ns // SECOND_NS,
        }
    return row


def holder_v1(account: Account, token: str, held: Holding, outcome: int) -> Row:
    return {
        "proxyWallet": account.wallet,
        "bio": "",
        "asset": token,
        "pseudonym": "",
        "amount": number(held.shares),
        "displayUsernamePublic": False,
        "outcomeIndex": outcome,
        "name": "",
        "profileImage": "",
        "profileImageOptimized": "",
    }


def holder_v2(account: Account, token: str, held: Holding, outcome: int) -> Row:
    return {
        "proxy_wallet": account.wallet,
        "token_id": token,
        "amount": number(held.shares),
        "outcome_index": outcome,
        "display_username_public": False,
        "verified": False,
    }
