"""The price feeds as they come: two spot exchanges, the oracle's ticks, and where there are keys its averages."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

import httpx

from pmarb import logs
from pmarb.clock import Clock
from pmarb.venue import coinbase
from pmarb.venue.parse import ParseError
from pmarb.venue.polybolt import PolyBoltFeed, PriceKeys
from pmarb.venue.port import VenueUnavailable
from pmarb.venue.prices import SpotFeed, oracle_subscription, spot_stream
from pmarb.venue.public import VenueUrls
from pmarb.venue.sockets import Socket

log = logs.get(__name__)

SILENT_AFTER: Final = 2.0  # Real seconds
Keep = Callable[[str, bytes], None]
"""Takes what was received, under the name of its source."""


class PriceChannels:
    """Everything they say goes to `keep`. `withheld` counts frames that repeated a credential: those do not."""

    def __init__(
        self,
        *,
        urls: VenueUrls,
        clock: Clock,
        http: httpx.AsyncClient,
        assets: tuple[str, ...],
        keys: PriceKeys | None,
        keep: Keep,
    ) -> None:
        self.withheld = 0
        self._clock = clock
        self._assets = assets
        self._keep = keep
        self.exchange = SpotFeed(
            ws_url=urls.spot_ws, rest_url=urls.spot_rest, assets=assets, clock=clock, http=http, on_ticks=_unheard
        )
        other, oracle = [coinbase.request(asset) for asset in assets], [oracle_subscription(assets)]
        self._sockets = [
            self._socket("spot.binance", spot_stream(urls.spot_ws, assets), [], unwrap=_unwrapped),
            self._socket("spot.coinbase", urls.other_spot, other),
            self._socket("rtds", urls.rtds, oracle, ping="PING"),
        ]
        self._averages = None if keys is None else self._averages_of(urls.averages, keys)

    def running(self, stop: asyncio.Event) -> list[Coroutine[Any, Any, None]]:
        """What must run until `stop`."""
        averages = [] if self._averages is None else [self._averages.run(stop)]
        return [*(socket.run(stop) for socket in self._sockets), *averages]

    async def warm_up(self, seconds: int) -> None:
        """Begin with the candles that a scanner begins with, as trades of their seconds: a replay is warm at once."""
        for asset in self._assets:
            try:
                history = await self.exchange.history(asset, now=self._clock.now(), seconds=seconds)
            except (VenueUnavailable, ParseError) as error:
                log.warning("history_missing", underlying=asset, reason=str(error))
                continue
            for second, price in history:
                self._keep("spot.binance", _trade(asset, second, price))

    @property
    def silences(self) -> int:
        averages = [] if self._averages is None else [self._averages.socket]
        return sum(socket.silences for socket in (*self._sockets, *averages))

    def _socket(
        self,
        src: str,
        url: str,
        opening: list[str],
        *,
        ping: str | None = None,
        unwrap: Callable[[bytes], bytes] = bytes,
    ) -> Socket:
        return Socket(
            name=src,
            url=url,
            clock=self._clock,
            opening=lambda: opening,
            on_frame=lambda raw, _real: self._keep(src, unwrap(raw)),
            ping=ping,
            ping_every=5.0,
            silent_after=SILENT_AFTER,
        )

    def _averages_of(self, url: str, keys: PriceKeys) -> PolyBoltFeed:
        on_raw = partial(self._on_averages, keys)
        return PolyBoltFeed(
            url=url, keys=keys, assets=self._assets, clock=self._clock, on_ticks=_unheard, on_raw=on_raw
        )

    def _on_averages(self, keys: PriceKeys, raw: bytes) -> None:
        """Credentials are only ever sent. Should the venue send them back, they still reach no tape."""
        if keys.told_by(raw):
            self.withheld += 1
        else:
            self._keep("polybolt", raw)


def _unheard(_ticks: object, _real: int) -> None:
    """Frames are kept unread."""


def _trade(asset: str, second: int, price: float) -> bytes:
    """A candle's close as the exchange would have told the last trade of its second."""
    stamp, symbol = second * 1000 + 999, f"{asset}usdt".upper()
    trade = {"e": "trade", "E": stamp, "s": symbol, "p": repr(price), "q": "0", "T": stamp, "_synthetic": ["*"]}
    return json.dumps(trade).encode()


def _unwrapped(raw: bytes) -> bytes:
    """The trade out of a combined stream's `{"stream": ..., "data": ...}`."""
    try:
        body = json.loads(raw)
    except ValueError:
        return raw
    return (
        json.dumps(body["data"], separators=(",", ":")).encode() if isinstance(body, dict) and "data" in body else raw
    )
