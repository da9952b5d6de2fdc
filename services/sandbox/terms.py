"""What a market asks and how it is decided: everything about it that does not change while it trades."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from services.sandbox.fees import FeeSchedule
from services.sandbox.keccak import keccak256
from services.sandbox.prices import Asset

UP_DOWN = ("Up", "Down")
YES_NO = ("Yes", "No")
TWAP_S = 60
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400


class Rule(StrEnum):
    """How the outcome follows from prices (quant.md 1.1); `declared` markets follow a hidden chance of their own."""

    TWAP = "twap"
    CANDLE = "candle"
    NOON = "noon"
    ABOVE = "above"
    RANGE = "range"
    TOUCH_HIGH = "touch_high"
    TOUCH_LOW = "touch_low"
    DECLARED = "declared"


@dataclass(frozen=True, kw_only=True, slots=True)
class Making:
    """How the house trades a market: dollars at the touch and on the best three levels, and how often it looks."""

    touch_usd: float = 50.0
    top3_usd: float = 500.0
    every_s: float = 0.2
    # Seconds before the start at which quoting becomes lively; before that one quote stands.
    lively_from_s: int = 65


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """A recurring row of events."""

    slug: str
    title: str
    recurrence: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """Times in venue seconds: `start` opens the measured span, `end` is the official end, `known` when it is decided.

    `low` and `high` are strikes in dollars, `group` the event's other markets by slug, `weight` the standing of a
    declared outcome before luck (log-odds, or log-weight inside a group).
    """

    family: str
    slug: str
    event_slug: str
    question: str
    event_title: str
    description: str
    source: str
    rule: Rule
    start: int
    end: int
    known: int
    labels: tuple[str, str] = UP_DOWN
    asset: Asset | None = None
    low: float | None = None
    high: float | None = None
    series: Series | None = None
    tags: tuple[str, ...] = ()
    fees: FeeSchedule = field(default_factory=FeeSchedule)
    fee_type: str = "crypto_fees_v2"
    neg_risk: bool = False
    augmented: bool = False
    other: bool = False
    group: tuple[str, ...] = ()
    group_title: str = ""
    group_threshold: str = "0"
    weight: float = 0.0
    held: bool = True
    seconds_delay: int = 0
    game: bool = False
    # Median seconds from the end to the official close; None takes the scenario's.
    settle_s: float | None = None
    config: bool = False
    position: bool = False
    making: Making = field(default_factory=Making)

    @property
    def neg_risk_id(self) -> str:
        """Id of a neg-risk event on the chain; its last byte counts the questions."""
        return "0x" + keccak256(self.event_slug.encode()).hex()[:62] + "00"
