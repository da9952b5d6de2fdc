"""From an opportunity to its settlement, on paper: judge, plan, fill against the later book, pay out.

A paper order meets the book as it is after the order path and the venue's hold, and may take half of what is displayed
there (quant.md 6.3). What it does not get, it does not get: there is no second try. The two fills that bracket it
(`services.replay.fills`) are recorded as evidence and move no money.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial

from pmarb.domain.book import Book, Take
from pmarb.domain.evidence import MARK_SECONDS, Paid
from pmarb.domain.fees import FeeSchedule
from pmarb.domain.messages import Approval, ApprovedLeg, Fill, Marks, Opportunity, OrderUpdate, Rejection, Settlement
from pmarb.domain.orders import FillStatus, OrderState
from pmarb.domain.values import NANOS, ONE, ZERO
from pmarb.venue.port import Intent
from services.executor.decide import Skip as PlanSkip
from services.executor.decide import plan
from services.replay import fills
from services.replay.agenda import Agenda
from services.replay.collector import Collector, Pending
from services.replay.report import TapeReport
from services.risk.decide import Limits as RiskLimits
from services.risk.decide import Portfolio, judge

BookOf = Callable[[str], Book | None]
OtherOf = Callable[[str], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Travelling:
    """An order on its way, and what is noted of it."""

    number: int
    approval: Approval
    leg: ApprovedLeg
    intent: Intent
    noted: Pending

    @property
    def fees(self) -> FeeSchedule:
        return FeeSchedule(self.leg.leg.fee_rate, self.leg.leg.fee_exponent)


@dataclass(slots=True, kw_only=True)
class Held:
    """Shares of one token and what they cost."""

    slug: str
    market: str
    outcome: str
    shares: Decimal = ZERO
    cost: Decimal = ZERO
    fees: Decimal = ZERO


class PaperLedger:
    """Orders in flight and shares held, of one tape.

    `book_of` gives a token's book as it is at that moment, `other_of` the market's other token.
    """

    def __init__(
        self,
        *,
        bankroll: Decimal,
        limits: RiskLimits,
        report: TapeReport,
        book_of: BookOf,
        other_of: OtherOf,
        agenda: Agenda,
        collector: Collector,
    ) -> None:
        self.portfolio = Portfolio(capital=bankroll)
        self.held: dict[str, Held] = {}
        self._limits = limits
        self._report = report
        self._book_of = book_of
        self._other_of = other_of
        self._agenda = agenda
        self._collector = collector
        self._hash = hashlib.sha256()
        self._number = 0

    def decided(self, *what: object) -> None:
        """Add a decision to the hash."""
        self._hash.update("|".join(map(str, what)).encode() + b"\n")

    def digest(self) -> str:
        return self._hash.hexdigest()

    def on_opportunity(self, opportunity: Opportunity, *, now: int) -> None:
        """Judge it, plan it, send it."""
        self._report.opportunities += 1
        self.portfolio.at(now)
        self._value(now)
        verdict = judge(opportunity, self.portfolio, self._limits, now=now)
        if isinstance(verdict, Rejection):
            self._report.rejections[str(verdict.reason)] += 1
            self.decided("denied", opportunity.opportunity_id, verdict.reason)
            return
        self.portfolio.on_approval(verdict)
        self.decided("approved", opportunity.opportunity_id, verdict.legs[0].shares, verdict.legs[0].limit)
        for index, leg in enumerate(verdict.legs):
            self._send(opportunity, verdict, leg, index, now)

    def _value(self, now: int) -> None:
        """What is held at the bids of this moment."""
        books = {token: self._book_of(token) for token in self.held}
        bids = {token: book.bids[0].price if book.bids else ZERO for token, book in books.items() if book is not None}
        self.portfolio.on_marks(Marks(bids=bids, ts_event=now, ts_init=now))

    def _send(self, opportunity: Opportunity, approval: Approval, leg: ApprovedLeg, index: int, now: int) -> None:
        book = self._book_of(leg.leg.token)
        intent = plan(approval, leg, book, now=now)
        if isinstance(intent, PlanSkip):
            self._report.plan_skips[str(intent.reason)] += 1
            self.decided("skipped", approval.opportunity_id, intent.reason)
            self.portfolio.on_order(_update(approval, leg, index, OrderState.CANCELLED, ZERO, now))
            return
        self._report.orders += 1
        self._number += 1
        noted = self._collector.sent(opportunity)
        order = Travelling(number=self._number, approval=approval, leg=leg, intent=intent, noted=noted)
        noted.optimistic = fills.at_once(book, intent, order.fees)
        arrives = now + fills.ARRIVES_AFTER
        self._agenda.at(arrives, partial(self._match, order))
        self._agenda.at(now + fills.ARRIVES_LATE, partial(self._match_late, order))
        self.decided("sent", approval.opportunity_id, intent.shares, intent.limit, arrives)
        self.portfolio.on_order(_update(approval, leg, index, OrderState.DELAYED, ZERO, now))

    def _match(self, order: Travelling, now: int) -> None:
        order.noted.matched_at = now
        self._mark_later(order, now)
        take = fills.on_arrival(self._book_of(order.intent.token), order.intent, order.fees)
        if take is None:
            self.decided("unfilled", order.approval.opportunity_id)
            self.portfolio.on_order(_update(order.approval, order.leg, 0, OrderState.CANCELLED, ZERO, now))
            return
        order.noted.filled = fills.paid(take)
        self._report.fills += 1
        self._report.fees += take.fee
        self.decided("filled", order.approval.opportunity_id, take.shares, take.vwap, take.fee)
        leg = order.leg.leg
        held = self.held.setdefault(leg.token, Held(slug=order.approval.slug, market=leg.market, outcome=leg.outcome))
        held.shares += take.shares
        held.cost += take.all_in
        held.fees += take.fee
        self.portfolio.on_order(_update(order.approval, order.leg, 0, OrderState.FILLED, take.shares, now))
        self.portfolio.on_fill(_fill(order, take, now))

    def _match_late(self, order: Travelling, _now: int) -> None:
        if not fills.lost(order.approval.opportunity_id):
            book = self._book_of(order.intent.token)
            order.noted.pessimistic = fills.paid(fills.on_arrival(book, order.intent, order.fees))

    def _mark_later(self, order: Travelling, now: int) -> None:
        """Look at the middle again later, and at what the other outcome costs now."""
        other = self._other_of(order.intent.token)
        book = None if other is None else self._book_of(other)
        if book is not None and book.asks and book.asks[0].price < ONE:
            price = book.asks[0].price
            order.noted.opposite = Paid(shares=ONE, price=price, fee=order.fees.fee(shares=ONE, price=price))
        for seconds in MARK_SECONDS:
            if now + seconds * NANOS <= order.approval.expiry:
                self._agenda.at(now + seconds * NANOS, partial(self._mark, order, seconds))

    def _mark(self, order: Travelling, seconds: int, _now: int) -> None:
        book = self._book_of(order.intent.token)
        if book is not None and book.mid is not None and not book.crossed:
            order.noted.marks[seconds] = book.mid

    def settle(self, payouts: Mapping[str, Decimal], *, now: int) -> None:
        """The market of these tokens is decided; `payouts` is dollars a share."""
        for token in sorted(payouts):
            held = self.held.pop(token, None)
            if held is None:
                continue
            payout = held.shares * payouts[token]
            pnl = payout - held.cost
            self._report.settled += 1
            self._report.pnl += pnl
            self.decided("settled", token, payout, pnl)
            self.portfolio.on_settlement(_settlement(token, held, payout, pnl, self.portfolio.equity + pnl, now))


def _update(
    approval: Approval, leg: ApprovedLeg, index: int, state: OrderState, filled: Decimal, now: int
) -> OrderUpdate:
    return OrderUpdate(
        opportunity_id=approval.opportunity_id,
        leg=index,
        order_hash=f"paper:{approval.opportunity_id}:{index}",
        state=state,
        cause="",
        slug=approval.slug,
        market=leg.leg.market,
        token=leg.leg.token,
        outcome=leg.leg.outcome,
        side=leg.leg.side,
        price=leg.limit,
        shares=leg.shares,
        reserved=leg.reserved,
        filled=filled,
        ts_event=now,
        ts_init=now,
    )


def _fill(order: Travelling, take: Take, now: int) -> Fill:
    update = _update(order.approval, order.leg, 0, OrderState.FILLED, take.shares, now)
    return Fill(
        trade_id=f"paper:{order.number}",
        order_hash=update.order_hash,
        opportunity_id=update.opportunity_id,
        slug=update.slug,
        market=update.market,
        token=update.token,
        outcome=update.outcome,
        side=update.side,
        shares=take.shares,
        price=take.vwap,
        fee=take.fee,
        status=FillStatus.CONFIRMED,
        ts_event=now,
        ts_init=now,
    )


def _settlement(token: str, held: Held, payout: Decimal, pnl: Decimal, equity: Decimal, now: int) -> Settlement:
    return Settlement(
        token=token,
        market=held.market,
        slug=held.slug,
        outcome=held.outcome,
        won=payout > ZERO,
        shares=held.shares,
        cost=held.cost - held.fees,
        fees=held.fees,
        payout=payout,
        pnl=pnl,
        equity=equity,
        ts_event=now,
        ts_init=now,
    )


def fresh(book: Book, *, proven: int) -> Book:
    """The book with `ts_init` at its last proof, as `MarketFeed.book` gives it."""
    return replace(book, ts_init=proven)
