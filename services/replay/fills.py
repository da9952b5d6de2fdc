"""What a paper order gets, three times: at once and in full, after its path and the hold, and in the worst case.

Only the middle one is a fill (quant.md 6.3): the others bracket it, and the gap between them is what a wrong idea of
the venue would be worth.
"""

import hashlib
from decimal import Decimal
from typing import Final

from pmarb.domain.book import Book, Level, Take, walk
from pmarb.domain.evidence import Paid
from pmarb.domain.fees import FeeSchedule
from pmarb.domain.values import Side
from pmarb.venue.port import Intent

ORDER_PATH_NS: Final = 230_000_000
SLOW_PATH_NS: Final = 380_000_000
"""The order path's 95th percentile (defaults.json)."""
HOLD_NS: Final = 150_000_000
SEEN_AFTER: Final = 60_000_000
"""What the venue's book held when the order was matched reaches us, and a tape, this much later (quant.md 24)."""
ARRIVES_AFTER: Final = ORDER_PATH_NS + HOLD_NS + SEEN_AFTER
ARRIVES_LATE: Final = SLOW_PATH_NS + HOLD_NS + SEEN_AFTER
HAIRCUT: Final = Decimal("0.5")
LOST_OF_TEN: Final = 3


def at_once(book: Book | None, intent: Intent, fees: FeeSchedule) -> Paid | None:
    """The optimist's fill: the book of the decision, all that is displayed."""
    return (
        None
        if book is None
        else paid(walk(book.asks, side=Side.BUY, fees=fees, shares=intent.shares, limit=intent.limit))
    )


def on_arrival(book: Book | None, intent: Intent, fees: FeeSchedule) -> Take | None:
    """Against the book as it is on arrival, half of what is displayed. What it does not get, it does not get."""
    if book is None:
        return None
    levels = tuple(Level(price, size * HAIRCUT) for price, size in book.asks)
    return walk(levels, side=Side.BUY, fees=fees, shares=intent.shares, limit=intent.limit)


def lost(opportunity_id: str) -> bool:
    """Whether the pessimist loses this fill: three of ten, the same ones in every run."""
    return int.from_bytes(hashlib.blake2b(opportunity_id.encode(), digest_size=4).digest(), "big") % 10 < LOST_OF_TEN


def paid(take: Take | None) -> Paid | None:
    return None if take is None else Paid(shares=take.shares, price=take.vwap, fee=take.fee)
