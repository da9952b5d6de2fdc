"""Price feeds: a fast spot exchange that speaks Binance's streams, and the relay of the oracle that settles."""

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import httpx

from pmarb.clock import Clock
from pmarb.domain.limits import SLOW_FAMILIES
from pmarb.domain.values import NANOS
from pmarb.venue.candles import Candle, candles, klines
from pmarb.venue.parse import ParseError, PriceTick, Source, rtds, spot
from pmarb.venue.port import VenueUnavailable
from pmarb.venue.sockets import Socket

SPOT_SILENT: Final = 1.5
ORACLE_SILENT: Final = 2.0
LONGEST_ORACLE_GAP: Final = 5
"""Seconds missing between two ticks that a mean can still bridge; more, and the history is fetched again."""
KLINES_A_PAGE: Final = 1000
OnTicks = Callable[[Sequence[PriceTick], int], None]
OnHole = Callable[[str, int, int], None]
"""Asset, and the seconds before and after trades that were not seen."""


def history_s(families: Iterable[str]) -> int:
    """Seconds of spot that warm up all that prices these families: 1800 s or 7200 s, with room to spare."""
    return 8400 if {"4h", *SLOW_FAMILIES}.intersection(families) else 2400


def spot_stream(ws_url: str, assets: Sequence[str], *, kinds: Sequence[str] = ("trade",), quote: str = "usdt") -> str:
    """The address of a combined stream."""
    return f"{ws_url}/stream?streams=" + "/".join(f"{asset}{quote}@{kind}" for asset in assets for kind in kinds)


def oracle_subscription(assets: Sequence[str]) -> str:
    """What asks the relay for Chainlink's ticks of these assets."""
    wanted = [
        {"topic": "crypto_prices_chainlink", "type": "*", "filters": json.dumps({"symbol": f"{asset}/usd"})}
        for asset in assets
    ]
    return json.dumps({"action": "subscribe", "subscriptions": wanted})


