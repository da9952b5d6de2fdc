"""The market channel, kept as local books that know how far they can be trusted.

**When is a book proven?** Frames of one connection arrive in order, so any market frame on it proves every book of that
connection as of its arrival: had another book changed before, we would have been told. A connection that is merely
quiet is proven by REST instead: after `QUIET` seconds without a frame all its books are fetched, and where they equal
ours they are proven as of the request. A connection that stays silent while REST shows other books is *frozen*: its
books count as stale, it is made anew, and only its frames prove anything again. REST is ahead of every stream by a
moment, so that alone is no sign: the stream has `LATE` seconds to tell the same. Ages are on the real clock.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import httpx

from pmarb import logs
from pmarb.clock import Clock
from pmarb.domain.book import Book
from pmarb.domain.values import NANOS
from pmarb.venue.books import LocalBook
from pmarb.venue.parse import (
    BestBidAskFrame,
    BookFrame,
    Frame,
    ParseError,
    PriceChangeFrame,
    ResolvedFrame,
    TickSizeFrame,
    WireChange,
    frames,
    milliseconds,
    rest_books,
)
from pmarb.venue.sockets import Socket

log = logs.get(__name__)

SHARD: Final = 200
"""Tokens a connection: far above that the venue sends no initial books (venue.md 6.1)."""
QUIET: Final = 0.2
CONFIRM_EVERY: Final = 0.2
FROZEN_AFTER: Final = 1.5
LATE: Final = 0.5
MISSING_AFTER: Final = 0.5
WATCH_EVERY: Final = 0.05
BOOKS_A_CALL: Final = 500

OnBooks = Callable[[Sequence[LocalBook], int], None]
OnResolved = Callable[[ResolvedFrame], None]


@dataclass(slots=True)
class Counters:
    """What went wrong so far, for the summary."""

    frames: int = 0
    malformed: int = 0
    disagreed: int = 0
    snapshots: int = 0
    frozen: int = 0


class MarketFeed:
    """Books of many tokens. `on_books(changed, real)` runs in the reader, with the time the frame was received."""

    def __init__(
        self,
        *,
        ws_url: str,
        clob_url: str,
        clock: Clock,
        http: httpx.AsyncClient,
        on_books: OnBooks = lambda _books, _real: None,
        on_resolved: OnResolved = lambda _frame: None,
    ) -> None:
        self.counters = Counters()
        self._ws_url = ws_url
        self._clob_url = clob_url
        self._clock = clock
        self._http = http
        self._on_books = on_books
        self._on_resolved = on_resolved
        self._shards: list[_Shard] = []
        self._of: dict[str, _Shard] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop: asyncio.Event | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Read until `stop`."""
        self._stop = stop
        for shard in self._shards:
            self._start(shard, stop)
        await stop.wait()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def watch(self, tokens: Iterable[str]) -> None:
        """Keep books of these tokens too."""
        fresh = [token for token in dict.fromkeys(tokens) if token not in self._of]
        while fresh:
            shard = next((s for s in self._shards if len(s.books) < SHARD), None) or self._new_shard()
            part, fresh = fresh[: SHARD - len(shard.books)], fresh[SHARD - len(shard.books) :]
            self._of.update(dict.fromkeys(part, shard))
            await shard.add(part)

    async def unwatch(self, tokens: Iterable[str]) -> None:
        """Forget these."""
        for token in tokens:
            shard = self._of.pop(token, None)
            if shard is not None:
                await shard.remove(token)

    def local(self, token: str) -> LocalBook | None:
        """The live book, or None while it is not valid: never seen, or found wrong and being fetched."""
        shard = self._of.get(token)
        return shard.books[token] if shard is not None and token in shard.valid else None

    def kept(self, token: str) -> LocalBook:
        """The book as it is kept, valid or not: ask `proven` before believing it.

        Raises:
            KeyError: the token is not watched.
        """
        return self._of[token].books[token]

    def proven(self, token: str) -> int:
        """The real time, nanoseconds, as of which the token's book was last known true; 0 for never."""
        shard = self._of.get(token)
        return shard.proven if shard is not None and token in shard.valid else 0

    def book(self, token: str) -> Book | None:
        """The exact book with `ts_init` at its last proof, so that `now - ts_init` is its real age at any speed."""
        local = self.local(token)
        if local is None or local.empty:
            return None
        return replace(local.book(), ts_init=self._clock.now() - (self._clock.real() - self.proven(token)))

    async def refresh(self, tokens: Sequence[str]) -> bool:
        """Fetch these books by REST now; False if that failed."""
        return all([await self._of[token].confirm([token]) for token in tokens if token in self._of])

    @property
    def silence(self) -> float:
        """Seconds since the quietest connection last sent anything, real."""
        return max((shard.socket.silence() for shard in self._shards), default=0.0)

    def _new_shard(self) -> "_Shard":
        shard = _Shard(
            number=len(self._shards),
            ws_url=self._ws_url,
            clob_url=self._clob_url,
            clock=self._clock,
            http=self._http,
            counters=self.counters,
            on_books=self._on_books,
            on_resolved=self._on_resolved,
        )
        self._shards.append(shard)
        if self._stop is not None:
            self._start(shard, self._stop)
        return shard

    def _start(self, shard: "_Shard", stop: asyncio.Event) -> None:
        for work in (shard.socket.run(stop), shard.guard(stop)):
            task = asyncio.get_running_loop().create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


