"""Gamma objects of markets, events and series, in the venue's shape (venue.md 5.1), JSON lists as text included."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from services.sandbox import gamma_fields
from services.sandbox.clock import SECOND_NS
from services.sandbox.keccak import keccak256
from services.sandbox.markets import Market
from services.sandbox.money import MICRO, number, text
from services.sandbox.terms import TWAP_S, Series, Terms

SERIES_IDS = {"btc-up-or-down-5m": 10684, "btc-up-or-down-15m": 10192}
EVENT_OFFSET = 20_000_000


def json_text(values: list[str]) -> str:
    """The venue writes lists as text with a blank after the comma."""
    return "[" + ", ".join(orjson.dumps(value).decode() for value in values) + "]"


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def iso_ns(venue_ns: int) -> str:
    return datetime.fromtimestamp(venue_ns / SECOND_NS, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def event_number(market: Market) -> int:
    return market.event_number + EVENT_OFFSET


def config_of(terms: Terms) -> dict[str, Any]:
    code = terms.asset.code if terms.asset else ""
    return {
        "id": f"{code}-{terms.family}-twap-{TWAP_S}",
        "asset": code,
        "duration": terms.family,
        "twapEnabled": True,
        "twapLookbackSeconds": TWAP_S,
    }


def market_object(market: Market, siblings: Sequence[Market]) -> dict[str, Any]:
    """One market, with its event inside."""
    return {**bare_market(market), "events": [event_header(siblings)]}


def bare_market(market: Market) -> dict[str, Any]:
    terms = market.terms
    market_dict: dict[str, Any] = {
        "id": str(market.number),
        "question": terms.question,
        "conditionId": market.condition_id,
        "slug": market.slug,
        "resolutionSource": terms.source,
        "endDate": iso(market.end),
        "startDate": iso_ns(market.created_ns),
        "description": terms.description,
        "outcomes": json_text(list(market.labels)),
        "outcomePrices": json_text([text(market.outcome_price(outcome)) for outcome in (0, 1)]),
        "volume": text(market.volume),
        "active": True,
        "closed": market.closed,
        "createdAt": iso_ns(market.created_ns),
        "updatedAt": iso_ns(_updated_ns(market)),
        "questionID": "0x" + market.condition_id[:1:-1],
        "orderPriceMinTickSize": number(market.tick),
        "orderMinSize": number(market.min_size),
        "volumeNum": number(market.volume),
        "endDateIso": iso(market.end)[:10],
        "startDateIso": iso(market.created_ns / SECOND_NS)[:10],
        "volumeClob": number(market.volume),
        "acceptingOrders": market.accepting,
        "negRisk": market.neg_risk,
        "acceptingOrdersTimestamp": iso(market.created_ns / SECOND_NS),
        "eventStartTime": iso(market.start),
        "umaResolutionStatuses": json_text(["proposed", "disputed"] if market.dispute_s else []),
    }
    return (
        gamma_fields.MARKET
        | market_dict
        | gamma_fields.amounts(market)
        | _ids(market)
        | _kind(market)
        | _fees(market)
        | _quote(market)
        | _result(market)
    )


def _ids(market: Market) -> dict[str, Any]:
    """Token ids as text of JSON; the newer protocol has position ids, as a list."""
    if market.terms.position:
        return {"positionIds": list(market.tokens), "version": "v2"}
    return {"clobTokenIds": json_text(list(market.tokens)), "version": "v1"}


def _kind(market: Market) -> dict[str, Any]:
    """What only some kinds of markets carry: group titles, neg-risk ids, the terms of a game."""
    terms = market.terms
    more: dict[str, Any] = {
        "negRiskOther": terms.other,
        "groupItemThreshold": terms.group_threshold,
        "clearBookOnStart": terms.game,
    }
    if terms.settle_s is not None:
        # Resolved by a proposal that may be disputed, not by an automatic feed.
        more |= {
            "umaBond": "500",
            "umaReward": "2",
            "customLiveness": 0,
            "submitted_by": gamma_fields.RESOLVER,
            "resolvedBy": gamma_fields.RESOLVER,
            "deployingTimestamp": iso_ns(market.created_ns),
        }
    if terms.group_title or terms.game:
        more["groupItemTitle"] = terms.group_title
    if terms.neg_risk:
        more["negRiskMarketID"] = terms.neg_risk_id
    if terms.neg_risk or terms.group_title or terms.game:
        more["negRiskRequestID"] = neg_risk_request(terms) if terms.neg_risk else ""
    if terms.seconds_delay:
        more["secondsDelay"] = terms.seconds_delay
    if terms.game:
        more["gameStartTime"] = iso(terms.start).replace("T", " ").replace("Z", "+00")
        more["sportsMarketType"] = "moneyline"
        more["gameId"] = str(terms.start % 10**8)
    return more


def neg_risk_request(terms: Terms) -> str:
    return "0x" + keccak256(terms.slug.encode()).hex()


def event_header(markets: Sequence[Market]) -> dict[str, Any]:
    """The event without its markets."""
    first, terms = markets[0], markets[0].terms
    closed = all(market.closed for market in markets)
    header: dict[str, Any] = {
        "id": str(event_number(first)),
        "ticker": terms.event_slug,
        "slug": terms.event_slug,
        "title": terms.event_title,
        "description": terms.description,
        "resolutionSource": terms.source,
        "startDate": iso_ns(first.created_ns),
        "creationDate": iso_ns(first.created_ns),
        "endDate": iso(first.end),
        "active": True,
        "closed": closed,
        "archived": False,
        "new": False,
        "featured": False,
        "restricted": True,
        "createdAt": iso_ns(first.created_ns),
        "updatedAt": iso_ns(max(_updated_ns(market) for market in markets)),
        "enableOrderBook": True,
        "negRisk": terms.neg_risk,
        "negRiskAugmented": terms.augmented,
        "enableNegRisk": terms.neg_risk,
        "commentCount": 0,
        "startTime": iso(first.start),
        "version": "v2" if terms.position else "v1",
    }
    known = gamma_fields.EVENT | header | gamma_fields.event_amounts(markets) | _belongs(terms)
    if terms.game:
        known |= gamma_fields.game(first)
    return known | (_event_result(markets) if closed else {})


def _belongs(terms: Terms) -> dict[str, Any]:
    more: dict[str, Any] = {"tags": [tag_object(tag) for tag in terms.tags]}
    if terms.series is not None:
        more |= {"seriesSlug": terms.series.slug, "series": [series_object(terms.series)]}
    if terms.neg_risk:
        more["negRiskMarketID"] = terms.neg_risk_id
    return more


def _event_result(markets: Sequence[Market]) -> dict[str, Any]:
    last = max(markets, key=lambda market: market.closed_ns)
    result: dict[str, Any] = {"closedTime": iso(last.closed_ns / SECOND_NS), "automaticallyResolved": True}
    if last.price_to_beat is not None:
        result["eventMetadata"] = {"finalPrice": last.final_price, "priceToBeat": last.price_to_beat}
    return result


def _updated_ns(market: Market) -> int:
    return max(market.changed_ns, market.closed_ns, market.created_ns)


def event_object(markets: Sequence[Market]) -> dict[str, Any]:
    return {**event_header(markets), "markets": [bare_market(market) for market in markets]}


def series_object(series: Series) -> dict[str, Any]:
    slug = series.slug
    return gamma_fields.SERIES | {
        "id": str(SERIES_IDS.get(slug, 10000 + sum(slug.encode()) % 600)),
        "ticker": slug,
        "slug": slug,
        "title": series.title,
        "seriesType": "single",
        "recurrence": series.recurrence,
        "active": True,
        "closed": False,
        "archived": False,
    }


def tag_object(tag: str) -> dict[str, Any]:
    number = 100_000 + int.from_bytes(keccak256(tag.encode())[:3], "big") % 90_000
    return gamma_fields.TAG | {"id": str(number), "label": tag.replace("-", " ").title(), "slug": tag}


def _fees(market: Market) -> dict[str, Any]:
    fees = market.fees
    return {
        "feesEnabled": bool(fees.rate),
        "feeType": market.terms.fee_type,
        "makerBaseFee": 1000 if fees.rate else 0,
        "takerBaseFee": 1000 if fees.rate else 0,
        "feeSchedule": {
            "exponent": fees.exponent,
            "rate": float(fees.rate),
            "takerOnly": True,
            "rebateRate": float(fees.rebate_rate),
        },
    } | (
        {"cryptoMarketConfigId": config_of(market.terms)["id"], "cryptoMarketConfig": config_of(market.terms)}
        if market.terms.config
        else {}
    )


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
