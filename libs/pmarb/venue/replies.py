"""What the answer to a POST proves. Refused only where it proves that nothing was placed (venue.md 3.6, 3.7)."""

from decimal import Decimal
from typing import Final

from polymarket.errors import RateLimitError, RequestRejectedError
from polymarket.models.clob.order_response import AcceptedOrder, OrderResponse, RejectedOrder

from pmarb.domain.orders import OrderState
from pmarb.domain.values import Side
from pmarb.venue.port import PostAccepted, PostIndeterminate, PostPaused, PostRefused, PostResult, Signed

NO_MATCH: Final = "no_match: "
"""Prefix of the refusal of a FAK or FOK that met nothing: the market moved, nothing is wrong."""

_STATES: Final = {"live": OrderState.LIVE, "matched": OrderState.MATCHED, "delayed": OrderState.DELAYED}
_REFUSING_STATUS: Final = frozenset((400, 401, 403, 404))
_RESTARTING: Final = 425
_NO_MATCH_TEXTS: Final = (
    "no orders found to match",
    "couldn't be fully filled",
    "there are no matching orders",
    "fok orders are filled or killed",
)
_NEVER_REACHED_THE_BOOK: Final = ("order timed out",)
_PAUSED_TEXTS: Final = (
    "trading is currently disabled",
    "cancel-only",
    "cancel only",
    "post-only mode",
    "post only mode",
)
_PROVES_NOTHING: Final = ("duplicated", "match delayed")
_REFUSING_TEXTS: Final = (
    "invalid",
    "not enough balance",
    "lower than the minimum",
    "minimum tick size",
    "crosses",
    "banned",
    "closed only",
    "too many orders",
    "canceled in the ctf exchange",
    "not found",
    "no orderbook exists",
    "rounding issues",
    "price discrepancy",
    "not yet ready",
    "rate limit",
)
"""What the venue writes into a reply of status 200 that took nothing (venue.md 3.7); other words prove nothing."""

_NO_REASON: Final = "Unknown order failure"


def answered(reply: OrderResponse, signed: Signed, *, sent_real: int) -> PostResult:
    """A reply with status 200."""
    if isinstance(reply, AcceptedOrder):
        return _accepted(reply, signed, sent_real)
    return _rejected(reply, signed, sent_real)


def _accepted(reply: AcceptedOrder, signed: Signed, sent_real: int) -> PostResult:
    if reply.order_id.lower() != signed.order_hash.lower():
        return PostIndeterminate(detail=f"venue called the order {reply.order_id}", sent_real=sent_real)
    usd, shares = reply.making_amount, reply.taking_amount
    if signed.intent.side is Side.SELL:
        usd, shares = shares, usd
    matched = reply.status == "matched" and 0 < usd < shares  # Odd amounts: the trade itself must be asked for
    return PostAccepted(
        state=_STATES[reply.status],
        shares=shares if matched else Decimal(0),
        usd=usd if matched else Decimal(0),
        trade_ids=reply.trade_ids,
        sent_real=sent_real,
    )


def _rejected(reply: RejectedOrder, signed: Signed, sent_real: int) -> PostResult:
    if reply.code == "unmatched":  # Accepted, but nothing met it yet: a resting type rests, the others must be verified
        if signed.intent.order_type.rests:
            return PostAccepted(
                state=OrderState.LIVE, shares=Decimal(0), usd=Decimal(0), trade_ids=(), sent_real=sent_real
            )
        return PostIndeterminate(detail="venue said unmatched", sent_real=sent_real)
    if reply.message == _NO_REASON:
        return PostIndeterminate(detail="venue gave neither an order nor a reason", sent_real=sent_real)
    if not _refuses(reply.message):
        return PostIndeterminate(detail=f"venue said: {reply.message}", sent_real=sent_real)
    return refusal(reply.message, sent_real=sent_real)


def _refuses(text: str) -> bool:
    known = (*_REFUSING_TEXTS, *_NO_MATCH_TEXTS, *_NEVER_REACHED_THE_BOOK, *_PAUSED_TEXTS)
    return any(each in text.lower() for each in known)


def refused(error: RequestRejectedError | RateLimitError, *, sent_real: int) -> PostResult:
    """A reply with any other status."""
    text = str(error)
    if isinstance(error, RateLimitError):
        return PostRefused(reason=f"rate limited: {text}", sent_real=sent_real, retry_after_s=error.retry_after or 0.0)
    wait = error.retry_after or 0.0
    if error.status == _RESTARTING or (error.status == 503 and _paused(text, error.restriction)):
        return PostPaused(reason=text, sent_real=sent_real, retry_after_s=wait)
    if error.status in _REFUSING_STATUS or (error.status == 500 and _never_matched(text)):
        return refusal(text, sent_real=sent_real, retry_after_s=wait)
    return PostIndeterminate(detail=f"HTTP {error.status}: {text}", sent_real=sent_real)


def silent(detail: str, *, sent_real: int) -> PostResult:
    """No reply that could be read. Only an order that never left is certainly not there."""
    if not sent_real:
        return PostPaused(reason=f"not reached: {detail}", sent_real=0)
    return PostIndeterminate(detail=detail, sent_real=sent_real)


def _paused(text: str, restriction: object | None) -> bool:
    return restriction is not None or any(known in text.lower() for known in _PAUSED_TEXTS)


def _never_matched(text: str) -> bool:
    return any(known in text.lower() for known in (*_NEVER_REACHED_THE_BOOK, *_NO_MATCH_TEXTS))


def refusal(text: str, *, sent_real: int, retry_after_s: float = 0.0) -> PostResult:
    """A refusal by its text; a duplicate is none, for then the order is there."""
    lowered = text.lower()
    if any(known in lowered for known in _PROVES_NOTHING):
        return PostIndeterminate(detail=text, sent_real=sent_real)
    if any(known in lowered for known in _PAUSED_TEXTS):
        return PostPaused(reason=text, sent_real=sent_real, retry_after_s=retry_after_s)
    prefix = NO_MATCH if any(known in lowered for known in _NO_MATCH_TEXTS) else ""
    return PostRefused(reason=prefix + text, sent_real=sent_real, retry_after_s=retry_after_s)
