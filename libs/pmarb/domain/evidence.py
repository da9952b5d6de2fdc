"""What the meter reads: forecasts beside the market's middle, and orders with what came of them.

Collected by a replay or read from the ledger; nothing in here depends on where it came from. Money is `Decimal`,
probabilities are floats, times are nanoseconds UTC of the venue's clock. A field that nobody recorded is None.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from pmarb.domain.values import NANOS, ONE, ZERO

MARK_SECONDS: Final = (1, 5, 30, 60)
"""How long after a match the market's middle is looked at again."""

DAY: Final = 86_400 * NANOS
BLOCK: Final = 900 * NANOS
"""Windows that end in the same quarter of an hour move together: one block of evidence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What the model and the market said of one window at one instant, and what happened.

    `model` and `mid` are probabilities of the first outcome, `happened` whether it came true. `asks` are the best
    offers of the first and the other outcome at that instant, `fee_rate` the taker's schedule (with exponent 1).
    """

    window: str
    at: int
    closes_at: int
    model: float
    mid: float | None
    asks: tuple[float, float] | None
    fee_rate: Decimal
    happened: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """A match: `price` is its VWAP, `fee` the dollars of the whole."""

    shares: Decimal
    price: Decimal
    fee: Decimal

    @property
    def fee_per_share(self) -> Decimal:
        return self.fee / self.shares

    @property
    def cost(self) -> Decimal:
        """Dollars a share, fee included: the probability at which it breaks even."""
        return self.price + self.fee_per_share


@dataclass(frozen=True, slots=True, kw_only=True)
class Bet:
    """One order and what came of it, from the buyer's side: all prices are of the outcome it wanted.

    `fair`, `ask`, `mid` and `expected` are of the moment of the decision: the fair value it was judged by, the price
    of the walk, the market's middle, the net edge. `filled` is the match as it was or, on paper, after the order's
    path and the venue's hold; `optimistic` had there been neither, `pessimistic` with a slow path and three in ten
    lost. `token` and `matched_at` (when it met the book, filled or not) say where and when to look for marks later.
    `marks` are middles so many seconds after the match, `opposite` the other outcome bought at that moment.
    """

    bet_id: str
    window: str
    underlying: str
    family: str
    outcome: str
    decided_at: int
    closes_at: int
    fair: Decimal
    se: Decimal
    ask: Decimal
    mid: Decimal | None
    expected: Decimal
    won: bool
    token: str = ""
    matched_at: int = 0
    filled: Paid | None = None
    optimistic: Paid | None = None
    pessimistic: Paid | None = None
    opposite: Paid | None = None
    marks: Mapping[int, Decimal] = field(default_factory=dict)

    @property
    def payout(self) -> Decimal:
        return ONE if self.won else ZERO

    @property
    def day(self) -> int:
        return self.decided_at // DAY

    @property
    def block(self) -> int:
        return -(-self.closes_at // BLOCK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything there is, in order of time. `unsettled` counts orders whose market has not been decided."""

    samples: tuple[Sample, ...] = ()
    bets: tuple[Bet, ...] = ()
    unsettled: int = 0


def joined(parts: tuple[Evidence, ...]) -> Evidence:
    """Several records as one, in order of time."""
    return Evidence(
        samples=tuple(sorted((s for part in parts for s in part.samples), key=lambda sample: sample.at)),
        bets=tuple(sorted((b for part in parts for b in part.bets), key=lambda bet: bet.decided_at)),
        unsettled=sum(part.unsettled for part in parts),
    )