class _Shard:
    """One connection and its books."""

    def __init__(
        self,
        *,
        number: int,
        ws_url: str,
        clob_url: str,
        clock: Clock,
        http: httpx.AsyncClient,
        counters: Counters,
        on_books: OnBooks,
        on_resolved: OnResolved,
    ) -> None:
        self.books: dict[str, LocalBook] = {}
        self.valid: set[str] = set()
        self.proven = 0
        self._asked = 0
        self._ahead = 0  # Since when, by our clock, REST shows what the stream has not told; 0 where it has
        self._frozen = False
        self._wanted: set[str] = set()
        self._clob_url = clob_url
        self._clock = clock
        self._http = http
        self._counters = counters
        self._on_books = on_books
        self._on_resolved = on_resolved
        self.socket = Socket(
            name=f"market-{number}",
            url=ws_url,
            clock=clock,
            opening=self._opening,
            on_frame=self._on_frame,
            on_down=self._on_down,
        )

    async def add(self, tokens: Sequence[str]) -> None:
        self.books.update({token: LocalBook(token) for token in tokens})
        await self.socket.send(json.dumps({"operation": "subscribe", "assets_ids": list(tokens)}))

    async def remove(self, token: str) -> None:
        self.books.pop(token, None)
        self.valid.discard(token)
        self._wanted.discard(token)
        await self.socket.send(json.dumps({"operation": "unsubscribe", "assets_ids": [token]}))

    async def guard(self, stop: asyncio.Event) -> None:
        """Prove quiet books, fetch broken ones, start anew what is frozen."""
        while not stop.is_set():
            await asyncio.sleep(WATCH_EVERY)
            if not self.books or not self.socket.up:
                continue
            if self._asked_ago() > MISSING_AFTER:
                self._wanted.update(self.books.keys() - self.valid)
            if self._wanted:
                await self.confirm(sorted(self._wanted))
            elif self._quiet_for() > QUIET and self._asked_ago() > CONFIRM_EVERY:
                await self.confirm(list(self.books))
            if self._frozen and self.socket.silence() > FROZEN_AFTER:
                log.warning("feed_frozen", feed=self.socket.name, silence_s=round(self.socket.silence(), 2))
                self._counters.frozen += 1
                await self.socket.restart()
                await asyncio.sleep(FROZEN_AFTER)  # Give the new connection the time to show itself

    async def confirm(self, tokens: Sequence[str]) -> bool:
        """Compare with REST and take over what differs; False if REST does not answer."""
        self._asked = asked = self._clock.real()
        before = self.socket.last_frame
        found: list[BookFrame] = []
        for start in range(0, len(tokens), BOOKS_A_CALL):
            page = await self._fetch(tokens[start : start + BOOKS_A_CALL])
            if page is None:
                return False
            found += page
        known = set(self.valid)
        moved = self._adopt(found)
        if not self._ahead and self.socket.last_frame == before and any(book.token in known for book in moved):
            self._ahead = asked
        if self._ahead and self._clock.real() - self._ahead > LATE * NANOS and self.socket.silence() > FROZEN_AFTER:
            self._frozen = True
        if not self._frozen and len(tokens) == len(self.books):
            self.proven = max(self.proven, asked)
        if moved:
            self._on_books(moved, asked)
        return True

    async def _fetch(self, tokens: Sequence[str]) -> Sequence[BookFrame] | None:
        try:
            reply = await self._http.post(f"{self._clob_url}/books", json=[{"token_id": token} for token in tokens])
            if reply.status_code != httpx.codes.OK:
                return None
            return rest_books(reply.content)
        except httpx.HTTPError:
            return None
        except ParseError:
            self._counters.malformed += 1
            return None

    def _adopt(self, found: Sequence[BookFrame]) -> list[LocalBook]:
        """Books that REST shows differently from us, replaced."""
        moved, ts_init = [], self._clock.now()
        for frame in found:
            book = self.books.get(frame.asset_id)
            if book is None:
                continue
            try:
                if not (frame.asset_id in self.valid and book.same_as(frame)):
                    if not book.rest_snapshot(frame, ts_init=ts_init):
                        continue
                    self._counters.snapshots += 1
                    moved.append(book)
            except ParseError:
                self._counters.malformed += 1
                continue
            self.valid.add(frame.asset_id)
            self._wanted.discard(frame.asset_id)
        return moved

    def _quiet_for(self) -> float:
        return (self._clock.real() - self.proven) / NANOS

    def _asked_ago(self) -> float:
        return (self._clock.real() - self._asked) / NANOS

    def _opening(self) -> list[str]:
        return [json.dumps({"assets_ids": list(self.books), "type": "market", "custom_feature_enabled": True})]

    def _on_down(self) -> None:
        """Whatever happens until the new connection's books arrive is unseen."""
        self.valid.clear()
        self._wanted.clear()
        self.proven = self._ahead = 0

    def _on_frame(self, raw: bytes, real: int) -> None:
        self._counters.frames += 1
        try:
            found = frames(raw)
        except ParseError:
            self._counters.malformed += 1
            return
        self.proven = real
        self._ahead, self._frozen = 0, False
        ts_init = self._clock.now()
        changed: dict[str, LocalBook] = {}
        for frame in found:
            try:
                self._take(frame, changed, ts_init)
            except ParseError:
                self._counters.malformed += 1
                self._distrust(frame)
        if changed:
            self._on_books(tuple(changed.values()), real)

    def _take(self, frame: Frame, changed: dict[str, LocalBook], ts_init: int) -> None:
        match frame:
            case PriceChangeFrame():
                self._take_changes(frame, changed, ts_init)
            case BookFrame():
                book = self.books.get(frame.asset_id)
                if book is not None and book.snapshot(frame, ts_init=ts_init):
                    self.valid.add(frame.asset_id)
                    self._wanted.discard(frame.asset_id)
                    changed[book.token] = book
            case BestBidAskFrame():
                book = self.books.get(frame.asset_id)
                if book is not None and not book.agrees(frame.best_bid, frame.best_ask):
                    self._wanted.add(frame.asset_id)
            case TickSizeFrame():
                book = self.books.get(frame.asset_id)
                if book is not None:
                    book.set_tick(frame.new_tick_size)
            case ResolvedFrame():
                self._on_resolved(frame)
            case _:
                return

    def _take_changes(self, frame: PriceChangeFrame, changed: dict[str, LocalBook], ts_init: int) -> None:
        ts_event, changes = milliseconds(frame.timestamp), frame.price_changes
        last: dict[str, WireChange] = {change.asset_id: change for change in changes}
        for token, change in last.items():
            book = self.books.get(token)
            if book is None or token not in self.valid or book.outdated(ts_event):
                continue
            book.take(changes)
            book.changed(digest=change.hash, ts_event=ts_event, ts_init=ts_init)
            if book.agrees(change.best_bid, change.best_ask):
                changed[token] = book
            else:
                self._counters.disagreed += 1
                self.valid.discard(token)
                self._wanted.add(token)

    def _distrust(self, frame: Frame) -> None:
        """A frame that could only be read in part: fetch the books it names."""
        tokens = [c.asset_id for c in frame.price_changes] if isinstance(frame, PriceChangeFrame) else []
        for token in tokens:
            if token in self.books:
                self.valid.discard(token)
                self._wanted.add(token)
