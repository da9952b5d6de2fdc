"""The money of one tape: what is approved, bought and held on paper, and the hash of all that was decided."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from pmarb.domain.book import Book, Take
from pmarb.domain.messages import Approval, ApprovedLeg, Fill, Marks, OrderUpdate, Settlement
from pmarb.domain.orders import FillStatus, OrderState
from pmarb.domain.values import ZERO
from services.replay.report import TapeReport
from services.risk.decide import Portfolio

BookOf = Callable[[str], Book | None]


@dataclass(slots=True, kw_only=True)
class Held:
    """Shares of one token and what they cost."""

    slug: str
    market: str
    outcome: str
    shares: Decimal = ZERO
    cost: Decimal = ZERO
    fees: Decimal = ZERO


class Till:
    """`book_of` gives a token's book as it is at that moment."""

    def __init__(self, *, bankroll: Decimal, report: TapeReport, book_of: BookOf) -> None:
        self.portfolio = Portfolio(capital=bankroll)
        self.held: dict[str, Held] = {}
        self.report = report
        self.book_of = book_of
        self._hash = hashlib.sha256()
        self._number = 0

    def decided(self, *what: object) -> None:
        """Add a decision to the hash."""
        self._hash.update("|".join(map(str, what)).encode() + b"\n")

    def digest(self) -> str:
        return self._hash.hexdigest()

    def value(self, now: int) -> None:
        """What is held at the bids of this moment."""
        books = {token: self.book_of(token) for token in self.held}
        bids = {token: book.bids[0].price if book.bids else ZERO for token, book in books.items() if book is not None}
        self.portfolio.on_marks(Marks(bids=bids, ts_event=now, ts_init=now))

    def skipped(self, approval: Approval, leg: ApprovedLeg, number: int, reason: str, now: int) -> None:
        """An order that was not sent after all."""
        self.report.plan_skips[reason] += 1
        self.decided("skipped", approval.opportunity_id, reason)
        self.dropped(approval, leg, number, now)

    def sent(self, approval: Approval, leg: ApprovedLeg, number: int, *what: object, now: int) -> None:
        """An order that is on its way; `what` of it is part of the decision."""
        self.report.orders += 1
        self.decided("sent", approval.opportunity_id, *what)
        self.portfolio.on_order(_update(approval, leg, number, OrderState.DELAYED, ZERO, now))

    def missed(self, approval: Approval, leg: ApprovedLeg, number: int, now: int) -> None:
        """An order that found nothing."""
        self.decided("unfilled", approval.opportunity_id)
        self.dropped(approval, leg, number, now)

    def dropped(self, approval: Approval, leg: ApprovedLeg, number: int, now: int) -> None:
        """An order that brings nothing and reserves nothing any more."""
        self.portfolio.on_order(_update(approval, leg, number, OrderState.CANCELLED, ZERO, now))

    def bought(self, approval: Approval, leg: ApprovedLeg, number: int, take: Take, now: int) -> None:
        """What an order brought, final at once."""
        self.report.fills += 1
        self.report.fees += take.fee
        self.decided("filled", approval.opportunity_id, take.shares, take.vwap, take.fee)
        seen = leg.leg
        held = self.held.setdefault(
            seen.token, Held(slug=seen.slug or approval.slug, market=seen.market, outcome=seen.outcome)
        )
        held.shares += take.shares
        held.cost += take.all_in
        held.fees += take.fee
        update = _update(approval, leg, number, OrderState.FILLED, take.shares, now)
        self._number += 1
        self.portfolio.on_order(update)
        self.portfolio.on_fill(_fill(f"paper:{self._number}", update, take, now))

    def settle(self, payouts: Mapping[str, Decimal], *, now: int) -> None:
        """The market of these tokens is decided; `payouts` is dollars a share."""
        for token in sorted(payouts):
            held = self.held.pop(token, None)
            if held is None:
                continue
            payout = held.shares * payouts[token]
            pnl = payout - held.cost
            self.report.settled += 1
            self.report.pnl += pnl
            self.decided("settled", token, payout, pnl)
            self.portfolio.on_settlement(_settlement(token, held, payout, pnl, self.portfolio.equity + pnl, now))


def _update(
    approval: Approval, leg: ApprovedLeg, number: int, state: OrderState, filled: Decimal, now: int
) -> OrderUpdate:
    return OrderUpdate(
        opportunity_id=approval.opportunity_id,
        leg=number,
        order_hash=f"paper:{approval.opportunity_id}:{number}",
        state=state,
        cause="",
        slug=leg.leg.slug or approval.slug,
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


def _fill(trade_id: str, update: OrderUpdate, take: Take, now: int) -> Fill:
    return Fill(
        trade_id=trade_id,
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
