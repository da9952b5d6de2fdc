"""Market objects: their ids are deterministic from slug and seed, their terms come from a family (venue.md 5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from services.sandbox.book import Book
from services.sandbox.catalog import DEFAULT_FAMILIES, families_named
from services.sandbox.clock import SECOND_NS
from services.sandbox.eip712 import POSITION_MASK
from services.sandbox.families import Family, Spot
from services.sandbox.fees import FeeSchedule
from services.sandbox.keccak import keccak256
from services.sandbox.money import MICRO
from services.sandbox.terms import Terms

MIN_ORDER_SHARES = 5 * MICRO
COARSE_TICK = MICRO // 100
FINE_TICK = MICRO // 1000
# Beyond these prices the tick becomes finer (venue.md 5.6).
FINE_ABOVE = 960_000
FINE_BELOW = 40_000
# Position ids of the newer protocol: module, condition, eight empty bytes, four bytes, outcome.
BINARY_MODULE, NEG_RISK_MODULE = 1, 2


class MarketState(StrEnum):
    OPEN = "open"
    ENDED = "ended"
    CLOSED = "closed"


@dataclass(slots=True, eq=False)
class Market:
    """One question. Prices and amounts in micro-units, times in venue ns unless the terms state them."""

    terms: Terms
    condition_id: str
    tokens: tuple[str, str]
    number: int
    created_ns: int
    event_number: int = 0
    book: Book = field(default_factory=Book)
    tick: int = COARSE_TICK
    state: MarketState = MarketState.OPEN
    winner: int | None = None
    # Resolved 50-50: nobody wins, every share pays half.
    even: bool = False
    price_to_beat: float | None = None
    final_price: float | None = None
    # When a level was touched that decides the market before its end.
    decided_ns: int = 0
    closed_ns: int = 0
    volume: int = 0
    collateral: int = 0
    last_price: int | None = None
    last_side: str = ""
    changed_ns: int = 0
    trades: int = 0
    min_size: int = MIN_ORDER_SHARES
    # Taker delay of this market; None takes the scenario's.
    hold_ms: float | None = None
    # Venue seconds by which a dispute delays the resolution.
    dispute_s: float = 0.0
    # The resolution will be 50-50 whatever the answer is.
    split: bool = False
    fees: FeeSchedule = field(default_factory=FeeSchedule)
    # (second, price of the first outcome), one a minute.
    history: list[tuple[int, int]] = field(default_factory=list)

    @property
    def start(self) -> int:
        return self.terms.start

    @property
    def end(self) -> int:
        return self.terms.end

    @property
    def end_ns(self) -> int:
        return self.terms.known * SECOND_NS

    @property
    def slug(self) -> str:
        return self.terms.slug

    @property
    def labels(self) -> tuple[str, str]:
        return self.terms.labels

    @property
    def neg_risk(self) -> bool:
        return self.terms.neg_risk

    @property
    def closed(self) -> bool:
        return self.state is MarketState.CLOSED

    @property
    def accepting(self) -> bool:
        return self.state is MarketState.OPEN

    @property
    def is_position(self) -> bool:
        """Of the newer protocol, whose ids leave bits 40 to 103 empty (venue.md 2.4)."""
        return not int(self.tokens[0]) & POSITION_MASK

    def outcome_of(self, token_id: str) -> int:
        return self.tokens.index(token_id)

    def best(self, outcome: int) -> tuple[int | None, int | None]:
        """Best bid and ask of one outcome."""
        bid, ask = self.book.best_bid(), self.book.best_ask()
        if outcome == 0:
            return bid, ask
        return (None if ask is None else MICRO - ask), (None if bid is None else MICRO - bid)

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


def make_market(*, terms: Terms, seed: int, now_ns: int) -> Market:
    digest = keccak256(f"{seed}:{terms.slug}".encode())
    condition, tokens = "0x" + digest.hex(), _token_ids(digest)
    if terms.position:
        condition, tokens = _position_ids(digest)
    return Market(
        terms=terms,
        condition_id=condition,
        tokens=tokens,
        number=5_000_000 + int.from_bytes(digest[:4], "big") % 4_000_000,
        created_ns=now_ns,
        fees=terms.fees,
    )


def _token_ids(digest: bytes) -> tuple[str, str]:
    one, other = (str(int.from_bytes(keccak256(digest + bytes([n])), "big")) for n in range(2))
    return one, other


def _position_ids(digest: bytes) -> tuple[str, tuple[str, str]]:
    """(condition of 31 bytes, ids): the condition with the number of the outcome behind it."""
    condition = bytes([BINARY_MODULE]) + digest[:18] + bytes(8) + digest[18:22]
    return "0x" + condition.hex(), (str(int(condition.hex() + "00", 16)), str(int(condition.hex() + "01", 16)))


class Markets:
    """Every market ever made in this run, found by slug, event slug, condition id, token id or number."""

    def __init__(self, *, seed: int, families: Sequence[str] = DEFAULT_FAMILIES) -> None:
        self._seed = seed
        self.families: tuple[Family, ...] = families_named(tuple(families))
        self.by_slug: dict[str, Market] = {}
        self.by_event: dict[str, list[Market]] = {}
        self.by_condition: dict[str, Market] = {}
        self.by_token: dict[str, Market] = {}
        self.by_number: dict[str, Market] = {}
        self.on_new: Callable[[Market], None] = lambda _: None
        self._live: list[Market] = []
        self._made: set[tuple[str, int]] = set()

    def roll(self, *, now_ns: int, spot: Spot) -> list[Market]:
        """Make the events that each family must show now; returns the new markets."""
        fresh: list[Market] = []
        for family in self.families:
            for start in family.starts(now_ns // SECOND_NS):
                if (family.key, start) in self._made:
                    continue
                self._made.add((family.key, start))
                event = family.event(start, spot)
                fresh.extend(self._add(make_market(terms=terms, seed=self._seed, now_ns=now_ns)) for terms in event)
        return fresh

    def admit(self, market: Market) -> None:
        """Add a market that no family made."""
        self._add(market)

    def live(self) -> list[Market]:
        """Markets that are not closed yet; the sandbox may run for days, so closed ones are not looked at again."""
        if any(market.closed for market in self._live):
            self._live = [market for market in self._live if not market.closed]
        return list(self._live)

    def _add(self, market: Market) -> Market:
        self._live.append(market)
        self.by_slug[market.slug] = market
        siblings = self.by_event.setdefault(market.terms.event_slug, [])
        siblings.append(market)
        market.event_number = siblings[0].number
        self.by_condition[market.condition_id] = market
        self.by_number[str(market.number)] = market
        for token in market.tokens:
            self.by_token[token] = market
        self.on_new(market)
        return market
