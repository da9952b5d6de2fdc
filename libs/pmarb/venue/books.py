"""Books kept from the market channel's frames: a snapshot, then changes, checked against the tops the venue states."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Final

from pmarb.domain.book import Book, Level, mirror
from pmarb.domain.values import ZERO
from pmarb.venue.parse import (
    MOST_SHARES,
    UNIT,
    BestBidAskFrame,
    BookFrame,
    ParseError,
    WireChange,
    WireLevel,
    known_units,
    milliseconds,
    number,
    price_units,
    shares_in,
)

_UNIT: Final = Decimal(UNIT)
_prices: dict[int, Decimal] = {}


def _price_of(units: int) -> Decimal:
    price = _prices.get(units)
    if price is None:
        price = _prices[units] = (Decimal(units) / _UNIT).normalize()
    return price


class LocalBook:
    """One token's book. Tops are plain floats for the quick look; `book()` builds the exact value when it is wanted.

    `ts_event` is the venue's time of the last change, `ts_init` when we received it, both nanoseconds of the venue's
    clock. `sized` is False while only tops without sizes have been seen: such a book cannot be walked.
    """

    def __init__(self, token: str, *, tick: Decimal = Decimal("0.01")) -> None:
        self.token = token
        self.tick = tick
        self.refined_at: float | None = None  # The middle when the venue last made the tick finer
        self.hash = ""
        self.ts_event = 0
        self.ts_init = 0
        self.sized = False
        self._bids: dict[int, str] = {}
        self._asks: dict[int, str] = {}
        self._bid = 0
        self._ask = UNIT
        self._floor = 0
        self._built: Book | None = None

    @property
    def bid(self) -> float:
        """Best bid, 0 for none."""
        return self._bid / UNIT

    @property
    def ask(self) -> float:
        """Best ask, 1 for none."""
        return self._ask / UNIT

    @property
    def empty(self) -> bool:
        return self.ts_init == 0

    def snapshot(self, frame: BookFrame, *, ts_init: int) -> bool:
        """Replace everything, unless the frame is older than what a REST snapshot already told."""
        ts_event = milliseconds(frame.timestamp)
        if ts_event < self._floor:
            return False
        bids, asks = _levels(frame.bids), _levels(frame.asks)
        tick = None if frame.tick_size is None else _tick(str(frame.tick_size))
        self._bids, self._asks = bids, asks
        self._bid, self._ask = max(bids, default=0), min(asks, default=UNIT)
        if tick is not None:
            self._use(tick)  # Of these prices, not of those before
        self.sized = True
        self._touched(frame.hash, ts_event, ts_init)
        return True

    def rest_snapshot(self, frame: BookFrame, *, ts_init: int) -> bool:
        """The same from REST; later changes that are older than it are passed over.

        False if the stream has told something newer while the answer was on its way: it would undo that.
        """
        if milliseconds(frame.timestamp) < self.ts_event or not self.snapshot(frame, ts_init=ts_init):
            return False
        self._floor = self.ts_event
        return True

    def change(self, change: WireChange) -> None:
        """Set the total at a level. Follow with `changed` once the frame is through."""
        self.take((change,))

    def take(self, changes: Sequence[WireChange]) -> tuple[str | None, bool]:  # noqa: C901 - the hottest loop
        """The same for those of a frame's changes that are ours; the hash of the last one, and whether all were."""
        token, known, size, most, others = self.token, known_units, "", MOST_SHARES, 0
        bids, asks, bid, ask = self._bids, self._asks, self._bid, self._ask
        try:
            for change in changes:  # Thousands of times a second with many markets: no calls, each top kept as it goes
                if change.asset_id != token:
                    others += 1
                    continue
                price, size = change.price, change.size
                try:
                    units = known[price]
                except KeyError:
                    units = price_units(price)
                shares = float(size)
                if not 0.0 <= shares < most:
                    raise ParseError(f"size was {size[:40]!r}")
                if change.side == "BUY":
                    if shares:
                        bids[units] = size
                        if units > bid:
                            bid = units
                    elif bids.pop(units, None) is not None and units == bid:
                        bid = max(bids, default=0)
                elif shares:
                    asks[units] = size
                    if units < ask:
                        ask = units
                elif asks.pop(units, None) is not None and units == ask:
                    ask = min(asks, default=UNIT)
        except ParseError:
            raise
        except ValueError:
            raise ParseError(f"size was {size[:40]!r}") from None
        finally:
            self._bid, self._ask = bid, ask
        if not others:
            return changes[-1].hash if changes else None, True
        return next((change.hash for change in reversed(changes) if change.asset_id == token), None), False

    def changed(self, *, digest: str | None, ts_event: int, ts_init: int) -> None:
        """The frame's changes are in."""
        self._touched(digest, ts_event, ts_init)

    def outdated(self, ts_event: int) -> bool:
        """Whether a change of that time is already contained in a REST snapshot."""
        return ts_event < self._floor

    def agrees(self, best_bid: str | None, best_ask: str | None) -> bool:
        """Whether our top is the one the venue states (0 and 1 are its empty sides)."""
        if best_bid is not None and price_units(best_bid) != self._bid:
            return False
        return best_ask is None or price_units(best_ask) == self._ask

    def same_as(self, frame: BookFrame) -> bool:
        """Whether a REST snapshot shows what we already hold."""
        sides = ((frame.bids, self._bids), (frame.asks, self._asks))
        return all(_exact(_levels(theirs)) == _exact(ours) for theirs, ours in sides)

    def top(self, frame: BestBidAskFrame, *, ts_init: int) -> None:
        """Take a top without sizes; ignored where the depth is known."""
        if self.sized:
            return
        self._bid, self._ask = price_units(frame.best_bid), price_units(frame.best_ask)
        self._touched(None, milliseconds(frame.timestamp), ts_init)

    def set_tick(self, text: str) -> None:
        self._use(_tick(text))

    def _use(self, tick: Decimal) -> None:
        if tick < self.tick:
            self.refined_at = (self.bid + self.ask) / 2
        self.tick = tick
        self._built = None

    def book(self) -> Book:
        """The exact book, best level first. Tops without sizes give levels of size 0, which nothing can take."""
        if self._built is None:
            self._built = self._build()
        return self._built

    def _build(self) -> Book:
        if self.sized:
            bids = tuple(Level(_price_of(u), Decimal(self._bids[u])) for u in sorted(self._bids, reverse=True))
            asks = tuple(Level(_price_of(u), Decimal(self._asks[u])) for u in sorted(self._asks))
        else:
            bids = (Level(_price_of(self._bid), ZERO),) if self._bid else ()
            asks = (Level(_price_of(self._ask), ZERO),) if self._ask < UNIT else ()
        return Book(
            token=self.token,
            bids=bids,
            asks=asks,
            ts_event=self.ts_event,
            ts_init=self.ts_init,
            hash=self.hash,
            tick=self.tick,
        )

    def _touched(self, digest: str | None, ts_event: int, ts_init: int) -> None:
        self.hash = digest or ""
        self.ts_event = ts_event
        self.ts_init = ts_init
        self._built = None


def _tick(text: str) -> Decimal:
    tick = number(text, "tick size")
    if not ZERO < tick < 1:
        raise ParseError(f"tick size was {text[:40]!r}")
    return tick


def _levels(levels: list[WireLevel]) -> dict[int, str]:
    known, found = known_units, {}
    for level in levels:
        price, size = level.price, level.size
        if shares_in(size):
            found[known[price] if price in known else price_units(price)] = size
    return found


def _exact(levels: dict[int, str]) -> dict[int, Decimal]:
    return {units: Decimal(size) for units, size in levels.items()}


class MirrorBook:
    """The other token's book seen from this side, for recordings that kept only one: bid p is ask 1 - p there."""

    def __init__(self, token: str, other: LocalBook) -> None:
        self._token = token
        self._other = other

    @property
    def bid(self) -> float:
        return 1 - self._other.ask

    @property
    def ask(self) -> float:
        return 1 - self._other.bid

    @property
    def sized(self) -> bool:
        return self._other.sized

    @property
    def empty(self) -> bool:
        return self._other.empty

    def book(self) -> Book:
        """The mirrored book; its hash is unknown."""
        book = self._other.book()
        return replace(book, token=self._token, bids=mirror(book.asks), asks=mirror(book.bids), hash="")
