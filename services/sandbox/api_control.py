"""The control API under /sandbox: ready line, accounts and their full truth, markets, engine, knobs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from services.sandbox import user_messages
from services.sandbox.accounts import Account
from services.sandbox.clock import SECOND_NS
from services.sandbox.engine import Mode
from services.sandbox.gateway import taker_delay_ms
from services.sandbox.http import reply_json
from services.sandbox.keccak import address_bytes, checksum_address
from services.sandbox.markets import Market
from services.sandbox.money import text
from services.sandbox.private import json_object, require_private
from services.sandbox.refusals import Refusal
from services.sandbox.scenario import SCENARIOS
from services.sandbox.trades import Trade
from services.sandbox.world import World


class Control:
    """Handlers for the examiner and the operator."""

    def __init__(self, world: World) -> None:
        self.world = world

    def router(self) -> APIRouter:
        router = APIRouter(prefix="/sandbox", dependencies=[Depends(require_private)])
        for method, path, handler in (
            ("GET", "/ready", self.ready),
            ("GET", "/health", self.health),
            ("GET", "/accounts", self.accounts),
            ("POST", "/accounts", self.make_account),
            ("GET", "/accounts/{address}", self.account),
            ("POST", "/accounts/{address}", self.restrict),
            ("POST", "/engine", self.switch_engine),
            ("GET", "/scenarios", self.scenarios),
            ("POST", "/knobs", self.knobs),
            ("GET", "/markets/{slug}", self.market),
            ("POST", "/markets/{slug}/resolve", self.resolve),
        ):
            router.add_api_route(path, handler, methods=[method])
        return router

    async def ready(self, request: Request) -> Response:
        return reply_json(ready_object(self.world, host=request.headers.get("host", "127.0.0.1")))

    async def health(self) -> Response:
        return reply_json({"ok": True, "markets": len(self.world.markets.live())})

    async def accounts(self) -> Response:
        """Every client's account; the house is not shown."""
        names = ("address", "wallet", "signature_type", "closed_only", "banned")
        known = [account for account in self.world.accounts.everyone if not account.house]
        return reply_json([{name: getattr(account, name) for name in names} for account in known])

    async def make_account(self, request: Request) -> Response:
        """`{"address"?, "signature_type"?}`: fund an address, or make a key; a known address gets another bankroll."""
        body = await json_object(request)
        signature_type = body.get("signature_type", 3)
        if signature_type not in (0, 1, 2, 3):
            raise Refusal("signature_type must be 0, 1, 2 or 3")
        address = body.get("address")
        if address is not None:
            try:
                address = checksum_address(address_bytes(str(address)))
            except ValueError as error:
                raise Refusal(str(error)) from error
        account = self.world.open_account(signature_type=signature_type, address=address)
        return reply_json(account_entry(self.world, account))

    async def account(self, address: str) -> Response:
        account = self.world.accounts.find(address)
        if account is None:
            raise Refusal("account not found", status=404)
        return reply_json(self._truth(account))

    async def restrict(self, request: Request, address: str) -> Response:
        """`{"closed_only"?, "banned"?}`: what the venue does to an account of a blocked place."""
        body = await json_object(request)
        account = self.world.accounts.find(address)
        if account is None:
            raise Refusal("account not found", status=404)
        account.closed_only = bool(body.get("closed_only", account.closed_only))
        account.banned = bool(body.get("banned", account.banned))
        return reply_json({"closed_only": account.closed_only, "banned": account.banned})

    async def switch_engine(self, request: Request) -> Response:
        """`{"mode", "seconds"}`: for so many venue seconds; after `restart` follow two minutes of post-only."""
        body = await json_object(request)
        try:
            mode, seconds = Mode(str(body.get("mode"))), float(body.get("seconds", 10))
        except ValueError as error:
            raise Refusal(f"mode must be one of {', '.join(Mode)}") from error
        self.world.engine.enter(mode, seconds=seconds)
        if mode is Mode.RESTART:
            self.world.polybolt.drain()
        return reply_json({"mode": str(self.world.engine.mode())})

    async def scenarios(self) -> Response:
        return reply_json(
            {"running": asdict(self.world.scenario), "known": [asdict(each) for each in SCENARIOS.values()]}
        )

    async def knobs(self, request: Request) -> Response:
        """`{"hold_ms": 0, "order_path_ms": 0}`: numeric fields of the scenario; for lognormal ones the median."""
        body = await json_object(request)
        try:
            scenario = self.world.change_scenario({name: float(value) for name, value in body.items()})
        except (KeyError, TypeError, ValueError) as error:
            raise Refusal(f"unknown or malformed knob: {error}") from error
        return reply_json(asdict(scenario))

    async def market(self, slug: str) -> Response:
        """What the venue knows about a market and its own messages do not say, such as the taker delay."""
        market = self._market(slug)
        return reply_json(
            {
                "slug": slug,
                "condition_id": market.condition_id,
                "tokens": list(market.tokens),
                "state": str(market.state),
                "fee_rate": str(market.fees.rate),
                "tick": text(market.tick),
                "min_size": text(market.min_size),
                "hold_ms": taker_delay_ms(market, self.world.scenario),
                "collateral": text(market.collateral),
                "decided_at_s": (market.decided_ns or market.end_ns) // SECOND_NS,
                "disputed_s": market.dispute_s,
                "winner": None if market.winner is None else market.labels[market.winner],
                "even": market.even or market.split,
            }
        )

    async def resolve(self, request: Request, slug: str) -> Response:
        """Close an ended market now; `{"outcome": 0, 1 or "even"}` decides it, and then also before its end."""
        body = await json_object(request)
        wanted = body.get("outcome")
        if wanted not in (None, 0, 1, "even"):
            raise Refusal("outcome must be 0, 1 or even")
        market = self._market(slug)
        now_ns = self.world.clock.now_ns()
        if now_ns < market.end_ns and wanted is None:
            raise Refusal("market has not ended")
        if not market.closed:
            self.world.settlement.resolve(market, now_ns, decided=None if wanted is None else (wanted,))
        winner = None if market.winner is None else market.labels[market.winner]
        return reply_json({"slug": slug, "winner": winner})

    def _market(self, slug: str) -> Market:
        market = self.world.markets.by_slug.get(slug)
        if market is None:
            raise Refusal("market not found", status=404)
        return market

    def _truth(self, account: Account) -> dict[str, Any]:
        """Everything the venue knows about an account; amounts as decimal text."""
        positions = []
        for token, held in account.holdings.items():
            market = self.world.markets.by_token[token]
            if held.shares:
                positions.append(
                    {
                        "token_id": token,
                        "condition_id": market.condition_id,
                        "slug": market.slug,
                        "outcome": market.labels[market.outcome_of(token)],
                        "shares": text(held.shares),
                        "cost": text(held.cost),
                        "fees": text(held.fees),
                        "redeemable": market.closed,
                    }
                )
        return {
            "address": account.address,
            "wallet": account.wallet,
            "signature_type": account.signature_type,
            "cash": text(account.cash),
            "reserved": text(account.reserved_cash()),
            "positions": positions,
            "open_orders": [user_messages.open_order(order) for order in account.open_orders.values()],
            "trades": [true_trade(trade, account) for trade in account.trades],
            "fees_paid": text(account.fees_paid),
            "redeemed": text(account.redeemed),
            "deposits": text(account.deposits),
            "post_count_by_order_id": account.post_count,
        }


