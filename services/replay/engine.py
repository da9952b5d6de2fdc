"""Markets, prices and books in, decisions out: find -> judge -> plan -> paper fill -> settle, by the rules that trade.

There is one clock, the receive time of what is fed in, which serves as venue time and as real time. Whoever feeds
(`tapes` from a recording, a simulation from its own world) calls `advance` before each event, so that orders meet the
books as they were when they arrived.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from typing import Final

from pmarb.domain.book import Book
from pmarb.domain.market import UP, ExchangeRule, MarketInfo, SpotTick
from pmarb.domain.messages import Opportunity
from pmarb.domain.underlying import Stamp, Underlying
from pmarb.domain.updown import DISPUTABLE_S, Fair, by_ticks, fair_value, settled_by
from pmarb.domain.values import NANOS, ONE, ZERO
from pmarb.venue.books import LocalBook, MirrorBook
from pmarb.venue.candles import Candle
from services.replay.agenda import Agenda
from services.replay.collector import Collector, Glance
from services.replay.ledger import PaperLedger
from services.replay.references import Candles, Reference
from services.replay.report import TapeReport
from services.replay.till import Till, fresh
from services.risk.decide import Limits as RiskLimits
from services.scanner.decide import Cooldown, Limits, Skip, SkipReason, Watched, find, unfed_for
from services.scanner.relations import SET_COOLDOWN_S, SETS_EVERY, Proven, alone, judge

_TIMING: Final = frozenset((SkipReason.NOT_OPEN, SkipReason.TOO_EARLY, SkipReason.TOO_LATE))
_DECIDED: Final = frozenset(
    (
        SkipReason.NEAR_TIE,
        SkipReason.PRICE_BAND,
        SkipReason.EDGE_TOO_THIN,
        SkipReason.DEPTH_TOO_THIN,
        SkipReason.COOLDOWN,
    )
)
GLANCES: Final = 10
"""A window is sampled at each tenth of its life, its beginning and end left out."""
HALF: Final = GLANCES // 2
BOOK_AGE: Final = 5 * NANOS
"""A book about which nothing was heard for so long says nothing of the market's middle."""
STRIKE_WAIT_S: Final = 120


@dataclass(slots=True, kw_only=True)
class Window:
    """A market and what came of it."""

    watched: Watched
    up: LocalBook
    down: LocalBook
    underlying: Underlying
    reasons: Counter[SkipReason]
    reference: Reference
    priced: bool = False
    winner: str = ""
    forecast: float | None = None
    our_strike: float | None = None
    strike_told: bool = False
    """Whether the recording itself says what the price to beat was."""
    mirrored: bool = False
    """Whether its two books are what they will be, until one appears of which nothing was known."""
    by_tick: bool = field(init=False)
    by_candle: bool = field(init=False)

    def __post_init__(self) -> None:
        settlement = self.watched.market.settlement
        self.by_tick, self.by_candle = isinstance(settlement, SpotTick), isinstance(settlement, ExchangeRule)

    @property
    def market(self) -> MarketInfo:
        return self.watched.market

    @property
    def first(self) -> str:
        """The label of the side that fair values are of."""
        return self.watched.labels[0] if self.watched.labels else UP


