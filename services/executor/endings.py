"""How a set ends: whole, or with a part of it that is held or left at once. Decided once, written down, and told."""

from collections.abc import Mapping
from decimal import Decimal

from pmarb import logs
from pmarb.db.orders import Stored
from pmarb.db.pool import Unavailable
from pmarb.db.sets import Ending
from pmarb.domain.messages import Alert, AlertKind, Approval, Fill, OrderUpdate, Priority
from pmarb.domain.orders import EXIT_LEG, OrderState, is_exit
from pmarb.domain.values import ZERO
from services.executor import reports
from services.executor.books import BookSource
from services.executor.decide import Skip, SkipReason
from services.executor.posting import STALLED_AFTER, Outcome, Posting
from services.executor.sets import Held, Kept, exit_of, leaving, surplus
from services.executor.shop import Shop, Told, persistently

log = logs.get(__name__)


class SetEnder:
    """Ends sets: at once where they were sent, later where an outcome was unknown or the process died between legs.

    It never buys another leg. What an exit has sent is not sent again: it has its own number of the opportunity.
    """

    def __init__(self, shop: Shop, books: BookSource, posting: Posting) -> None:
        self._shop = shop
        self._books = books
        self._posting = posting

    async def look(self) -> None:
        """End what nobody ended. Whoever sends legs has stopped by the deadline, or was stopped and will notice."""
        margin = int(STALLED_AFTER / self._shop.clock.in_real(1.0))
        for each in await self._shop.sets.open():
            orders = {s.order.leg: s for s in await self._shop.orders.of_opportunity(each.approval.opportunity_id)}
            late = self._shop.clock.now() > each.deadline + margin
            if not late or any(_pending(stored) for stored in orders.values()):
                continue
            why = "a trade failed on chain" if each.broken else _why(orders, len(each.approval.legs))
            told = await self.end(
                each.approval, _held(orders, exits=False), left=_held(orders, exits=True), why=why, skew=_skew(orders)
            )
            await self._shop.publish(*told, *self._unsent(each.approval, orders))

    async def end(
        self,
        approval: Approval,
        held: Mapping[int, Held],
        *,
        why: str,
        skew: int,
        left: Mapping[int, Held] | None = None,
    ) -> Told:
        """Leave what is not part of a whole set, or hold it; write that down; what to tell of the exits."""
        whole, extra = surplus(held, len(approval.legs), left or {})
        planned = approval.legs[0].shares
        told: list[OrderUpdate | Fill] = []
        words: list[str] = []
        ending = Ending.COMPLETE if whole >= planned else Ending.HELD if held else Ending.NOTHING
        if ending is Ending.HELD:
            for index, shares in extra.items():
                exited, news, said = await self._leave(approval, index, shares)
                ending = Ending.EXITED if exited else ending
                told += news
                words.append(said)
        detail = "" if ending is Ending.COMPLETE else "; ".join(filter(None, (why, *words)))
        new = await persistently(
            "postgres",
            Unavailable,
            lambda: self._shop.sets.end(
                approval.opportunity_id, ending, detail, whole=whole, skew=skew, now=self._shop.clock.now()
            ),
        )
        if new:
            await self._tell(approval, ending, detail, whole=whole, skew=skew)
        return told

    async def _leave(self, approval: Approval, index: int, shares: Decimal) -> tuple[bool, Told, str]:
        """(whether an exit may have matched, what to tell, in words)."""
        leg = approval.legs[index]
        what = f"{shares.normalize():f} {leg.leg.outcome} of {leg.leg.slug}"
        if self._shop.braked.is_set():
            return False, (), f"held {what}: trading is stopped"
        book = await self._books.book(leg.leg.other_token)
        choice = leaving(leg, shares, book, now=self._shop.clock.now())
        if isinstance(choice, Kept):
            return False, (), f"held {what}: {choice.why}"
        placed = await self._posting.place(
            approval, EXIT_LEG + index, exit_of(leg, choice), choice, tick=book.tick if book else leg.leg.tick
        )
        if placed.outcome is Outcome.MISSED:
            return False, placed.told, f"held {what}: the exit missed ({placed.cause})"
        got = "outcome not known yet" if placed.outcome is Outcome.UNKNOWN else f"{placed.shares.normalize():f} bought"
        return True, placed.told, f"left {what} by {choice.shares:f} {leg.leg.other_outcome} at {choice.limit}: {got}"

    async def _tell(self, approval: Approval, ending: Ending, detail: str, *, whole: Decimal, skew: int) -> None:
        log.info(
            "set_ended",
            opportunity_id=approval.opportunity_id,
            slug=approval.slug,
            ending=ending.value,
            whole=str(whole),
            skew_ms=skew // 1_000_000,
            worst_loss=str(approval.worst_loss),
            detail=detail or None,
        )
        if ending not in (Ending.HELD, Ending.EXITED):
            return
        now = self._shop.clock.now()
        await self._shop.publish(
            Alert(
                kind=AlertKind.LEG_MISSED,
                priority=Priority.HIGH,
                dedupe_key=f"set:{approval.opportunity_id}",
                title=f"A set of {len(approval.legs)} legs was not completed",
                body=f"{detail}. At most ${approval.worst_loss:f} can be lost, as stated before the first leg. "
                f"`pm-arb trace {approval.opportunity_id}` tells more.",
                ts_event=now,
                ts_init=now,
            )
        )

    def _unsent(self, approval: Approval, orders: Mapping[int, Stored]) -> Told:
        """Legs that nobody will send any more reserve nothing."""
        skip, now = Skip(reason=SkipReason.SET_BROKEN), self._shop.clock.now()
        legs = enumerate(approval.legs)
        return [reports.skipped(approval, index, leg, skip, now=now) for index, leg in legs if index not in orders]


def _pending(stored: Stored) -> bool:
    """Whether what it brought is not known yet."""
    order = stored.order
    return order.state.unsettled or (order.state is OrderState.MATCHED and not order.trades)


def _held(orders: Mapping[int, Stored], *, exits: bool) -> dict[int, Held]:
    """What each leg brought, or, by the same numbers, each leg's exit."""
    found = {number: stored.order for number, stored in orders.items() if is_exit(number) is exits}
    return {
        number % EXIT_LEG: Held(shares=order.filled_shares, paid=order.spent)
        for number, order in found.items()
        if order.filled_shares > ZERO
    }


def _skew(orders: Mapping[int, Stored]) -> int:
    """Nanoseconds (venue) between the writing of the first leg and of the last."""
    written = [stored.context.created_at for number, stored in orders.items() if not is_exit(number)]
    return max(written) - min(written) if written else 0


def _why(orders: Mapping[int, Stored], legs: int) -> str:
    """What is wrong with the legs that were sent, or that the rest was not."""
    causes = [
        f"leg {number} {stored.order.state.value}: {stored.order.cause}".rstrip(": ")
        for number, stored in sorted(orders.items())
        if not is_exit(number) and stored.order.filled_shares <= ZERO
    ]
    return "; ".join(causes) or f"only {sum(not is_exit(number) for number in orders)} of {legs} legs were sent"
