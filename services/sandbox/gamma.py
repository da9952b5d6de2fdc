"""Gamma objects of up/down windows, in the venue's shape (venue.md 5.1), JSON lists as text included."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson

from services.sandbox.clock import SECOND_NS
from services.sandbox.markets import MIN_ORDER_SHARES, OUTCOMES, Family, Market, question
from services.sandbox.money import MICRO, number, text
from services.sandbox.wording import TWAP_S, description, resolution_source

SERIES_IDS = {"btc-up-or-down-5m": 10684, "btc-up-or-down-15m": 10192}
EVENT_OFFSET = 20_000_000
# Fields that are the same on every up/down market; base fees of 1000 are the trap of venue.md 4.3.
FIXED: dict[str, Any] = {
    "marketMakerAddress": "",
    "new": False,
    "featured": False,
    "archived": False,
    "restricted": True,
    "groupItemThreshold": "0",
    "enableOrderBook": True,
    "hasReviewedDates": True,
    "comboStatus": "disabled",
    "makerBaseFee": 1000,
    "takerBaseFee": 1000,
    "ready": False,
    "funded": False,
    "cyom": False,
    "approved": True,
    "rewardsMinSize": 50,
    "rewardsMaxSpread": 4.5,
    "automaticallyActive": True,
    "clearBookOnStart": False,
    "manualActivation": False,
    "negRiskOther": False,
    "umaResolutionStatuses": "[]",
    "pendingDeployment": False,
    "deploying": False,
    "rfqEnabled": False,
    "holdingRewardsEnabled": False,
    "makerRebatesFeeShareBps": 10000,
}


def json_text(values: list[str]) -> str:
    """The venue writes lists as text with a blank after the comma."""
    return "[" + ", ".join(orjson.dumps(value).decode() for value in values) + "]"


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def iso_ns(venue_ns: int) -> str:
    return datetime.fromtimestamp(venue_ns / SECOND_NS, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def event_number(market: Market) -> int:
    return market.number + EVENT_OFFSET


def config_of(family: Family) -> dict[str, Any]:
    return {
        "id": f"{family.asset.code}-{family.label}-twap-{TWAP_S}",
        "asset": family.asset.code,
        "duration": family.label,
        "twapEnabled": True,
        "twapLookbackSeconds": TWAP_S,
    }


def market_object(market: Market) -> dict[str, Any]:
    """One market, with its event inside."""
    return {**bare_market(market), "events": [event_header(market)]}


def bare_market(market: Market) -> dict[str, Any]:
    family = market.family
    market_dict: dict[str, Any] = {
        "id": str(market.number),
        "question": question(family, market.start),
        "conditionId": market.condition_id,
        "slug": market.slug,
        "resolutionSource": resolution_source(family),
        "endDate": iso(market.end),
        "startDate": iso_ns(market.created_ns),
        "description": description(family),
        "outcomes": json_text(list(OUTCOMES)),
        "outcomePrices": json_text([text(market.outcome_price(outcome)) for outcome in (0, 1)]),
        "volume": text(market.volume),
        "active": True,
        "closed": market.closed,
        "createdAt": iso_ns(market.created_ns),
        "updatedAt": iso_ns(max(market.changed_ns, market.closed_ns, market.created_ns)),
        "questionID": "0x" + market.condition_id[:1:-1],
        "orderPriceMinTickSize": number(market.tick),
        "orderMinSize": MIN_ORDER_SHARES // MICRO,
        "volumeNum": number(market.volume),
        "endDateIso": iso(market.end)[:10],
        "startDateIso": iso(market.created_ns / SECOND_NS)[:10],
        "clobTokenIds": json_text(list(market.tokens)),
        "volumeClob": number(market.volume),
        "acceptingOrders": market.accepting,
        "negRisk": market.neg_risk,
        "acceptingOrdersTimestamp": iso(market.created_ns / SECOND_NS),
        "eventStartTime": iso(market.start),
    }
    return FIXED | market_dict | _fees(market) | _quote(market) | _result(market)


def event_header(market: Market) -> dict[str, Any]:
    """The event without its markets."""
    family = market.family
    header: dict[str, Any] = {
        "id": str(event_number(market)),
        "ticker": market.slug,
        "slug": market.slug,
        "title": question(family, market.start),
        "description": description(family),
        "resolutionSource": resolution_source(family),
        "startDate": iso_ns(market.created_ns),
        "creationDate": iso_ns(market.created_ns),
        "endDate": iso(market.end),
        "active": True,
        "closed": market.closed,
        "archived": False,
        "new": False,
        "featured": False,
        "restricted": True,
        "volume": number(market.volume),
        "openInterest": number(market.collateral),
        "createdAt": iso_ns(market.created_ns),
        "updatedAt": iso_ns(max(market.changed_ns, market.closed_ns, market.created_ns)),
        "enableOrderBook": True,
        "negRisk": market.neg_risk,
        "negRiskAugmented": False,
        "enableNegRisk": False,
        "commentCount": 0,
        "startTime": iso(market.start),
        "seriesSlug": family.series_slug,
        "series": [series_object(family)],
        "version": "v1",
    }
    if market.closed:
        header["closedTime"] = iso(market.closed_ns / SECOND_NS)
        header["automaticallyResolved"] = True
        header["eventMetadata"] = {"finalPrice": market.final_price, "priceToBeat": market.price_to_beat}
    return header


def event_object(market: Market) -> dict[str, Any]:
    return {**event_header(market), "markets": [bare_market(market)]}


def series_object(family: Family) -> dict[str, Any]:
    slug = family.series_slug
    return {
        "id": str(SERIES_IDS.get(slug, 10000 + sum(slug.encode()) % 600)),
        "ticker": slug,
        "slug": slug,
        "title": f"{family.asset.code.upper()} Up or Down {family.label}",
        "seriesType": "single",
        "recurrence": family.label,
        "active": True,
        "closed": False,
        "archived": False,
    }


def _fees(market: Market) -> dict[str, Any]:
    fees = market.fees
    return {
        "feesEnabled": True,
        "feeType": "crypto_fees_v2",
        "feeSchedule": {
            "exponent": fees.exponent,
            "rate": float(fees.rate),
            "takerOnly": True,
            "rebateRate": float(fees.rebate_rate),
        },
        "cryptoMarketConfigId": config_of(market.family)["id"],
        "cryptoMarketConfig": config_of(market.family),
        "version": "v1",
    }


def _quote(market: Market) -> dict[str, Any]:
    bid, ask = market.best(0)
    low, high = bid or 0, MICRO if ask is None else ask
    quote: dict[str, Any] = {"bestBid": number(low), "bestAsk": number(high), "spread": number(high - low)}
    if market.last_price is not None:
        quote["lastTradePrice"] = number(market.last_price)
    return quote


def _result(market: Market) -> dict[str, Any]:
    if not market.closed:
        return {}
    closed_s = market.closed_ns / SECOND_NS
    return {
        "closedTime": datetime.fromtimestamp(closed_s, tz=UTC).strftime("%Y-%m-%d %H:%M:%S+00"),
        "umaEndDate": iso(closed_s),
        "umaResolutionStatus": "resolved",
        "automaticallyResolved": True,
    }
