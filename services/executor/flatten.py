"""From "stop" to a receipt: what was open, what was cancelled, and whether the venue confirms that nothing is."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from pmarb import logs
from pmarb.clock import Clock
from pmarb.db.receipts import Receipt
from pmarb.domain.values import NANOS
from pmarb.venue.port import TradingVenue, VenueUnavailable

log = logs.get(__name__)

GIVE_UP_AFTER: Final = 20.0  # Seconds, real: within the grace period of a container
ANSWERS_WITHIN: Final = 1.5
"""Seconds (real) that orders on their way to the venue are waited for; then the receipt names them as not known."""

POLL_EVERY: Final = 0.05
LEFT_ALONE: Final = "left the book by itself"
CANCELLED: Final = "cancelled"

Unanswered = Callable[[], Awaitable[Sequence[str]]]
"""Orders that may be on their way to the venue at this moment."""


async def nothing_on_its_way() -> Sequence[str]:
    return ()


async def flatten(
    venue: TradingVenue,
    clock: Clock,
    *,
    who: str,
    why: str,
    unanswered: Unanswered = nothing_on_its_way,
    give_up: float = GIVE_UP_AFTER,
) -> Receipt:
    """Cancel everything and look until the venue lists no open order, or until time is up.

    Orders that the venue holds for its taker delay cannot be cancelled; they are waited for. So are orders on their
    way: a list read while one travels proves nothing about it, so what travels is asked for before the list.
    """
    started = clock.real()
    before: list[str] | None = None
    after: list[str] = []
    refused: dict[str, str] = {}
    trouble, verified = "nothing was read from the venue", 0
    while not verified and clock.real() - started < give_up * NANOS:
        try:
            travelling = await unanswered()
            after = [order.order_hash for order in await venue.open_orders()]
            before = after if before is None else [*before, *(order for order in after if order not in before)]
            trouble = f"{len(after)} orders still open"
            if not after and (not travelling or clock.real() - started >= ANSWERS_WITHIN * NANOS):
                verified, trouble = clock.real(), ""
                break
            if after:
                refused |= await venue.cancel_all()
        except VenueUnavailable as error:
            trouble = f"venue unavailable: {error}"
        await asyncio.sleep(POLL_EVERY)
    gone = [order for order in before or () if order not in after]
    return Receipt(
        who=who,
        why=why,
        open_before=before or (),
        cancelled={order: LEFT_ALONE if order in refused else CANCELLED for order in gone},
        open_after=after,
        unverified=trouble,
        started_real=started,
        verified_real=verified,
        ts_event=clock.now(),
    )


def log_receipt(receipt: Receipt) -> None:
    """The one line a person looks for after a kill."""
    log.info(
        "kill_receipt",
        who=receipt.who,
        why=receipt.why,
        open_before=len(receipt.open_before),
        cancelled=len(receipt.cancelled),
        open_after=len(receipt.open_after),
        verified_ms=None if receipt.verified_ms is None else round(receipt.verified_ms, 1),
        unverified=receipt.unverified or None,
    )
