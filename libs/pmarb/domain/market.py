"""What is traded: a market with two outcomes, what decides it, and what it costs to take."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from pmarb.domain.fees import FeeSchedule
from pmarb.domain.values import NANOS

UP: Final = "Up"
DOWN: Final = "Down"
YES: Final = "Yes"
NO: Final = "No"
PAIRS: Final = ((UP, DOWN), (YES, NO))
"""Labels of the two outcomes, the one that a fair value is the probability of first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Twap:
    """Up iff the oracle's average over `lookback` seconds before the end is at or above the one before the start."""

    lookback: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotTick:
    """Up iff the oracle's single tick at the end is at or above the one at the start (the rule until August 2026)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HourCandle:
    """Up iff the exchange's one-hour candle that begins at `opens_at` closes at or above its open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoonToNoon:
    """Up iff the one-minute candle of noon at `closes_at` closes above the one of noon at `opens_at`; equal: 50-50."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Above:
    """Yes iff the one-minute candle of noon at `closes_at` closes strictly above `strike`."""

    strike: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """Yes iff that close is in [low, high); None is an open end. A border belongs to the higher range."""

    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """Yes at once if any one-minute candle from `opens_at` to `closes_at` has a High >= level (`up`), or Low <= it."""

    level: float
    up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Nothing we can price: another family, a new template, or sources that contradict each other."""

    why: str


NoonRule = NoonToNoon | Above | Between
"""Decided by the close of a candle that begins at `closes_at` and lasts `NOON_CANDLE_S`."""

ExchangeRule = HourCandle | NoonRule | Touch
"""Decided by the exchange whose trades are the spot: no oracle, no basis."""

Settlement = Twap | SpotTick | ExchangeRule | Unknown

NOON_CANDLE_S: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One side of the market and the token that pays a dollar if it comes true."""

    label: str
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketInfo:
    """A market as the venue announces it. Times in nanoseconds UTC; `fees` None is an *unknown* fee, never a free one.

    `template` is the SHA-256 of the rule's text with the asset's name taken out, empty where none was given.
    `augmented` says that the event may get further outcomes: what is known of it is not all of it.
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
    augmented: bool = False
    title: str = ""
    sides: tuple[Outcome, Outcome] | None = field(init=False, repr=False, compare=False)
    """Up and Down, or Yes and No, in this order whatever theirs; None unless that is what the outcomes are."""
    two_sided: bool = field(init=False, repr=False, compare=False)
    """Whether this is an Up and a Down with a token each. Both are asked at every tick, so known beforehand."""

    def __post_init__(self) -> None:
        sides = _sides(self.outcomes)
        object.__setattr__(self, "sides", sides)
        object.__setattr__(self, "two_sided", sides is not None and sides[0].label == UP)

    def token(self, label: str) -> str | None:
        """The token of an outcome, by its label and never by its place."""
        return next((outcome.token for outcome in self.outcomes if outcome.label == label), None)

    @property
    def tokens(self) -> tuple[str, ...]:
        return tuple(outcome.token for outcome in self.outcomes)

    @property
    def decided_at(self) -> int:
        """When the price that decides is complete: a minute after the end where that minute's candle decides."""
        if isinstance(self.settlement, NoonRule):
            return self.closes_at + NOON_CANDLE_S * NANOS
        return self.closes_at


def _sides(outcomes: tuple[Outcome, ...]) -> tuple[Outcome, Outcome] | None:
    if len(outcomes) != 2 or outcomes[0].token == outcomes[1].token:
        return None
    named = {outcome.label: outcome for outcome in outcomes}
    return next(((named[one], named[other]) for one, other in PAIRS if one in named and other in named), None)
