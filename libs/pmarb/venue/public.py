"""Where the venue is, and what anyone may read of it: no key, no order."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import httpx

from pmarb.clock import ScaledClock
from pmarb.domain.market import MarketInfo
from pmarb.domain.values import NANOS
from pmarb.venue import gamma
from pmarb.venue.feed import MarketFeed
from pmarb.venue.parse import ParseError, plain
from pmarb.venue.polybolt import PriceKeys
from pmarb.venue.port import VenueUnavailable
from pmarb.venue.prices import OracleFeed, SpotFeed
from pmarb.venue.rules import NAMES

__all__ = [
    "GEOBLOCK",
    "POLYMARKET",
    "Discovery",
    "Ended",
    "Listing",
    "MarketFeed",
    "OracleFeed",
    "SpotFeed",
    "VenueUrls",
    "sandbox",
    "sandbox_keys",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueUrls:
    """Base addresses without a trailing slash. `spot_ws` + `/stream?streams=`, `spot_rest` + `/api/v3/klines`.

    `other_spot` is the exchange that checks the first, `averages` the venue's authenticated price socket.
    """

    gamma: str
    clob: str
    ws_market: str
    ws_user: str
    rtds: str
    spot_ws: str
    spot_rest: str
    other_spot: str = ""
    averages: str = ""


LIST_EVERY: Final = 30.0
"""Real seconds between two looks at the events of the assets' tags."""
HORIZON_S: Final = 8 * 86_400
"""Markets that end later lock money for longer than a thin edge is worth."""
EVENTS_A_PAGE: Final = 100
MOST_PAGES: Final = 20

POLYMARKET: Final = VenueUrls(
    gamma="https://gamma-api.polymarket.com",
    clob="https://clob.polymarket.com",
    ws_market="wss://ws-subscriptions-clob.polymarket.com/ws/market",
    ws_user="wss://ws-subscriptions-clob.polymarket.com/ws/user",
    rtds="wss://ws-live-data.polymarket.com",
    spot_ws="wss://data-stream.binance.vision",
    spot_rest="https://data-api.binance.vision",
    other_spot="wss://ws-feed.exchange.coinbase.com",
    averages="wss://ws-live-v2.polymarket.com/ws",
)
GEOBLOCK: Final = "https://polymarket.com/api/geoblock"
"""Where the venue says whether it is open to who asks."""


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
            other_spot=str(ready["coinbase"]),
            averages=str(ready["polybolt"]),
        )
        clock = ready["clock"]
        return urls, ScaledClock(speed=float(clock["speed"]), anchor=int(clock["anchor_ns"]))
    except (KeyError, TypeError, ValueError) as error:
        raise VenueUnavailable(f"{url} did not answer like a sandbox: {error!r}") from None


async def sandbox_keys(http: httpx.AsyncClient, url: str) -> PriceKeys:
    """The CLOB credentials of a running sandbox's first account, which open its authenticated price socket.

    Raises:
        VenueUnavailable: it does not answer, or not as a sandbox does.
    """
    body = await _get(http, f"{url.rstrip('/')}/sandbox/ready")
    try:
        first = plain(body)["accounts"][0]
        return PriceKeys(key=str(first["api_key"]), secret=str(first["secret"]), passphrase=str(first["passphrase"]))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise VenueUnavailable(f"{url} did not answer like a sandbox: {error!r}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a tag's events hold: the markets asked for, as Gamma tells them, and what could not be read, by slug."""

    markets: tuple[MarketInfo, ...]
    unread: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What the venue says of a closed market's prices, None where it does not."""

    price_to_beat: float | None
    final_price: float | None


class Discovery:
    """Finds markets by slug or by their asset's tag, and checks Gamma's word against the CLOB's.

    Every read raises VenueUnavailable (ask again later), and ParseError where the venue contradicts itself.
    """

    def __init__(self, *, urls: VenueUrls, http: httpx.AsyncClient) -> None:
        self._urls = urls
        self._http = http

    async def market(self, slug: str) -> MarketInfo | None:
        """The market, confirmed by the CLOB; None while either does not know it yet."""
        found = await self._maybe(f"{self._urls.gamma}/markets/slug/{slug}")
        if found is None:
            return None
        info = gamma.market(found)
        if info.slug != slug:
            raise ParseError(f"asked for {slug}, was answered {info.slug}")
        return await self.confirmed(info)

    async def confirmed(self, info: MarketInfo) -> MarketInfo | None:
        """A market that Gamma told, with the CLOB's word on its tokens and fees; None while that does not know it."""
        details = await self._maybe(f"{self._urls.clob}/clob-markets/{info.condition_id}")
        return None if details is None else gamma.confirmed(info, details)

    async def listed(self, asset: str, families: Collection[str], *, now: int) -> Listing:
        """Open markets of these families that end within `HORIZON_S` of `now` (nanoseconds), by their asset's tag."""
        markets: list[MarketInfo] = []
        unread: dict[str, str] = {}
        query = {"tag_slug": NAMES[asset], "closed": "false", "limit": str(EVENTS_A_PAGE)}
        query |= {"end_date_min": _iso(now // NANOS), "end_date_max": _iso(now // NANOS + HORIZON_S)}
        for _ in range(MOST_PAGES):
            page = plain(await _get(self._http, f"{self._urls.gamma}/events/keyset", query))
            events = page.get("events") if isinstance(page, dict) else None
            if not isinstance(events, list):
                raise ParseError("a page of events was none")
            for event in events:
                gamma.read_event(event, markets, unread)
            if not page.get("next_cursor"):
                break
            query["after_cursor"] = str(page["next_cursor"])
        wanted = (market for market in markets if market.family in families and market.underlying == asset)
        return Listing(markets=tuple(wanted), unread=unread)

    async def ended(self, slug: str) -> Ended | None:
        """Opening and closing price of a closed market; None while it is open."""
        found = await self._maybe(f"{self._urls.gamma}/markets/slug/{slug}")
        body = None if found is None else plain(found)
        if not isinstance(body, dict) or body.get("closed") is not True:
            return None
        opened, closed = gamma.strikes(body)
        return Ended(price_to_beat=opened, final_price=closed)

    async def _maybe(self, url: str) -> bytes | None:
        try:
            return await _get(self._http, url)
        except _NotFound:
            return None


def _iso(second: int) -> str:
    return datetime.fromtimestamp(second, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class _NotFound(VenueUnavailable):
    """404: it does not exist, or not yet."""


async def _get(http: httpx.AsyncClient, url: str, query: dict[str, str] | None = None) -> bytes:
    try:
        reply = await http.get(url, params=query)
    except httpx.HTTPError as error:
        raise VenueUnavailable(f"{url}: {str(error) or type(error).__name__}") from None
    if reply.status_code == httpx.codes.NOT_FOUND:
        raise _NotFound(url)
    if reply.status_code != httpx.codes.OK:
        raise VenueUnavailable(f"{url}: HTTP {reply.status_code}")
    return reply.content
