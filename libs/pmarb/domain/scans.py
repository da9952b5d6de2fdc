"""What the scanner tells beside opportunities: rules, marks, and what it looked at."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

CONTRACTS: Final = "contracts"
"""The name under which the venue's contracts are told as rules: a change of theirs halts every market."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketRules:
    """A market's rules as the venue states them now; sent when first read and whenever they are others.

    Markets of one `series` (asset and family) have the same rules, except those that name the market itself.
    """

    slug: str
    market: str
    series: str
    rules: dict[str, str]
    ts_event: int
    ts_init: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """How often a market was looked at from `since` to `ts_event`, what was found, and why nothing was (`skips`).

    `gates` are the questions asked at the end of that time, in order: (name, value, limit, whether it was passed).
    """

    slug: str
    since: int
    looks: int
    found: int
    skips: dict[str, int]
    gates: tuple[tuple[str, str, str, bool], ...]
    ts_event: int
    ts_init: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """The best bid of each token whose book was fresh at `ts_event`, 0 where nothing was bid."""

    bids: dict[str, Decimal]
    ts_event: int
    ts_init: int
