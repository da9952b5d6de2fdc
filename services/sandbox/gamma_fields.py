"""Fields of Gamma objects that are the same on every one, or that only fill its shape (venue.md 5.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.sandbox.markets import Market
from services.sandbox.money import MICRO, number, text

PICTURE = "https://sandbox.invalid/picture.png"
RESOLVER = "0x" + "00" * 19 + "69"
SPANS = ("24hr", "1wk", "1mo", "1yr")
MARKET: dict[str, Any] = {
    "marketMakerAddress": "",
    "image": PICTURE,
    "icon": PICTURE,
    "new": False,
    "featured": False,
    "archived": False,
    "restricted": True,
    "enableOrderBook": True,
    "hasReviewedDates": True,
    "comboStatus": "disabled",
    "ready": False,
    "funded": False,
    "cyom": False,
    "approved": True,
    "rewardsMinSize": 50,
    "rewardsMaxSpread": 4.5,
    "automaticallyActive": True,
    "manualActivation": False,
    "umaResolutionStatuses": "[]",
    "pendingDeployment": False,
    "deploying": False,
    "rfqEnabled": False,
    "holdingRewardsEnabled": False,
    "makerRebatesFeeShareBps": 10000,
    "pagerDutyNotificationEnabled": False,
    "showGmpSeries": False,
    "showGmpOutcome": False,
    "requiresTranslation": False,
    "oneDayPriceChange": 0,
    "oneHourPriceChange": 0,
    "oneWeekPriceChange": 0,
    "oneMonthPriceChange": 0,
    "oneYearPriceChange": 0,
    "seriesColor": "",
}
EVENT: dict[str, Any] = {
    "image": PICTURE,
    "icon": PICTURE,
    "cyom": False,
    "showAllOutcomes": True,
    "showMarketImages": True,
    "automaticallyActive": True,
    "pendingDeployment": False,
    "deploying": False,
    "requiresTranslation": False,
}
SERIES: dict[str, Any] = {
    "image": PICTURE,
    "icon": PICTURE,
    "featured": False,
    "restricted": True,
    "createdAt": "2025-10-01T00:00:00Z",
    "updatedAt": "2026-01-01T00:00:00Z",
    "volume24hr": 0,
    "volume": 0,
    "liquidity": 0,
    "commentCount": 0,
    "requiresTranslation": False,
}
TAG: dict[str, Any] = {
    "forceShow": False,
    "isCarousel": False,
    "publishedAt": "2023-11-02 21:23:16.384+00",
    "updatedBy": 15,
    "createdAt": "2023-11-02T21:23:16.384Z",
    "updatedAt": "2026-01-01T00:00:00Z",
    "requiresTranslation": False,
}


def liquidity(market: Market) -> int:
    """Micro-dollars that rest in the book: what buying every level at its price would cost its maker."""
    bids = sum(price * level.total for price, level in market.book.bids.items())
    asks = sum((MICRO - price) * level.total for price, level in market.book.asks.items())
    return (bids + asks) // MICRO


def competitive(market: Market) -> float:
    """Close to one where the price is close to a half."""
    away = market.outcome_price(0) / MICRO - 0.5
    return round(1 / (1 + away * away), 6)


def amounts(market: Market) -> dict[str, Any]:
    resting, volume = liquidity(market), number(market.volume)
    spans = {f"volume{span}{kind}": volume for span in SPANS for kind in ("", "Clob")}
    return spans | {
        "liquidity": text(resting),
        "liquidityNum": number(resting),
        "liquidityClob": number(resting),
        "competitive": competitive(market),
    }


def event_amounts(markets: Sequence[Market]) -> dict[str, Any]:
    resting = number(sum(liquidity(market) for market in markets))
    volume = number(sum(market.volume for market in markets))
    return {f"volume{span}": volume for span in SPANS} | {
        "volume": volume,
        "liquidity": resting,
        "liquidityClob": resting,
        "openInterest": number(sum(market.collateral for market in markets)),
        "competitive": max(competitive(market) for market in markets),
    }


def game(market: Market) -> dict[str, Any]:
    """What an event of a match carries besides."""
    second = market.terms.start
    return {
        "gameId": second % 10**8,
        "eventDate": "",
        "eventWeek": 1,
        "live": False,
        "ended": market.closed,
        "score": "0-0",
        "period": "FT" if market.closed else "NS",
    }
