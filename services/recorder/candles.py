"""The exchange's candles that markets compare with: of an hour, of a noon, and of every minute of a level's period."""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from pmarb import logs
from pmarb.clock import Clock
from pmarb.domain.market import NOON_CANDLE_S, HourCandle, MarketInfo, NoonToNoon, Touch
from pmarb.domain.values import NANOS
from pmarb.venue.candles import CandlePage, candles
from pmarb.venue.parse import ParseError
from pmarb.venue.port import VenueUnavailable
from pmarb.venue.prices import KLINES_A_PAGE, SpotFeed

log = logs.get(__name__)

_PAGE: Final = msgspec.json.Encoder()


class CandleTape:
    """Every page of candles goes to `keep`. The candle that runs is read again with those after it."""

    def __init__(self, *, exchange: SpotFeed, clock: Clock, keep: Callable[[bytes], None]) -> None:
        self._exchange = exchange
        self._clock = clock
        self._keep = keep
        self._read: set[tuple[str, str, int]] = set()
        self._next: dict[tuple[str, int, int], int] = {}

    async def step(self, markets: Iterable[MarketInfo]) -> None:
        """Read what these markets need and what has come to exist since."""
        now = self._clock.now() // NANOS
        single, periods = set[tuple[str, str, int]](), set[tuple[str, int, int]]()
        for market in markets:
            asset, opens = market.underlying, market.opens_at // NANOS
            match market.settlement:
                case HourCandle() if now >= opens:
                    single.add((asset, "1h", opens))
                case NoonToNoon() if now >= opens + NOON_CANDLE_S:
                    single.add((asset, "1m", opens))
                case Touch() if now >= opens:
                    periods.add((asset, opens, market.closes_at // NANOS))
                case _:
                    continue
        try:
            for one in sorted(single - self._read):
                await self._read_one(*one)
            for period in sorted(periods):
                await self._read_on(*period, now)
        except (VenueUnavailable, ParseError) as error:
            log.warning("candles_not_read", error=str(error))

    async def _read_one(self, asset: str, interval: str, opens: int) -> None:
        if await self._page(asset, interval, opens, limit=1) is not None:
            self._read.add((asset, interval, opens))

    async def _read_on(self, asset: str, opens: int, closes: int, now: int) -> None:
        """Go on from the last candle read, which may have been running then."""
        period, end = (asset, opens, closes), min(now, closes)
        second = self._next.get(period, opens)
        while second < end:
            last = await self._page(asset, "1m", second, limit=KLINES_A_PAGE)
            if last is None or last == second:
                return
            self._next[period] = second = last

    async def _page(self, asset: str, interval: str, second: int, *, limit: int) -> int | None:
        """Keep a page that begins at `second`; the second of its last candle, None without such a page."""
        raw = await self._exchange.page(asset, interval, second, limit=limit)
        found = candles(raw)
        if not found or found[0].second != second:
            return None
        self._keep(_PAGE.encode(CandlePage(symbol=f"{asset}usdt".upper(), interval=interval, klines=msgspec.Raw(raw))))
        return found[-1].second
