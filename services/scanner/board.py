"""What the scanner knows, and the one path from a received frame to an opportunity. No I/O but the callback."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from pmarb.clock import Clock
from pmarb.domain.market import DOWN, UP, MarketInfo
from pmarb.domain.messages import Opportunity, Scanned
from pmarb.domain.underlying import Stamp, Underlying
from pmarb.domain.values import NANOS
from pmarb.venue.books import LocalBook
from pmarb.venue.parse import PriceTick
from services.scanner.decide import Cooldown, Limits, Skip, SkipReason, Watched, find
from services.scanner.explain import explained


class Proofs(Protocol):
    """Who knows how fresh a book is."""

    def proven(self, token: str) -> int:
        """Real time, nanoseconds, as of which the token's book was last known true; 0 for never."""


class Board:
    """Markets by underlying, so that a tick wakes only those it concerns."""

    def __init__(
        self,
        *,
        assets: Sequence[str],
        limits: Limits,
        clock: Clock,
        proofs: Proofs,
        on_found: Callable[[Opportunity], None],
    ) -> None:
        self.underlyings = {asset: Underlying(asset) for asset in assets}
        self._told_at = clock.now()
        self._limits = limits
        self._clock = clock
        self._proofs = proofs
        self._on_found = on_found
        self._cooldown = Cooldown(limits)
        self._watched: dict[str, Watched] = {}
        self._by_asset: dict[str, list[Watched]] = {asset: [] for asset in assets}
        self._by_token: dict[str, Watched] = {}

    @property
    def slugs(self) -> set[str]:
        return set(self._watched)

    def add(self, market: MarketInfo, *, up: LocalBook, down: LocalBook) -> None:
        """Scan this market from now on."""
        watched = Watched(market=market, up=up, down=down)
        self._watched[market.slug] = watched
        self._by_asset[market.underlying].append(watched)
        self._by_token.update(dict.fromkeys(market.tokens, watched))

    def drop(self, slug: str) -> tuple[str, ...]:
        """Scan it no more; its tokens."""
        watched = self._watched.pop(slug)
        self._by_asset[watched.market.underlying].remove(watched)
        tokens = watched.market.tokens
        for token in tokens:
            self._by_token.pop(token, None)
        self._cooldown.forget(tokens)
        return tokens

    def account(self) -> tuple[Scanned, ...]:
        """What was looked at since the last time this was asked, a market each, and how its questions stand now."""
        now, real, since = self._clock.now(), self._clock.real(), self._told_at
        self._told_at = now
        return tuple(self._scanned(watched, since, now, real) for watched in self._watched.values())

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
                self._look(watched, self.underlyings[watched.market.underlying], now, real)

    def _look(self, watched: Watched, underlying: Underlying, now: int, real: int) -> None:
        watched.proven = min(self._proofs.proven(token) for token in watched.market.tokens)
        result = find(watched, underlying, self._limits, now=now, real=real)
        if isinstance(result, Skip):
            watched.skips[result.reason] += 1
        elif not self._cooldown.admits(result):
            watched.skips[SkipReason.COOLDOWN] += 1
        else:
            watched.found += 1
            self._on_found(replace(result, tick_real=real, found_real=self._clock.real()))


def sides(market: MarketInfo) -> tuple[str, str]:
    """The tokens of Up and Down.

    Raises:
        KeyError: the market has no such outcomes.
    """
    up, down = market.token(UP), market.token(DOWN)
    if up is None or down is None:
        raise KeyError(market.slug)
    return up, down
