"""A set of legs: their order, their limits, and what to do with a part of one. Pure: values in, values out.

sequence(approval, books, now)                -> the order of the legs, the thinnest first | Skip
opening(leg, book)                            -> Intent (FOK) | Skip
further(approval, index, held, later, book)   -> Intent (FAK, at most where the set breaks even) | Skip
leaving(leg, shares, other_book, now)         -> Intent (FAK for the other outcome) | Kept
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from pmarb.domain.book import Book
from pmarb.domain.edge import break_even
from pmarb.domain.messages import Approval, ApprovedLeg
from pmarb.domain.orders import OrderType
from pmarb.domain.sizing import reserve_for_spend
from pmarb.domain.values import MIN_ORDER_SHARES, MIN_ORDER_USD, ONE, ZERO, Side, round_down
from pmarb.venue.port import Intent
from services.executor.decide import (
    MAX_BOOK_AGE,
    Skip,
    SkipReason,
    book_state,
    displayed,
    exact_step,
    fees_of,
    limits_down,
    usable,
)

K_SE: Final = 2
"""A leg alone is worth its fair value less so many standard errors."""

WIDEST: Final = Decimal("0.04")
"""What leaving may cost against the middle of the market where no model says what a leg is worth (quant.md 20)."""

LEAVING_TICKS: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a leg has: `paid` dollars for `shares`, the fee included."""

    shares: Decimal = ZERO
    paid: Decimal = ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A part of a set that is not left, and why."""

    why: str


NOTHING: Final = Held()


def sequence(
    approval: Approval, books: Sequence[Book | None], *, now: int, max_book_age: int = MAX_BOOK_AGE
) -> tuple[int, ...] | Skip:
    """The legs, the thinnest first, if the set still pays on all books as they are now; else a Skip."""
    prices: list[Decimal] = []
    depths: list[Decimal] = []
    for index, (leg, book) in enumerate(zip(approval.legs, books, strict=True)):
        if leg.leg.side is not Side.BUY or not leg.leg.other_token or leg.shares != approval.legs[0].shares:
            return Skip(reason=SkipReason.UNSUPPORTED, detail=f"leg={index} side={leg.leg.side} shares={leg.shares}")
        if book is None or not usable(book, leg, now, max_book_age) or book.tick != leg.leg.tick:
            return Skip(reason=SkipReason.NO_FRESH_BOOK, detail=f"leg={index} {book_state(book, now)}")
        price = _reach(book, leg.shares)
        if price is None or price > leg.limit:
            return Skip(reason=SkipReason.PRICE_MOVED, detail=f"leg={index} price={price} limit={leg.limit}")
        prices.append(price)
        depths.append(displayed(book.asks, leg.limit))
    cost = sum(
        (break_even(side=Side.BUY, price=p, fees=fees_of(leg)) for p, leg in zip(prices, approval.legs, strict=True)),
        ZERO,
    )
    if approval.fair - cost < approval.threshold:
        return Skip(
            reason=SkipReason.EDGE_GONE, detail=f"net={approval.fair - cost:.4f} needed={approval.threshold:.4f}"
        )
    return tuple(sorted(range(len(depths)), key=lambda index: (depths[index], index)))


def opening(leg: ApprovedLeg, book: Book) -> Intent | Skip:
    """All of the first leg or nothing, at the lowest price at which all of it is offered."""
    limit = _reach(book, leg.shares)
    while limit is not None and limit <= leg.limit:
        if _takes(leg.shares, limit):
            return _intent(leg, OrderType.FOK, shares=leg.shares, limit=limit)
        limit += book.tick
    return Skip(reason=SkipReason.BELOW_MINIMUM, detail=f"shares={leg.shares} limit={leg.limit}")


def further(
    approval: Approval, index: int, held: Iterable[Held], later: Iterable[int], book: Book | None, *, now: int
) -> Intent | Skip:
    """As many shares as the legs `held` have, at the highest limit at which the set still breaks even.

    That is what it pays less all that was really paid, less what the legs `later` cost at the prices they were seen at;
    and never more than was approved, so never above what is reserved.
    """
    leg, bought = approval.legs[index], list(held)
    if book is None or not usable(book, leg, now, MAX_BOOK_AGE) or book.tick != leg.leg.tick:
        return Skip(reason=SkipReason.NO_FRESH_BOOK, detail=book_state(book, now))
    shares = round_down(min(leg.shares, *(each.shares for each in bought)), ONE)
    left = approval.fair * shares - sum((each.paid for each in bought), ZERO)
    left -= sum((_dearest(approval.legs[other], shares, approval.legs[other].leg.limit) for other in later), ZERO)
    for limit in limits_down(leg.limit, book):
        if _dearest(leg, shares, limit) <= left and _takes(shares, limit):
            return _intent(leg, OrderType.FAK, shares=shares, limit=limit)
    ask = book.asks[0].price
    reason = SkipReason.PRICE_MOVED if ask > leg.limit else SkipReason.EDGE_GONE
    return Skip(reason=reason, detail=f"ask={ask} limit={leg.limit} shares={shares} left_usd={left:.4f}")


def surplus(held: Mapping[int, Held], legs: int, left: Mapping[int, Held]) -> tuple[Decimal, dict[int, Decimal]]:
    """(whole sets, shares of each leg beyond them that were not left yet)."""
    whole = min(held.get(index, NOTHING).shares for index in range(legs))
    extra = {index: each.shares - whole - left.get(index, NOTHING).shares for index, each in held.items()}
    return whole, {index: shares for index, shares in extra.items() if shares > ZERO}


def leaving(leg: ApprovedLeg, shares: Decimal, other: Book | None, *, now: int) -> Intent | Kept:
    """Buy as many of the other outcome, each pair of which is a dollar, unless the shares are worth more than that.

    A share is worth its fair value less two standard errors, or, where no model says, the middle of its market less
    `WIDEST`.
    """
    if other is None or now - other.ts_init > MAX_BOOK_AGE or not other.asks or other.crossed:
        return Kept(why="there is no fresh market to leave by")
    worth = _worth(leg, other)
    if worth is None:
        return Kept(why="nobody says what it is worth")
    fees, ask = fees_of(leg), other.asks[0].price
    for limit in limits_down(ask + LEAVING_TICKS * other.tick, other):
        if ONE - break_even(side=Side.BUY, price=limit, fees=fees) < worth:
            continue
        count = round_down(shares, exact_step(limit))
        if _takes(count, limit):
            intent = _intent(leg, OrderType.FAK, shares=count, limit=limit)
            return replace(intent, token=leg.leg.other_token)
        return Kept(why=f"{shares} shares at {limit} are fewer than the venue takes")
    return Kept(why=f"it is worth {worth:.4f}, leaving at {ask} would bring less")


def exit_of(leg: ApprovedLeg, intent: Intent) -> ApprovedLeg:
    """The leg's other outcome, as far as `intent` buys it."""
    seen = leg.leg
    other = replace(
        seen,
        token=seen.other_token,
        outcome=seen.other_outcome,
        other_token=seen.token,
        other_outcome=seen.outcome,
        price=intent.limit,
        limit=intent.limit,
        fair=None if seen.fair is None else ONE - seen.fair,
    )
    reserved = reserve_for_spend(usd=intent.usd, limit=intent.limit, tick=seen.tick, fees=fees_of(leg))
    return ApprovedLeg(leg=other, shares=intent.shares, limit=intent.limit, usd=intent.usd, reserved=reserved)


