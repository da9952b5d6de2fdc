"""What to send, what became of it, and what that does to the books. Pure: values in, values out.

plan(approval, leg, book, now)      -> Intent | Skip
resolve(order, view, sent_at, now)  -> events
bookings(before, after)             -> ledger entries
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from enum import StrEnum
from math import gcd, lcm
from typing import Final

from pmarb.domain import ledger
from pmarb.domain.book import Book, Level, walk
from pmarb.domain.edge import net_edge
from pmarb.domain.fees import FeeSchedule
from pmarb.domain.ledger import Account, Entry
from pmarb.domain.messages import Approval, ApprovedLeg
from pmarb.domain.orders import (
    Accepted,
    Ended,
    FillStatus,
    Order,
    OrderEvent,
    OrderState,
    OrderType,
    ProvenAbsent,
    Trade,
    Traded,
)
from pmarb.domain.values import EXACT, MIN_ORDER_SHARES, MIN_ORDER_USD, NANOS, ZERO, Side, round_down
from pmarb.venue.port import Intent, Sightings, VenueOrder

ABSENT_AFTER: Final = 30 * NANOS
"""An order of which the venue shows nothing this long after it was sent was never there (venue time)."""

MAX_BOOK_AGE: Final = 2 * NANOS
"""A book that was last known good longer ago than this cannot be priced against (venue time)."""

_TICKS_TRIED: Final = 40
_CENTS_IN_UNITS: Final = 10**8
"""Shares in 1e-4 times a price in 1e-6 is whole cents at multiples of this (venue.md 3.4)."""


class SkipReason(StrEnum):
    """Why an approval was not sent: the first word of the order's cause (docs/messages.md has the words for people)."""

    EXPIRED = "expired"
    UNSUPPORTED = "unsupported"
    NO_FRESH_BOOK = "no_fresh_book"
    PRICE_MOVED = "price_moved"
    EDGE_GONE = "edge_gone"
    BELOW_MINIMUM = "below_minimum"
    HALTED = "halted"
    UNSIGNABLE = "unsignable"
    STALLED = "stalled"
    VENUE_PAUSED = "venue_paused"
    SET_LATE = "set_late"
    SET_BROKEN = "set_broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """Not sent: nothing left the building. `detail` is `key=value` pairs."""

    reason: SkipReason
    detail: str = ""

    @property
    def cause(self) -> str:
        return f"skipped: {self.reason} {self.detail}".strip()


def plan(
    approval: Approval, leg: ApprovedLeg, book: Book | None, *, now: int, max_book_age: int = MAX_BOOK_AGE
) -> Intent | Skip:
    """The order to send for `leg`, priced against `book` as it is now; a Skip wherever anything is in doubt.

    The order's dollars are whole cents and its shares times its limit are exactly those dollars, so that what the
    venue derives (dollars / shares) is a price on the tick grid: never above the approved limit, never below the ask.
    """
    if now > approval.expires_at:
        return Skip(reason=SkipReason.EXPIRED, detail=f"late_ms={(now - approval.expires_at) // 1_000_000}")
    if leg.leg.side is not Side.BUY or len(approval.legs) != 1:
        return Skip(reason=SkipReason.UNSUPPORTED, detail=f"side={leg.leg.side} legs={len(approval.legs)}")
    if book is None or not usable(book, leg, now, max_book_age):
        return Skip(reason=SkipReason.NO_FRESH_BOOK, detail=book_state(book, now))
    if book.asks[0].price > leg.limit:
        return Skip(reason=SkipReason.PRICE_MOVED, detail=f"ask={book.asks[0].price} limit={leg.limit}")
    intent = _largest(leg, book)
    if intent is None:
        return Skip(reason=SkipReason.BELOW_MINIMUM, detail=f"usd={leg.usd} limit={leg.limit} ask={book.asks[0].price}")
    return _if_it_pays(approval, leg, book, intent)


def fees_of(leg: ApprovedLeg) -> FeeSchedule:
    """The market's own schedule, as the opportunity carried it."""
    return FeeSchedule(leg.leg.fee_rate, leg.leg.fee_exponent)


def usable(book: Book, leg: ApprovedLeg, now: int, max_age: int) -> bool:
    return book.token == leg.leg.token and now - book.ts_init <= max_age and bool(book.asks) and not book.crossed


def book_state(book: Book | None, now: int) -> str:
    if book is None:
        return "book=none"
    return f"age_ms={(now - book.ts_init) // 1_000_000} asks={len(book.asks)} crossed={book.crossed}"


