"""How markets ended, and the public side of a wallet: plain reads without a key, for both kinds of trading."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import httpx

from pmarb.domain.values import NANOS, ONE
from pmarb.venue import account, gamma
from pmarb.venue.parse import ParseError, plain
from pmarb.venue.port import EntryFees, Redemption, Resolution, VenueMerge, VenuePosition, VenueUnavailable

Query = list[tuple[str, str | int | float | bool | None]]

_PAGE: Final = 500
_TIMEOUT: Final = httpx.Timeout(5.0)


class PublicRecords:
    """Gamma and the Data API over one connection pool.

    Every read raises VenueUnavailable when it fails: then nothing was learnt.
    """

    def __init__(self, *, gamma_url: str, data_url: str) -> None:
        self._gamma = gamma_url.rstrip("/")
        self._data = data_url.rstrip("/")
        self._http = httpx.AsyncClient(timeout=_TIMEOUT)

    async def resolutions(self, markets: Sequence[str]) -> list[Resolution]:
        """Those of `markets` (condition ids) that are closed with a final result."""
        if not markets:
            return []
        query: Query = [("condition_ids", market) for market in markets]
        query += [("closed", "true"), ("limit", len(markets))]
        rows = await self._rows(f"{self._gamma}/markets", query)
        found = [resolution(row) for row in rows]
        return [each for each in found if each is not None and each.market in markets]

    async def positions(self, wallet: str) -> list[VenuePosition]:
        """Shares the wallet holds, to the last crumb."""
        query: Query = [("user", wallet), ("sizeThreshold", "0"), ("limit", str(_PAGE))]
        return [account.position(row) for row in await self._pages(f"{self._data}/positions", query)]

    async def redemptions(self, wallet: str, *, since_ns: int) -> list[Redemption]:
        """What the venue paid the wallet for resolved shares since then."""
        return [account.redemption(row) for row in await self._activity(wallet, "REDEEM", since_ns)]

    async def merges(self, wallet: str, *, since_ns: int) -> list[VenueMerge]:
        """Merges of the wallet's pairs since then."""
        return [account.merge(row) for row in await self._activity(wallet, "MERGE", since_ns)]

    async def entry_fees(self, wallet: str) -> dict[str, EntryFees]:
        """Fees charged for the positions of the wallet that are open, by token."""
        found: dict[str, EntryFees] = {}
        cursor = ""
        while True:
            query: Query = [("user", wallet), ("limit", str(_PAGE)), *([("cursor", cursor)] if cursor else [])]
            page = await self._json(f"{self._data}/v2/positions", query)
            if not isinstance(page, Mapping) or not isinstance(page.get("data"), list):
                raise VenueUnavailable(f"{self._data}/v2/positions: the reply was no page")
            found |= dict(account.entry_fees(row) for row in page["data"] if isinstance(row, Mapping))
            following = page.get("pagination")
            cursor = str(following.get("next_cursor") or "") if isinstance(following, Mapping) else ""
            if not cursor:
                return found

    async def close(self) -> None:
        await self._http.aclose()

    async def _activity(self, wallet: str, kind: str, since_ns: int) -> list[Mapping[str, Any]]:
        query: Query = [("user", wallet), ("type", kind), ("start", str(since_ns // NANOS)), ("limit", str(_PAGE))]
        return await self._pages(f"{self._data}/activity", query)

    async def _pages(self, url: str, query: Query) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        while True:
            rows = await self._rows(url, [*query, ("offset", str(len(found)))])
            found += rows
            if len(rows) < _PAGE:
                return found

    async def _json(self, url: str, query: Query) -> Any:
        try:
            reply = await self._http.get(url, params=httpx.QueryParams(query))
            reply.raise_for_status()
            return plain(reply.content)
        except (httpx.HTTPError, ParseError) as error:
            raise VenueUnavailable(f"{url}: {str(error) or type(error).__name__}") from error

    async def _rows(self, url: str, query: Query) -> list[Mapping[str, Any]]:
        rows = await self._json(url, query)
        if not isinstance(rows, list):
            raise VenueUnavailable(f"{url}: the reply was no list")
        return [row for row in rows if isinstance(row, Mapping)]


def resolution(row: Mapping[str, Any]) -> Resolution | None:
    """What a closed market pays a token, by label and never by index; None while its prices are no final result."""
    try:
        info, prices = gamma.market_from(row), gamma.outcome_prices(row)
    except ParseError:
        return None
    payouts = {outcome.token: prices[outcome.label] for outcome in info.outcomes if outcome.label in prices}
    halves = {price * 2 for price in payouts.values()}
    final = len(payouts) == len(info.outcomes) and sum(payouts.values()) == ONE and halves <= {0, 1, 2}
    if not info.closed or not final:
        return None
    return Resolution(market=info.condition_id, payouts=payouts, closed_at=info.closes_at)
