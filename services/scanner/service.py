"""The scanner: finds markets, keeps their books and prices, publishes opportunities. Nothing it does is durable.

Markets are shared out over the live scanners; every one of them listens to all prices, so that whoever takes a market
over knows its reference. What cannot be published while Redis is away is replaced by what is found later, or expires.
"""

import asyncio
import contextlib
import gc
from collections import Counter, deque
from collections.abc import Coroutine, Sequence
from typing import Any, Final

import httpx

from pmarb import codec, logs
from pmarb.bus.port import Bus, BusUnavailable
from pmarb.clock import Clock
from pmarb.domain.market import MarketInfo
from pmarb.domain.messages import Opportunity
from pmarb.domain.scanners import ScannerReport
from pmarb.domain.values import NANOS
from pmarb.runtime import Backoff, Heartbeat, every, member_name
from pmarb.venue.books import LocalBook
from pmarb.venue.feed import MarketFeed
from pmarb.venue.parse import ParseError
from pmarb.venue.polybolt import PriceKeys
from pmarb.venue.port import VenueUnavailable
from pmarb.venue.prices import history_s
from pmarb.venue.public import Discovery, VenueUrls
from services.scanner.board import Board
from services.scanner.catalogue import Catalogue
from services.scanner.decide import Limits, Watched
from services.scanner.load import Load, Muster
from services.scanner.prices import Prices
from services.scanner.references import References
from services.scanner.rules import RuleBook
from services.scanner.sharing import Claims

log = logs.get(__name__)

DISCOVER_EVERY: Final = 0.5  # Real seconds
SHARE_EVERY: Final = 1.0
BEAT_EVERY: Final = 0.25
SUMMARY_EVERY: Final = 10.0
TOLD_AT_ONCE: Final = 20
MARK_EVERY: Final = 2.0
REFER_EVERY: Final = 0.5
SLOW_EVERY: Final = 0.1
SLOW_AT_ONCE: Final = 10
SETS_AT_ONCE: Final = 50
"""A hundred slow markets a second, a millisecond at a time."""
HEAL_PAUSE: Final = 1.0
REREAD_EVERY: Final = 1.0
"""Real seconds from one market whose rules are read again to the next: all of ours within some seconds."""
STREAM_LATE: Final = 1.0
"""Real seconds after which the stream has told what an answer over HTTP said already."""


