"""One mirrored, integer order book a market: a bid on one outcome at p is an ask on the other at 1 - p (venue.md 3.9).

Everything is kept in coordinates of the first outcome ("Up"): buying Up and selling Down are bids, the others asks.
Prices are micro-dollars, sizes micro-shares. Priority is price, then arrival. Planning a match changes nothing;
applying it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from services.sandbox.money import MICRO, notional_down, notional_up

if TYPE_CHECKING:
    from services.sandbox.accounts import Account

# Remainders below a hundredth of a share cannot be traded; the order counts as filled.
DUST = 10_000


class Side(StrEnum):
    BUY = "BUY"
    SELL = "SELL"

    @property
    def opposite(self) -> Side:
        return Side.SELL if self is Side.BUY else Side.BUY


@dataclass(slots=True, eq=False)
class BookOrder:
    """An order as the matching engine sees it. `price` is in its own outcome, `book_price` in the first."""

    id: str
    account: Account
    outcome: int
    side: Side
    price: int
    size: int
    remaining: int = 0
    budget: int = 0
    is_bid: bool = field(init=False)
    book_price: int = field(init=False)

    def __post_init__(self) -> None:
        self.remaining = self.size
        self.is_bid = (self.side is Side.BUY) == (self.outcome == 0)
        self.book_price = self.price if self.outcome == 0 else MICRO - self.price


@dataclass(slots=True)
class Level:
    """Orders of one price in order of arrival, and the sum of what remains of them."""

    orders: dict[str, BookOrder] = field(default_factory=dict)
    total: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Fill:
    """A taker meets `maker` for `shares`; `price` is in the taker's outcome, `dollars` what the taker pays or gets."""

    maker: BookOrder
    shares: int
    price: int
    dollars: int

    @property
    def value(self) -> int:
        """Exact product of shares and price, before the rounding of `dollars`."""
        return self.shares * self.price


class Book:
    """Resting orders of one market."""

    def __init__(self) -> None:
        self.bids: dict[int, Level] = {}
        self.asks: dict[int, Level] = {}
        self.orders: dict[str, BookOrder] = {}
        self.version = 0
        self._changed: dict[tuple[bool, int], int] = {}

    def best_bid(self) -> int | None:
        return max(self.bids, default=None)

    def best_ask(self) -> int | None:
        return min(self.asks, default=None)

    def add(self, order: BookOrder) -> None:
        levels = self.bids if order.is_bid else self.asks
        level = levels.get(order.book_price)
        if level is None:
            level = levels[order.book_price] = Level()
        level.orders[order.id] = order
        level.total += order.remaining
        self.orders[order.id] = order
        self._touch(order)

    def remove(self, order_id: str) -> BookOrder | None:
        order = self.orders.pop(order_id, None)
        if order is None:
            return None
        levels = self.bids if order.is_bid else self.asks
        level = levels[order.book_price]
        del level.orders[order_id]
        level.total -= order.remaining
        if not level.orders:
            del levels[order.book_price]
        self._touch(order)
        return order

    def reduce(self, order: BookOrder, shares: int) -> None:
        """Take `shares` off a resting order; a remainder of dust leaves the book."""
        levels = self.bids if order.is_bid else self.asks
        order.remaining -= shares
        levels[order.book_price].total -= shares
        self._touch(order)
        if order.remaining < DUST:
            self.remove(order.id)

    def crosses(self, order: BookOrder) -> bool:
        """Would this order meet a resting one at its limit?"""
        if order.is_bid:
            best = self.best_ask()
            return best is not None and best <= order.book_price
        best = self.best_bid()
        return best is not None and best >= order.book_price

    def plan(self, taker: BookOrder) -> list[Fill]:
        """The fills `taker` would get now, best price first.

        A BUY with a budget spends dollars, others trade shares.
        """
        fills: list[Fill] = []
        dollars, shares = taker.budget, taker.remaining
        for level in self._opposite(taker):
            for maker in level.orders.values():
                fill = _meet(taker, maker, dollars=dollars, shares=shares)
                if fill is None:
                    return fills
                fills.append(fill)
                dollars -= fill.dollars
                shares -= fill.shares
        return fills

    def apply(self, fills: Iterable[Fill]) -> None:
        for fill in fills:
            self.reduce(fill.maker, fill.shares)

    def sizes(self, *, outcome: int, side: Side) -> list[tuple[int, int]]:
        """(price, size) of one side of one outcome's book, ascending by price."""
        if outcome == 0:
            levels = self.bids if side is Side.BUY else self.asks
            return [(price, levels[price].total) for price in sorted(levels)]
        levels = self.asks if side is Side.BUY else self.bids
        return [(MICRO - price, levels[price].total) for price in sorted(levels, reverse=True)]

    def drain_changes(self) -> list[tuple[bool, int, int]]:
        """(is_bid, price, new total) of each level touched since the last call, in terms of the first outcome."""
        changed = [
            (is_bid, price, level.total if (level := (self.bids if is_bid else self.asks).get(price)) else 0)
            for is_bid, price in self._changed
        ]
        self._changed.clear()
        return changed

    def _touch(self, order: BookOrder) -> None:
        self.version += 1
        self._changed[(order.is_bid, order.book_price)] = 0

    def _opposite(self, taker: BookOrder) -> Iterator[Level]:
        if taker.is_bid:
            for price in sorted(self.asks):
                if price > taker.book_price:
                    return
                yield self.asks[price]
        else:
            for price in sorted(self.bids, reverse=True):
                if price < taker.book_price:
                    return
                yield self.bids[price]


def _meet(taker: BookOrder, maker: BookOrder, *, dollars: int, shares: int) -> Fill | None:
    price = maker.book_price if taker.outcome == 0 else MICRO - maker.book_price
    if taker.budget:
        take = min(maker.remaining, dollars * MICRO // price)
    else:
        take = min(maker.remaining, shares)
    if take <= 0:
        return None
    rounded = notional_up if taker.side is Side.BUY else notional_down
    return Fill(maker=maker, shares=take, price=price, dollars=rounded(shares=take, price=price))
