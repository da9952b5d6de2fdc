"""From an opportunity to its settlement, on paper: judge, plan, fill against the later book, pay out.

A paper order meets the book as it is after the order path and the venue's hold, and may take half of what is displayed
there (quant.md 6.3). What it does not get, it does not get: there is no second try. The two fills that bracket it
(`services.replay.fills`) are recorded as evidence and move no money.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from pmarb.domain.evidence import MARK_SECONDS, Paid
from pmarb.domain.fees import FeeSchedule
from pmarb.domain.messages import Approval, ApprovedLeg, Opportunity, Rejection
from pmarb.domain.values import NANOS, ONE
from pmarb.venue.port import Intent
from services.executor.decide import Skip, plan
from services.replay import fills
from services.replay.agenda import Agenda
from services.replay.collector import Collector, Pending
from services.replay.sets import PaperSets
from services.replay.till import Till
from services.risk.decide import Limits as RiskLimits
from services.risk.decide import judge

OtherOf = Callable[[str], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Travelling:
    """An order on its way, and what is noted of it."""

    approval: Approval
    leg: ApprovedLeg
    intent: Intent
    noted: Pending

    @property
    def fees(self) -> FeeSchedule:
        return FeeSchedule(self.leg.leg.fee_rate, self.leg.leg.fee_exponent)


class PaperLedger:
    """Orders in flight, of one tape. `other_of` gives the market's other token."""

    def __init__(
        self, till: Till, *, limits: RiskLimits, other_of: OtherOf, agenda: Agenda, collector: Collector
    ) -> None:
        self._till = till
        self._limits = limits
        self._other_of = other_of
        self._agenda = agenda
        self._collector = collector
        self._sets = PaperSets(till, agenda)

    def on_opportunity(self, opportunity: Opportunity, *, now: int) -> None:
        """Judge it, plan it, send it."""
        till = self._till
        till.report.opportunities += 1
        till.decided("found", opportunity.opportunity_id)
        till.portfolio.at(now)
        till.value(now)
        verdict = judge(opportunity, till.portfolio, self._limits, now=now)
        if isinstance(verdict, Rejection):
            till.report.rejections[str(verdict.reason)] += 1
            till.decided("denied", opportunity.opportunity_id, verdict.reason)
            return
        till.portfolio.on_approval(verdict)
        till.decided("approved", opportunity.opportunity_id, verdict.legs[0].shares, verdict.legs[0].limit)
        if len(verdict.legs) > 1:
            self._sets.begin(verdict, now=now)
        else:
            self._send(opportunity, verdict, now)

    def _send(self, opportunity: Opportunity, approval: Approval, now: int) -> None:
        (leg,) = approval.legs
        book = self._till.book_of(leg.leg.token)
        intent = plan(approval, leg, book, now=now)
        if isinstance(intent, Skip):
            self._till.skipped(approval, leg, 0, str(intent.reason), now)
            return
        noted = self._collector.sent(opportunity)
        order = Travelling(approval=approval, leg=leg, intent=intent, noted=noted)
        noted.optimistic = fills.at_once(book, intent, order.fees)
        arrives = now + fills.ARRIVES_AFTER
        self._agenda.at(arrives, partial(self._match, order))
        self._agenda.at(now + fills.ARRIVES_LATE, partial(self._match_late, order))
        self._till.sent(approval, leg, 0, intent.shares, intent.limit, arrives, now=now)

    def _match(self, order: Travelling, now: int) -> None:
        order.noted.matched_at = now
        self._mark_later(order, now)
        take = fills.on_arrival(self._till.book_of(order.intent.token), order.intent, order.fees)
        if take is None:
            self._till.missed(order.approval, order.leg, 0, now)
            return
        order.noted.filled = fills.paid(take)
        self._till.bought(order.approval, order.leg, 0, take, now)

    def _match_late(self, order: Travelling, _now: int) -> None:
        if not fills.lost(order.approval.opportunity_id):
            book = self._till.book_of(order.intent.token)
            order.noted.pessimistic = fills.paid(fills.on_arrival(book, order.intent, order.fees))

    def _mark_later(self, order: Travelling, now: int) -> None:
        """Look at the middle again later, and at what the other outcome costs now."""
        other = self._other_of(order.intent.token)
        book = None if other is None else self._till.book_of(other)
        if book is not None and book.asks and book.asks[0].price < ONE:
            price = book.asks[0].price
            order.noted.opposite = Paid(shares=ONE, price=price, fee=order.fees.fee(shares=ONE, price=price))
        for seconds in MARK_SECONDS:
            if now + seconds * NANOS <= order.approval.expiry:
                self._agenda.at(now + seconds * NANOS, partial(self._mark, order, seconds))

    def _mark(self, order: Travelling, seconds: int, _now: int) -> None:
        book = self._till.book_of(order.intent.token)
        if book is not None and book.mid is not None and not book.crossed:
            order.noted.marks[seconds] = book.mid
