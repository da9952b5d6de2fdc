"""Trades and lines of history as facts of the journal, and back. Accounts go by wallet, tokens by slug and outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from services.sandbox.accounts import Account, Activity
from services.sandbox.book import BookOrder, Fill, Side
from services.sandbox.journal import Fact
from services.sandbox.markets import Market, Markets
from services.sandbox.trades import Trade, apply_moves, moves_of

FindAccount = Callable[[str], Account]


def account_fact(account: Account, *, number: int | None) -> dict[str, Any]:
    """A new account; `number` is that of its key among the keys of the seed, if the key is one of them."""
    return {
        "address": account.address,
        "wallet": account.wallet,
        "signature_type": account.signature_type,
        "number": number,
    }


def trade_fact(trade: Trade) -> dict[str, Any]:
    """All of a trade but what its later life adds; amounts in micro-units, times in venue ns."""
    return {
        "trade": trade.id,
        "market": trade.market.slug,
        "at": trade.matched_ns,
        "stamped": trade.stamped_ns,
        "bucket": trade.bucket,
        "transaction": trade.transaction,
        "fee": trade.fee,
        "fails": trade.will_fail,
        "retries": trade.will_retry,
        "taker": _order_fact(trade.taker, trade.taker_key),
        "fills": [
            {
                "maker": _order_fact(fill.maker, trade.maker_keys.get(fill.maker.id, "")),
                "shares": fill.shares,
                "price": fill.price,
                "dollars": fill.dollars,
            }
            for fill in trade.fills
        ],
    }


def made_trade(fact: Fact, *, markets: Markets, account_of: FindAccount) -> Trade:
    """The trade of a fact, its money and shares moved once more. Raises LookupError for unknown parties."""
    market, now_ns = markets.by_slug[fact["market"]], fact["at"]
    taker = _order(fact["taker"], account_of)
    fills = [
        Fill(maker=_order(row["maker"], account_of), shares=row["shares"], price=row["price"], dollars=row["dollars"])
        for row in fact["fills"]
    ]
    moves = moves_of(market, taker, fills, fee=fact["fee"])
    apply_moves(market, moves, now_ns=now_ns)
    return Trade(
        id=fact["trade"],
        market=market,
        taker=taker,
        taker_key=fact["taker"]["key"],
        fills=fills,
        shares=sum(fill.shares for fill in fills),
        notional=sum(fill.dollars for fill in fills),
        value=sum(fill.value for fill in fills),
        fee=fact["fee"],
        matched_ns=now_ns,
        moves=moves,
        stamped_ns=fact["stamped"],
        updated_ns=fact["stamped"],
        bucket=fact["bucket"],
        maker_keys={row["maker"]["order"]: row["maker"]["key"] for row in fact["fills"] if row["maker"]["key"]},
        transaction=fact["transaction"],
        will_fail=fact["fails"],
        will_retry=fact["retries"],
    )


def history_facts(lines: Sequence[Activity], markets: Markets) -> list[dict[str, Any]]:
    """Deposits, splits, merges, redemptions and conversions; trades are facts of their own."""
    return [_history_fact(line, markets.by_condition.get(line.condition_id)) for line in lines]


def _history_fact(line: Activity, market: Market | None) -> dict[str, Any]:
    fact: dict[str, Any] = {"kind": line.kind, "at": line.at_ns, "dollars": line.dollars}
    if market is not None:
        fact |= {"market": market.slug, "shares": line.shares, "transaction": line.transaction}
        if line.token_id:
            fact["outcome"] = market.outcome_of(line.token_id)
        if line.chosen:
            fact["chosen"] = line.chosen
    return fact


def _order_fact(order: BookOrder, api_key: str) -> dict[str, Any]:
    return {
        "order": order.id,
        "wallet": order.account.wallet,
        "key": api_key,
        "outcome": order.outcome,
        "side": str(order.side),
        "price": order.price,
        "size": order.size,
        "budget": order.budget,
    }


def _order(row: Fact, account_of: FindAccount) -> BookOrder:
    return BookOrder(
        id=row["order"],
        account=account_of(row["wallet"]),
        outcome=row["outcome"],
        side=Side(row["side"]),
        price=row["price"],
        size=row["size"],
        budget=row["budget"],
    )
