"""Shapes of the user channel and of the private REST lists: orders and trades (venue.md 3.9 and 6.2)."""

from __future__ import annotations

from typing import Any

from services.sandbox.accounts import Account
from services.sandbox.book import BookOrder, Fill
from services.sandbox.clock import MS_NS, SECOND_NS
from services.sandbox.keccak import keccak256
from services.sandbox.money import text
from services.sandbox.orders import Order, OrderStatus
from services.sandbox.trades import Trade

HOUSE_KEY = "00000000-0000-4000-8000-000000000000"


def open_order(order: Order) -> dict[str, Any]:
    """One row of GET /data/orders."""
    return {
        "id": order.id,
        "status": str(order.status),
        "owner": order.api_key,
        "maker_address": order.account.wallet,
        "market": order.market.condition_id,
        "asset_id": order.token_id,
        "side": str(order.side),
        "original_size": text(order.size),
        "size_matched": text(order.matched),
        "price": text(order.price),
        "outcome": order.market.labels[order.outcome],
        "expiration": str(order.expiration),
        "order_type": str(order.order_type),
        "associate_trades": list(order.trade_ids),
        "created_at": order.stamped_ns // SECOND_NS,
    }


def order_event(order: Order, *, kind: str, reason: str, now_ns: int) -> dict[str, Any]:
    """PLACEMENT, UPDATE or CANCELLATION; a killed order carries its reason in the status."""
    status = str(order.status)
    if order.status is OrderStatus.CANCELED and reason:
        status = f"CANCELED_{reason}"
    return {
        **open_order(order),
        "order_owner": order.api_key,
        "created_at": str(order.stamped_ns // SECOND_NS),
        "status": status,
        "type": kind,
        "timestamp": str(now_ns // MS_NS),
        "event_type": "order",
    }


def public_id(order: BookOrder) -> str:
    """Order ids of the house look like any other's."""
    return "0x" + keccak256(order.id.encode()).hex() if order.account.house else order.id


def maker_order(trade: Trade, fill: Fill) -> dict[str, Any]:
    maker = fill.maker
    return {
        "order_id": public_id(maker),
        "owner": trade.maker_keys.get(maker.id, HOUSE_KEY),
        "maker_address": maker.account.wallet,
        "matched_amount": text(fill.shares),
        "price": text(maker.price),
        "fee_rate_bps": "0",
        "asset_id": trade.market.tokens[maker.outcome],
        "outcome": trade.market.labels[maker.outcome],
        "side": str(maker.side),
    }


def trade_row(trade: Trade, viewer: Account) -> dict[str, Any]:
    """One row of GET /data/trades as `viewer` sees it: the top-level size, side and price are the taker's."""
    is_taker = trade.taker.account is viewer
    mine = [fill.maker.id for fill in trade.fills if fill.maker.account is viewer]
    owner = trade.taker_key if is_taker else trade.maker_keys.get(mine[0], "") if mine else ""
    settled = trade.status in ("MINED", "CONFIRMED")
    return {
        "id": trade.id,
        "taker_order_id": public_id(trade.taker),
        "market": trade.market.condition_id,
        "asset_id": trade.market.tokens[trade.taker.outcome],
        "side": str(trade.taker.side),
        "size": text(trade.shares),
        "fee_rate_bps": "0",
        "price": trade.price,
        "status": f"TRADE_STATUS_{trade.status}",
        "match_time": str(trade.stamped_ns // SECOND_NS),
        "last_update": str(trade.updated_ns // SECOND_NS),
        "outcome": trade.market.labels[trade.taker.outcome],
        "bucket_index": trade.bucket,
        "owner": owner,
        "maker_address": viewer.wallet,
        "transaction_hash": trade.transaction if settled else "",
        "maker_orders": [maker_order(trade, fill) for fill in trade.fills],
        "trader_side": "TAKER" if is_taker else "MAKER",
    }


def trade_event(trade: Trade, viewer: Account, *, now_ns: int) -> dict[str, Any]:
    row = trade_row(trade, viewer)
    return {
        **row,
        "status": str(trade.status),
        "trade_owner": row["owner"],
        "type": "TRADE",
        "timestamp": str(now_ns // MS_NS),
        "event_type": "trade",
    }
