"""The way of an order through the venue: network, validation, hold, match, reply.

The work runs in a task of its own: a client that hangs up does not cancel its order (venue.md 3.8).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from random import Random
from typing import Any

from services.sandbox.accounts import Account
from services.sandbox.auth import ApiKey
from services.sandbox.book import Side
from services.sandbox.clock import MS_NS, SECOND_NS, VenueClock
from services.sandbox.eip712 import (
    VERSIONS,
    SignedFields,
    domain_of,
    order_id,
    parse_fields,
    session_signature,
    signed_by,
)
from services.sandbox.eventlog import log_event
from services.sandbox.exchange import Exchange
from services.sandbox.markets import Market
from services.sandbox.money import text
from services.sandbox.orders import Order, OrderType, Placed
from services.sandbox.quotes import lognormal
from services.sandbox.refusals import (
    INVALID_PAYLOAD,
    INVALID_SIGNATURE,
    INVALID_VERSION,
    MARKET_NOT_FOUND,
    NOT_ALLOWED,
    NOT_OWNER,
    NOT_READY,
    NOT_SIGNER,
    Refusal,
    duplicated,
)
from services.sandbox.rules import limit_price
from services.sandbox.scenario import Scenario

EOA = 0
DEPOSIT_WALLET = 3


class Gateway:
    """Places orders on behalf of authenticated clients."""

    def __init__(self, *, exchange: Exchange, clock: VenueClock, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self._exchange = exchange
        self._clock = clock
        self._rng = Random(f"{seed}:gateway")
        self._tasks: set[asyncio.Task[Placed]] = set()

    async def place(self, payload: object, *, account: Account, key: ApiKey) -> Placed:
        """Carry one POST /order to its end. Raises Refusal with the venue's text."""
        order, fields, signature = self._parse(payload, account, key)
        self._count(account, order.id)
        task = asyncio.create_task(self._run(order, fields, signature, key))
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        try:
            return await asyncio.shield(task)
        except Refusal as refusal:
            log_event("order_refused", level="warning", order_id=order.id, error=refusal.text)
            raise

    async def _run(self, order: Order, fields: SignedFields, signature: bytes, key: ApiKey) -> Placed:
        path_ms = lognormal(self._rng, self.scenario.order_path_ms)
        await self._clock.reach(order.created_ns + int(path_ms * MS_NS))
        order.created_ns, order.stamped_ns = self._clock.now_ns(), self._clock.stamp_ns()
        if key.address.lower() != order.account.address.lower():
            signature = unwrapped(signature, address=key.address)
        verify_signature(fields, signature=signature, address=key.address, neg_risk=order.market.neg_risk)
        if order.created_ns < order.market.created_ns + int(self.scenario.ready_after_s * SECOND_NS):
            raise Refusal(NOT_READY, order_id=order.id)
        self._exchange.validate(order)
        terms = order.market.terms
        if self._exchange.is_marketable(order):
            if terms.seconds_delay:
                return self._delay(order, seconds=terms.seconds_delay)
            hold_ms = taker_delay_ms(order.market, self.scenario)
            if hold_ms > 0:
                self._exchange.hold(order)
                await self._clock.reach(order.created_ns + int(hold_ms * MS_NS))
        placed = self._exchange.finish(order)
        log_event("order_placed", order_id=order.id, status=placed.status, market=order.market.slug)
        return placed

    def _delay(self, order: Order, *, seconds: float) -> Placed:
        """Sports: the reply is `delayed` at once, the match comes later and is told on the user channel alone."""
        self._exchange.hold(order, delayed=True)
        task = asyncio.create_task(self._finish_later(order, order.created_ns + int(seconds * SECOND_NS)))
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        log_event("order_placed", order_id=order.id, status="delayed", market=order.market.slug)
        return Placed(order_id=order.id, status="delayed", making=0, taking=0, trade_ids=())

    async def _finish_later(self, order: Order, due_ns: int) -> Placed:
        await self._clock.reach(due_ns)
        return self._exchange.finish(order, delayed=True)

    def _parse(self, payload: object, account: Account, key: ApiKey) -> tuple[Order, SignedFields, bytes]:
        if not isinstance(payload, dict) or not isinstance(payload.get("order"), dict):
            raise Refusal(INVALID_PAYLOAD)
        body: Mapping[str, Any] = payload["order"]
        try:
            fields = parse_fields(body)
            signature = bytes.fromhex(str(body["signature"]).removeprefix("0x"))
            order_type = OrderType(str(payload["orderType"]))
            expiration = int(str(body.get("expiration") or 0))
        except (KeyError, ValueError) as error:
            raise Refusal(INVALID_PAYLOAD) from error
        post_only = bool(payload.get("postOnly", False))
        if (post_only and not order_type.rests) or min(fields.maker_amount, fields.taker_amount) <= 0:
            raise Refusal(INVALID_PAYLOAD)
        if payload.get("owner") != key.key:
            raise Refusal(NOT_OWNER)
        require_party(fields, account=account, key=key)
        market = self._exchange.markets.by_token.get(str(fields.token_id))
        if market is None:
            raise Refusal(MARKET_NOT_FOUND, status=404)
        side = Side.SELL if fields.side else Side.BUY
        if account.closed_only and side is Side.BUY:
            raise Refusal(f"'{account.wallet}' address in closed only mode")
        order = Order(
            id=order_id(fields, neg_risk=market.neg_risk),
            account=account,
            api_key=key.key,
            market=market,
            outcome=market.outcome_of(str(fields.token_id)),
            side=side,
            order_type=order_type,
            post_only=post_only,
            maker_amount=fields.maker_amount,
            taker_amount=fields.taker_amount,
            price=limit_price(side=side, maker_amount=fields.maker_amount, taker_amount=fields.taker_amount),
            expiration=expiration,
            created_ns=self._clock.now_ns(),
            stamped_ns=self._clock.stamp_ns(),
        )
        if self._exchange.knows(order.id):
            self._count(account, order.id)
            raise duplicated(order.id)
        return order, fields, signature

    def _count(self, account: Account, order_id: str) -> None:
        account.count_post(order_id)
        self._exchange.journal.write("posted", wallet=account.wallet, order=order_id)

    def _forget(self, task: asyncio.Task[Placed]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Read the outcome, so that an order whose client hung up leaves no "never retrieved" noise.
            task.exception()


def taker_delay_ms(market: Market, scenario: Scenario) -> float:
    """How long a marketable order on this market is held; 0 where takers are not delayed."""
    if not market.terms.held:
        return 0.0
    return scenario.hold_ms if market.hold_ms is None else market.hold_ms


def require_party(fields: SignedFields, *, account: Account, key: ApiKey) -> None:
    """Maker and signer must be those of the API key (venue.md 2.3)."""
    if account.banned:
        raise Refusal(f"'{account.wallet}' address banned")
    expected = account.wallet if fields.signature_type == DEPOSIT_WALLET else key.address
    if fields.signer.lower() != expected.lower():
        raise Refusal(NOT_SIGNER)
    if fields.signature_type != account.signature_type and fields.signature_type == EOA:
        raise Refusal(NOT_ALLOWED)
    if fields.signature_type != account.signature_type or fields.maker.lower() != account.wallet.lower():
        raise Refusal(INVALID_SIGNATURE)


def unwrapped(signature: bytes, *, address: str) -> bytes:
    """What a session key signed itself. Raises Refusal unless it is wrapped and names that key."""
    parts = session_signature(signature)
    if parts is None or parts[0].lower() != address.lower():
        raise Refusal(INVALID_SIGNATURE)
    return parts[1]


def verify_signature(fields: SignedFields, *, signature: bytes, address: str, neg_risk: bool) -> None:
    """Recover the signer under the exchange's domain; name the wrong version when that is what is wrong."""
    true_version, exchange = domain_of(fields.token_id, neg_risk=neg_risk)
    for version in sorted(VERSIONS, key=lambda each: each != true_version):
        signer = signed_by(fields, signature=signature, version=version, exchange=exchange)
        if signer is not None and signer.lower() == address.lower():
            if version == true_version:
                return
            raise Refusal(INVALID_VERSION)
    raise Refusal(INVALID_SIGNATURE)


def reply(placed: Placed) -> dict[str, Any]:
    """Body of a successful POST /order; amounts are empty text when nothing was matched."""
    matched = placed.status == "matched"
    return {
        "success": True,
        "errorMsg": "",
        "orderID": placed.order_id,
        "status": placed.status,
        "makingAmount": text(placed.making) if matched else "",
        "takingAmount": text(placed.taking) if matched else "",
        "tradeIDs": list(placed.trade_ids),
        "transactionsHashes": [],
    }


def batch_refusal(refusal: Refusal) -> dict[str, Any]:
    """An entry of POST /orders that was refused: HTTP 200 and `success` true, but a text and no id."""
    return {
        "success": True,
        "errorMsg": refusal.text,
        "orderID": "",
        "status": "",
        "makingAmount": "",
        "takingAmount": "",
        "tradeIDs": [],
        "transactionsHashes": [],
    }
