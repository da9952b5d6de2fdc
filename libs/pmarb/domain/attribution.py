"""Where a share's result came from, so that the parts sum to it exactly (quant.md 6.4)."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from decimal import Decimal, localcontext
from typing import Final

from pmarb.domain.evidence import Bet
from pmarb.domain.values import EXACT, ZERO

MARK_S: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """Dollars: what was expected, what the price slipped, the fee, how wrong the model was, and luck.

    expected    fair - ask of the decision
    slippage    -(price paid - ask of the decision)
    fee         -fee
    model       middle five seconds later - fair: model error and adverse selection
    luck        payout - that middle
    """

    expected: Decimal = ZERO
    slippage: Decimal = ZERO
    fee: Decimal = ZERO
    model: Decimal = ZERO
    luck: Decimal = ZERO

    @property
    def total(self) -> Decimal:
        with localcontext(EXACT):
            return sum((getattr(self, part.name) for part in fields(self)), ZERO)


def attribute(bet: Bet) -> Attribution | None:
    """Of all shares of a filled bet, in dollars; None while it is unfilled or was not marked."""
    filled, marked = bet.filled, bet.marks.get(MARK_S)
    if filled is None or marked is None:
        return None
    with localcontext(EXACT):
        return Attribution(
            expected=filled.shares * (bet.fair - bet.ask),
            slippage=filled.shares * (bet.ask - filled.price),
            fee=-filled.fee,
            model=filled.shares * (marked - bet.fair),
            luck=filled.shares * (bet.payout - marked),
        )


def added(parts: Iterable[Attribution]) -> Attribution:
    """The sum, part by part."""
    found = list(parts)
    with localcontext(EXACT):
        sums = {part.name: sum((getattr(each, part.name) for each in found), ZERO) for part in fields(Attribution)}
    return Attribution(**sums)