def true_trade(trade: Trade, account: Account) -> dict[str, Any]:
    """A trade with what it really did to this account: cash without the fee, shares, and the fee."""
    own = [move for move in trade.moves if move.account is account]
    return {
        **user_messages.trade_row(trade, account),
        "status": str(trade.status),
        "slug": trade.market.slug,
        "fee": text(sum(move.fee for move in own)),
        "cash_change": text(sum(move.dollars for move in own)),
        "share_change": text(sum(move.shares for move in own)),
        "matched_ns": trade.matched_ns,
    }


def account_entry(world: World, account: Account) -> dict[str, Any]:
    key = world.keys.of_address(account.address)[0]
    return {
        "private_key": account.private_key,
        "address": account.address,
        "wallet": account.wallet,
        "signature_type": account.signature_type,
        "api_key": key.key,
        "secret": key.secret,
        "passphrase": key.passphrase,
    }


def ready_object(world: World, *, host: str) -> dict[str, Any]:
    """URLs under `host`, clock, seed, scenario and the seeded accounts."""
    http, ws = f"http://{host}", f"ws://{host}"
    return {
        "clob": http,
        "gamma": f"{http}/gamma",
        "data": f"{http}/data-api",
        "relayer": f"{http}/relayer",
        "rpc": f"{http}/rpc",
        "ws_market": f"{ws}/ws/market",
        "ws_user": f"{ws}/ws/user",
        "rtds": f"{ws}/rtds",
        "polybolt": f"{ws}/polybolt",
        "sports": f"{ws}/sports",
        "spot": f"{ws}/spot",
        "coinbase": f"{ws}/coinbase",
        "web": f"{http}/web",
        "sandbox": f"{http}/sandbox",
        "clock": {
            "speed": world.settings.speed,
            "anchor_ns": world.settings.anchor_ns,
            "origin_ns": world.clock.origin_ns,
        },
        "seed": world.settings.seed,
        "scenario": world.settings.scenario.name,
        "accounts": [account_entry(world, account) for account in world.seeded],
    }
