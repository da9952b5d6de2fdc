"""From the approval of a set to the wire: the thinnest leg first, whole or not at all, then the others while it pays.

A leg that misses ends the set at once: no other is sent. A leg whose outcome nobody knows stops it where it is, with
all reservations, until the reconciler knows; the rest is never bought later. So does a death between two legs.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from pmarb import logs
from pmarb.db.pool import Unavailable
from pmarb.domain.book import Book
from pmarb.domain.messages import Approval, Fill, OrderUpdate
from pmarb.domain.values import NANOS
from pmarb.venue.port import Intent, VenueUnavailable
from services.executor import reports
from services.executor.books import BookSource
from services.executor.decide import Skip, SkipReason
from services.executor.endings import SetEnder
from services.executor.posting import Outcome, Placed, Posting
from services.executor.sets import Held, further, opening, sequence
from services.executor.shop import Shop, Told, persistently

log = logs.get(__name__)

STILL_RESERVED: Final = 4 * NANOS
"""Venue time for which a set that began in time may go on after its approval has died: risk keeps what is reserved for
five seconds more, and to leave what was bought would cost more than to complete it."""


class SetPath:
    """Carries out approvals of several legs. `max_skew` (venue nanoseconds) bounds the time from the first to the last.

    Each leg is sent at most once, and none of a set that was begun before.
    """

    def __init__(self, shop: Shop, books: BookSource, posting: Posting, ender: SetEnder, *, max_skew: int) -> None:
        self._shop = shop
        self._books = books
        self._posting = posting
        self._ender = ender
        self._max_skew = max_skew

    async def carry_out(self, approval: Approval) -> Told:
        """Send the legs, or not; what to tell."""
        order, books = await self._ready(approval)
        now = self._shop.clock.now()
        deadline = min(now + self._max_skew, approval.expires_at + STILL_RESERVED)
        if isinstance(order, Skip):
            return await self._none(approval, order)
        begun = await persistently(
            "postgres", Unavailable, lambda: self._shop.sets.begin(approval, deadline=deadline, now=now)
        )
        if not begun:  # Delivered again: how its legs stand is all there is to say, `SetEnder` ends it
            known = await persistently(
                "postgres", Unavailable, lambda: self._shop.orders.of_opportunity(approval.opportunity_id)
            )
            return [message for stored in known for message in reports.standing(stored, now=now)]
        log.info(
            "set_begun",
            opportunity_id=approval.opportunity_id,
            slug=approval.slug,
            legs=len(approval.legs),
            shares=str(approval.legs[0].shares),
            worst_loss=str(approval.worst_loss),
        )
        return await self._send(approval, order, books, deadline)

    async def _ready(self, approval: Approval) -> tuple[tuple[int, ...] | Skip, Sequence[Book | None]]:
        """The order of the legs, with the books it was found on."""
        now = self._shop.clock.now()
        if now > approval.expires_at:
            return Skip(reason=SkipReason.EXPIRED, detail=f"late_ms={(now - approval.expires_at) // 1_000_000}"), ()
        paused = self._posting.paused()
        if paused is not None:
            return paused, ()
        tokens = [token for leg in approval.legs for token in (leg.leg.token, leg.leg.other_token)]
        try:
            await self._shop.venue.prepare(tokens)  # Before the first leg: between two of them nothing is looked up
        except VenueUnavailable as error:
            return Skip(reason=SkipReason.UNSIGNABLE, detail=str(error)), ()
        books = await asyncio.gather(*(self._books.book(leg.leg.token) for leg in approval.legs))
        return sequence(approval, books, now=self._shop.clock.now()), books

    async def _send(
        self, approval: Approval, order: Sequence[int], books: Sequence[Book | None], deadline: int
    ) -> Told:
        held: dict[int, Held] = {}
        told: list[OrderUpdate | Fill] = []
        first = last = self._shop.clock.now()
        for step, index in enumerate(order):
            now = self._shop.clock.now()
            placed = await self._leg(approval, order[step:], held, books[index], deadline)
            told += placed.told
            if placed.outcome is Outcome.UNKNOWN:
                log.warning(
                    "set_stopped", opportunity_id=approval.opportunity_id, leg=index, cause=placed.cause, held=len(held)
                )
                return told
            if placed.outcome is Outcome.MISSED:
                told += self._dropped(approval, order[step + 1 :])
                why = f"leg {index} ({approval.legs[index].leg.outcome} of {approval.legs[index].leg.slug}) missed"
                return [*told, *await self._ender.end(approval, held, why=f"{why}: {placed.cause}", skew=last - first)]
            held[index], last = Held(shares=placed.shares, paid=placed.paid), now
        return [*told, *await self._ender.end(approval, held, why="", skew=last - first)]

    async def _leg(
        self, approval: Approval, order: Sequence[int], held: dict[int, Held], book: Book | None, deadline: int
    ) -> Placed:
        """Send the first leg of `order`; the others come later."""
        index, leg = order[0], approval.legs[order[0]]
        planned: Intent | Skip
        if self._shop.braked.is_set():
            planned = Skip(reason=SkipReason.HALTED)
        elif held:
            book = await self._books.book(leg.leg.token)
            now = self._shop.clock.now()
            planned = further(approval, index, held.values(), order[1:], book, now=now)
            if now > deadline:
                planned = Skip(reason=SkipReason.SET_LATE, detail=f"late_ms={(now - deadline) // 1_000_000}")
        else:
            assert book is not None  # `sequence` has seen it
            planned = opening(leg, book)
        if isinstance(planned, Skip):
            return await self._posting.skip(approval, index, leg, planned)
        return await self._posting.place(approval, index, leg, planned, tick=leg.leg.tick)

    def _dropped(self, approval: Approval, order: Sequence[int]) -> list[OrderUpdate]:
        """Legs that are not sent any more."""
        skip, now = Skip(reason=SkipReason.SET_BROKEN), self._shop.clock.now()
        return [reports.skipped(approval, index, approval.legs[index], skip, now=now) for index in order]

    async def _none(self, approval: Approval, skip: Skip) -> Told:
        """Nothing was sent now; what was sent before is told as it stands."""
        told: list[OrderUpdate | Fill] = []
        for index, leg in enumerate(approval.legs):
            told += (await self._posting.skip(approval, index, leg, skip)).told
        return told
