"""A recording, decoded and fed to the engine.

Where a tape holds oracle ticks but no spot, the oracle itself stands in for the spot, and only in markets that settle
on its single tick: it is then the settlement stream, seen as late as anyone saw it. Markets on an average need a spot
and stay unpriced without. Proxy strikes are a recorder's guess and never used.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Final

import msgspec

from pmarb.domain.values import ONE
from pmarb.venue import coinbase, gamma, polybolt, tape
from pmarb.venue.candles import CandlePage, candles
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
    asset_of,
    frames,
    milliseconds,
    number,
    plain,
    rtds,
    spot,
)
from services.replay.engine import Engine
from services.replay.marking import Marker
from services.replay.report import TapeReport
from services.risk.decide import Limits as RiskLimits
from services.scanner.decide import Limits

SUFFIX: Final = ".tape.jsonl.zst"
_DEPTH: Final = ("book", "size")
_CANDLES: Final = msgspec.json.Decoder(CandlePage)


def spread(paths: Sequence[Path]) -> list[Path]:
    """The tapes in these folders, oldest first by their names, and the files as they are.

    Raises:
        tape.TapeError: a folder without any.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(path.glob(f"*{SUFFIX}"))
            if not inside:
                raise tape.TapeError(f"{path}: no *{SUFFIX} in it")
            found += inside
        else:
            found.append(path)
    return found


def recordings(paths: Sequence[Path]) -> list[list[Path]]:
    """The tapes as they belong together: one whose header says that it continues the one before follows it.

    Raises:
        TapeError: a file is not a tape.
    """
    found: list[list[Path]] = []
    for path in paths:
        before = found[-1][-1].name.removesuffix(SUFFIX) if found else None
        if before is not None and tape.header(path).get("continues") == before:
            found[-1].append(path)
        else:
            found.append([path])
    return found


