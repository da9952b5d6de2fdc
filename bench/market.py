"""A simulated market without sockets: the sandbox's world in simulated time, fed to the replay's engine.

The world's makers, takers, oracle and settlement are the sandbox's own; the engine runs the rules that trade. What
passes between them is delayed as the scenario says (spot 106 ms, books 60 ms, oracle 1.3 s), and nothing else does.
"""

import contextlib
import functools
import heapq
import io
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Final

from pmarb.domain.fees import FeeSchedule
from pmarb.domain.market import DOWN, UP, MarketInfo, Outcome, Twap
from pmarb.venue.parse import BookFrame, WireChange, WireLevel
from services.replay.engine import Engine
from services.sandbox.book import BookOrder, Fill, Side
from services.sandbox.clock import MS_NS, SECOND_NS
from services.sandbox.markets import Market
from services.sandbox.money import text
from services.sandbox.orders import Order
from services.sandbox.scenario import SCENARIOS
from services.sandbox.trades import Trade
from services.sandbox.world import RunSettings, World

ANCHOR_NS: Final = 1_795_000_200 * SECOND_NS
FAMILIES: Final = ("5m",)
"""The shortest windows give the most independent outcomes for the time they cost."""
STEP_NS: Final = 50 * MS_NS
"""The grid of the index, on which makers and takers move as they do in the sandbox."""
SECOND_STEPS: Final = SECOND_NS // STEP_NS
SPOT_STEPS: Final = max(1, 100 * MS_NS // STEP_NS)
WARM_UP_S: Final = 2400
ORACLE_HISTORY_S: Final = 120
FAMILY_S: Final = {"5m": 300, "15m": 900}
LIVELY_S: Final = 10
"""A window's makers become lively, and it is told of, so long before it opens: the rules buy nothing earlier."""

NEVER: Final = 1 << 62

Delivery = tuple[int, Callable[[int], None]]


class SimulatedMarket:
    """One seed of one scenario. `run` lives `hours` of venue time and leaves the engine concluded."""

    def __init__(self, *, scenario: str, seed: int, engine: Engine) -> None:
        settings = RunSettings(
            seed=seed,
            scenario=SCENARIOS[scenario],
            speed=1.0,
            anchor_ns=ANCHOR_NS,
            bankroll_usd=300,
            families=FAMILIES,
        )
        self._now = ANCHOR_NS
        self._engine = engine
        with contextlib.redirect_stderr(io.StringIO()):
            self._world = World(settings)
        self._world.clock.flow_ns = lambda: self._now  # type: ignore[method-assign]
        self._world.exchange.events = self
        for oracle in self._world.oracles.values():
            oracle.partial = functools.lru_cache(maxsize=512)(oracle.partial)  # type: ignore[method-assign]
        self._changed: dict[str, Market] = {}
        self._untold: list[tuple[int, str, Market]] = []
        self._told: set[str] = set()
        scenario_of = self._world.scenario
        self._spots: deque[Delivery] = deque()
        self._books: deque[Delivery] = deque()
        self._oracles: deque[Delivery] = deque()
        self._spot_ns = int(scenario_of.spot_feed_ms * MS_NS)
        self._book_ns = int(scenario_of.clob_ws_ms * MS_NS)
        self._oracle_ns = int(scenario_of.rtds_oracle_ms * MS_NS)

    def run(self, hours: float) -> None:
        self._warm_up()
        with contextlib.redirect_stderr(io.StringIO()):  # The sandbox logs every settlement
            for step in range(int(hours * 3600 * SECOND_NS) // STEP_NS):
                self._step(step)
        self._engine.conclude(self._now)

    # ------------------------------------------------------------------------------------------------------- the world

    def _step(self, step: int) -> None:
        now = self._now = ANCHOR_NS + step * STEP_NS
        if step % SECOND_STEPS == 0:
            self._world.settlement.step(now)
            self._announce(now)
            for code, oracle in self._world.oracles.items():
                self._tell_oracle(code, oracle.tick(now // SECOND_NS), now)
        self._world.house.step(now)
        if self._changed:
            for market in self._changed.values():
                self._tell_book(market, now)
            self._changed.clear()
        if step % SPOT_STEPS == 0:
            for code, path in self._world.paths.items():
                self._tell_spot(code, round(path.at(now), 2), now)
        self._deliver(until=now + STEP_NS)

    def _warm_up(self) -> None:
        """What a scanner fetches when it starts: candles, and the last two minutes of the oracle."""
        second = ANCHOR_NS // SECOND_NS
        for code, path in self._world.paths.items():
            underlying = self._engine.underlying(code)
            for at in range(second - WARM_UP_S, second):
                underlying.put_spot(at, round(path.at((at + 1) * SECOND_NS - 1), 2))
            self._engine.seen.add("spot")
            for at in range(second - ORACLE_HISTORY_S, second):
                self._engine.oracle(code, self._world.oracles[code].tick(at), ts_event=at * SECOND_NS, now=ANCHOR_NS)

    # ------------------------------------------------------------------------------------------------------- the wires

    def _announce(self, now: int) -> None:
        while self._untold and self._untold[0][0] <= now:
            _, _, market = heapq.heappop(self._untold)
            self._books.append((now + self._book_ns, partial(self._met, _info(market))))
            self._books.append((now + self._book_ns, partial(self._seen, _frame(market, now))))
            self._told.add(market.slug)
            market.book.drain_changes()

    def _met(self, info: MarketInfo, at: int) -> None:
        self._engine.announce(info, now=at)

    def _tell_spot(self, code: str, price: float, now: int) -> None:
        def arrive(at: int) -> None:
            self._engine.proven = at  # The book's connection answers pings all the while
            self._engine.spot(code, price, ts_event=now, now=at)

        self._spots.append((now + self._spot_ns, arrive))

    def _tell_oracle(self, code: str, value: float, now: int) -> None:
        def arrive(at: int) -> None:
            self._engine.oracle(code, value, ts_event=now, now=at)

        self._oracles.append((now + self._oracle_ns, arrive))

    def _tell_book(self, market: Market, now: int) -> None:
        changes = market.book.drain_changes()
        if market.slug in self._told:
            frame = _changes(market, changes)
            self._books.append((now + self._book_ns, partial(self._changed_book, market.tokens[0], frame, now)))

    def _seen(self, frame: BookFrame, at: int) -> None:
        self._engine.seen.update(("book", "size"))
        self._engine.proven = at
        self._engine.books[frame.asset_id].snapshot(frame, ts_init=at)

    def _changed_book(self, token: str, changes: list[WireChange], event: int, at: int) -> None:
        self._engine.proven = at
        book = self._engine.books[token]
        book.take(changes)
        book.changed(digest=None, ts_event=event, ts_init=at)
        self._engine.look(self._engine.of_token[token], at)

    def _deliver(self, *, until: int) -> None:
        """Everything that arrives before `until`, in the order in which it does."""
        spots, books, oracles = self._spots, self._books, self._oracles
        while True:
            spot, book, oracle = (wire[0][0] if wire else NEVER for wire in (spots, books, oracles))
            at = min(spot, book, oracle)
            if at >= until:
                return
            _, arrive = (spots if at == spot else books if at == book else oracles).popleft()
            self._engine.advance(at)
            arrive(at)

    # ---------------------------------------------------------------------------------------- what the exchange says

    def book_changed(self, market: Market) -> None:
        self._changed[market.slug] = market

    def market_created(self, market: Market) -> None:
        market.terms = replace(market.terms, making=replace(market.terms.making, lively_from_s=LIVELY_S))
        heapq.heappush(self._untold, ((market.start - LIVELY_S) * SECOND_NS, market.slug, market))

    def market_resolved(self, market: Market) -> None:
        winner = "" if market.winner is None else market.labels[market.winner]

        def arrive(at: int) -> None:
            window = self._engine.windows.get(market.slug)
            if window is not None:
                self._engine.decide(window, winner, at)

        self._books.append((self._now + self._book_ns, arrive))

    def traded(self, market: Market, taker: BookOrder, fills: list[Fill], transaction: str) -> None:
        """Others' trades are seen in the book."""

    def order_changed(self, order: Order, kind: str, reason: str = "") -> None:
        """There are no clients."""

    def trade_changed(self, trade: Trade) -> None:
        """There are no clients."""

    def tick_changed(self, market: Market, old: int) -> None:
        def arrive(_at: int) -> None:
            book = self._engine.books.get(market.tokens[0])
            if book is not None:
                book.set_tick(str(_dollars(market.tick)))

        self._books.append((self._now + self._book_ns, arrive))


def _info(market: Market) -> MarketInfo:
    terms = market.terms
    return MarketInfo(
        slug=market.slug,
        condition_id=market.condition_id,
        event=terms.event_slug,
        outcomes=tuple(
            Outcome(label=label, token=token) for label, token in zip((UP, DOWN), market.tokens, strict=True)
        ),
        fees=FeeSchedule(Decimal(str(market.fees.rate))),
        tick=_dollars(market.tick),
        min_size=_dollars(market.min_size),
        opens_at=market.start * SECOND_NS,
        closes_at=market.end * SECOND_NS,
        family=next(name for name, width in FAMILY_S.items() if width == market.end - market.start),
        underlying=terms.asset.code if terms.asset else "",
        settlement=Twap(lookback=60),
        template="",
        accepting=True,
        closed=False,
        neg_risk=False,
        taker_delay=True,
    )


def _frame(market: Market, now: int) -> BookFrame:
    """The first outcome's book; the other is its mirror."""
    return BookFrame(
        asset_id=market.tokens[0],
        bids=_levels(market, Side.BUY),
        asks=_levels(market, Side.SELL),
        timestamp=now // MS_NS,
        tick_size=str(_dollars(market.tick)),
    )


def _levels(market: Market, side: Side) -> list[WireLevel]:
    return [WireLevel(price=text(price), size=text(size)) for price, size in market.book.sizes(outcome=0, side=side)]


def _changes(market: Market, changes: list[tuple[bool, int, int]]) -> list[WireChange]:
    token = market.tokens[0]
    return [
        WireChange(asset_id=token, side="BUY" if is_bid else "SELL", price=text(price), size=text(size))
        for is_bid, price, size in changes
    ]


def _dollars(micro: int) -> Decimal:
    return Decimal(micro).scaleb(-6)
