"""Where the venue is, and what anyone may read of it: no key, no order."""

from dataclasses import dataclass
from typing import Any, Final

import httpx

from pmarb.clock import ScaledClock
from pmarb.domain.market import MarketInfo
from pmarb.venue import gamma
from pmarb.venue.feed import MarketFeed
from pmarb.venue.parse import ParseError, plain
from pmarb.venue.port import VenueUnavailable
from pmarb.venue.prices import OracleFeed, SpotFeed

__all__ = [
    "POLYMARKET",
    "Discovery",
    "MarketFeed",
    "OracleFeed",
    "SpotFeed",
    "VenueUrls",
    "sandbox",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueUrls:
    """Base addresses without a trailing slash. `spot_ws` + `/stream?streams=`, `spot_rest` + `/api/v3/klines`."""

    gamma: str
    clob: str
    ws_market: str
    ws_user: str
    rtds: str
    spot_ws: str
    spot_rest: str


POLYMARKET: Final = VenueUrls(
    gamma="https://gamma-api.polymarket.com",
    clob="https://clob.polymarket.com",
    ws_market="wss://ws-subscriptions-clob.polymarket.com/ws/market",
    ws_user="wss://ws-subscriptions-clob.polymarket.com/ws/user",
    rtds="wss://ws-live-data.polymarket.com",
    spot_ws="wss://data-stream.binance.vision",
    spot_rest="https://data-api.binance.vision",
)


async def sandbox(http: httpx.AsyncClient, url: str) -> tuple[VenueUrls, ScaledClock]:
    """Ask a running sandbox for its addresses and its clock.

    Raises:
        VenueUnavailable: it does not answer, or not as a sandbox does.
    """
    body = await _get(http, f"{url.rstrip('/')}/sandbox/ready")
    try:
        ready: dict[str, Any] = plain(body)
        spot = str(ready["spot"])
        urls = VenueUrls(
            gamma=str(ready["gamma"]),
            clob=str(ready["clob"]),
            ws_market=str(ready["ws_market"]),
            ws_user=str(ready["ws_user"]),
            rtds=str(ready["rtds"]),
            spot_ws=spot,
            spot_rest=spot.replace("ws", "http", 1),
        )
        clock = ready["clock"]
        return urls, ScaledClock(speed=float(clock["speed"]), anchor=int(clock["anchor_ns"]))
    except (KeyError, TypeError, ValueError) as error:
        raise VenueUnavailable(f"{url} did not answer like a sandbox: {error!r}") from None


class Discovery:
    """Finds markets by their computed slugs and checks Gamma's word against the CLOB's."""

    def __init__(self, *, urls: VenueUrls, http: httpx.AsyncClient) -> None:
        self._urls = urls
        self._http = http

    async def market(self, slug: str) -> MarketInfo | None:
        """The market, confirmed by the CLOB; None while either does not know it yet.

        Raises:
            VenueUnavailable: ask again later.
            ParseError: the venue contradicts itself or cannot be read.
        """
        found = await self._maybe(f"{self._urls.gamma}/markets/slug/{slug}")
        if found is None:
            return None
        info = gamma.market(found)
        if info.slug != slug:
            raise ParseError(f"asked for {slug}, was answered {info.slug}")
        details = await self._maybe(f"{self._urls.clob}/clob-markets/{info.condition_id}")
        return None if details is None else gamma.confirmed(info, details)

    async def _maybe(self, url: str) -> bytes | None:
        try:
            return await _get(self._http, url)
        except _NotFound:
            return None


class _NotFound(VenueUnavailable):
    """404: it does not exist, or not yet."""


async def _get(http: httpx.AsyncClient, url: str) -> bytes:
    try:
        reply = await http.get(url)
    except httpx.HTTPError as error:
        raise VenueUnavailable(f"{url}: {str(error) or type(error).__name__}") from None
    if reply.status_code == httpx.codes.NOT_FOUND:
        raise _NotFound(url)
    if reply.status_code != httpx.codes.OK:
        raise VenueUnavailable(f"{url}: HTTP {reply.status_code}")
    return reply.content
