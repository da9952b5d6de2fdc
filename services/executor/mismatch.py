"""Where our ledger and the venue's view of the wallet part, and for how long that may be. Pure: views in, words out.

The two are read one after the other and the venue's own parts lag behind each other, so an amount is wrong only when
it lies outside what every order and trade still under way could make of it; and that must last.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Final

from pmarb.db.ledger import BookedFee
from pmarb.domain.fees import FeeSchedule
from pmarb.domain.orders import FillStatus, Order, OrderState
from pmarb.domain.values import MICRO, NANOS, ZERO, round_up

SETTLEMENT_LAG: Final = 60 * NANOS
"""Venue time after which a difference is no lag any more: trading halts."""

WARN_AFTER: Final = 20 * NANOS
"""Venue time after which a person hears of a difference."""

SHARES_TOLERANCE: Final = Decimal("0.01")
USD_TOLERANCE: Final = Decimal("0.05")
FEE_TOLERANCE: Final = Decimal("0.02")
"""Part of the booked fee by which the venue's may differ; beyond, our fee schedule is wrong and trading halts."""

FEE_GRAIN: Final = Decimal("0.00001")
"""The venue floors fees to this."""


CASH: Final = "cash"
"""The key of a mismatch of dollars."""

CASH_GRAIN: Final = Decimal("0.001")
"""What the floors of a hundred fees may add up to."""

DEAREST: Final = FeeSchedule(Decimal("0.25"))
"""No schedule of the venue was ever above this (venue.md 4)."""


class HaltReason(StrEnum):
    """Why the executor halted trading: the first word of the halt's text. A person must resume."""

    LEDGER_MISMATCH = "ledger_mismatch"
    FEE_MISMATCH = "fee_mismatch"
    HEARTBEAT_LATE = "heartbeat_late"
    WRONG_CONTRACT = "wrong_contract"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """One thing on which the sides differ; `key` stays the same while it lasts."""

    key: str
    ours: str
    theirs: str

    def __str__(self) -> str:
        return f"{self.key}: ledger {self.ours}, venue {self.theirs}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """What an amount may be while orders and trades are under way."""

    low: Decimal
    high: Decimal

    def holds(self, amount: Decimal, *, tolerance: Decimal) -> bool:
        return self.low - tolerance <= amount <= self.high + tolerance

    def __str__(self) -> str:
        return f"{self.low:f}" if self.low == self.high else f"{self.low:f} to {self.high:f}"


def cash_range(*, cash: Decimal, reserved: Decimal, foreign: Decimal, open_orders: Iterable[Order]) -> Range:
    """pUSD the wallet should hold. An order that has not matched, or rests, may have spent its reservation unseen; a
    provisional trade may not have been paid on chain yet."""
    low = high = cash + reserved + foreign
    for order in open_orders:
        if not order.trades or order.order_type.rests:
            low -= order.reserved - order.spent
        high += sum((t.notional + t.fee for t in order.trades if t.status is FillStatus.PROVISIONAL), ZERO)
    return Range(low=low, high=high)


def share_ranges(
    *, confirmed: Mapping[str, Decimal], foreign: Mapping[str, Decimal], open_orders: Iterable[Order]
) -> dict[str, Range]:
    """Shares of each token of ours that the wallet should hold."""
    low, high = dict(confirmed), dict(confirmed)
    for order in open_orders:
        unproven = sum((t.shares for t in order.trades if t.status is FillStatus.PROVISIONAL), ZERO)
        low.setdefault(order.token, ZERO)
        high[order.token] = high.get(order.token, ZERO) + (
            _most(order) if not order.trades or order.order_type.rests else unproven
        )
    return {
        token: Range(low=low[token] + foreign.get(token, ZERO), high=high[token] + foreign.get(token, ZERO))
        for token in high
    }


def _most(order: Order) -> Decimal:
    """Shares a BUY may get: what it spends at the lowest price there is."""
    return order.usd / Decimal("0.0001")


def order_mismatches(orders: Iterable[Order], listed: Iterable[str]) -> list[Mismatch]:
    """Orders that are over here and open there, and matches whose trade nobody has seen."""
    known = {order.order_hash: order for order in orders}
    found = [
        Mismatch(key=f"order {order_hash}", ours=known[order_hash].state, theirs="open")
        for order_hash in sorted(listed)
        if order_hash in known and known[order_hash].state.terminal
    ]
    return found + [
        Mismatch(key=f"trade of order {order.order_hash}", ours="MATCHED", theirs="no trade")
        for order in known.values()
        if order.state is OrderState.MATCHED and not order.trades
    ]


def fee_difference(booked: Decimal, charged: Decimal) -> Decimal:
    """By how much of the booked fee the venue's differs; what rounding explains is nothing."""
    difference = abs(charged - booked)
    if difference <= FEE_GRAIN:
        return ZERO
    return difference / booked if booked > ZERO else Decimal(1)


def fees_by_balance(trades: Sequence[BookedFee], lacking: Decimal) -> dict[str, Decimal] | None:
    """What the trades were charged, if their fees are why the wallet holds `lacking` dollars less than it should.

    Shared out by how much more, or less, each could have been charged at all, which is how a wrong rate does it; None
    where no fees could explain so much.
    """
    rooms = {
        each.trade_id: max(DEAREST.charged(shares=each.shares, price=each.price) - each.fee, ZERO)
        if lacking > ZERO
        else each.fee
        for each in trades
    }
    whole, left = sum(rooms.values(), ZERO), lacking
    if whole < abs(lacking):
        return None
    charged = {each.trade_id: each.fee for each in trades}
    for trade_id, room in rooms.items():
        part = min(round_up(room * abs(lacking) / whole, MICRO), room, abs(left)).copy_sign(lacking)
        charged[trade_id] += part
        left -= part
    return charged


@dataclass(slots=True, kw_only=True)
class Patience:
    """Remembers since when each mismatch lasts (venue time)."""

    warn_after: int = WARN_AFTER
    halt_after: int = SETTLEMENT_LAG
    since: dict[str, int] = field(default_factory=dict)
    warned: set[str] = field(default_factory=set)

    def look(self, found: Sequence[Mismatch], *, now: int) -> tuple[list[Mismatch], list[Mismatch]]:
        """(those to warn of now, those that outlived the lag). What is gone is forgotten."""
        keys = {each.key for each in found}
        self.since = {key: since for key, since in self.since.items() if key in keys}
        self.warned &= keys
        for key in keys:
            self.since.setdefault(key, now)
        lasting = [each for each in found if now - self.since[each.key] >= self.warn_after]
        fresh = [each for each in lasting if each.key not in self.warned]
        self.warned |= {each.key for each in fresh}
        return fresh, [each for each in lasting if now - self.since[each.key] >= self.halt_after]