def _worth(leg: ApprovedLeg, other: Book) -> Decimal | None:
    if leg.leg.fair is not None:
        return max(leg.leg.fair - K_SE * leg.leg.fair_se, ZERO)
    return None if other.mid is None else max(ONE - other.mid - WIDEST, ZERO)


def _reach(book: Book, shares: Decimal) -> Decimal | None:
    """The price up to which so many are offered."""
    offered = ZERO
    for price, size in book.asks:
        offered += size
        if offered >= shares:
            return price
    return None


def _dearest(leg: ApprovedLeg, shares: Decimal, limit: Decimal) -> Decimal:
    return shares * limit + fees_of(leg).reserved(shares=shares, price=limit)


def _takes(shares: Decimal, limit: Decimal) -> bool:
    """Whether the venue takes such an order: large enough, and its amounts exact."""
    return shares >= MIN_ORDER_SHARES and shares * limit >= MIN_ORDER_USD and shares % exact_step(limit) == ZERO


def _intent(leg: ApprovedLeg, kind: OrderType, *, shares: Decimal, limit: Decimal) -> Intent:
    return Intent(
        market=leg.leg.market,
        token=leg.leg.token,
        side=Side.BUY,
        order_type=kind,
        limit=limit,
        usd=shares * limit,
        shares=shares,
    )
