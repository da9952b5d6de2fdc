"""Shapes of the market channel and of the REST book (venue.md 6.1). Pure functions of a market and a time in ms."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import orjson

from services.sandbox.book import BookOrder, Fill, Side
from services.sandbox.markets import Market
from services.sandbox.money import MICRO, text, vwap_text

Message = dict[str, Any]


def levels(pairs: Iterable[tuple[int, int]]) -> list[dict[str, str]]:
    return [{"price": text(price), "size": text(size)} for price, size in pairs]


def book_summary(market: Market, outcome: int, *, stamp_ms: int) -> Message:
    """REST book: bids ascending, asks descending (the best level is last), hash as venue.md 6.1."""
    asks = market.book.sizes(outcome=outcome, side=Side.SELL)
    summary: Message = {
        "market": market.condition_id,
        "asset_id": market.tokens[outcome],
        "timestamp": str(stamp_ms),
        "hash": "",
        "bids": levels(market.book.sizes(outcome=outcome, side=Side.BUY)),
        "asks": levels(reversed(asks)),
        "min_order_size": text(market.min_size),
        "tick_size": text(market.tick),
        "neg_risk": market.neg_risk,
        "last_trade_price": last_price(market, outcome),
    }
    summary["hash"] = hashlib.sha1(orjson.dumps(summary), usedforsecurity=False).hexdigest()
    return summary


def last_price(market: Market, outcome: int) -> str:
    if market.last_price is None:
        return ""
    return text(market.last_price if outcome == 0 else MICRO - market.last_price)


def book_event(market: Market, outcome: int, *, stamp_ms: int) -> Message:
    return {**book_summary(market, outcome, stamp_ms=stamp_ms), "event_type": "book"}


def tops(market: Market, outcome: int) -> tuple[str, str]:
    """Best bid and ask as the channel writes them; an empty side is "0" or "1"."""
    bid, ask = market.best(outcome)
    return text(bid or 0), text(MICRO if ask is None else ask)


def price_change(market: Market, changes: Iterable[tuple[bool, int, int]], *, stamp_ms: int) -> Message:
    """One message for both outcomes: every touched level appears once for each token."""
    hashes = [book_summary(market, outcome, stamp_ms=stamp_ms)["hash"] for outcome in (0, 1)]
    best = [tops(market, outcome) for outcome in (0, 1)]
    entries = []
    for is_bid, price, total in changes:
        for outcome in (0, 1):
            buys = is_bid == (outcome == 0)
            entries.append(
                {
                    "asset_id": market.tokens[outcome],
                    "price": text(price if outcome == 0 else MICRO - price),
                    "size": text(total),
                    "side": "BUY" if buys else "SELL",
                    "hash": hashes[outcome],
                    "best_bid": best[outcome][0],
                    "best_ask": best[outcome][1],
                }
            )
    return {
        "market": market.condition_id,
        "price_changes": entries,
        "timestamp": str(stamp_ms),
        "event_type": "price_change",
    }


def best_bid_ask(market: Market, outcome: int, *, stamp_ms: int) -> Message:
    bid, ask = market.best(outcome)
    low, high = bid or 0, MICRO if ask is None else ask
    return {
        "market": market.condition_id,
        "asset_id": market.tokens[outcome],
        "best_bid": text(low),
        "best_ask": text(high),
        "spread": text(high - low),
        "timestamp": str(stamp_ms),
        "event_type": "best_bid_ask",
    }


def last_trade(market: Market, taker: BookOrder, fills: list[Fill], *, transaction: str, stamp_ms: int) -> Message:
    shares, value = sum(fill.shares for fill in fills), sum(fill.value for fill in fills)
    return {
        "market": market.condition_id,
        "asset_id": market.tokens[taker.outcome],
        "price": vwap_text(value=value, shares=shares),
        "size": text(shares),
        "fee_rate_bps": "0",
        "side": str(taker.side),
        "timestamp": str(stamp_ms),
        "event_type": "last_trade_price",
        "transaction_hash": transaction,
    }


def tick_size_change(market: Market, outcome: int, *, old: int, stamp_ms: int) -> Message:
    return {
        "market": market.condition_id,
        "asset_id": market.tokens[outcome],
        "old_tick_size": text(old),
        "new_tick_size": text(market.tick),
        "timestamp": str(stamp_ms),
        "event_type": "tick_size_change",
    }


def new_market(market: Market, *, stamp_ms: int) -> Message:
    terms = market.terms
    return {
        "id": str(market.number),
        "question": terms.question,
        "market": market.condition_id,
        "slug": market.slug,
        "description": terms.description,
        "assets_ids": list(market.tokens),
        "outcomes": list(market.labels),
        "event_message": {
            "id": str(market.event_number + 1),
            "ticker": terms.event_slug,
            "slug": terms.event_slug,
            "title": terms.event_title,
            "description": terms.description,
        },
        "timestamp": str(stamp_ms),
        "tags": list(market.terms.tags),
        "condition_id": market.condition_id,
        "active": True,
        "clob_token_ids": list(market.tokens),
        "sports_market_type": "",
        "line": "",
        "game_start_time": "",
        "order_price_min_tick_size": text(market.tick),
        "group_item_title": terms.group_title,
        "taker_base_fee": "1000" if market.fees.rate else "0",
        "fees_enabled": bool(market.fees.rate),
        "fee_schedule": {
            "exponent": str(market.fees.exponent),
            "rate": str(market.fees.rate),
            "taker_only": "true",
            "rebate_rate": str(market.fees.rebate_rate),
        },
        "event_type": "new_market",
    }


def market_resolved(market: Market, *, stamp_ms: int) -> Message:
    winner = market.winner
    return {
        "id": str(market.number),
        "market": market.condition_id,
        "assets_ids": list(market.tokens),
        "winning_asset_id": "" if winner is None else market.tokens[winner],
        "winning_outcome": "" if winner is None else market.labels[winner],
        "timestamp": str(stamp_ms),
        "tags": list(market.terms.tags),
        "event_type": "market_resolved",
    }
