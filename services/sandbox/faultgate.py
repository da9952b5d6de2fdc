"""Faults at the door: what goes wrong between a client and the venue, before and after the venue acts.

An ASGI layer around the whole application. It looks at calls only while a fault waits for one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.sandbox.clock import SECOND_NS
from services.sandbox.eip712 import EXCHANGE, order_id, parse_fields
from services.sandbox.fault_specs import Fault
from services.sandbox.faults import Moment
from services.sandbox.gateway import batch_refusal
from services.sandbox.http import BrokenReply, refusal_response, reply_json
from services.sandbox.limits import TIER
from services.sandbox.refusals import INTERNAL, RESTARTING, TIMED_OUT, Refusal, status_of
from services.sandbox.rules import FAK_MISSED
from services.sandbox.world import World

CALL_OF: dict[tuple[str, str], str] = {
    ("POST", "/order"): "order",
    ("POST", "/orders"): "order",
    **{("DELETE", path): "cancel" for path in ("/order", "/orders", "/cancel-all", "/cancel-market-orders")},
    ("POST", "/v1/heartbeats"): "heartbeat",
}
CONTROL = "/sandbox/"
SUCCESS_TEXT = "could not run the execution"
RETRY_AFTER_S = 1
# Real milliseconds: longer than clients wait.
HELD_REPLY_MS = 30_000.0
LATE_MS = 15_000.0


class FaultGate:
    """Wraps `app`; see `fault_specs` for what can be asked for."""

    def __init__(self, app: ASGIApp, *, world: World) -> None:
        self.app = app
        self.world = world

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        idle = scope["type"] != "http" or not self.world.faults.any()
        if idle or scope["path"].startswith(CONTROL):
            await self.app(scope, receive, send)
            return
        body = await _read(receive)
        account = self.world.keys.acts_for(Headers(scope=scope).get("poly_address", ""))
        call = CALL_OF.get((scope["method"], scope["path"]), "other")
        moment = Moment(account=account, call=call, path=scope["path"])
        answer = self._before(body, moment)
        if answer is not None:
            await answer(scope, receive, send)
            return
        late = self.world.faults.strike(Fault.LATE_ACCEPT, moment)
        if late is not None:
            await _real_sleep(late.delay_ms, LATE_MS)
        caught = Caught()
        await self.app(scope, _again(body, receive), caught.send)
        answer = await self._after(moment) if caught.status == 200 else None
        if answer is not None:
            await answer(scope, receive, send)
            return
        for message in caught.messages:
            await send(message)

    def _before(self, body: bytes, moment: Moment) -> Response | None:
        """The reply of a venue that never looked at the request."""
        faults = self.world.faults
        if faults.strike(Fault.RESTART_425, moment):
            return refusal_response(Refusal(RESTARTING, status=425))
        if faults.strike(Fault.RATE_LIMITED, moment):
            return refusal_response(Refusal("Too Many Requests", status=429, headers=self._limit_headers()))
        if faults.strike(Fault.ERROR_500_BEFORE, moment):
            return refusal_response(Refusal(INTERNAL, status=500))
        return self._refused(body, moment) if moment.call == "order" else None

    def _refused(self, body: bytes, moment: Moment) -> Response | None:
        """Refusals in the venue's words that the order did not deserve; a batch has them in its entries."""
        faults, entries = self.world.faults, _entries(body)
        if not entries:
            return None
        if faults.strike(Fault.SUCCESS_WITH_ERROR, moment):
            made = [batch_refusal(Refusal(SUCCESS_TEXT)) for _ in entries]
            return reply_json(made if body.lstrip().startswith(b"[") else made[0])
        if entries[0].get("orderType") == "FAK" and faults.strike(Fault.FAK_400_WITH_ID, moment):
            return self._refuse_all(body, [(FAK_MISSED, self._id_of(entry)) for entry in entries])
        refused = faults.strike(Fault.ORDER_REFUSED, moment)
        if refused is not None:
            text = refused.text or TIMED_OUT
            return self._refuse_all(body, [(text.replace("{id}", known), known) for known in map(self._id_of, entries)])
        if faults.strike(Fault.ALLOWANCE_REFUSED, moment):
            texts = [(_allowance_text(entry), self._id_of(entry)) for entry in entries]
            return self._refuse_all(body, texts)
        return None

    async def _after(self, moment: Moment) -> Response | None:
        """The call was carried out; what the client hears of it is another matter. None passes the true reply on."""
        faults = self.world.faults
        if faults.strike(Fault.ERROR_500_AFTER, moment):
            return refusal_response(Refusal(INTERNAL, status=500))
        if faults.strike(Fault.LOST_REPLY, moment):
            return BrokenReply()
        held = faults.strike(Fault.TIMEOUT_AFTER_ACCEPT, moment)
        if held is not None:
            await _real_sleep(held.delay_ms, HELD_REPLY_MS)
        return None

    def _refuse_all(self, body: bytes, refused: list[tuple[str, str]]) -> Response:
        refusals = [Refusal(text, status=status_of(text), order_id=known) for text, known in refused]
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


async def _real_sleep(wanted_ms: float | None, usual_ms: float) -> None:
    await asyncio.sleep((usual_ms if wanted_ms is None else wanted_ms) / 1000)


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
