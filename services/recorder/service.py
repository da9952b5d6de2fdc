"""Everything the public feeds say, with its time of receipt, onto tapes. A process of its own: nobody waits for it."""

import asyncio
import json
from collections.abc import Callable

import httpx

from pmarb import logs
from pmarb.clock import Clock
from pmarb.domain.market import MarketInfo
from pmarb.domain.values import NANOS
from pmarb.runtime import Backoff, every
from pmarb.venue import coinbase, gamma
from pmarb.venue.parse import ParseError
from pmarb.venue.port import VenueUnavailable
from pmarb.venue.prices import SpotFeed, oracle_subscription, spot_stream
from pmarb.venue.public import VenueUrls
from pmarb.venue.schedule import slots
from pmarb.venue.sockets import Socket
from services.recorder.spool import Received, Spool

log = logs.get(__name__)

DISCOVER_EVERY = 0.5  # Real seconds
SUMMARY_EVERY = 10.0
SILENT_AFTER = 2.0
HISTORY_S = 2400
GIVE_UP_AFTER = 3600 * NANOS
"""A market without an outcome so long after its end is asked about no more."""


class RecorderService:
    """One recording. `seconds` of venue time, None until stopped."""

    def __init__(
        self,
        *,
        urls: VenueUrls,
        clock: Clock,
        http: httpx.AsyncClient,
        spool: Spool,
        assets: tuple[str, ...],
        families: tuple[str, ...],
        seconds: float | None = None,
    ) -> None:
        self._urls = urls
        self._clock = clock
        self._http = http
        self._spool = spool
        self._assets = assets
        self._families = families
        self._ends = None if seconds is None else clock.now() + int(seconds * NANOS)
        self._open: dict[str, MarketInfo] = {}
        self._seen: set[str] = set()
        self._backoff = Backoff("gamma")
        self._candles = SpotFeed(
            ws_url=urls.spot_ws,
            rest_url=urls.spot_rest,
            assets=assets,
            clock=clock,
            http=http,
            on_ticks=lambda _ticks, _real: None,
        )
        self._market = self._socket("clob.market", urls.ws_market, self._tokens)
        stream = spot_stream(urls.spot_ws, assets)
        self._spot = self._socket("spot.binance", stream, tuple, ping=None, silent_after=SILENT_AFTER)
        other = [coinbase.request(assets)]
        self._other = self._socket(
            "spot.coinbase", urls.other_spot, lambda: other, ping=None, silent_after=SILENT_AFTER
        )
        oracle = [oracle_subscription(assets)]
        self._oracle = self._socket("rtds", urls.rtds, lambda: oracle, ping_every=5.0, silent_after=SILENT_AFTER)

    async def run(self, stop: asyncio.Event) -> None:
        """Record until `stop`; the tape is finished before it returns."""
        self._spool.start()
        try:
            for asset in self._assets:
                await self._warm_up(asset)
            async with asyncio.TaskGroup() as group:
                for socket in (self._market, self._spot, self._other, self._oracle):
                    group.create_task(socket.run(stop))
                group.create_task(every(DISCOVER_EVERY, self._discover, stop))
                group.create_task(every(SUMMARY_EVERY, self._summary, stop))
                group.create_task(every(0.1, lambda: self._until_the_end(stop), stop))
        finally:
            await asyncio.to_thread(self._spool.close)
            await self._http.aclose()

    async def _warm_up(self, asset: str) -> None:
        """Begin with the candles that a scanner begins with, as trades of their seconds: a replay is warm at once."""
        now = self._clock.now()
        try:
            history = await self._candles.history(asset, now=now, seconds=HISTORY_S)
        except (VenueUnavailable, ParseError) as error:
            log.warning("history_missing", underlying=asset, reason=str(error))
            return
        for second, price in history:
            stamp, symbol = second * 1000 + 999, f"{asset}usdt".upper()
            trade = {"e": "trade", "E": stamp, "s": symbol, "p": repr(price), "q": "0", "T": stamp, "_synthetic": ["*"]}
            self._spool.put(Received(t=now, src="spot.binance", raw=json.dumps(trade).encode()))

    def _socket(
        self,
        src: str,
        url: str,
        opening: Callable[[], list[str]] | type[tuple[str, ...]],
        *,
        ping: str | None = "PING",
        ping_every: float = 10.0,
        silent_after: float | None = None,
    ) -> Socket:
        unwrap = _unwrapped if src == "spot.binance" else _as_it_is
        return Socket(
            name=src,
            url=url,
            clock=self._clock,
            opening=opening,
            on_frame=lambda raw, _real: self._keep(src, unwrap(raw)),
            ping=ping,
            ping_every=ping_every,
            silent_after=silent_after,
        )

    def _keep(self, src: str, raw: bytes) -> None:
        self._spool.put(Received(t=self._clock.now(), src=src, raw=raw))

    def _tokens(self) -> list[str]:
        tokens = [token for market in self._open.values() for token in market.tokens]
        return [json.dumps({"assets_ids": tokens, "type": "market", "custom_feature_enabled": True})]

    async def _discover(self) -> None:
        """Announce new windows, and ask about ended ones until their outcome is known."""
        now = self._clock.now()
        for slug in self._wanted(now // NANOS):
            if slug not in self._seen:
                await self._announce(slug)
        for slug, market in list(self._open.items()):
            if now > market.closes_at:
                await self._conclude(slug, market, now)

    def _wanted(self, second: int) -> list[str]:
        return [
            slot.slug for asset in self._assets for family in self._families for slot in slots(asset, family, second)
        ]

    async def _announce(self, slug: str) -> None:
        raw = await self._ask(slug)
        if raw is None:
            return
        try:
            market = gamma.market(raw)
        except ParseError as error:
            self._seen.add(slug)
            self._keep("gamma", raw)  # It cannot be followed, but it was received
            log.warning("market_unreadable", slug=slug, reason=str(error))
            return
        if market.sides is None or not market.accepting:
            return
        self._seen.add(slug)
        self._open[slug] = market
        self._keep("gamma", raw)
        await self._market.send(json.dumps({"operation": "subscribe", "assets_ids": list(market.tokens)}))

    async def _conclude(self, slug: str, market: MarketInfo, now: int) -> None:
        raw = await self._ask(slug)
        try:
            over = raw is not None and gamma.market(raw).closed
        except ParseError:
            over = False
        if raw is not None and over:
            self._keep("gamma", raw)
        if over or now > market.closes_at + GIVE_UP_AFTER:
            del self._open[slug]
            await self._market.send(json.dumps({"operation": "unsubscribe", "assets_ids": list(market.tokens)}))

    async def _ask(self, slug: str) -> bytes | None:
        """Gamma's own words; None while it does not know the market or does not answer."""
        try:
            reply = await self._http.get(f"{self._urls.gamma}/markets/slug/{slug}")
        except httpx.HTTPError as error:
            await self._backoff.wait(VenueUnavailable(str(error) or type(error).__name__))
            return None
        self._backoff.recovered()
        return reply.content if reply.status_code == httpx.codes.OK else None

    async def _until_the_end(self, stop: asyncio.Event) -> None:
        if self._spool.failure is not None:
            raise self._spool.failure
        if self._ends is not None and self._clock.now() >= self._ends:
            stop.set()

    async def _summary(self) -> None:
        log.info(
            "recording",
            lines=self._spool.lines,
            waiting=self._spool.waiting,
            markets=len(self._open),
            tapes=len(self._spool.tapes),
            undecodable=self._spool.undecodable,
            silences=self._spot.silences + self._other.silences + self._oracle.silences,
        )


def _as_it_is(raw: bytes) -> bytes:
    return raw


def _unwrapped(raw: bytes) -> bytes:
    """The trade out of a combined stream's `{"stream": ..., "data": ...}`."""
    try:
        body = json.loads(raw)
    except ValueError:
        return raw
    return (
        json.dumps(body["data"], separators=(",", ":")).encode() if isinstance(body, dict) and "data" in body else raw
    )