class TapeReplay:
    """One recording through an engine of its own: a tape, or several of which each continues the one before."""

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        limits: Limits,
        risk: RiskLimits,
        bankroll: Decimal,
        marker: Marker | None = None,
    ) -> None:
        self._paths = tuple(paths)
        name = paths[0].name.removesuffix(SUFFIX)
        self._engine = Engine(name=name, limits=limits, risk=risk, bankroll=bankroll)
        if marker is not None:
            marker.ask(self._engine)
        self._other_last: dict[str, PriceTick] = {}
        self._handlers: dict[str, Callable[[msgspec.Raw, int], None]] = {
            "clob.market": self._on_market_frame,
            "gamma": self._on_gamma,
            "rtds": self._on_rtds,
            "spot.binance": self._on_spot,
            "spot.coinbase": self._on_other_spot,
            "spot.candles": self._on_candles,
            "polybolt": self._on_averages,
            "oracle.strike": self._on_strike,
        }

    def run(self) -> TapeReport:
        """Read the tape to its end.

        Raises:
            TapeError: the file is not a tape. What single messages say is counted, never raised.
        """
        engine, handlers = self._engine, self._handlers
        agenda, report = engine.agenda, engine.report
        last = events = 0
        for line in chain.from_iterable(map(tape.raw_lines, self._paths)):
            events += 1
            last = line.t
            if agenda.next_due < last:
                agenda.run(until=last - 1)
            handler = handlers.get(line.src)
            if handler is None:
                continue
            try:
                handler(line.msg, last)
            except ParseError:
                report.malformed += 1
        report.events = events
        return engine.conclude(last)

    # ------------------------------------------------------------------------------------------------------ messages

    def _on_gamma(self, raw: msgspec.Raw, now: int) -> None:
        body = tape.strip(plain(raw))
        try:
            market = gamma.market_from(body)
        except ParseError:
            self._engine.refuse(str(body.get("slug", "?")) if isinstance(body, dict) else "?", "", "unreadable")
            raise
        if not market.closed:
            self._engine.announce(market, now=now)
            return
        window = self._engine.windows.get(market.slug)
        if window is None:
            return
        prices = gamma.outcome_prices(body)
        winner = next((label for label, price in prices.items() if price == ONE), "")
        self._engine.decide(window, winner, now)
        strike, _ = gamma.strikes(body)
        ours = window.our_strike
        if strike is not None and ours is not None:
            self._engine.report.settlement.strike_errors_bps.append(abs(ours / strike - 1) * 1e4)

    def _on_strike(self, raw: msgspec.Raw, _now: int) -> None:
        body = plain(raw)
        if not isinstance(body, dict):
            raise ParseError("strike was not an object")
        window = self._engine.windows.get(str(body.get("slug")))
        real = not str(body.get("source", "proxy")).startswith("proxy")
        if window is not None and real:
            self._engine.seen.add("strike")
            window.strike_told = True
            window.watched.stated_strike = float(number(body.get("price_to_beat"), "price_to_beat"))

    def _on_rtds(self, raw: msgspec.Raw, now: int) -> None:
        for tick in rtds(raw):
            if tick.source is Source.ORACLE:
                self._engine.oracle(tick.asset, tick.price, ts_event=tick.ts_event, now=now)

    def _on_spot(self, raw: msgspec.Raw, now: int) -> None:
        tick = spot(raw)
        if tick is not None:
            self._engine.spot(tick.asset, tick.price, ts_event=tick.ts_event, now=now)

    def _on_other_spot(self, raw: msgspec.Raw, now: int) -> None:
        """A trade, or a heartbeat that proves the last one still to be the last."""
        match coinbase.frame(raw):
            case PriceTick() as tick:
                self._other_last[tick.asset] = tick
                self._engine.other_spot(tick.asset, tick.price, ts_event=tick.ts_event, now=now)
            case coinbase.Beat(asset=asset, last_trade=trade, ts_event=ts_event):
                last = self._other_last.get(asset)
                if last is not None and last.trade == trade:
                    self._engine.other_spot(asset, last.price, ts_event=ts_event, now=now)
            case None:
                return

    def _on_candles(self, raw: msgspec.Raw, now: int) -> None:
        try:
            page = _CANDLES.decode(raw)
        except msgspec.DecodeError as error:
            raise ParseError(f"candles: {error}") from None
        self._engine.candles(asset_of(page.symbol), page.interval, candles(page.klines), now=now)

    def _on_averages(self, raw: msgspec.Raw, _now: int) -> None:
        found = polybolt.frame(raw)
        if isinstance(found, polybolt.Averages):
            for tick in found.ticks:
                self._engine.average(tick.asset, tick.price, ts_event=tick.ts_event)

    def _on_market_frame(self, raw: msgspec.Raw, now: int) -> None:
        engine = self._engine
        engine.proven = now
        found = frames(raw)
        if len(found) != 1:
            touched = self._take_all(found, now)
        elif type(first := found[0]) is PriceChangeFrame:  # Nearly all are
            touched = self._take_changes(first, now)
        else:
            touched = self._take(first, now)
        if now >= engine.sets_due:
            engine.look_at_sets(now)
        if not touched:
            return
        of_token = engine.of_token
        window = of_token[touched[0]]
        engine.look(window, now)
        if len(touched) > 1:
            for other in {id(each): each for each in map(of_token.__getitem__, touched) if each is not window}.values():
                engine.look(other, now)

    def _take_all(self, found: Sequence[Frame], now: int) -> tuple[str, ...]:
        return tuple(dict.fromkeys(token for frame in found for token in self._take(frame, now)))

    def _take(self, frame: Frame, now: int) -> tuple[str, ...]:
        """Apply a frame; the tokens whose books it changed."""
        books = self._engine.books
        match frame:
            case PriceChangeFrame():
                return self._take_changes(frame, now)
            case BookFrame() if frame.asset_id in books:
                book = books[frame.asset_id]
                if not book.sized:
                    self._engine.seen.update(_DEPTH)
                    self._engine.appeared(frame.asset_id)
                book.snapshot(frame, ts_init=now)
                return (frame.asset_id,)
            case BestBidAskFrame() if frame.asset_id in books:
                self._engine.seen.add("book")
                book = books[frame.asset_id]
                if book.empty:
                    self._engine.appeared(frame.asset_id)
                book.top(frame, ts_init=now)
                return (frame.asset_id,)
            case TickSizeFrame() if frame.asset_id in books:
                books[frame.asset_id].set_tick(frame.new_tick_size)
            case ResolvedFrame():
                window = self._engine.of_condition.get(frame.market)
                if window is not None:
                    self._engine.decide(window, frame.winning_outcome, now)
            case _:
                pass
        return ()

    def _take_changes(self, frame: PriceChangeFrame, now: int) -> tuple[str, ...]:
        books, changes, ts_event = self._engine.books, frame.price_changes, milliseconds(frame.timestamp)
        changed: tuple[str, ...] = ()
        token = ""
        for change in changes:
            if change.asset_id == token or change.asset_id in changed:
                continue
            token = change.asset_id
            book = books.get(token)
            if book is None or not book.sized:
                continue
            digest, all_its = book.take(changes)
            book.changed(digest=digest, ts_event=ts_event, ts_init=now)
            if all_its:
                return (token,)
            changed += (token,)
        return changed
