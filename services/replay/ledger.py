"""From an opportunity to its settlement, on paper: judge, plan, fill against the later book, pay out.

A paper order meets the book as it is after the order path and the venue's hold, and may take half of what is displayed
there (quant.md 6.3). What it does not get, it does not get: there is no second try.
"""

import hashlib
import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from pmarb.domain.book import Book, Level, Take, walk
from pmarb.domain.fees import FeeSchedule
from pmarb.domain.messages import Approval, ApprovedLeg, Fill, Opportunity, OrderUpdate, Rejection, Settlement
from pmarb.domain.orders import FillStatus, OrderState
from pmarb.domain.values import ZERO, Side
from pmarb.venue.port import Intent
from services.executor.decide import Skip as PlanSkip
from services.executor.decide import plan
from services.replay.report import TapeReport
from services.risk.decide import Limits as RiskLimits
from services.risk.decide import Portfolio, judge

ORDER_PATH_NS: Final = 230_000_000
HOLD_NS: Final = 150_000_000
HAIRCUT: Final = Decimal("0.5")

BookOf = Callable[[str], Book | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Travelling:
    """An order on its way; `arrives` is when it is matched."""

    arrives: int
    approval: Approval
    leg: ApprovedLeg
    intent: Intent


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
    """Orders in flight and shares held, of one tape. `book_of` gives a token's book as it is at that moment."""

    def __init__(self, *, bankroll: Decimal, limits: RiskLimits, report: TapeReport, book_of: BookOf) -> None:
        self.portfolio = Portfolio(capital=bankroll)
        self.held: dict[str, Held] = {}
        self._limits = limits
        self._report = report
        self._book_of = book_of
        self._travelling: list[tuple[int, int, Travelling]] = []
        self._hash = hashlib.sha256()
        self._number = 0

    @property
    def next_arrival(self) -> int:
        """When the next order is matched; far in the future without any."""
        return self._travelling[0][0] if self._travelling else 1 << 62

    def decided(self, *what: object) -> None:
        """Add a decision to the hash."""
        self._hash.update("|".join(map(str, what)).encode() + b"\n")

    def digest(self) -> str:
        return self._hash.hexdigest()

    def on_opportunity(self, opportunity: Opportunity, *, now: int) -> None:
        """Judge it, plan it, send it."""
        self._report.opportunities += 1
        self.portfolio.at(now)
        verdict = judge(opportunity, self.portfolio, self._limits, now=now)
        if isinstance(verdict, Rejection):
            self._report.rejections[str(verdict.reason)] += 1
            self.decided("denied", opportunity.opportunity_id, verdict.reason)
            return
        self.portfolio.on_approval(verdict)
        self.decided("approved", opportunity.opportunity_id, verdict.legs[0].shares, verdict.legs[0].limit)
        for index, leg in enumerate(verdict.legs):
            self._send(verdict, leg, index, now)

    def _send(self, approval: Approval, leg: ApprovedLeg, index: int, now: int) -> None:
        intent = plan(approval, leg, self._book_of(leg.leg.token), now=now)
        if isinstance(intent, PlanSkip):
            self._report.plan_skips[str(intent.reason)] += 1
            self.decided("skipped", approval.opportunity_id, intent.reason)
            self.portfolio.on_order(_update(approval, leg, index, OrderState.CANCELLED, ZERO, now))
            return
        self._report.orders += 1
        self._number += 1
        arrives = now + ORDER_PATH_NS + HOLD_NS
        order = Travelling(arrives=arrives, approval=approval, leg=leg, intent=intent)
        heapq.heappush(self._travelling, (arrives, self._number, order))
        self.decided("sent", approval.opportunity_id, intent.shares, intent.limit, arrives)
        self.portfolio.on_order(_update(approval, leg, index, OrderState.DELAYED, ZERO, now))

    def arrive(self, *, until: int) -> None:
        """Match every order that arrives before `until`, against the books as they are."""
        while self._travelling and self._travelling[0][0] <= until:
            arrives, number, order = heapq.heappop(self._travelling)
            self._match(order, number, arrives)

    def _match(self, order: Travelling, number: int, now: int) -> None:
        book = self._book_of(order.intent.token)
        fees = FeeSchedule(order.leg.leg.fee_rate, order.leg.leg.fee_exponent)
        take = None if book is None else _paper_take(book, order.intent, fees)
        if take is None:
            self.decided("unfilled", order.approval.opportunity_id)
            self.portfolio.on_order(_update(order.approval, order.leg, 0, OrderState.CANCELLED, ZERO, now))
            return
        self._report.fills += 1
        self._report.fees += take.fee
        self.decided("filled", order.approval.opportunity_id, take.shares, take.vwap, take.fee)
        leg = order.leg.leg
        held = self.held.setdefault(leg.token, Held(slug=order.approval.slug, market=leg.market, outcome=leg.outcome))
        held.shares += take.shares
        held.cost += take.all_in
        held.fees += take.fee
        self.portfolio.on_order(_update(order.approval, order.leg, 0, OrderState.FILLED, take.shares, now))
        self.portfolio.on_fill(_fill(order, take, number, now))

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


def _paper_take(book: Book, intent: Intent, fees: FeeSchedule) -> Take | None:
    levels = tuple(Level(price, size * HAIRCUT) for price, size in book.asks)
    return walk(levels, side=Side.BUY, fees=fees, shares=intent.shares, limit=intent.limit)


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


def _fill(order: Travelling, take: Take, number: int, now: int) -> Fill:
    update = _update(order.approval, order.leg, 0, OrderState.FILLED, take.shares, now)
    return Fill(
        trade_id=f"paper:{number}",
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
