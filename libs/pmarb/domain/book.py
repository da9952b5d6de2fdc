"""An order book of one outcome token, and what taking from it costs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import NamedTuple

from pmarb.domain.fees import Fees
from pmarb.domain.values import EXACT, ONE, SHARE_GRID, ZERO, Side, round_down


class Level(NamedTuple):
    """`size` shares offered or wanted at `price`."""

    price: Decimal
    size: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """One token's book, **best level first** on both sides (the venue sends best last; `venue.parse` turns it).

    `ts_event` is the venue's time, `ts_init` the time we received it, both nanoseconds UTC; `hash` is the venue's.
    """

    token: str
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    ts_event: int
    ts_init: int
    hash: str = ""
    tick: Decimal = Decimal("0.01")

    @property
    def best_bid(self) -> Level | None:
        return self.bids[0] if self.bids else None

    @property
    def best_ask(self) -> Level | None:
        return self.asks[0] if self.asks else None

    @property
    def crossed(self) -> bool:
        """Whether bid and ask meet: a stale or corrupt book, never an opportunity (quant.md 18)."""
        return bool(self.bids and self.asks and self.bids[0].price >= self.asks[0].price)

    @property
    def one_sided(self) -> bool:
        return not (self.bids and self.asks)

    @property
    def mid(self) -> Decimal | None:
        if self.one_sided:
            return None
        return (self.bids[0].price + self.asks[0].price) / 2

    @property
    def spread(self) -> Decimal | None:
        if self.one_sided:
            return None
        return self.asks[0].price - self.bids[0].price


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """What a taker gets from one match.

    `notional` is dollars against `shares`; `fee` is what the venue books on the VWAP; `all_in` is the cash that
    leaves on a BUY (notional + fee) or arrives on a SELL (notional - fee); `worst` is the last level touched.
    """

    shares: Decimal
    notional: Decimal
    vwap: Decimal
    worst: Decimal
    fee: Decimal
    all_in: Decimal


def walk(
    levels: Sequence[Level],
    *,
    side: Side,
    fees: Fees,
    shares: Decimal | None = None,
    budget: Decimal | None = None,
    limit: Decimal | None = None,
) -> Take | None:
    """Take from `levels` (best first) up to `shares` or up to `budget`; None if nothing fits.

    `limit` is the worst price accepted. `budget` is all cash that may leave, fee included and rounded up, so
    `all_in <= budget` always. Shares are cut down to the venue's grid; a book too thin gives a smaller take.

    Raises:
        ValueError: unless exactly one of `shares` and `budget` is given, or for a budget on a SELL.
    """
    if (shares is None) == (budget is None):
        raise ValueError("walk needs exactly one of shares and budget")
    if budget is not None and side is Side.SELL:
        raise ValueError("a SELL is sized in shares, not by a budget")
    acceptable = tuple(_acceptable(levels, side, limit))
    with localcontext(EXACT):
        if shares is not None:
            wanted = round_down(shares, SHARE_GRID)
        else:
            assert budget is not None
            wanted = _shares_within(acceptable, fees, budget)
        return _take(acceptable, side, fees, wanted)


def _acceptable(levels: Sequence[Level], side: Side, limit: Decimal | None) -> Iterator[Level]:
    for level in levels:
        if limit is not None and (level.price > limit if side is Side.BUY else level.price < limit):
            return
        yield level


def _take(levels: Sequence[Level], side: Side, fees: Fees, wanted: Decimal) -> Take | None:
    filled, notional, worst = _fill(levels, wanted)
    on_grid = round_down(filled, SHARE_GRID)
    if on_grid != filled:
        filled, notional, worst = _fill(levels, on_grid)
    if filled <= ZERO:
        return None
    vwap = notional / filled
    fee = fees.charged(shares=filled, price=vwap)
    all_in = notional + fee if side is Side.BUY else notional - fee
    return Take(shares=filled, notional=notional, vwap=vwap, worst=worst, fee=fee, all_in=all_in)


def _fill(levels: Sequence[Level], wanted: Decimal) -> tuple[Decimal, Decimal, Decimal]:
    filled = notional = worst = ZERO
    for price, size in levels:
        part = min(size, wanted - filled)
        if part <= ZERO:
            break
        filled += part
        notional += part * price
        worst = price
    return filled, notional, worst


def _shares_within(levels: Sequence[Level], fees: Fees, budget: Decimal) -> Decimal:
    """The most shares, on the grid, whose notional and rounded-up fee fit `budget`."""

    def cost(shares: Decimal) -> Decimal:
        filled, notional, _ = _fill(levels, shares)
        if filled <= ZERO:
            return ZERO
        return notional + fees.reserved(shares=filled, price=notional / filled)

    depth = sum((size for _, size in levels), ZERO)
    low, high = 0, int(depth / SHARE_GRID)
    if levels and levels[0].price > ZERO:
        high = min(high, int(budget / levels[0].price / SHARE_GRID) + 1)
    while low < high:  # The cost rises with the shares, so the last affordable step can be bisected
        middle = (low + high + 1) // 2
        if cost(middle * SHARE_GRID) <= budget:
            low = middle
        else:
            high = middle - 1
    return low * SHARE_GRID


def mirror(levels: Sequence[Level]) -> tuple[Level, ...]:
    """The other outcome's opposite side: a bid at p on one token is an ask at 1 - p on the other (venue.md 6.1)."""
    return tuple(Level(ONE - price, size) for price, size in levels)
