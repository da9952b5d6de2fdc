"""Sets on paper, by the executor's own rules: the thinnest leg first and whole, the others while it pays.

The next leg goes once the one before was answered, after the order path and the hold of each. A part is left or held.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Final

from pmarb.domain.book import Take
from pmarb.domain.messages import Approval, ApprovedLeg
from pmarb.domain.orders import EXIT_LEG, OrderType
from pmarb.domain.values import NANOS
from pmarb.venue.port import Intent
from services.executor.decide import Skip, SkipReason, fees_of
from services.executor.sets import Held, Kept, exit_of, further, leaving, opening, sequence, surplus
from services.replay import fills
from services.replay.agenda import Agenda
from services.replay.till import Till

LONGEST: Final = 2 * NANOS
"""No leg leaves later than this after the first (MAX_LEG_SKEW_MS)."""


@dataclass(slots=True, kw_only=True)
class Begun:
    """A set on its way: the legs still to be sent, in their order, and what those before have brought."""

    approval: Approval
    order: tuple[int, ...]
    deadline: int
    held: dict[int, Held] = field(default_factory=dict)


class PaperSets:
    """Carries out approvals of several legs. How each ended is counted in the report."""

    def __init__(self, till: Till, agenda: Agenda) -> None:
        self._till = till
        self._agenda = agenda

    def begin(self, approval: Approval, *, now: int) -> None:
        """Send the first leg, or none."""
        books = [self._till.book_of(leg.leg.token) for leg in approval.legs]
        order = sequence(approval, books, now=now)
        if isinstance(order, Skip):
            for number, leg in enumerate(approval.legs):
                self._till.skipped(approval, leg, number, str(order.reason), now)
            self._ended("not_begun", approval)
            return
        self._next(Begun(approval=approval, order=order, deadline=now + LONGEST), now)

    def _next(self, begun: Begun, now: int) -> None:
        """Send the first of the legs that are left."""
        index, approval = begun.order[0], begun.approval
        leg = approval.legs[index]
        book = self._till.book_of(leg.leg.token)
        planned: Intent | Skip
        if not begun.held:
            assert book is not None  # `sequence` has seen it
            planned = opening(leg, book)
        elif now > begun.deadline:
            planned = Skip(reason=SkipReason.SET_LATE)
        else:
            planned = further(approval, index, begun.held.values(), begun.order[1:], book, now=now)
        if isinstance(planned, Skip):
            self._till.skipped(approval, leg, index, str(planned.reason), now)
            self._break(begun, now)
            return
        arrives = now + fills.ARRIVES_AFTER
        self._till.sent(approval, leg, index, planned.shares, planned.limit, arrives, now=now)
        self._agenda.at(arrives, partial(self._answer, begun, planned))

    def _answer(self, begun: Begun, intent: Intent, now: int) -> None:
        index, approval = begun.order[0], begun.approval
        leg = approval.legs[index]
        take = self._taken(leg, intent)
        if take is None:
            self._till.missed(approval, leg, index, now)
            self._break(begun, now)
            return
        self._till.bought(approval, leg, index, take, now)
        begun.held[index] = Held(shares=take.shares, paid=take.all_in)
        begun.order = begun.order[1:]
        if begun.order:
            self._next(begun, now)
        else:
            self._end(begun, now)

    def _break(self, begun: Begun, now: int) -> None:
        """A leg was missed: those after it are not sent."""
        for index in begun.order[1:]:
            self._till.dropped(begun.approval, begun.approval.legs[index], index, now)
        self._end(begun, now)

    def _end(self, begun: Begun, now: int) -> None:
        """Leave what is not part of a whole set, or hold it."""
        approval = begun.approval
        whole, extra = surplus(begun.held, len(approval.legs), {})
        if not begun.held:
            self._ended("nothing", approval)
        elif whole >= approval.legs[0].shares:
            self._ended("complete", approval)
        else:
            exits = [self._leave(approval, index, shares, now) for index, shares in extra.items()]
            self._ended("exited" if any(exits) else "held", approval)

    def _leave(self, approval: Approval, index: int, shares: Decimal, now: int) -> bool:
        """Buy the other outcome, if that is worth it; whether it is."""
        leg = approval.legs[index]
        choice = leaving(leg, shares, self._till.book_of(leg.leg.other_token), now=now)
        if isinstance(choice, Kept):
            return False
        number, other, arrives = EXIT_LEG + index, exit_of(leg, choice), now + fills.ARRIVES_AFTER
        self._till.sent(approval, other, number, choice.shares, choice.limit, arrives, now=now)
        self._agenda.at(arrives, partial(self._left, approval, other, number, choice))
        return True

    def _left(self, approval: Approval, other: ApprovedLeg, number: int, intent: Intent, now: int) -> None:
        take = self._taken(other, intent)
        if take is None:
            self._till.missed(approval, other, number, now)
        else:
            self._till.bought(approval, other, number, take, now)

    def _taken(self, leg: ApprovedLeg, intent: Intent) -> Take | None:
        take = fills.on_arrival(self._till.book_of(intent.token), intent, fees_of(leg))
        if take is not None and intent.order_type is OrderType.FOK and take.shares < intent.shares:
            return None
        return take

    def _ended(self, how: str, approval: Approval) -> None:
        self._till.report.sets[how] += 1
        self._till.decided("set", approval.opportunity_id, how)
