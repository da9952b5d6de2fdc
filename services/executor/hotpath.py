"""From an approval to the wire: plan, sign, write, send, write, publish, acknowledge. In this order, always."""

from pmarb.domain.messages import Approval
from services.executor.books import BookSource
from services.executor.decide import Skip, plan
from services.executor.posting import Posting
from services.executor.setpath import SetPath
from services.executor.shop import Shop, Told


class HotPath:
    """Carries out approvals. An (opportunity, leg) is sent at most once, whatever is delivered again."""

    def __init__(self, shop: Shop, books: BookSource, posting: Posting, sets: SetPath) -> None:
        self._shop = shop
        self._books = books
        self._posting = posting
        self._sets = sets

    async def carry_out(self, approval: Approval) -> Told:
        """Send what was approved, or not; what to tell."""
        if len(approval.legs) != 1:
            return await self._sets.carry_out(approval)
        (leg,) = approval.legs
        paused = self._posting.paused()
        if paused is not None:
            return (await self._posting.skip(approval, 0, leg, paused)).told
        self._shop.orders.wake()
        book = await self._books.book(leg.leg.token)
        planned = plan(approval, leg, book, now=self._shop.clock.now())
        if isinstance(planned, Skip):
            return (await self._posting.skip(approval, 0, leg, planned)).told
        tick = book.tick if book else leg.leg.tick
        return (await self._posting.place(approval, 0, leg, planned, tick=tick)).told
