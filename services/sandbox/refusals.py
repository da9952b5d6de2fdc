"""Refusals: the venue's answer to a request that it will not carry out (venue.md 3.7)."""

from __future__ import annotations

from collections.abc import Mapping


class Refusal(Exception):
    """An HTTP error with the venue's text. `order_id` is set where the refused order is known."""

    def __init__(
        self,
        text: str,
        *,
        status: int = 400,
        code: str | None = None,
        order_id: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(text)
        self.text = text
        self.status = status
        self.code = code
        self.order_id = order_id
        self.headers = dict(headers or {})

    def body(self) -> dict[str, object]:
        body: dict[str, object] = {"error": self.text}
        if self.code:
            body["code"] = self.code
        if self.order_id:
            body["orderID"] = self.order_id
        if "Retry-After" in self.headers:
            body["retry_after_seconds"] = int(self.headers["Retry-After"])
        return body


INVALID_PAYLOAD = "Invalid order payload"
UNAUTHORIZED = "Unauthorized/Invalid api key"
INVALID_L1 = "Invalid L1 Request headers"
NOT_OWNER = "the order owner has to be the owner of the API KEY"
NOT_SIGNER = "the order signer address has to be the address of the API KEY"
INVALID_SIGNATURE = "invalid signature"
INVALID_VERSION = "invalid order version"
NOT_ALLOWED = "maker address not allowed, please use the deposit wallet flow"
MARKET_NOT_FOUND = "market not found"
NO_ORDERBOOK = "No orderbook exists for the requested token id"
ALREADY_GONE = "already canceled or matched"
STILL_HELD = "order match delayed due to market conditions"
RESTARTING = "engine restarting"
CANCEL_ONLY = "Trading is currently cancel-only. New orders are not accepted, but cancels are allowed."
POST_ONLY = "Trading is currently in post-only mode. Only post-only orders are accepted."
DISABLED = "Trading is currently disabled. Check polymarket.com for updates"
TIMED_OUT = "order timed out"
INTERNAL = "internal server error"
NOT_READY = "the market is not yet ready to process new orders"
# Errors of the matching engine itself: nothing was placed, the same order may be sent again (venue.md 3.7).
ENGINE_ERRORS = (
    TIMED_OUT,
    "there are no matching orders",
    "FOK orders are filled or killed",
    "the trade contains rounding issues",
    "price discrepancy with the worst maker order",
)


def duplicated(order_id: str) -> Refusal:
    return Refusal(f"order {order_id} is invalid. Duplicated.", order_id=order_id)


def status_of(text: str) -> int:
    """The HTTP status that the venue gives a text of its own."""
    if text in ENGINE_ERRORS:
        return 500
    if text in (CANCEL_ONLY, POST_ONLY, DISABLED):
        return 503
    lowered = text.lower()
    return 404 if "not found" in lowered else 401 if "unauthorized" in lowered else 400
