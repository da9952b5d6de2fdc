"""Market objects: rolling up/down windows whose ids are deterministic from slug and seed (venue.md 5)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

from services.sandbox.book import Book
from services.sandbox.clock import SECOND_NS
from services.sandbox.eip712 import POSITION_MASK
from services.sandbox.fees import FeeSchedule
from services.sandbox.keccak import keccak256
from services.sandbox.money import MICRO
from services.sandbox.prices import ASSETS, Asset

OUTCOMES = ("Up", "Down")
MIN_ORDER_SHARES = 5 * MICRO
COARSE_TICK = MICRO // 100
FINE_TICK = MICRO // 1000
# Beyond these prices the tick becomes finer (venue.md 5.6).
FINE_ABOVE = 960_000
FINE_BELOW = 40_000
WINDOWS_AHEAD = 3
EASTERN = ZoneInfo("America/New_York")


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """One rolling series, such as Bitcoin every five minutes."""

    asset: Asset
    minutes: int

    @property
    def seconds(self) -> int:
        return self.minutes * 60

    @property
    def label(self) -> str:
        return f"{self.minutes}m"

    @property
    def series_slug(self) -> str:
        return f"{self.asset.code}-up-or-down-{self.label}"

    def slug(self, start: int) -> str:
        return f"{self.asset.code}-updown-{self.label}-{start}"


FAMILIES = tuple(Family(asset=asset, minutes=minutes) for asset in ASSETS.values() for minutes in (5, 15))


class MarketState(StrEnum):
    OPEN = "open"
    ENDED = "ended"
    CLOSED = "closed"


@dataclass(slots=True, eq=False)
class Market:
    """One window. Prices and amounts in micro-units, `start` and `end` in venue seconds, other times in venue ns."""

    family: Family
    start: int
    condition_id: str
    tokens: tuple[str, str]
    number: int
    created_ns: int
    book: Book = field(default_factory=Book)
    tick: int = COARSE_TICK
    state: MarketState = MarketState.OPEN
    neg_risk: bool = False
    fees: FeeSchedule = field(default_factory=FeeSchedule)
    winner: int | None = None
    # Resolved 50-50: nobody wins, every share pays half.
    even: bool = False
    price_to_beat: float | None = None
    final_price: float | None = None
    closed_ns: int = 0
    volume: int = 0
    collateral: int = 0
    last_price: int | None = None
    last_side: str = ""
    changed_ns: int = 0
    trades: int = 0

    @property
    def end(self) -> int:
        return self.start + self.family.seconds

    @property
    def end_ns(self) -> int:
        return self.end * SECOND_NS

    @property
    def slug(self) -> str:
        return self.family.slug(self.start)

    @property
    def closed(self) -> bool:
        return self.state is MarketState.CLOSED

    @property
    def accepting(self) -> bool:
        return self.state is MarketState.OPEN

    def outcome_of(self, token_id: str) -> int:
        return self.tokens.index(token_id)

    def best(self, outcome: int) -> tuple[int | None, int | None]:
        """Best bid and ask of one outcome."""
        bid, ask = self.book.best_bid(), self.book.best_ask()
        if outcome == 0:
            return bid, ask
        return (None if ask is None else MICRO - ask), (None if bid is None else MICRO - bid)

    @property
    def is_position(self) -> bool:
        """Of the newer protocol, whose ids leave bits 40 to 103 empty (venue.md 2.4)."""
        return not int(self.tokens[0]) & POSITION_MASK

    def payout(self, outcome: int) -> int:
        """Micro-dollars a share is worth once the market is closed."""
        if self.even:
            return MICRO // 2
        return MICRO if self.winner == outcome else 0

    def outcome_price(self, outcome: int) -> int:
        """Display price: settlement value, else the middle of the book, else one half."""
        if self.closed:
            return self.payout(outcome)
        bid, ask = self.best(outcome)
        return ((bid if bid is not None else 0) + (ask if ask is not None else MICRO)) // 2


def question(family: Family, start: int) -> str:
    """Title as the venue words it, e.g. "Bitcoin Up or Down - September 28, 1:30PM-1:45PM ET"."""
    first = datetime.fromtimestamp(start, tz=UTC).astimezone(EASTERN)
    last = datetime.fromtimestamp(start + family.seconds, tz=UTC).astimezone(EASTERN)
    return f"{family.asset.name} Up or Down - {first:%B} {first.day}, {_hour(first)}-{_hour(last)} ET"


def _hour(moment: datetime) -> str:
    return moment.strftime("%I:%M%p").lstrip("0")


def make_market(*, family: Family, start: int, seed: int, now_ns: int) -> Market:
    slug = family.slug(start)
    digest = keccak256(f"{seed}:{slug}".encode())
    tokens = tuple(str(int.from_bytes(keccak256(digest + bytes([n])), "big")) for n in range(2))
    return Market(
        family=family,
        start=start,
        condition_id="0x" + digest.hex(),
        tokens=(tokens[0], tokens[1]),
        number=5_000_000 + int.from_bytes(digest[:4], "big") % 4_000_000,
        created_ns=now_ns,
    )


def upcoming(family: Family, *, now_ns: int) -> range:
    """Starts of the running window and of those that must exist already."""
    current = now_ns // SECOND_NS // family.seconds * family.seconds
    return range(current, current + (WINDOWS_AHEAD + 1) * family.seconds, family.seconds)


class Markets:
    """Every market ever made in this run, found by slug, condition id, token id or number."""

    def __init__(self, *, seed: int) -> None:
        self._seed = seed
        self.by_slug: dict[str, Market] = {}
        self.by_condition: dict[str, Market] = {}
        self.by_token: dict[str, Market] = {}
        self.by_number: dict[str, Market] = {}
        self._live: list[Market] = []

    def roll(self, *, now_ns: int) -> list[Market]:
        """Make the current window of each family and the next three; returns the new ones."""
        return [
            self._add(make_market(family=family, start=start, seed=self._seed, now_ns=now_ns))
            for family in FAMILIES
            for start in upcoming(family, now_ns=now_ns)
            if family.slug(start) not in self.by_slug
        ]

    def live(self) -> list[Market]:
        """Markets that are not closed yet; the sandbox may run for days, so closed ones are not looked at again."""
        if any(market.closed for market in self._live):
            self._live = [market for market in self._live if not market.closed]
        return list(self._live)

    def _add(self, market: Market) -> Market:
        self._live.append(market)
        self.by_slug[market.slug] = market
        self.by_condition[market.condition_id] = market
        self.by_number[str(market.number)] = market
        for token in market.tokens:
            self.by_token[token] = market
        return market