def _largest(leg: ApprovedLeg, book: Book) -> Intent | None:
    """The order at the highest limit at which exact amounts exist and the minimum sizes are met."""
    for limit in limits_down(leg.limit, book):
        depth = displayed(book.asks, limit)
        shares = round_down(min(leg.shares, leg.usd / limit, depth), exact_step(limit))
        if shares >= MIN_ORDER_SHARES and shares * limit >= MIN_ORDER_USD:
            return Intent(
                market=leg.leg.market,
                token=leg.leg.token,
                side=Side.BUY,
                order_type=OrderType.FAK,
                limit=limit,
                usd=shares * limit,
                shares=shares,
            )
    return None


def limits_down(approved: Decimal, book: Book) -> Iterator[Decimal]:
    """Tick prices from the approved limit down to the ask."""
    limit = round_down(approved, book.tick)
    for _ in range(_TICKS_TRIED):
        if limit < book.asks[0].price:
            return
        yield limit
        limit -= book.tick


def displayed(asks: tuple[Level, ...], limit: Decimal) -> Decimal:
    return sum((size for price, size in asks if price <= limit), ZERO)


def exact_step(limit: Decimal) -> Decimal:
    """The least number of shares, in hundredths, whose cost at `limit` is whole cents; all multiples share that."""
    price = int(limit * 1_000_000)
    units = lcm(_CENTS_IN_UNITS // gcd(price, _CENTS_IN_UNITS), 100)
    return Decimal(units) / 10_000


def _if_it_pays(approval: Approval, leg: ApprovedLeg, book: Book, intent: Intent) -> Intent | Skip:
    fees = fees_of(leg)
    take = walk(book.asks, side=Side.BUY, fees=fees, shares=intent.shares, limit=intent.limit)
    if take is None:
        return Skip(reason=SkipReason.PRICE_MOVED, detail=f"limit={intent.limit}")
    with localcontext(EXACT):
        edge = net_edge(side=Side.BUY, fair=approval.fair, price=take.vwap, fees=fees)
    if edge < approval.threshold:
        return Skip(reason=SkipReason.EDGE_GONE, detail=f"net={edge:.4f} needed={approval.threshold:.4f}")
    return intent


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueView:
    """What the venue said in one successful read that began at `started_at` (venue time)."""

    started_at: int
    open_orders: Mapping[str, VenueOrder]
    trades: Mapping[str, tuple[Trade, ...]]


def resolve(
    order: Order, view: VenueView, *, sent_at: int, sightings: Sightings | None = None, patience: int = ABSENT_AFTER
) -> tuple[OrderEvent, ...]:
    """What the view teaches about an order sent at `sent_at`; nothing where it proves nothing.

    A missing order proves nothing before the read began `patience` after the sending: until then it keeps its
    reservation. A FAK or FOK never rests, so one that is neither open nor traded by then never matched. What the user
    stream saw end without a match is over at once; what it saw at all was there.
    """
    told = sightings or Sightings()
    trades = tuple(Traded(trade=trade) for trade in view.trades.get(order.order_hash, ()))
    listed = view.open_orders.get(order.order_hash)
    if trades:
        left = order.trades and order.state is OrderState.LIVE and listed is None
        over = left and view.started_at >= sent_at + patience
        return (*trades, Ended(state=OrderState.CANCELLED, detail="the rest is no longer open")) if over else trades
    if listed is not None:
        return () if listed.state is order.state else (Accepted(state=listed.state),)
    if order.trades or not order.state.unsettled:
        return ()
    if told.end(order.order_hash) and order.state is not OrderState.SUBMITTING:
        return (Ended(state=OrderState.CANCELLED, detail=f"the venue said {told.end(order.order_hash)}"),)
    if view.started_at < sent_at + patience:
        return ()
    if order.state in (OrderState.LIVE, OrderState.DELAYED) or told.seen(order.order_hash):
        return (Ended(state=OrderState.CANCELLED, detail="no longer open at the venue"),)
    return (ProvenAbsent(),)


def bookings(before: Order, after: Order, *, released: bool, now: int) -> tuple[Entry, ...]:
    """The money that moves when `before` becomes `after`. `released`: its reservation was given back already.

    Entry ids are functions of their cause, so booking the same step twice moves nothing.
    """
    known = {trade.trade_id: trade.status for trade in before.trades}
    paid_from = Account.CASH if released else Account.RESERVED
    entries: list[Entry] = []
    for trade in after.trades:
        was = known.get(trade.trade_id)
        if was is None:
            entries.append(ledger.matched(trade, paid_from=paid_from, ts_event=now))
        if trade.status is not was and trade.status is FillStatus.CONFIRMED:
            entries.append(ledger.confirmed(trade, ts_event=now))
        if trade.status is not was and trade.status is FillStatus.FAILED:
            entries.append(ledger.failed(trade, ts_event=now))
    if after.state.terminal and not released:
        spent = sum((trade.notional + trade.fee for trade in after.trades), ZERO)
        entries.append(ledger.release(order_hash=after.order_hash, amount=after.reserved - spent, ts_event=now))
    return tuple(entries)
