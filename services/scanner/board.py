"""What the scanner knows, and the one path from a received frame to an opportunity. No I/O but the callback."""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Final, Protocol

from pmarb.clock import Clock
from pmarb.domain.limits import SLOW_FAMILIES
from pmarb.domain.market import MarketInfo
from pmarb.domain.messages import Marks, Opportunity, Scanned
from pmarb.domain.underlying import Stamp, Underlying
from pmarb.domain.updown import Fair
from pmarb.domain.values import NANOS
from pmarb.venue.books import LocalBook
from pmarb.venue.parse import PriceTick
from services.scanner.decide import Cooldown, Limits, Skip, SkipReason, Watched, find
from services.scanner.explain import explained
from services.scanner.relations import SET_COOLDOWN_S, SETS_EVERY, Bundle, Proven, alone, judge

MS: Final = 1_000_000
SAME_TOPS_EVERY: Final = NANOS
"""Real nanoseconds between looks at a market too dear whose books change without their best prices: they cannot make
it cheaper, and the price of the asset wakes it by itself or in its turn."""


class Proofs(Protocol):
    """Who knows how fresh a book is."""

    def proven(self, token: str) -> int:
        """Real time, nanoseconds, as of which the token's book was last known true; 0 for never."""


class Board:
    """Markets by underlying, so that a tick wakes only those it concerns, and of those only the fast ones.

    `on_broken` hears of a market whose two books contradict each other for longer than books do that are about to be
    told: it is paused until it is `mended`.
    """

    def __init__(
        self,
        *,
        assets: Sequence[str],
        limits: Limits,
        clock: Clock,
        proofs: Proofs,
        on_found: Callable[[Opportunity], None],
        on_broken: Callable[[Watched], None] = lambda _watched: None,
    ) -> None:
        self.underlyings = {asset: Underlying(asset) for asset in assets}
        self._told_at = clock.now()
        self.alarms = 0
        self.sets_found = 0
        self._limits = limits
        self._clock = clock
        self._proofs = proofs
        self._on_found = on_found
        self._on_broken = on_broken
        self._cooldown = Cooldown(limits)
        self._watched: dict[str, Watched] = {}
        self._by_asset: dict[str, list[Watched]] = {asset: [] for asset in assets}
        self._by_token: dict[str, Watched] = {}
        self._slow: deque[Watched] = deque()
        self._sets: deque[Bundle] = deque()
        self._relations = Proven()
        self._sets_proven = 0
        self._set_cooldown = Cooldown(replace(limits, cooldown_s=SET_COOLDOWN_S))

    @property
    def slugs(self) -> set[str]:
        return set(self._watched)

    def add(self, market: MarketInfo, *, up: LocalBook, down: LocalBook) -> None:
        """Scan this market from now on."""
        watched = Watched(market=market, up=up, down=down)
        self._watched[market.slug] = watched
        if market.family in SLOW_FAMILIES:
            self._slow.append(watched)
        else:
            self._by_asset[market.underlying].append(watched)
        self._by_token.update(dict.fromkeys(market.tokens, watched))

    def drop(self, slug: str) -> tuple[str, ...]:
        """Scan it no more; its tokens."""
        watched = self._watched.pop(slug)
        if watched.market.family in SLOW_FAMILIES:
            self._slow.remove(watched)
        else:
            self._by_asset[watched.market.underlying].remove(watched)
        tokens = watched.market.tokens
        for token in tokens:
            self._by_token.pop(token, None)
        self._cooldown.forget(tokens)
        self._set_cooldown.forget(tokens)
        return tokens

    def account(self) -> tuple[Scanned, ...]:
        """What was looked at since the last time this was asked, a market each, and how its questions stand now."""
        return tuple(one for part in self.accounts(len(self._watched) or 1) for one in part)

    def accounts(self, size: int) -> Iterator[tuple[Scanned, ...]]:
        """The same, so many markets at a time: all of a thousand at once would keep a tick waiting for 0.1 s."""
        now, real, since = self._clock.now(), self._clock.real(), self._told_at
        self._told_at = now
        watched = list(self._watched.values())
        for first in range(0, len(watched), size):
            yield tuple(self._scanned(one, since, now, real) for one in watched[first : first + size])

    def _scanned(self, watched: Watched, since: int, now: int, real: int) -> Scanned:
        watched.proven = min(self._proofs.proven(token) for token in watched.market.tokens)
        underlying = self.underlyings[watched.market.underlying]
        skips, found = dict(watched.skips), watched.found
        watched.found = 0
        watched.skips.clear()
        return Scanned(
            slug=watched.market.slug,
            since=since,
            looks=found + sum(skips.values()),
            found=found,
            skips={str(reason): count for reason, count in skips.items()},
            gates=explained(watched, underlying, self._limits, now=now, real=real),
            ts_event=now,
            ts_init=now,
        )

    def marks(self) -> Marks:
        """The best bid of every token whose book is fresh."""
        now, real, bids = self._clock.now(), self._clock.real(), dict[str, Decimal]()
        for watched in self._watched.values():
            oldest = real - self._limits.stale_book(watched.market.family) * MS
            sides = zip(watched.market.sides or (), (watched.up, watched.down), strict=True)
            for outcome, book in sides:
                if not book.empty and self._proofs.proven(outcome.token) >= oldest:
                    bids[outcome.token] = round(Decimal(book.bid), 4)
        return Marks(bids=bids, ts_event=now, ts_init=now)

    def refer(self, references: Mapping[str, float]) -> None:
        """Tell the markets the prices that they compare with; one that is known no more is taken back."""
        for slug, watched in self._watched.items():
            watched.stated_strike = references.get(slug)

    def mended(self, watched: Watched, *, up: LocalBook, down: LocalBook) -> None:
        """Its books were fetched anew: believe them."""
        watched.up, watched.down = up, down
        watched.paused, watched.broken_since = False, 0

    def look_at_sets(self, most: int) -> None:
        """Compare markets with each other, some sets in turn; all are proven anew once the last was looked at."""
        now, real = self._clock.now(), self._clock.real()
        if not self._sets and real - self._sets_proven > SETS_EVERY:
            self._sets_proven = real
            self._sets.extend(self._relations.among(list(self._watched.values())))
        for _ in range(min(most, len(self._sets))):
            bundle = self._sets.popleft()
            members = [side.watched for side in bundle.sides]
            if any(self._watched.get(member.market.slug) is not member for member in members):
                continue
            for member in members:
                member.proven = min(self._proofs.proven(token) for token in member.market.tokens)
            found = judge(bundle, self._limits, now=now, real=real, worth=self._worth)
            if found is not None and self._set_cooldown.admits(found):
                self.sets_found += 1
                self._on_found(replace(found, tick_real=real, found_real=self._clock.real()))

    def _worth(self, watched: Watched) -> Fair | None:
        underlying = self.underlyings[watched.market.underlying]
        return alone(watched, underlying, self._limits, now=self._clock.now(), real=self._clock.real())

    def census(self) -> dict[str, Counter[str]]:
        """By family, what the last look at each market came to: `found`, or the reason why not."""
        found: dict[str, Counter[str]] = {}
        for watched in self._watched.values():
            found.setdefault(watched.market.family, Counter())[str(watched.last or "found")] += 1
        return found

    def look_at_slow(self, most: int) -> None:
        """Look at some of the markets that no tick wakes, the longest unseen first."""
        now, real = self._clock.now(), self._clock.real()
        for _ in range(min(most, len(self._slow))):
            watched = self._slow[0]
            self._slow.rotate(-1)
            self._look(watched, self.underlyings[watched.market.underlying], now, real)

    def on_spot(self, ticks: Sequence[PriceTick], real: int) -> None:
        """Trades of the fast exchange."""
        now = self._clock.now()
        for tick in ticks:
            underlying = self.underlyings.get(tick.asset)
            if underlying is None:
                continue
            stamp = Stamp(ts_event=tick.ts_event or now, ts_init=now, real=real)
            underlying.on_spot(tick.price, second=stamp.ts_event // NANOS, stamp=stamp)
            for watched in self._by_asset[tick.asset]:
                self._look(watched, underlying, now, real)

    def on_other_spot(self, ticks: Sequence[PriceTick], real: int) -> None:
        """Trades of the exchange that checks. They wake a market only while they are the price in force."""
        now = self._clock.now()
        for tick in ticks:
            underlying = self.underlyings.get(tick.asset)
            if underlying is None:
                continue
            stamp = Stamp(ts_event=tick.ts_event, ts_init=now, real=real)
            underlying.on_other_spot(tick.price, second=stamp.ts_event // NANOS, stamp=stamp)
            if underlying.standing_in:
                for watched in self._by_asset[tick.asset]:
                    self._look(watched, underlying, now, real)

    def on_averages(self, ticks: Sequence[PriceTick], _real: int) -> None:
        """The oracle's ready-made averages, each of the minute before its stamp."""
        for tick in ticks:
            underlying = self.underlyings.get(tick.asset)
            if underlying is not None:
                underlying.averages.put(tick.ts_event // NANOS, tick.price)

    def on_oracle(self, ticks: Sequence[PriceTick], real: int) -> None:
        """Ticks of the settlement stream. They are seconds old: the next spot trade asks the question."""
        now = self._clock.now()
        for tick in ticks:
            underlying = self.underlyings.get(tick.asset)
            if underlying is not None:
                stamp = Stamp(ts_event=tick.ts_event, ts_init=now, real=real)
                underlying.on_oracle(tick.price, second=tick.ts_event // NANOS, stamp=stamp)

    def on_books(self, books: Sequence[LocalBook], real: int) -> None:
        """Books that changed; a market is looked at once however many of its books did."""
        now = self._clock.now()
        seen: set[str] = set()
        for book in books:
            watched = self._by_token.get(book.token)
            if watched is not None and watched.market.slug not in seen:
                seen.add(watched.market.slug)
                if _asks_anew(watched, real):
                    self._look(watched, self.underlyings[watched.market.underlying], now, real)

    def _look(self, watched: Watched, underlying: Underlying, now: int, real: int) -> None:
        watched.tops, watched.looked = _tops(watched), real
        watched.proven = min(self._proofs.proven(token) for token in watched.market.tokens)
        result = find(watched, underlying, self._limits, now=now, real=real)
        if isinstance(result, Skip):
            watched.skips[result.reason] += 1
            watched.last = result.reason
            self._note_mirror(watched, result.reason, real)
        elif not self._cooldown.admits(result):
            watched.skips[SkipReason.COOLDOWN] += 1
        else:
            watched.found += 1
            watched.last, watched.broken_since = None, 0
            self._on_found(replace(result, tick_real=real, found_real=self._clock.real()))

    def _note_mirror(self, watched: Watched, reason: SkipReason, real: int) -> None:
        """Two sides of one book are told one by one, so they differ for a moment; for longer, one of them is wrong."""
        if reason is not SkipReason.MIRROR_BROKEN:
            watched.broken_since = 0
        elif not watched.broken_since:
            watched.broken_since = real
        elif real - watched.broken_since > self._limits.mirror_ms * MS:
            watched.paused = True
            self.alarms += 1
            self._on_broken(watched)


def _asks_anew(watched: Watched, real: int) -> bool:
    """Whether changed books may change the answer."""
    if watched.last is not SkipReason.EDGE_TOO_THIN or real - watched.looked >= SAME_TOPS_EVERY:
        return True
    return _tops(watched) != watched.tops


def _tops(watched: Watched) -> tuple[float, float, float, float]:
    up, down = watched.up, watched.down
    return up.bid, up.ask, down.bid, down.ask
