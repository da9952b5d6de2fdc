"""One tape through find -> judge -> plan -> paper fill -> settle, with the very rules that trade.

A tape has one clock, its receive time, which serves as venue time and as real time. Where a tape holds oracle ticks but
no spot, the oracle itself stands in for the spot (basis 0), and only in markets that settle on its single tick: it is
then the settlement stream, seen as late as anyone saw it. Markets on an average need a spot and stay unpriced without.
Proxy strikes are a recorder's guess and never used.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec

from pmarb.domain.book import Book
from pmarb.domain.market import DOWN, UP, MarketInfo, SpotTick
from pmarb.domain.messages import Opportunity
from pmarb.domain.underlying import Stamp, Underlying
from pmarb.domain.updown import Fair, fair_value, final, reference
from pmarb.domain.values import NANOS, ONE, ZERO
from pmarb.venue import gamma, tape
from pmarb.venue.books import LocalBook, MirrorBook
from pmarb.venue.parse import (
    BestBidAskFrame,
    BookFrame,
    Frame,
    ParseError,
    PriceChangeFrame,
    PriceTick,
    ResolvedFrame,
    Source,
    TickSizeFrame,
    frames,
    milliseconds,
    number,
    plain,
    rtds,
    spot,
)
from services.replay.ledger import PaperLedger, fresh
from services.replay.report import TapeReport
from services.risk.decide import Limits as RiskLimits
from services.scanner.decide import Cooldown, Limits, Skip, SkipReason, Watched, find

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


@dataclass(slots=True, kw_only=True)
class _Window:
    """A market of the tape and what came of it."""

    watched: Watched
    underlying: Underlying
    reasons: Counter[SkipReason]
    priced: bool = False
    winner: str = ""
    forecast: float | None = None
    our_strike: float | None = None


class TapeReplay:
    """State of one tape. `run` reads it to its end."""

    def __init__(self, path: Path, *, limits: Limits, risk: RiskLimits, bankroll: Decimal) -> None:
        self._path = path
        self._limits = limits
        self._report = TapeReport(name=path.name.removesuffix(".tape.jsonl.zst"))
        self._ledger = PaperLedger(bankroll=bankroll, limits=risk, report=self._report, book_of=self._book_of)
        self._cooldown = Cooldown(limits)
        self._underlyings: dict[str, Underlying] = {}
        self._windows: dict[str, _Window] = {}
        self._live: dict[str, list[_Window]] = {}
        self._of_token: dict[str, _Window] = {}
        self._of_condition: dict[str, _Window] = {}
        self._books: dict[str, LocalBook] = {}
        self._seen: set[str] = set()
        self._proven = 0
        self._handlers: dict[str, Callable[[msgspec.Raw, int], None]] = {
            "clob.market": self._on_market_frame,
            "gamma": self._on_gamma,
            "rtds": self._on_rtds,
            "spot.binance": self._on_spot,
            "oracle.strike": self._on_strike,
        }

    def run(self) -> TapeReport:
        """Read the tape to its end.

        Raises:
            TapeError: the file is not a tape. What single messages say is counted, never raised.
        """
        report, handlers, ledger = self._report, self._handlers, self._ledger
        last = 0
        for line in tape.raw_lines(self._path):
            report.events += 1
            last = line.t
            if ledger.next_arrival < last:
                ledger.arrive(until=last - 1)
            handler = handlers.get(line.src)
            if handler is None:
                continue
            try:
                handler(line.msg, last)
            except ParseError:
                report.malformed += 1
        ledger.arrive(until=last)
        self._conclude()
        return report

    # ------------------------------------------------------------------------------------------------------ messages

    def _on_gamma(self, raw: msgspec.Raw, now: int) -> None:
        body = tape.strip(plain(raw))
        market = gamma.market_from(body)
        if market.closed:
            self._on_closed(market, body, now)
            return
        if market.slug in self._windows or not market.two_sided:
            return
        self._report.markets += 1
        underlying = self._underlying(market.underlying)
        up, down = (LocalBook(market.token(label) or "", tick=market.tick) for label in (UP, DOWN))
        watched = Watched(market=market, up=up, down=down)
        window = _Window(watched=watched, underlying=underlying, reasons=Counter())
        self._windows[market.slug] = window
        self._live.setdefault(market.underlying, []).append(window)
        self._of_condition[market.condition_id] = window
        for book in (up, down):
            self._books[book.token] = book
            self._of_token[book.token] = window

    def _on_closed(self, market: MarketInfo, body: object, now: int) -> None:
        window = self._windows.get(market.slug)
        if window is None:
            return
        prices = gamma.outcome_prices(body)
        winner = next((label for label, price in prices.items() if price == ONE), "")
        self._decided(window, winner, now)
        strike, _ = gamma.strikes(body)
        ours = window.our_strike
        if strike is not None and ours is not None:
            self._report.settlement.strike_errors_bps.append(abs(ours / strike - 1) * 1e4)

    def _on_strike(self, raw: msgspec.Raw, _now: int) -> None:
        body = plain(raw)
        if not isinstance(body, dict):
            raise ParseError("strike was not an object")
        window = self._windows.get(str(body.get("slug")))
        real = not str(body.get("source", "proxy")).startswith("proxy")
        if window is not None and real:
            self._seen.add("strike")
            window.watched.stated_strike = float(number(body.get("price_to_beat"), "price_to_beat"))

    def _on_rtds(self, raw: msgspec.Raw, now: int) -> None:
        for tick in rtds(raw):
            if tick.source is not Source.ORACLE:
                continue
            underlying = self._underlying(tick.asset)
            self._seen.add("oracle")
            second, stamp = tick.ts_event // NANOS, Stamp(ts_event=tick.ts_event, ts_init=now, real=now)
            if "spot" not in self._seen:
                underlying.on_spot(tick.price, second=second, stamp=stamp)
            underlying.on_oracle(tick.price, second=second, stamp=stamp)
            self._note_strikes(tick.asset, second)
            self._look_at_all(tick.asset, now)

    def _note_strikes(self, asset: str, second: int) -> None:
        """Read the references while their ticks are at hand."""
        for window in self._live.get(asset, ()):
            market = window.watched.market
            if window.our_strike is None and 0 <= second - market.opens_at // NANOS < 120:
                window.our_strike = reference(market, window.underlying)

    def _on_spot(self, raw: msgspec.Raw, now: int) -> None:
        tick: PriceTick | None = spot(raw)
        if tick is None:
            return
        self._seen.add("spot")
        stamp = Stamp(ts_event=tick.ts_event, ts_init=now, real=now)
        self._underlying(tick.asset).on_spot(tick.price, second=tick.ts_event // NANOS, stamp=stamp)
        self._look_at_all(tick.asset, now)

    def _on_market_frame(self, raw: msgspec.Raw, now: int) -> None:
        self._proven = now
        touched: dict[str, _Window] = {}
        for frame in frames(raw):
            for token in self._take(frame, now):
                window = self._of_token[token]
                touched[window.watched.market.slug] = window
        for window in touched.values():
            self._look(window, now)

    def _take(self, frame: Frame, now: int) -> tuple[str, ...]:
        """Apply a frame; the tokens whose books it changed."""
        match frame:
            case PriceChangeFrame():
                return self._take_changes(frame, now)
            case BookFrame() if frame.asset_id in self._books:
                self._seen.update(("book", "size"))
                self._books[frame.asset_id].snapshot(frame, ts_init=now)
                return (frame.asset_id,)
            case BestBidAskFrame() if frame.asset_id in self._books:
                self._seen.add("book")
                self._books[frame.asset_id].top(frame, ts_init=now)
                return (frame.asset_id,)
            case TickSizeFrame() if frame.asset_id in self._books:
                self._books[frame.asset_id].set_tick(frame.new_tick_size)
            case ResolvedFrame():
                window = self._of_condition.get(frame.market)
                if window is not None:
                    self._decided(window, frame.winning_outcome, now)
            case _:
                pass
        return ()

    def _take_changes(self, frame: PriceChangeFrame, now: int) -> tuple[str, ...]:
        books = self._books
        changed: dict[str, str | None] = {}
        token, book = "", None
        for change in frame.price_changes:
            if change.asset_id != token:
                token = change.asset_id
                book = books.get(token)
            if book is not None and book.sized:
                book.change(buy=change.side == "BUY", price=change.price, size=change.size)
                changed[token] = change.hash
        ts_event = milliseconds(frame.timestamp)
        for token, digest in changed.items():
            books[token].changed(digest=digest, ts_event=ts_event, ts_init=now)
        return tuple(changed)

    # ----------------------------------------------------------------------------------------------------- decisions

    def _underlying(self, asset: str) -> Underlying:
        found = self._underlyings.get(asset)
        if found is None:
            found = self._underlyings[asset] = Underlying(asset)
        return found

    def _look_at_all(self, asset: str, now: int) -> None:
        for window in self._live.get(asset, ()):
            self._look(window, now)

    def _look(self, window: _Window, now: int) -> None:
        watched = window.watched
        market = watched.market
        if not market.opens_at <= now <= market.closes_at:
            return
        self._report.looks += 1
        self._forecast(window, now)
        watched.proven = self._proven
        self._mirror(watched)
        if "spot" not in self._seen and not isinstance(market.settlement, SpotTick):
            window.reasons[SkipReason.NO_SPOT] += 1
            return
        result = find(watched, window.underlying, self._limits, now=now, real=now)
        if isinstance(result, Skip):
            window.reasons[result.reason] += 1
            window.priced |= result.reason in _DECIDED
            return
        window.priced = True
        self._found(window, result, now)

    def _found(self, window: _Window, opportunity: Opportunity, now: int) -> None:
        if not self._cooldown.admits(opportunity):
            window.reasons[SkipReason.COOLDOWN] += 1
            return
        self._ledger.decided("found", opportunity.opportunity_id)
        self._ledger.on_opportunity(opportunity, now=now)

    def _mirror(self, watched: Watched) -> None:
        """A token that was never recorded is the other one's mirror."""
        if type(watched.up) is type(watched.down) and not (watched.up.empty or watched.down.empty):
            return
        if watched.up.empty and not watched.down.empty and isinstance(watched.down, LocalBook):
            watched.up = MirrorBook(watched.market.token(UP) or "", watched.down)
        elif watched.down.empty and not watched.up.empty and isinstance(watched.up, LocalBook):
            watched.down = MirrorBook(watched.market.token(DOWN) or "", watched.up)
        elif isinstance(watched.up, MirrorBook) and not self._books[watched.market.token(UP) or ""].empty:
            watched.up = self._books[watched.market.token(UP) or ""]
        elif isinstance(watched.down, MirrorBook) and not self._books[watched.market.token(DOWN) or ""].empty:
            watched.down = self._books[watched.market.token(DOWN) or ""]

    def _forecast(self, window: _Window, now: int) -> None:
        """Half-way through a window, what the model alone says: scored against the outcome, books or not."""
        market = window.watched.market
        if window.forecast is not None or 2 * now < market.opens_at + market.closes_at:
            return
        window.forecast = -1.0
        fair = fair_value(
            market, window.underlying, self._limits.model, now=now, real=now, stated_strike=window.watched.stated_strike
        )
        if isinstance(fair, Fair) and ("spot" in self._seen or isinstance(market.settlement, SpotTick)):
            window.forecast = fair.up

    def _book_of(self, token: str) -> Book | None:
        window = self._of_token.get(token)
        if window is None:
            return None
        watched = window.watched
        quotes = watched.up if watched.market.token(UP) == token else watched.down
        return None if quotes.empty else fresh(quotes.book(), proven=self._proven)

    def _decided(self, window: _Window, winner: str, now: int) -> None:
        """The outcome is known: score ourselves, pay out, look no more."""
        if window.winner or not winner:
            return
        window.winner = winner
        self._score(window, winner)
        market = window.watched.market
        payouts = {outcome.token: ONE if outcome.label == winner else ZERO for outcome in market.outcomes}
        self._ledger.settle(payouts, now=now)
        self._live[market.underlying].remove(window)

    def _score(self, window: _Window, winner: str) -> None:
        agreement, market = self._report.settlement, window.watched.market
        agreement.known += 1
        opening = window.our_strike if window.watched.stated_strike is None else window.watched.stated_strike
        closing = final(market, window.underlying)
        if opening is not None and closing is not None:
            agreement.computed += 1
            agreement.agreed += (closing >= opening) == (winner == UP)
        if window.forecast is not None and window.forecast >= 0:
            agreement.forecasts += 1
            agreement.squared_error += (window.forecast - (winner == UP)) ** 2

    def _conclude(self) -> None:
        report = self._report
        for window in self._windows.values():
            report.skips.update({str(reason): count for reason, count in window.reasons.items()})
            if window.priced:
                report.priced += 1
            else:
                report.unpriced[_main_reason(window.reasons)] += 1
        report.lacks = [what for what in ("book", "size", "spot", "oracle") if what not in self._seen]
        report.unsettled = len(self._ledger.held)
        report.decision_hash = self._ledger.digest()


def _main_reason(reasons: Counter[SkipReason]) -> str:
    """Why a market never got as far as a decision: its most frequent reason, of those that are not about time."""
    for chosen in ({r: n for r, n in reasons.items() if r not in _TIMING}, reasons):
        if chosen:
            return str(max(chosen, key=lambda reason: (chosen[reason], reason)))
    return "no_events"