class ScannerService:
    """One scanner process."""

    def __init__(
        self,
        *,
        bus: Bus,
        urls: VenueUrls,
        clock: Clock,
        http: httpx.AsyncClient,
        limits: Limits,
        assets: tuple[str, ...],
        families: tuple[str, ...],
        heartbeat: Heartbeat,
        keys: PriceKeys | None = None,
        member: str | None = None,
    ) -> None:
        self._bus, self._clock, self._http = bus, clock, http
        self._heartbeat = heartbeat
        self._discovery = Discovery(urls=urls, http=http)
        self._catalogue = Catalogue(discovery=self._discovery, clock=clock, assets=assets, families=families)
        self.feed = MarketFeed(
            ws_url=urls.ws_market, clob_url=urls.clob, clock=clock, http=http, on_books=self._on_books
        )
        self.board = Board(
            assets=assets,
            limits=limits,
            clock=clock,
            proofs=self.feed,
            on_found=self._on_found,
            on_broken=self._on_broken,
        )
        self.prices = Prices(
            board=self.board,
            urls=urls,
            assets=assets,
            clock=clock,
            http=http,
            history_s=history_s(families),
            keys=keys,
        )
        self.references = References(
            underlyings=self.board.underlyings, candles=self.prices.spot, verdicts=self._discovery, clock=clock
        )
        self._claims = Claims(member or member_name())
        self._healing, self.healed = set[asyncio.Task[None]](), 0
        self._members, self._pending = list[str](), dict[str, Opportunity]()
        self._launched = list[tuple[Opportunity, asyncio.Future[None]]]()
        self._wake = asyncio.Event()
        self._rules, self._reread = RuleBook(), deque[str]()
        self._load, self._frames_told = Load(), 0
        self._muster = Muster(bus=bus, clock=clock, member=member or member_name())

    def markets(self) -> list[MarketInfo]:
        """Those that are scanned here now."""
        return [self._catalogue.known[slug] for slug in self.board.slugs if slug in self._catalogue.known]

    async def run(self, stop: asyncio.Event) -> None:
        """Scan until `stop`."""
        beating = asyncio.create_task(every(BEAT_EVERY, self._heartbeat.beat, stop))
        try:
            await self.prices.warm_up(stop)
            gc.collect()
            gc.freeze()  # What is loaded by now stays: no collection need walk it between a tick and its answer
            await self._together(
                stop,
                self.feed.run(stop),
                *self.prices.running(stop),
                every(DISCOVER_EVERY, self._discover, stop),
                every(SHARE_EVERY, self._share, stop),
                every(REREAD_EVERY, self._read_again, stop),
                every(REFER_EVERY, self._refer, stop),
                every(SLOW_EVERY, self._look_at_slow, stop),
                every(SUMMARY_EVERY, self._summary, stop),
                every(MARK_EVERY, self._mark, stop),
                self._load.run(stop),
                self._publish(stop),
            )
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
            await self._http.aclose()
            await self._bus.close()

    async def _together(self, stop: asyncio.Event, *work: Coroutine[Any, Any, None]) -> None:
        """Run all; the first failure stops the others and is raised."""
        async with asyncio.TaskGroup() as group:
            for part in work:
                group.create_task(part)
            group.create_task(self._release(stop))

    async def _release(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake.set()

    async def _discover(self) -> None:
        """Learn of new markets, forget old ones."""
        before = len(self._catalogue.known)
        over = await self._catalogue.look()
        for slug in over:
            if slug in self.board.slugs:
                await self.feed.unwatch(self.board.drop(slug))
        if len(self._catalogue.known) + len(over) != before:
            await self._share_out()

    async def _refer(self) -> None:
        await self.references.step(list(self._catalogue.known.values()))
        self.board.refer(self.references.values)

    async def _look_at_slow(self) -> None:
        self.board.look_at_slow(SLOW_AT_ONCE)
        self.board.look_at_sets(SETS_AT_ONCE)

    async def _read_again(self) -> None:
        """Look at the rules of the next market of ours; where they are others, tell risk and price by the new ones."""
        if not self._reread:
            self._rules.keep(self._catalogue.known)
            self._reread.extend(sorted(self.board.slugs))
        slug = self._reread.popleft() if self._reread else ""
        if slug not in self.board.slugs:
            return
        try:
            market = await self._discovery.market(slug)
        except (VenueUnavailable, ParseError) as error:
            log.warning("rules_unread", slug=slug, reason=str(error))
            return
        if market is None or slug not in self.board.slugs or market.closes_at <= self._clock.now():
            return
        if self._rules.unexplained(market, self._middles(market)):
            await asyncio.sleep(STREAM_LATE)  # The answer may be ahead of the stream
            if slug not in self.board.slugs:
                return
        told = self._rules.knows(slug)
        new = self._rules.news(market, middles=self._middles(market), now=self._clock.now())
        if new is None:
            return
        try:
            await self._bus.publish(new)
        except BusUnavailable:
            return  # Told next time: until then nothing can be approved either
        self._rules.told(new)
        if told:
            log.warning("rules_changed", slug=slug, rules=new.rules)
            self._catalogue.known[slug] = market
            await self.feed.unwatch(self.board.drop(slug))
            await self._take_on(market)

    def _middles(self, market: MarketInfo) -> list[float]:
        """The middles of its books, now and when the venue made their ticks finer, as far as they are known."""
        books = [self.feed.kept(token) for token in market.tokens]
        now = [(book.bid + book.ask) / 2 for book in books if not book.empty]
        return now + [book.refined_at for book in books if book.refined_at is not None]

    async def _share(self) -> None:
        try:
            self._members = await self._bus.members("scanner")
        except BusUnavailable:
            return  # Whoever we knew is still our best guess; what we find waits for Redis anyway
        await self._share_out()

    async def _share_out(self) -> None:
        mine = self._claims.update(self._catalogue.known, self._members, now=self._clock.real() / NANOS)
        for slug in self.board.slugs - mine:
            await self.feed.unwatch(self.board.drop(slug))
            log.info("market_handed_over", slug=slug)
        for slug in sorted(mine - self.board.slugs):
            await self._take_on(self._catalogue.known[slug])

    async def _take_on(self, market: MarketInfo) -> None:
        up, down = await self._follow(market)
        self.board.add(market, up=up, down=down)
        self.board.refer(self.references.values)
        self._reread.appendleft(market.slug)

    async def _follow(self, market: MarketInfo) -> tuple[LocalBook, LocalBook]:
        """Watch its two books, Up's or Yes's first."""
        sides = market.sides
        assert sides is not None  # The catalogue admits no others
        await self.feed.watch(outcome.token for outcome in sides)
        up, down = (self.feed.kept(outcome.token) for outcome in sides)
        up.tick = down.tick = market.tick
        return up, down

    def _on_broken(self, watched: Watched) -> None:
        task = asyncio.get_running_loop().create_task(self._heal(watched))
        self._healing.add(task)
        task.add_done_callback(self._healing.discard)

    async def _heal(self, watched: Watched) -> None:
        """Its books contradict each other: subscribe anew, check with REST, and only then trade it again."""
        market = watched.market
        log.warning("mirror_broken", slug=market.slug, paused=True)
        while market.slug in self.board.slugs:
            await self.feed.unwatch(market.tokens)
            up, down = await self._follow(market)
            if await self.feed.refresh(market.tokens) and not (up.empty or down.empty):
                self.board.mended(watched, up=up, down=down)
                self.healed += 1
                log.info("mirror_mended", slug=market.slug)
                return
            await asyncio.sleep(HEAL_PAUSE)
        await self.feed.unwatch(market.tokens)

    def _on_books(self, books: Sequence[LocalBook], real: int) -> None:
        self.board.on_books(books, real)

    def _on_found(self, opportunity: Opportunity) -> None:
        if self._pending:  # Redis is away; the latest of the same tokens replaces what waits
            self._pending[_key(opportunity)] = opportunity
        else:  # It leaves at once: other markets are still to be looked at after the same tick
            self._launched.append((opportunity, self._bus.launch(opportunity)))
        self._wake.set()

    async def _publish(self, stop: asyncio.Event) -> None:
        backoff = Backoff("redis")
        while not stop.is_set():
            await self._wake.wait()
            self._wake.clear()
            await self._see_arrive()
            batch, self._pending = list(self._pending.values()), {}
            now = self._clock.now()
            live = [opportunity for opportunity in batch if opportunity.expires_at > now]
            if not live:
                continue
            try:
                await self._bus.publish(*live)
            except BusUnavailable as error:
                self._pending = {_key(o): o for o in live} | self._pending
                await backoff.wait(error)
                self._wake.set()
                continue
            backoff.recovered()
            for opportunity in live:
                _say(opportunity)

    async def _see_arrive(self) -> None:
        """What was launched and may not have arrived waits to be published again."""
        launched, self._launched = self._launched, []
        lost = dict[str, Opportunity]()
        for opportunity, arrival in launched:
            try:
                await arrival
            except BusUnavailable:
                lost[_key(opportunity)] = opportunity
            else:
                _say(opportunity)
        self._pending = lost | self._pending

    async def _mark(self) -> None:
        """What could be had for shares of our markets now: risk values what is held by it."""
        marks = self.board.marks()
        if marks.bids:
            with contextlib.suppress(BusUnavailable):  # Without them risk counts what is held as lost
                await self._bus.publish(marks)

    async def _report(self) -> dict[str, float]:
        """Tell with every heartbeat how busy we are, and say how many of us are needed."""
        share, lag_ms, passed = self._load.taken()
        frames, errors = self.feed.counters.frames, self.references.summary()
        report = ScannerReport(
            cpu_share=round(share, 3),
            lag_ms=round(lag_ms, 1),
            frames_per_s=round((frames - self._frames_told) / passed, 1),
            markets=len(self.board.slugs),
            references_checked=self.references.checked,
            reference_error_median_bps=errors["reference_error_median_bps"],
            reference_error_max_bps=errors["reference_error_max_bps"],
            references_far_off=self.references.large,
        )
        self._frames_told = frames
        self._heartbeat.says = codec.encode_value(report)
        alive, needed = await self._muster.look(report)
        return {
            "cpu_share": report.cpu_share,
            "lag_ms": report.lag_ms,
            "frames_per_s": report.frames_per_s,
            "scanners": alive,
            "scanners_needed": needed,
        }

    async def _account(self) -> Counter[str]:
        """Tell of every market, some at a time; how often each reason was met, and `looks` and `found`."""
        counts: Counter[str] = Counter()
        for part in self.board.accounts(TOLD_AT_ONCE):
            for one in part:
                counts.update(looks=one.looks, found=one.found)
                counts.update({f"skip_{reason}": count for reason, count in one.skips.items()})
            with contextlib.suppress(BusUnavailable):  # Only what `pm-arb why` could say is lost
                await self._bus.publish(*part)
            await asyncio.sleep(0)
        return counts

    async def _summary(self) -> None:
        counts, counters = await self._account(), self.feed.counters
        prices = self.prices.summary()
        log.info(
            "scan_summary",
            markets=len(self.board.slugs),
            **await self._report(),
            looks=counts.pop("looks", 0),
            found=counts.pop("found", 0),
            **dict(counts.most_common()),
            frames=counters.frames,
            malformed=counters.malformed + prices.pop("malformed"),
            resnapshots=counters.snapshots,
            disagreements=counters.disagreed,
            freezes=counters.frozen,
            **prices,
            sets_found=self.board.sets_found,
            mirror_alarms=self.board.alarms,
            mirrors_mended=self.healed,
            refused=len(self._catalogue.refused),
            families={family: dict(reasons) for family, reasons in sorted(self.board.census().items())},
            **self.references.summary(),
        )


def _key(opportunity: Opportunity) -> str:
    return " ".join(leg.token for leg in opportunity.legs)


def _say(opportunity: Opportunity) -> None:
    leg = opportunity.legs[0]
    log.info(
        "opportunity_found",
        opportunity_id=opportunity.opportunity_id,
        slug=opportunity.slug,
        outcome=leg.outcome,
        price=str(leg.price.quantize(leg.tick)),
        fair=str(opportunity.fair),
        se=str(opportunity.fair_se),
        net_edge=f"{opportunity.net_edge:.4f}",
        threshold=str(opportunity.threshold),
    )