class Engine:
    """State of one run. `seen` says what kinds of data there have been, `proven` when the market channel last spoke,
    whatever it said: the books it has not changed still stand."""

    def __init__(self, *, name: str, limits: Limits, risk: RiskLimits, bankroll: Decimal) -> None:
        self.report = TapeReport(name=name)
        self.collector = Collector()
        self.agenda = Agenda()
        self.books: dict[str, LocalBook] = {}
        self.windows: dict[str, Window] = {}
        self.of_token: dict[str, Window] = {}
        self.of_condition: dict[str, Window] = {}
        self.seen: set[str] = set()
        self._limits = limits
        self._cooldown = Cooldown(limits)
        self._refused: set[str] = set()
        self._candles = Candles()
        self._underlyings: dict[str, Underlying] = {}
        self._live: dict[str, list[Window]] = {}
        self._strikeless: dict[str, list[Window]] = {}
        self.proven = 0
        self.sets_due = 0
        self._relations = Proven()
        self._set_cooldown = Cooldown(replace(limits, cooldown_s=SET_COOLDOWN_S))
        self.till = Till(bankroll=bankroll, report=self.report, book_of=self.book_of)
        self._ledger = PaperLedger(
            self.till, limits=risk, other_of=self.other_of, agenda=self.agenda, collector=self.collector
        )

    # --------------------------------------------------------------------------------------------------------- feeding

    def advance(self, now: int) -> None:
        """Do what was due before `now`. Free when nothing is: callers may look at `agenda.next_due` themselves."""
        if self.agenda.next_due < now:
            self.agenda.run(until=now - 1)

    def announce(self, market: MarketInfo, *, now: int) -> None:
        """A market that may be traded; one that has not two sides is refused, one already known passed over.

        Moments before `now` are not sampled: what is known now was not known then.
        """
        if market.slug in self.windows:
            return
        if market.sides is None:
            self.refuse(market.slug, market.family, str(SkipReason.UNKNOWN_RULE))
            return
        self.report.markets += 1
        up, down = (LocalBook(outcome.token, tick=market.tick) for outcome in market.sides)
        window = Window(
            watched=Watched(market=market, up=up, down=down),
            up=up,
            down=down,
            underlying=self.underlying(market.underlying),
            reasons=Counter(),
            reference=Reference(market),
        )
        self._refer(window)
        self.windows[market.slug] = window
        self._live.setdefault(market.underlying, []).append(window)
        if not window.by_candle:
            self._strikeless.setdefault(market.underlying, []).append(window)
        self.of_condition[market.condition_id] = window
        for book in (up, down):
            self.books[book.token] = book
            self.of_token[book.token] = window
        for tenth in range(1, GLANCES):
            due = market.opens_at + (market.closes_at - market.opens_at) * tenth // GLANCES
            if due >= now:
                self.agenda.at(due, partial(self._glance, window, tenth))

    def refuse(self, slug: str, family: str, why: str) -> None:
        """A market that cannot be followed: counted once, with its reason."""
        if slug not in self._refused:
            self._refused.add(slug)
            self.report.markets += 1
            self._account(family, why)

    def _account(self, family: str, why: str) -> None:
        """Count a market of a family as priced (no reason), or unpriced."""
        found = self.report.families.setdefault(family or "unknown", Counter())
        found[why or "priced"] += 1
        if why:
            self.report.unpriced[why] += 1
        else:
            self.report.priced += 1

    def underlying(self, asset: str) -> Underlying:
        found = self._underlyings.get(asset)
        if found is None:
            found = self._underlyings[asset] = Underlying(asset)
        return found

    def spot(self, asset: str, price: float, *, ts_event: int, now: int) -> None:
        """A trade of the fast exchange."""
        self.seen.add("spot")
        stamp = Stamp(ts_event=ts_event, ts_init=now, real=now)
        self.underlying(asset).on_spot(price, second=ts_event // NANOS, stamp=stamp)
        self._look_at_all(asset, now)

    def other_spot(self, asset: str, price: float, *, ts_event: int, now: int) -> None:
        """A trade of the exchange that checks the first; it asks nothing while that one speaks."""
        underlying = self.underlying(asset)
        stamp = Stamp(ts_event=ts_event, ts_init=now, real=now)
        underlying.on_other_spot(price, second=ts_event // NANOS, stamp=stamp)
        if underlying.standing_in:
            self._look_at_all(asset, now)

    def oracle(self, asset: str, price: float, *, ts_event: int, now: int) -> None:
        """A tick of the settlement stream; where there is no spot at all it stands in for it (basis 0)."""
        self.seen.add("oracle")
        underlying = self.underlying(asset)
        second, stamp = ts_event // NANOS, Stamp(ts_event=ts_event, ts_init=now, real=now)
        if "spot" not in self.seen:
            underlying.on_spot(price, second=second, stamp=stamp)
        underlying.on_oracle(price, second=second, stamp=stamp)
        self._note_strikes(asset, second)
        self._look_at_all(asset, now)

    def average(self, asset: str, price: float, *, ts_event: int) -> None:
        """The oracle's average of the minute before `ts_event`, as the venue tells it ready-made."""
        self.underlying(asset).averages.put(ts_event // NANOS, price)

    def candles(self, asset: str, interval: str, told: Sequence[Candle], *, now: int) -> None:
        """Candles of the exchange that settles, the last one perhaps still running."""
        for candle in told:
            self._candles.put(asset, interval, candle, now=now)
        for window in self._live.get(asset, ()):
            self._refer(window)

    def live(self, asset: str) -> tuple[Window, ...]:
        """Markets on this asset that are not decided."""
        return tuple(self._live.get(asset, ()))

    def decide(self, window: Window, winner: str, now: int) -> None:
        """The outcome is known: score ourselves, pay out, look no more."""
        if window.winner or not winner:
            return
        window.winner = winner
        self._score(window, winner)
        market = window.market
        payouts = {outcome.token: ONE if outcome.label == winner else ZERO for outcome in market.outcomes}
        self.till.settle(payouts, now=now)
        self.collector.decided(market.slug, winner, first=window.first)
        self._live[market.underlying].remove(window)
        self._cooldown.forget(market.tokens)
        self._set_cooldown.forget(market.tokens)

    def conclude(self, now: int) -> TapeReport:
        """Do what is due by the end, and sum up."""
        self.agenda.run(until=now)
        report = self.report
        for window in self.windows.values():
            report.skips.update({str(reason): count for reason, count in window.reasons.items()})
            self._account(window.market.family, "" if window.priced else _main_reason(window.reasons))
        report.lacks = [what for what in ("book", "size", "spot", "oracle") if what not in self.seen]
        report.unsettled = len(self.till.held)
        report.decision_hash = self.till.digest()
        report.evidence = self.collector.evidence()
        return report

    # ------------------------------------------------------------------------------------------------------- decisions

    def _refer(self, window: Window) -> None:
        found = window.reference.read(self._candles)
        if found is not None:
            window.watched.stated_strike = found

    def _note_strikes(self, asset: str, second: int) -> None:
        """Read the references while their ticks are at hand, and keep them: the longest windows outlive the ticks."""
        waiting = self._strikeless.get(asset)
        if not waiting:
            return
        for window in tuple(waiting):
            opens = window.market.opens_at // NANOS
            since = second - opens
            if since < 0:
                continue
            window.our_strike = by_ticks(window.market, window.underlying, second=opens)
            if not window.strike_told:
                window.watched.stated_strike = settled_by(window.market, window.underlying, second=opens)
            if since >= (STRIKE_WAIT_S if window.our_strike is None else DISPUTABLE_S):
                waiting.remove(window)

    def _look_at_all(self, asset: str, now: int) -> None:
        """Ask about all markets that a trade concerns; those of the exchange's candles are woken by their books."""
        for window in self._live.get(asset, ()):
            if not window.by_candle:
                self.look(window, now)

    def look(self, window: Window, now: int) -> None:
        """Ask the rules about this market: its books or its price have changed."""
        watched = window.watched
        market = watched.market
        if not market.opens_at <= now <= market.closes_at:
            return
        self.report.looks += 1
        watched.proven = self.proven
        if not window.mirrored:
            self._mirror(window)
        if not window.by_tick and "spot" not in self.seen:
            window.reasons[SkipReason.NO_SPOT] += 1
            return
        result = find(watched, window.underlying, self._limits, now=now, real=now)
        if isinstance(result, Skip):
            reason = result.reason
            window.reasons[reason] += 1
            if not window.priced:
                window.priced = reason in _DECIDED
            return
        window.priced = True
        self._found(window, result, now)

    def look_at_sets(self, now: int) -> None:
        """Compare the markets that are open with each other; due at `sets_due`, as often as a scanner begins to."""
        self.sets_due = now + SETS_EVERY
        live = [window for windows in self._live.values() for window in windows]
        open_ = [window for window in live if window.market.opens_at <= now <= window.market.closes_at]
        if len(open_) < 2:
            return
        for window in open_:
            window.watched.proven = self.proven
            if not window.mirrored:
                self._mirror(window)
        for bundle in self._relations.among([window.watched for window in open_]):
            found = judge(bundle, self._limits, now=now, real=now, worth=partial(self._worth, now=now))
            if found is not None and self._set_cooldown.admits(found):
                self._ledger.on_opportunity(found, now=now)

    def _found(self, window: Window, opportunity: Opportunity, now: int) -> None:
        if not self._cooldown.admits(opportunity):
            window.reasons[SkipReason.COOLDOWN] += 1
            return
        self._ledger.on_opportunity(opportunity, now=now)

    def _worth(self, watched: Watched, *, now: int) -> Fair | None:
        return alone(watched, self.underlying(watched.market.underlying), self._limits, now=now, real=now)

    def _mirror(self, window: Window) -> None:
        """A token that was never recorded is the other one's mirror."""
        watched, up, down = window.watched, window.up, window.down
        if up.empty and down.empty:
            return
        watched.up = MirrorBook(up.token, down) if up.empty else up
        watched.down = MirrorBook(down.token, up) if down.empty else down
        window.mirrored = True

    def appeared(self, token: str) -> None:
        """The first is heard of this token's book, or of its depth: it is no mirror any more."""
        self.of_token[token].mirrored = False

    def _glance(self, window: Window, tenth: int, now: int) -> None:
        """What model and market say now; half-way also what the model alone says, books or not."""
        watched, market = window.watched, window.market
        if not window.by_tick and "spot" not in self.seen:
            return
        fair = fair_value(
            market, window.underlying, self._limits.model, now=now, real=now, stated_strike=watched.stated_strike
        )
        if not isinstance(fair, Fair):
            return
        if tenth == HALF:
            window.forecast = fair.up
        if unfed_for(market, window.underlying, self._limits, real=now) is not None:
            return
        asks, mid = self._tops(window, now)
        rate = ZERO if market.fees is None else market.fees.rate
        glance = Glance(at=now, closes_at=market.closes_at, model=fair.up, mid=mid, asks=asks, fee_rate=rate)
        self.collector.glanced(market.slug, glance)

    def _tops(self, window: Window, now: int) -> tuple[tuple[float, float] | None, float | None]:
        """Best offers of both outcomes and the middle of the first; None for a book that is old, crossed or half."""
        if not window.mirrored:
            self._mirror(window)
        up, down = window.watched.up, window.watched.down
        if up.empty or now - self.proven > BOOK_AGE or not 0 < up.bid < up.ask < 1 or not down.ask < 1:
            return None, None
        return (up.ask, down.ask), (up.bid + up.ask) / 2

    def book_of(self, token: str) -> Book | None:
        window = self.of_token.get(token)
        if window is None:
            return None
        watched = window.watched
        quotes = watched.up if window.up.token == token else watched.down
        return None if quotes.empty else fresh(quotes.book(), proven=self.proven)

    def recent(self, token: str, now: int) -> Book | None:
        """The same, or None if the market channel has been silent too long for it to mean anything."""
        return self.book_of(token) if now - self.proven <= BOOK_AGE else None

    def other_of(self, token: str) -> str | None:
        window = self.of_token.get(token)
        return None if window is None else next((t for t in window.market.tokens if t != token), None)

    def _score(self, window: Window, winner: str) -> None:
        agreement, market = self.report.settlement, window.market
        agreement.known += 1
        closes = market.closes_at // NANOS
        opening, closing = window.our_strike, by_ticks(market, window.underlying, second=closes)
        if opening is not None and closing is not None:
            agreement.computed += 1
            agreement.agreed += (closing >= opening) == (winner == UP)
        if window.forecast is not None:
            agreement.forecasts += 1
            agreement.squared_error += (window.forecast - (winner == window.first)) ** 2


def _main_reason(reasons: Counter[SkipReason]) -> str:
    """Why a market never got as far as a decision: its most frequent reason, of those that are not about time."""
    for chosen in ({r: n for r, n in reasons.items() if r not in _TIMING}, reasons):
        if chosen:
            return str(max(chosen, key=lambda reason: (chosen[reason], reason)))
    return "no_events"
