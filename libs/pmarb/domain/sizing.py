"""How much to take. Sizes round down to the venue's grid; below the venue's minimum the size is zero."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal, localcontext
from statistics import NormalDist
from typing import Final

from pmarb.domain.book import Level, walk
from pmarb.domain.fees import Fees
from pmarb.domain.values import EXACT, MIN_ORDER_SHARES, MIN_ORDER_USD, ONE, SHARE_GRID, ZERO, Side, round_down


def fixed(
    *,
    usd: Decimal,
    price: Decimal,
    fees: Fees,
    min_shares: Decimal = MIN_ORDER_SHARES,
    min_usd: Decimal = MIN_ORDER_USD,
) -> Decimal:
    """Shares that `usd`, fee included, buys at `price`."""
    if usd <= ZERO or not ZERO < price < ONE:
        return ZERO
    shares = round_down(usd / (price + fees.fee(shares=ONE, price=price)), SHARE_GRID)
    while shares > ZERO and shares * price + fees.reserved(shares=shares, price=price) > usd:
        shares -= SHARE_GRID  # The fee of the whole, rounded up, can exceed what a share's fee said
    return tradable(shares=shares, price=price, min_shares=min_shares, min_usd=min_usd)


def kelly(
    levels: Sequence[Level],
    *,
    fair: Decimal,
    fees: Fees,
    bankroll: Decimal,
    fraction: Decimal,
    min_shares: Decimal = MIN_ORDER_SHARES,
    min_usd: Decimal = MIN_ORDER_USD,
) -> Decimal:
    """Shares a fractional Kelly bettor buys from `levels` (asks, best first), depth and fee included.

    The full Kelly spend is scaled by `fraction` and the book walked again with it (quant.md 3.5).
    """
    budget = kelly_spend(levels, fair=fair, fees=fees, bankroll=bankroll) * fraction
    if budget <= ZERO:
        return ZERO
    take = walk(levels, side=Side.BUY, fees=fees, budget=budget)
    if take is None:
        return ZERO
    return tradable(shares=take.shares, price=take.vwap, min_shares=min_shares, min_usd=min_usd)


def kelly_spend(levels: Sequence[Level], *, fair: Decimal, fees: Fees, bankroll: Decimal) -> Decimal:
    """Dollars, fee included, that maximise the expected logarithm of wealth; not rounded, at most `bankroll`.

    Level by level, with c the all-in price, R the money left and Q the shares already held, the optimum adds
    x = ((p - c) R - (1 - p) c Q) / (c (1 - c)) shares, and the first level not taken whole is the last.
    """
    spent = held = ZERO
    with localcontext(EXACT):
        for price, size in levels:
            cost = price + fees.fee(shares=ONE, price=price)
            if cost >= min(fair, ONE) or price <= ZERO:
                break
            left = bankroll - spent
            wanted = ((fair - cost) * left - (ONE - fair) * cost * held) / (cost * (ONE - cost))
            taken = min(size, wanted)
            if taken <= ZERO:
                break
            spent += taken * cost
            held += taken
            if taken < size:
                break
        return min(spent, bankroll)


def tradable(
    *,
    shares: Decimal,
    price: Decimal,
    min_shares: Decimal = MIN_ORDER_SHARES,
    min_usd: Decimal = MIN_ORDER_USD,
) -> Decimal:
    """`shares` on the venue's grid, or zero where the venue would refuse so few."""
    shares = round_down(shares, SHARE_GRID)
    if shares < min_shares or shares * price < min_usd:
        return ZERO
    return shares


def reserve_for_spend(*, usd: Decimal, limit: Decimal, tick: Decimal, fees: Fees) -> Decimal:
    """All that a BUY of `usd` at up to `limit` may cost, fee included, rounded up.

    A marketable BUY is signed in dollars: at a better price it buys more shares, and the fee for the same dollars
    rises as the price falls. So the dearer of the two ends, the limit and the lowest tick, is set aside.
    """
    with localcontext(EXACT):
        dearest = max(fees.reserved(shares=usd / price, price=price) for price in (limit, tick))
    return usd + dearest


NO_HOPE: Final = 0.05
"""A strategy that earns anything with a lower chance than this gets no capital at all."""

SHARE_STEP: Final = Decimal("0.0001")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a strategy's settled positions earned for a dollar staked: how many, their sum and sum of squares."""

    count: int = 0
    total: Decimal = ZERO
    squares: Decimal = ZERO

    @property
    def chance(self) -> float:
        """The chance that it earns anything; one half without evidence."""
        if self.count < 2:
            return 0.5
        mean = self.total / self.count
        variance = (self.squares - self.count * mean * mean) / (self.count - 1)
        if variance <= 0:
            return 0.5
        return NormalDist().cdf(float(mean) / math.sqrt(variance / self.count))


def share_of(strategy: str, records: Mapping[str, Record], *, most: Decimal) -> Decimal:
    """The part of all capital that `strategy` may use, rounded down: shared by the chance to earn anything.

    Nobody gets more than `most` while there is another one that may trade; what is over stays unused.
    """
    chances = {name: record.chance for name, record in {strategy: Record(), **records}.items()}
    hopeful = {name: chance for name, chance in chances.items() if chance >= NO_HOPE}
    if strategy not in hopeful:
        return ZERO
    if len(hopeful) == 1:
        return ONE
    share = round(hopeful[strategy] / sum(hopeful.values()), 9)  # What is one half by the maths is one half
    return min(Decimal(str(share)).quantize(SHARE_STEP, rounding=ROUND_FLOOR), most)
