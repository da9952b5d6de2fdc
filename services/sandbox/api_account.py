"""Private CLOB endpoints that ask: keys, orders, trades, balances, notifications (venue.md 2, 3.1 and 7)."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.sandbox import user_messages
from services.sandbox.accounts import Account
from services.sandbox.auth import ApiKey
from services.sandbox.clock import SECOND_NS
from services.sandbox.eip712 import EXCHANGE, NEG_RISK_EXCHANGE, POSITIONS_EXCHANGE
from services.sandbox.fault_specs import Fault
from services.sandbox.faults import Moment
from services.sandbox.http import parse_json, query_int, reply_json
from services.sandbox.refusals import Refusal
from services.sandbox.trades import Trade
from services.sandbox.world import World

PAGE = 100
END_CURSOR = "LTE="
FAR_FUTURE_S = 10**12
UNLIMITED = str(2**256 - 1)
MOVED = "0xE2222000000000000000000000000000000000E2"
ASSET_TYPES = ("COLLATERAL", "CONDITIONAL", "CONDITIONAL-V2")


class AccountApi:
    """Handlers of everything that needs an API key and changes no order."""

    def __init__(self, world: World) -> None:
        self.world = world

    def router(self) -> APIRouter:
        router = APIRouter()
        for method, path, handler in (
            ("POST", "/auth/api-key", self.create_key),
            ("DELETE", "/auth/api-key", self.delete_key),
            ("GET", "/auth/derive-api-key", self.derive_key),
            ("GET", "/auth/api-keys", self.list_keys),
            ("POST", "/auth/readonly-api-key", self.create_read_only),
            ("GET", "/auth/readonly-api-keys", self.list_read_only),
            ("DELETE", "/auth/readonly-api-key", self.delete_read_only),
            ("POST", "/auth/builder-api-key", self.create_builder),
            ("GET", "/auth/builder-api-key", self.list_builders),
            ("DELETE", "/auth/builder-api-key", self.revoke_builder),
            ("GET", "/auth/ban-status/closed-only", self.closed_only),
            ("GET", "/data/orders", self.open_orders),
            ("GET", "/data/pre-migration-orders", self.no_rows),
            ("GET", "/data/order/{order_id}", self.one_order),
            ("GET", "/data/trades", self.trades),
            ("GET", "/balance-allowance", self.balance),
            ("GET", "/balance-allowance/update", self.update_balance),
            ("GET", "/notifications", self.notifications),
            ("DELETE", "/notifications", self.drop_notifications),
            ("GET", "/order-scoring", self.scoring),
            ("POST", "/orders-scoring", self.scorings),
            ("GET", "/rewards/user", self.no_rows),
            ("GET", "/rewards/user/markets", self.no_rows),
            ("GET", "/rewards/user/total", self.no_earnings),
            ("GET", "/rewards/user/percentages", self.no_percentages),
        ):
            router.add_api_route(path, handler, methods=[method])
        return router

    # --- keys -------------------------------------------------------------------------------------------------------

    async def create_key(self, request: Request) -> Response:
        return reply_json(self.world.keys.create(l1_headers(request)).public())

    async def derive_key(self, request: Request) -> Response:
        return reply_json(self.world.keys.derive(l1_headers(request)).public())

    async def list_keys(self, request: Request) -> Response:
        _, key, _ = await authenticate(self.world, request)
        return reply_json({"apiKeys": [other.key for other in self.world.keys.of_address(key.address)]})

    async def delete_key(self, request: Request) -> Response:
        _, key, _ = await authenticate(self.world, request)
        self.world.keys.delete(key)
        return reply_json("OK")

    async def create_read_only(self, request: Request) -> Response:
        _, key, _ = await authenticate(self.world, request)
        return reply_json({"apiKey": self.world.keys.issue_read_only(key.address)})

    async def list_read_only(self, request: Request) -> Response:
        _, key, _ = await authenticate(self.world, request)
        return reply_json({"readonlyApiKeys": self.world.keys.read_only_of(key.address)})

    async def delete_read_only(self, request: Request) -> Response:
        _, key, body = await authenticate(self.world, request)
        given = parse_json(body)
        self.world.keys.delete_read_only(key.address, str(given.get("key") if isinstance(given, dict) else ""))
        return reply_json("OK")

    async def create_builder(self, request: Request) -> Response:
        _, key, _ = await authenticate(self.world, request)
        made = self.world.keys.issue_builder(key.address)
        return reply_json({"key": made.key, "secret": made.secret, "passphrase": made.passphrase})

    async def list_builders(self, request: Request) -> Response:
        _, key, _ = await authenticate(self.world, request)
        return reply_json([{"key": each.key} for each in self.world.keys.builders_of(key.address)])

    async def revoke_builder(self, request: Request) -> Response:
        headers = {name.replace("-", "_"): value for name, value in request.headers.items()}
        path, body = "/auth/builder-api-key", await request.body()
        if not self.world.keys.is_relayer_call(method="DELETE", path=path, body=body, headers=headers):
            await authenticate(self.world, request)
        self.world.keys.revoke_builder(headers.get("poly_builder_api_key", ""))
        return reply_json("OK")

    async def closed_only(self, request: Request) -> Response:
        account, _, _ = await authenticate(self.world, request)
        return reply_json({"closed_only": account.closed_only})

    # --- queries ----------------------------------------------------------------------------------------------------

    async def open_orders(self, request: Request) -> Response:
        account, _, _ = await authenticate(self.world, request)
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
        account, _, _ = await authenticate(self.world, request)
        order = account.open_orders.get(order_id)
        if order is None:
            raise Refusal("order not found", status=404)
        return reply_json(user_messages.open_order(order))

    async def trades(self, request: Request) -> Response:
        account, _, _ = await authenticate(self.world, request)
        query = request.query_params
        before, after = query_int(request, "before", FAR_FUTURE_S), query_int(request, "after", -1)
        chosen = [
            trade
            for trade in reversed(account.trades)
            if after < trade.stamped_ns // SECOND_NS < before and _trade_fits(trade, account, dict(query))
        ]
        rows = [user_messages.trade_row(trade, account) for trade in chosen]
        return reply_json(page(rows, query.get("next_cursor")))

    async def balance(self, request: Request) -> Response:
        """What the order checks believe; see `Balances` for how that can differ from the truth."""
        account, _, _ = await authenticate(self.world, request)
        token = _asset(request)
        amount = self.world.balances.of(account, token) if _is_own_wallet(request, account) else 0
        allowance = "0" if self.world.faults.active(Fault.ALLOWANCE_REFUSED, Moment(account=account)) else UNLIMITED
        moved = self.world.faults.strike(Fault.CONTRACT_MOVED, Moment(account=account))
        spenders = (MOVED if moved else EXCHANGE, NEG_RISK_EXCHANGE, POSITIONS_EXCHANGE)
        allowances = dict.fromkeys(spenders, allowance)
        return reply_json({"balance": str(amount), "allowances": allowances})

    async def update_balance(self, request: Request) -> Response:
        account, _, _ = await authenticate(self.world, request)
        token = _asset(request)
        if _is_own_wallet(request, account):
            self.world.balances.refresh(account, token)
        return reply_json("")

    async def notifications(self, request: Request) -> Response:
        await authenticate(self.world, request)
        return reply_json([])

    async def drop_notifications(self, request: Request) -> Response:
        await authenticate(self.world, request)
        return reply_json("OK")

    # --- rewards: the sandbox pays none ------------------------------------------------------------------------------

    async def scoring(self, request: Request) -> Response:
        await authenticate(self.world, request)
        return reply_json({"scoring": False})

    async def scorings(self, request: Request) -> Response:
        _, _, body = await authenticate(self.world, request)
        ids = parse_json(body)
        return reply_json({str(order_id): False for order_id in ids} if isinstance(ids, list) else {})

    async def no_rows(self, request: Request) -> Response:
        await authenticate(self.world, request)
        return reply_json(page([], None))

    async def no_earnings(self, request: Request) -> Response:
        await authenticate(self.world, request)
        return reply_json([])

    async def no_percentages(self, request: Request) -> Response:
        await authenticate(self.world, request)
        return reply_json({})


async def authenticate(world: World, request: Request) -> tuple[Account, ApiKey, bytes]:
    """Account, key and body of a private call. Raises Refusal 401."""
    body = await request.body()
    account, key = world.keys.verify(
        method=request.method, path=request.url.path, body=body, headers=l1_headers(request)
    )
    return account, key, body


def _asset(request: Request) -> str:
    """Token id that a balance call is about; empty for cash. Raises Refusal 400 on an unknown asset type."""
    kind = request.query_params.get("asset_type", "")
    if kind not in ASSET_TYPES:
        raise Refusal("Invalid asset type. One of COLLATERAL, CONDITIONAL or CONDITIONAL-V2")
    return "" if kind == "COLLATERAL" else request.query_params.get("token_id", "")


def _is_own_wallet(request: Request, account: Account) -> bool:
    """Another signature type means another wallet of this signer, and that one is empty."""
    stated = request.query_params.get("signature_type", str(account.signature_type))
    return stated == str(account.signature_type)


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
