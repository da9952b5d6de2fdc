"""Private CLOB endpoints that act: orders, cancels, heartbeats (venue.md 3)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.sandbox.accounts import Account
from services.sandbox.api_account import authenticate
from services.sandbox.auth import ApiKey
from services.sandbox.gateway import batch_refusal, reply
from services.sandbox.http import parse_json, reply_json
from services.sandbox.orders import Order, Placed
from services.sandbox.refusals import INVALID_PAYLOAD, Refusal
from services.sandbox.world import World

MAX_BATCH_ORDERS = 15
MAX_BATCH_CANCELS = 1000


class Trading:
    """Handlers of what changes orders."""

    def __init__(self, world: World) -> None:
        self.world = world

    def router(self) -> APIRouter:
        router = APIRouter()
        for method, path, handler in (
            ("POST", "/order", self.post_order),
            ("POST", "/orders", self.post_orders),
            ("DELETE", "/order", self.cancel_order),
            ("DELETE", "/orders", self.cancel_orders),
            ("DELETE", "/cancel-all", self.cancel_all),
            ("DELETE", "/cancel-market-orders", self.cancel_market_orders),
            ("POST", "/v1/heartbeats", self.heartbeat),
        ):
            router.add_api_route(path, handler, methods=[method])
        return router

    # --- orders -----------------------------------------------------------------------------------------------------

    async def post_order(self, request: Request) -> Response:
        account, key, body = await authenticate(self.world, request)
        payload = parse_json(body)
        self._admit([payload])
        headers = self.world.limiter.spend_order(key.address)
        placed = await self.world.gateway.place(payload, account=account, key=key)
        return reply_json(reply(placed), headers=headers)

    async def post_orders(self, request: Request) -> Response:
        """A batch: every entry has its own result, in the order sent; an entry never fails the others."""
        account, key, body = await authenticate(self.world, request)
        payloads = parse_json(body)
        if not isinstance(payloads, list) or not payloads:
            raise Refusal(INVALID_PAYLOAD)
        if len(payloads) > MAX_BATCH_ORDERS:
            raise Refusal(f"Too many orders in payload: {len(payloads)}, max allowed: {MAX_BATCH_ORDERS}")
        self._admit(payloads)
        headers = self.world.limiter.spend_order(key.address, len(payloads))
        results = await asyncio.gather(*(self._place_entry(entry, account, key) for entry in payloads))
        return reply_json(results, headers=headers)

    async def cancel_order(self, request: Request) -> Response:
        account, key, body = await authenticate(self.world, request)
        payload = parse_json(body)
        if not isinstance(payload, dict) or not isinstance(payload.get("orderID"), str):
            raise Refusal("Invalid orderID")
        return self._cancel_ids(account, key, [payload["orderID"]])

    async def cancel_orders(self, request: Request) -> Response:
        account, key, body = await authenticate(self.world, request)
        ids = parse_json(body)
        if not isinstance(ids, list) or len(ids) > MAX_BATCH_CANCELS:
            raise Refusal(INVALID_PAYLOAD)
        return self._cancel_ids(account, key, [str(order_id) for order_id in ids])

    async def cancel_all(self, request: Request) -> Response:
        account, key, _ = await authenticate(self.world, request)
        return self._cancel(key, account.open_orders.values())

    async def cancel_market_orders(self, request: Request) -> Response:
        account, key, body = await authenticate(self.world, request)
        payload = parse_json(body)
        wanted = payload if isinstance(payload, dict) else {}
        market, asset = wanted.get("market"), wanted.get("asset_id")
        chosen = [
            order
            for order in account.open_orders.values()
            if (not market or order.market.condition_id == market) and (not asset or order.token_id == asset)
        ]
        return self._cancel(key, chosen)

    async def heartbeat(self, request: Request) -> Response:
        _, key, body = await authenticate(self.world, request)
        payload = parse_json(body)
        sent = payload.get("heartbeat_id") if isinstance(payload, dict) else None
        accepted, expected = self.world.heartbeats.beat(key.key, str(sent or ""))
        if not accepted:
            return reply_json({"error_msg": "Invalid Heartbeat ID", "heartbeat_id": expected}, status=400)
        return reply_json({"heartbeat_id": expected})

    # --- parts ------------------------------------------------------------------------------------------------------

    async def _place_entry(self, payload: object, account: Account, key: ApiKey) -> dict[str, Any]:
        try:
            self.world.engine.admit_orders(post_only=is_post_only(payload))
            placed: Placed = await self.world.gateway.place(payload, account=account, key=key)
        except Refusal as refusal:
            return batch_refusal(refusal)
        return reply(placed)

    def _cancel_ids(self, account: Account, key: ApiKey, ids: Sequence[str]) -> Response:
        self.world.engine.admit_cancels()
        headers = self.world.limiter.spend_cancel(key.address, len(ids))
        canceled, refused = [], {}
        for order_id in ids:
            reason = self.world.exchange.cancel(account, order_id)
            if reason:
                refused[order_id] = reason
            else:
                canceled.append(order_id)
        return reply_json({"canceled": canceled, "not_canceled": refused}, headers=headers)

    def _cancel(self, key: ApiKey, orders: Iterable[Order]) -> Response:
        """Everything that rests; what is still held cannot be cancelled and is not listed."""
        self.world.engine.admit_cancels()
        resting = [order for order in orders if order.resting]
        headers = self.world.limiter.spend_cancel(key.address, 1)
        canceled, refused = self.world.exchange.cancel_where(resting)
        return reply_json({"canceled": canceled, "not_canceled": refused}, headers=headers)

    def _admit(self, payloads: Iterable[object]) -> None:
        """Raises Refusal unless the engine takes at least one of these orders."""
        self.world.engine.admit_orders(post_only=any(is_post_only(each) for each in payloads))


def is_post_only(payload: object) -> bool:
    return isinstance(payload, dict) and payload.get("postOnly") is True
