"""Private CLOB endpoints: API keys, orders, cancels, account queries, heartbeats (venue.md 2, 3 and 7)."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Iterable, Sequence
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.sandbox import user_messages
from services.sandbox.accounts import Account
from services.sandbox.auth import ApiKey
from services.sandbox.clock import SECOND_NS
from services.sandbox.eip712 import EXCHANGE, NEG_RISK_EXCHANGE
from services.sandbox.exchange import Placed
from services.sandbox.faults import HELD_REPLY_REAL_S, Fault
from services.sandbox.gateway import batch_refusal, reply
from services.sandbox.http import BrokenReply, parse_json, query_int, reply_json
from services.sandbox.orders import Order
from services.sandbox.refusals import INTERNAL, INVALID_PAYLOAD, RESTARTING, Refusal
from services.sandbox.trades import Trade
from services.sandbox.world import World

MAX_BATCH_ORDERS = 15
MAX_BATCH_CANCELS = 1000
PAGE = 100
END_CURSOR = "LTE="
FAR_FUTURE_S = 10**12
UNLIMITED = str(2**256 - 1)


class Trading:
    """Handlers of everything that needs an API key."""

    def __init__(self, world: World) -> None:
        self.world = world

    def router(self) -> APIRouter:
        router = APIRouter()
        for method, path, handler in (
            ("POST", "/auth/api-key", self.create_key),
            ("DELETE", "/auth/api-key", self.delete_key),
            ("GET", "/auth/derive-api-key", self.derive_key),
            ("GET", "/auth/api-keys", self.list_keys),
            ("GET", "/auth/ban-status/closed-only", self.closed_only),
            ("POST", "/order", self.post_order),
            ("POST", "/orders", self.post_orders),
            ("DELETE", "/order", self.cancel_order),
            ("DELETE", "/orders", self.cancel_orders),
            ("DELETE", "/cancel-all", self.cancel_all),
            ("DELETE", "/cancel-market-orders", self.cancel_market_orders),
            ("GET", "/data/orders", self.open_orders),
            ("GET", "/data/order/{order_id}", self.one_order),
            ("GET", "/data/trades", self.trades),
            ("GET", "/balance-allowance", self.balance),
            ("GET", "/balance-allowance/update", self.update_balance),
            ("GET", "/notifications", self.notifications),
            ("POST", "/v1/heartbeats", self.heartbeat),
        ):
            router.add_api_route(path, handler, methods=[method])
        return router

    # --- keys -------------------------------------------------------------------------------------------------------

    async def create_key(self, request: Request) -> Response:
        return reply_json(self.world.keys.create(l1_headers(request)).public())

    async def derive_key(self, request: Request) -> Response:
        return reply_json(self.world.keys.derive(l1_headers(request)).public())

    async def list_keys(self, request: Request) -> Response:
        _, key, _ = await self._authenticate(request)
        return reply_json({"apiKeys": [other.key for other in self.world.keys.of_address(key.address)]})

    async def delete_key(self, request: Request) -> Response:
        _, key, _ = await self._authenticate(request)
        self.world.keys.delete(key)
        return reply_json("OK")

    async def closed_only(self, request: Request) -> Response:
        await self._authenticate(request)
        return reply_json({"closed_only": False})

    # --- orders -----------------------------------------------------------------------------------------------------

    async def post_order(self, request: Request) -> Response:
        account, key, body = await self._authenticate(request)
        self._strike_before()
        headers = self.world.limiter.spend_order(key.address)
        placed = await self.world.gateway.place(parse_json(body), account=account, key=key)
        return await self._strike_after(reply_json(reply(placed), headers=headers))

    async def post_orders(self, request: Request) -> Response:
        """A batch: every entry has its own result, in the order sent; an entry never fails the others."""
        account, key, body = await self._authenticate(request)
        self._strike_before()
        payloads = parse_json(body)
        if not isinstance(payloads, list) or not payloads:
            raise Refusal(INVALID_PAYLOAD)
        if len(payloads) > MAX_BATCH_ORDERS:
            raise Refusal(f"Too many orders in payload: {len(payloads)}, max allowed: {MAX_BATCH_ORDERS}")
        headers = self.world.limiter.spend_order(key.address, len(payloads))
        results = await asyncio.gather(*(self._place_entry(entry, account, key) for entry in payloads))
        return await self._strike_after(reply_json(results, headers=headers))

    async def cancel_order(self, request: Request) -> Response:
        account, key, body = await self._authenticate(request)
        payload = parse_json(body)
        if not isinstance(payload, dict) or not isinstance(payload.get("orderID"), str):
            raise Refusal("Invalid orderID")
        return self._cancel_ids(account, key, [payload["orderID"]])

    async def cancel_orders(self, request: Request) -> Response:
        account, key, body = await self._authenticate(request)
        ids = parse_json(body)
        if not isinstance(ids, list) or len(ids) > MAX_BATCH_CANCELS:
            raise Refusal(INVALID_PAYLOAD)
        return self._cancel_ids(account, key, [str(order_id) for order_id in ids])

    async def cancel_all(self, request: Request) -> Response:
        account, key, _ = await self._authenticate(request)
        return self._cancel(key, account.open_orders.values())

    async def cancel_market_orders(self, request: Request) -> Response:
        account, key, body = await self._authenticate(request)
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
        _, key, body = await self._authenticate(request)
        payload = parse_json(body)
        sent = payload.get("heartbeat_id") if isinstance(payload, dict) else None
        accepted, expected = self.world.heartbeats.beat(key.key, str(sent or ""))
        if not accepted:
            return reply_json({"error_msg": "Invalid Heartbeat ID", "heartbeat_id": expected}, status=400)
        return reply_json({"heartbeat_id": expected})

    # --- queries ----------------------------------------------------------------------------------------------------

    async def open_orders(self, request: Request) -> Response:
        account, _, _ = await self._authenticate(request)
        query = request.query_params
        rows = [
            user_messages.open_order(order)
            for order in account.open_orders.values()
            if _fits(query.get("id"), order.id)
            and _fits(query.get("market"), order.market.condition_id)
            and _fits(query.get("asset_id"), order.token_id)
        ]
        return reply_json(page(rows, query.get("next_cursor")))

    async def one_order(self, request: Request, order_id: str) -> Response:
        """Live orders only; the venue forgets an order that ended."""
        account, _, _ = await self._authenticate(request)
        order = account.open_orders.get(order_id)
        if order is None:
            raise Refusal("order not found", status=404)
        return reply_json(user_messages.open_order(order))

    async def trades(self, request: Request) -> Response:
        account, _, _ = await self._authenticate(request)
        query = request.query_params
        before, after = query_int(request, "before", FAR_FUTURE_S), query_int(request, "after", -1)
        chosen = [
            trade
            for trade in reversed(account.trades)
            if after < trade.matched_ns // SECOND_NS < before and _trade_fits(trade, account, dict(query))
        ]
        rows = [user_messages.trade_row(trade, account) for trade in chosen]
        return reply_json(page(rows, query.get("next_cursor")))

    async def balance(self, request: Request) -> Response:
        account, _, _ = await self._authenticate(request)
        query = request.query_params
        stated = query.get("signature_type", str(account.signature_type))
        amount = account.cash if query.get("asset_type") == "COLLATERAL" else account.shares(query.get("token_id", ""))
        if stated != str(account.signature_type):
            # Another signature type means another wallet of this signer, and that one is empty.
            amount = 0
        allowances = {EXCHANGE: UNLIMITED, NEG_RISK_EXCHANGE: UNLIMITED}
        return reply_json({"balance": str(amount), "allowances": allowances})

    async def update_balance(self, request: Request) -> Response:
        await self._authenticate(request)
        return reply_json("")

    async def notifications(self, request: Request) -> Response:
        await self._authenticate(request)
        return reply_json([])

    # --- parts ------------------------------------------------------------------------------------------------------

    async def _authenticate(self, request: Request) -> tuple[Account, ApiKey, bytes]:
        body = await request.body()
        account, key = self.world.keys.verify(
            method=request.method, path=request.url.path, body=body, headers=l1_headers(request)
        )
        return account, key, body

    async def _place_entry(self, payload: object, account: Account, key: ApiKey) -> dict[str, Any]:
        try:
            placed: Placed = await self.world.gateway.place(payload, account=account, key=key)
        except Refusal as refusal:
            return batch_refusal(refusal)
        return reply(placed)

    def _cancel_ids(self, account: Account, key: ApiKey, ids: Sequence[str]) -> Response:
        self._refuse_while_restarting()
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
        self._refuse_while_restarting()
        resting = [order for order in orders if order.resting]
        headers = self.world.limiter.spend_cancel(key.address, 1)
        canceled, refused = self.world.exchange.cancel_where(resting)
        return reply_json({"canceled": canceled, "not_canceled": refused}, headers=headers)

    def _refuse_while_restarting(self) -> None:
        if self.world.faults.take(Fault.RESTART_425):
            raise Refusal(RESTARTING, status=425)

    def _strike_before(self) -> None:
        self._refuse_while_restarting()
        if self.world.faults.take(Fault.ERROR_500_BEFORE):
            raise Refusal(INTERNAL, status=500)

    async def _strike_after(self, response: Response) -> Response:
        """The order is in; what the client hears of it is another matter."""
        if self.world.faults.take(Fault.ERROR_500_AFTER):
            raise Refusal(INTERNAL, status=500)
        if self.world.faults.take(Fault.LOST_REPLY):
            return BrokenReply()
        if self.world.faults.take(Fault.TIMEOUT_AFTER_ACCEPT):
            await asyncio.sleep(HELD_REPLY_REAL_S)
        return response


def l1_headers(request: Request) -> dict[str, str]:
    """POLY_* headers with lower-case names and underscores."""
    return {name.replace("-", "_"): value for name, value in request.headers.items() if name.startswith("poly")}


def page(rows: list[dict[str, Any]], cursor: str | None) -> dict[str, Any]:
    """One page of a private list; the cursor is base64 of the offset. Raises Refusal 400 on a foreign cursor."""
    try:
        start = int(base64.b64decode(cursor or "MA==", validate=True))
    except (binascii.Error, ValueError) as error:
        raise Refusal("invalid next_cursor") from error
    if start < 0:
        return {"limit": PAGE, "count": 0, "next_cursor": END_CURSOR, "data": []}
    chunk = rows[start : start + PAGE]
    more = start + PAGE < len(rows)
    following = base64.b64encode(str(start + PAGE).encode()).decode() if more else END_CURSOR
    return {"limit": PAGE, "count": len(chunk), "next_cursor": following, "data": chunk}


def _fits(wanted: str | None, actual: str) -> bool:
    return wanted is None or wanted.lower() == actual.lower()


def _trade_fits(trade: Trade, account: Account, query: dict[str, str]) -> bool:
    makers = {fill.maker.account.wallet.lower() for fill in trade.fills} | {account.wallet.lower()}
    maker = query.get("maker_address")
    return (
        _fits(query.get("id"), trade.id)
        and _fits(query.get("market"), trade.market.condition_id)
        and _fits(query.get("asset_id"), trade.market.tokens[trade.taker.outcome])
        and (maker is None or maker.lower() in makers)
    )