class SpotFeed:
    """Trades of several assets over one combined stream. `on_ticks(ticks, real)` is called from the reader.

    Trades are numbered: a number left out within a connection, or seconds left out over a reconnection, are told to
    `on_hole` after the first tick behind them, so that they can be asked for by `between`.
    """

    def __init__(
        self,
        *,
        ws_url: str,
        rest_url: str,
        assets: Sequence[str],
        clock: Clock,
        http: httpx.AsyncClient,
        on_ticks: OnTicks,
        on_hole: OnHole = lambda _asset, _before, _after: None,
        kinds: Sequence[str] = ("trade",),
        quote: str = "usdt",
    ) -> None:
        self.malformed = 0
        self.gaps = 0
        self._rest_url = rest_url
        self._quote = quote
        self._http = http
        self._on_ticks = on_ticks
        self._on_hole = on_hole
        self._last: dict[str, PriceTick] = {}
        self._fresh: set[str] = set()
        self.socket = Socket(
            name="spot",
            url=spot_stream(ws_url, assets, kinds=kinds, quote=quote),
            clock=clock,
            opening=tuple,
            on_frame=self._on_frame,
            on_down=self._fresh.clear,
            ping=None,  # The exchange pings us, in protocol frames
            silent_after=SPOT_SILENT,
        )

    async def run(self, stop: asyncio.Event) -> None:
        await self.socket.run(stop)

    async def history(self, asset: str, *, now: int, seconds: int) -> list[tuple[int, float]]:
        """(second, price) of the last `seconds` before `now` (nanoseconds), oldest first, from 1 s candles.

        Raises:
            VenueUnavailable: the exchange does not answer.
            ParseError: its answer cannot be read.
        """
        return await self.between(asset, start=now // NANOS - seconds, end=now // NANOS)

    async def between(self, asset: str, *, start: int, end: int) -> list[tuple[int, float]]:
        """The same for the seconds from `start` on and before `end`. Raises as `history` does."""
        found: dict[int, float] = {}
        while start < end:
            page = await self._page(asset, start)
            fresh = [(second, price) for second, price in page if start <= second < end]
            found.update(fresh)
            if not fresh:
                break
            start = fresh[-1][0] + 1
        return sorted(found.items())

    def continues(self, asset: str, *, second: int, price: float) -> None:
        """Every second until `second` is known: those from it to the first trade heard will be told to `on_hole`."""
        self._last[asset] = PriceTick(asset=asset, source=Source.SPOT, price=price, ts_event=second * NANOS)

    async def candle(self, asset: str, interval: str, *, opens: int) -> Candle | None:
        """The exchange's candle that begins at second `opens`; None while it has none, or answers with another."""
        found = candles(await self.page(asset, interval, opens, limit=1))
        return next((candle for candle in found if candle.second == opens), None)

    async def candles_since(self, asset: str, interval: str, *, second: int) -> list[Candle]:
        """A page of candles from `second` on, the running one included, oldest first."""
        return candles(await self.page(asset, interval, second, limit=KLINES_A_PAGE))

    async def _page(self, asset: str, start: int) -> list[tuple[int, float]]:
        return klines(await self.page(asset, "1s", start, limit=KLINES_A_PAGE))

    async def page(self, asset: str, interval: str, start: int, *, limit: int) -> bytes:
        """What the exchange says of candles from second `start` on. Raises VenueUnavailable."""
        query: dict[str, str | int] = {
            "symbol": f"{asset}{self._quote}".upper(),
            "interval": interval,
            "startTime": start * 1000,
            "limit": limit,
        }
        try:
            reply = await self._http.get(f"{self._rest_url}/api/v3/klines", params=query)
        except httpx.HTTPError as error:
            raise VenueUnavailable(f"klines: {str(error) or type(error).__name__}") from None
        if reply.status_code != httpx.codes.OK:
            raise VenueUnavailable(f"klines: HTTP {reply.status_code}")
        return reply.content

    def _on_frame(self, raw: bytes, real: int) -> None:
        try:
            tick = spot(raw)
        except ParseError:
            self.malformed += 1
            return
        if tick is not None:
            self._on_ticks((tick,), real)
            self._look_for_hole(tick)

    def _look_for_hole(self, tick: PriceTick) -> None:
        before, known = self._last.get(tick.asset), tick.asset in self._fresh
        self._last[tick.asset] = tick
        self._fresh.add(tick.asset)
        if before is None or (known and (not tick.trade or tick.trade <= before.trade + 1)):
            return
        self.gaps += known
        last, now = before.ts_event // NANOS, tick.ts_event // NANOS
        if now > last:
            self._on_hole(tick.asset, last, now)


class OracleFeed:
    """Chainlink ticks from the venue's relay, the history that answers a subscription included.

    A tick a second is due. One left out is counted; after more than `LONGEST_ORACLE_GAP` the connection is made anew,
    because the history that answers it holds the last minutes.
    """

    def __init__(self, *, url: str, assets: Sequence[str], clock: Clock, on_ticks: OnTicks) -> None:
        self.malformed = 0
        self.gaps = 0
        self._assets = tuple(assets)
        self._on_ticks = on_ticks
        self._last: dict[str, int] = {}
        self._restarts = set[asyncio.Task[None]]()
        self.socket = Socket(
            name="oracle",
            url=url,
            clock=clock,
            opening=self._opening,
            on_frame=self._on_frame,
            ping_every=5.0,
            silent_after=ORACLE_SILENT,
        )

    async def run(self, stop: asyncio.Event) -> None:
        await self.socket.run(stop)

    def _opening(self) -> list[str]:
        return [oracle_subscription(self._assets)]

    def _on_frame(self, raw: bytes, real: int) -> None:
        try:
            ticks = [tick for tick in rtds(raw) if tick.source is Source.ORACLE]
        except ParseError:
            self.malformed += 1
            return
        if ticks:
            self._on_ticks(ticks, real)
            self._look_for_gap(ticks[0].asset, ticks[0].ts_event // NANOS, ticks[-1].ts_event // NANOS)

    def _look_for_gap(self, asset: str, first: int, newest: int) -> None:
        """Whether these seconds follow on those before, those of an earlier connection included."""
        last = self._last.get(asset)
        self._last[asset] = newest if last is None else max(last, newest)
        if last is None:
            return
        missing = first - last - 1
        self.gaps += missing > 0
        if missing > LONGEST_ORACLE_GAP and not self._restarts:
            task = asyncio.get_running_loop().create_task(self.socket.restart())
            self._restarts.add(task)
            task.add_done_callback(self._restarts.discard)
