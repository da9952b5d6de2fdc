"""What open positions are worth at the bid, for the day's loss: it counts what was lost and what is about to be."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from pmarb.domain.messages import Fill
from pmarb.domain.orders import FillStatus
from pmarb.domain.values import ONE, ZERO, Side
from services.risk.commitments import Commitment


@dataclass(frozen=True, slots=True)
class Mark:
    """The best bid of a token, seen at `at` (venue time)."""

    bid: Decimal
    at: int


@dataclass(slots=True)
class Holding:
    """Shares of one token and what they cost with their fees."""

    shares: Decimal = ZERO
    cost: Decimal = ZERO


Holdings = dict[str, dict[str, Holding]]
"""By market and token."""


def holdings(commitments: Iterable[Commitment]) -> Holdings:
    """What was bought and neither settled, merged nor failed."""
    found: Holdings = {}
    for commitment in commitments:
        for fill in commitment.trades.values():
            if fill.status is not FillStatus.FAILED:
                _take(found.setdefault(fill.market, {}).setdefault(fill.token, Holding()), fill, commitment)
    return found


def _take(holding: Holding, fill: Fill, commitment: Commitment) -> None:
    left = commitment.left.get(fill.token, ONE)
    shares = (fill.shares if fill.side is Side.BUY else -fill.shares) * left
    holding.shares += shares
    holding.cost += shares * fill.price + fill.fee * left


def gain(held: Holdings, marks: Mapping[str, Mark], *, since: int) -> Decimal:
    """Dollars that they are worth more or less than they cost, at the bids seen since then.

    A pair of both outcomes is a dollar whatever happens. Without a bid that fresh, a share is worth nothing: whoever
    asks must be refused for what nobody knows.
    """
    total = ZERO
    for tokens in held.values():
        pairs = min((each.shares for each in tokens.values()), default=ZERO) if len(tokens) > 1 else ZERO
        total += pairs
        for token, holding in tokens.items():
            mark = marks.get(token)
            bid = mark.bid if mark is not None and mark.at >= since else ZERO
            total += (holding.shares - pairs) * bid - holding.cost
    return total


def known_gain(held: Holdings, marks: Mapping[str, Mark]) -> Decimal:
    """The same at the last bid ever seen, and at cost where none was: what may stop the day must have been seen."""
    seen = {market: tokens for market, tokens in held.items() if tokens.keys() <= marks.keys()}
    return gain(seen, marks, since=0)
