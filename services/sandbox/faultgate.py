"""Faults at the door: what goes wrong between a client and the order endpoints, before and after the venue acts.

An ASGI layer around the whole application. It looks at order and cancel calls only, and only while a fault is armed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.sandbox.accounts import Account
from services.sandbox.clock import SECOND_NS
from services.sandbox.eip712 import EXCHANGE, order_id, parse_fields
from services.sandbox.faults import HELD_REPLY_REAL_S, Fault
from services.sandbox.gateway import batch_refusal
from services.sandbox.http import BrokenReply, refusal_response, reply_json
from services.sandbox.limits import TIER
from services.sandbox.refusals import INTERNAL, RESTARTING, Refusal
from services.sandbox.rules import FAK_MISSED
from services.sandbox.world import World

PLACES = {("POST", "/order"), ("POST", "/orders")}
CANCELS = {("DELETE", path) for path in ("/order", "/orders", "/cancel-all", "/cancel-market-orders")}
SUCCESS_TEXT = "could not run the execution"
RETRY_AFTER_S = 1


class FaultGate:
    """Wraps `app`; see `faults` for what can be armed."""

    def __init__(self, app: ASGIApp, *, world: World) -> None:
        self.app = app
        self.world = world

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self.world.faults.any():
            await self.app(scope, receive, send)
            return
        call = (scope["method"], scope["path"])
        if call not in PLACES and call not in CANCELS:
            await self.app(scope, receive, send)
            return
        body = await _read(receive)
        account = self.world.accounts.find(Headers(scope=scope).get("poly_address", ""))
        answer = self._before(body, account, places=call in PLACES)
        if answer is not None:
            await answer(scope, receive, send)
            return
        caught = Caught()
        await self.app(scope, _again(body, receive), caught.send)
        answer = await self._after(account) if call in PLACES and caught.status == 200 else None
        if answer is not None:
            await answer(scope, receive, send)
            return
        for message in caught.messages:
            await send(message)

    def _before(self, body: bytes, account: Account | None, *, places: bool) -> Response | None:
        """The reply of a venue that never looked at the request."""
        faults = self.world.faults
        if faults.take(Fault.RESTART_425, account=account):
            return refusal_response(Refusal(RESTARTING, status=425))
        if faults.take(Fault.RATE_LIMITED, account=account):
            return refusal_response(Refusal("Too Many Requests", status=429, headers=self._limit_headers()))
        if not places:
            return None
        if faults.take(Fault.ERROR_500_BEFORE, account=account):
            return refusal_response(Refusal(INTERNAL, status=500))
        return self._refused(body, account)

    def _refused(self, body: bytes, account: Account | None) -> Response | None:
        """Refusals in the venue's words that the order did not deserve; a batch has them in its entries."""
        faults, entries = self.world.faults, _entries(body)
        if not entries:
            return None
        if faults.take(Fault.SUCCESS_WITH_ERROR, account=account):
            made = [batch_refusal(Refusal(SUCCESS_TEXT)) for _ in entries]
            return reply_json(made if body.lstrip().startswith(b"[") else made[0])
        if entries[0].get("orderType") == "FAK" and faults.take(Fault.FAK_400_WITH_ID, account=account):
            return self._refuse_all(body, [(FAK_MISSED, self._id_of(entry)) for entry in entries])
        if faults.take(Fault.ALLOWANCE_REFUSED, account=account):
            texts = [(_allowance_text(entry), self._id_of(entry)) for entry in entries]
            return self._refuse_all(body, texts)
        return None

    async def _after(self, account: Account | None) -> Response | None:
        """The order is in; what the client hears of it is another matter. None passes the true reply on."""
        faults = self.world.faults
        if faults.take(Fault.ERROR_500_AFTER, account=account):
            return refusal_response(Refusal(INTERNAL, status=500))
        if faults.take(Fault.LOST_REPLY, account=account):
            return BrokenReply()
        if faults.take(Fault.TIMEOUT_AFTER_ACCEPT, account=account):
            await asyncio.sleep(HELD_REPLY_REAL_S)
        return None

    def _refuse_all(self, body: bytes, refused: list[tuple[str, str]]) -> Response:
        refusals = [Refusal(text, order_id=known) for text, known in refused]
        if body.lstrip().startswith(b"["):
            return reply_json([batch_refusal(refusal) for refusal in refusals])
        return refusal_response(refusals[0])

    def _id_of(self, entry: Mapping[str, Any]) -> str:
        """The id that the order would have had; empty for a malformed one."""
        try:
            signed = parse_fields(entry["order"])
        except (KeyError, TypeError, ValueError):
            return ""
        market = self.world.markets.by_token.get(str(signed.token_id))
        return order_id(signed, neg_risk=market is not None and market.neg_risk)

    def _limit_headers(self) -> dict[str, str]:
        reset_s = self.world.clock.now_ns() // SECOND_NS + RETRY_AFTER_S
        return {
            "Poly-RateLimit-Remaining": "0",
            "Poly-RateLimit-Reset": str(reset_s),
            "Poly-RateLimit-Tier": TIER,
            "Retry-After": str(RETRY_AFTER_S),
        }


class Caught:
    """A reply that was made but not sent."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.status = 0

    async def send(self, message: Message) -> None:
        self.messages.append(message)
        if message["type"] == "http.response.start":
            self.status = message["status"]


async def _read(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """`receive` of a request whose body was already read."""
    unread = [body]

    async def replay() -> Message:
        if unread:
            return {"type": "http.request", "body": unread.pop(), "more_body": False}
        return await receive()

    return replay


def _entries(body: bytes) -> list[Mapping[str, Any]]:
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        return []
    return [entry for entry in (payload if isinstance(payload, list) else [payload]) if isinstance(entry, dict)]


def _allowance_text(entry: Mapping[str, Any]) -> str:
    signed = entry.get("order")
    amount = signed.get("makerAmount", "0") if isinstance(signed, dict) else "0"
    amounts = f"spender: {EXCHANGE}, allowance: 0, order amount: {amount}"
    return f"not enough balance / allowance: the allowance is not enough -> {amounts}"
