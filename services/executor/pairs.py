"""Which shares make pairs, which of them may be merged now, and whose a merge was. Pure: values in, values out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from pmarb.db.foreign import Movement
from pmarb.db.ledger import Holding
from pmarb.db.merges import Ask
from pmarb.domain.ledger import part_of
from pmarb.domain.messages import MergedPart
from pmarb.domain.values import MICRO, NANOS, ONE, ZERO, round_down
from pmarb.venue.port import VenueMerge

LEAST: Final = ONE
"""Pairs that are worth a transaction; fewer are settled with their market."""

SETTLED_DOWN: Final = 30 * NANOS
"""Venue time after the last change of a trade: until then its fee is held against the venue's record, which after a
merge speaks of the rest only."""

CLOCKS: Final = 10 * NANOS
"""How far the times of two parts of the venue may be apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Our confirmed shares of the outcomes of one market: one or two of them, by token."""

    market: str
    held: tuple[Holding, ...]

    @property
    def count(self) -> Decimal:
        """Shares that we hold of both."""
        return round_down(min(each.shares for each in self.held), MICRO) if len(self.held) == 2 else ZERO

    @property
    def opened_at(self) -> int:
        """When the first share of it was bought."""
        return min(each.opened_at for each in self.held)

    def ready(self, now: int) -> bool:
        """Whether it may be merged: nothing under way, nothing young, the market not over."""
        return self.count >= LEAST and all(
            not each.pending and each.expiry > now and now - each.changed_at >= SETTLED_DOWN for each in self.held
        )


def pairs(holdings: Iterable[Holding]) -> dict[str, Pair]:
    """By market, everything that is held."""
    by_market: dict[str, tuple[Holding, ...]] = {}
    for each in sorted(holdings, key=lambda held: held.token):
        by_market[each.market] = (*by_market.get(each.market, ()), each)
    return {market: Pair(market=market, held=held) for market, held in by_market.items()}


def both_sides(pair: Pair, foreign: Mapping[str, Mapping[str, Decimal]]) -> bool:
    """Whether the wallet may hold both outcomes, ours or others': only then can anybody merge our shares."""
    tokens = {each.token for each in pair.held if each.shares > ZERO}
    tokens |= {token for token, shares in foreign.get(pair.market, {}).items() if shares > ZERO}
    return len(tokens) > 1


def answered(row: VenueMerge, asks: Sequence[Ask]) -> Ask | None:
    """The asking that this merge answers, None for a merge of somebody else."""
    for ask in asks:
        if ask.market == row.market and ask.pairs == row.pairs and row.ts_event >= ask.asked_at - CLOCKS:
            return ask
    return None


def ours_of(row: VenueMerge, pair: Pair, foreign: Mapping[str, Decimal], *, asked: bool) -> Decimal:
    """How many of the merged pairs were ours: all that we asked for; of a stranger's merge what his shares cannot be.

    A share whose counterpart is not ours makes no pair: it stays in the ledger, and the venue's balance will differ.
    """
    if row.ts_event < pair.opened_at - CLOCKS:
        return ZERO
    if asked:
        return min(row.pairs, pair.count)
    theirs = min((max(foreign.get(held.token, ZERO), ZERO) for held in pair.held), default=ZERO)
    return max(min(row.pairs - theirs, pair.count), ZERO)


def parts(pair: Pair, count: Decimal) -> tuple[MergedPart, ...]:
    """What `count` pairs had cost, by outcome; each outcome is paid half of the dollar."""
    return tuple(
        MergedPart(
            token=held.token,
            outcome=held.outcome,
            shares=count,
            cost=part_of(held.cost, taken=count, held=held.shares),
            fees=part_of(held.fees, taken=count, held=held.shares),
            payout=count / 2,
        )
        for held in pair.held
    )


def others(row: VenueMerge, ours: Decimal, tokens: Sequence[str]) -> list[Movement]:
    """What of a merge was not ours, as movements of the wallet."""
    rest = row.pairs - ours
    if rest <= ZERO:
        return []
    return [
        Movement(
            movement_id=f"merge:{row.merge_id}:{token}",
            kind="merge",
            order_hash="",
            market=row.market,
            token=token,
            outcome="",
            shares=-rest,
            usd=rest / len(tokens),
            ts_event=row.ts_event,
        )
        for token in tokens
    ]
