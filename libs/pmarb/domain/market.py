"""What is traded: one window of an up/down market, what decides it, and what it costs to take."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from pmarb.domain.fees import FeeSchedule

UP: Final = "Up"
DOWN: Final = "Down"


@dataclass(frozen=True, slots=True, kw_only=True)
class Twap:
    """Up iff the oracle's average over `lookback` seconds before the end is at or above the one before the start."""

    lookback: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotTick:
    """Up iff the oracle's single tick at the end is at or above the one at the start (the rule until August 2026)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Nothing we can price: another family, a new template, or sources that contradict each other."""

    why: str


Settlement = Twap | SpotTick | Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One side of the market and the token that pays a dollar if it comes true."""

    label: str
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketInfo:
    """A market as the venue announces it. Times in nanoseconds UTC; `fees` None is an *unknown* fee, never a free one.

    `template` is the SHA-256 of the rule's text with the asset's name taken out, empty where none was given.
    """

    slug: str
    condition_id: str
    event: str
    outcomes: tuple[Outcome, ...]
    fees: FeeSchedule | None
    tick: Decimal
    min_size: Decimal
    opens_at: int
    closes_at: int
    family: str
    underlying: str
    settlement: Settlement
    template: str
    accepting: bool
    closed: bool
    neg_risk: bool
    taker_delay: bool
    two_sided: bool = field(init=False, repr=False, compare=False)
    """Whether this is an Up and a Down with a token each: asked at every tick, so known beforehand."""

    def __post_init__(self) -> None:
        labels = {outcome.label for outcome in self.outcomes}
        pair = len(self.outcomes) == 2 and labels == {UP, DOWN} and len(set(self.tokens)) == 2
        object.__setattr__(self, "two_sided", pair)

    def token(self, label: str) -> str | None:
        """The token of an outcome, by its label and never by its place."""
        return next((outcome.token for outcome in self.outcomes if outcome.label == label), None)

    @property
    def tokens(self) -> tuple[str, ...]:
        return tuple(outcome.token for outcome in self.outcomes)
