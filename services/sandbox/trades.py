"""Trades: what one match moved, how it is undone, and its way from MATCHED to its end (venue.md 3.9)."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from services.sandbox.accounts import Account, Activity
from services.sandbox.book import BookOrder, Fill, Side
from services.sandbox.markets import Market
from services.sandbox.money import text, vwap_text


class TradeStatus(StrEnum):
    MATCHED = "MATCHED"
    RETRYING = "RETRYING"
    MINED = "MINED"
    CONFIRMED = "CONFIRMED"
    FAILED = "FAILED"


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """Change of one party's shares of one token and of its cash; `dollars` includes the fee."""

    account: Account
    token_id: str
    shares: int
    dollars: int
    price: str
    fee: int = 0


@dataclass(slots=True, eq=False)
class Trade:
    """One call of the matching engine: a taker against one or more makers, charged one fee on the VWAP.

    A match with very many makers is several trades, counted by `bucket`. `stamped_ns` and `updated_ns` are by the
    venue's own clock, which may be wrong; `matched_ns` is the truth.
    """

    id: str
    market: Market
    taker: BookOrder
    taker_key: str
    fills: list[Fill]
    shares: int
    notional: int
    value: int
    fee: int
    matched_ns: int
    moves: list[Move]
    stamped_ns: int
    updated_ns: int
    bucket: int = 0
    maker_keys: dict[str, str] = field(default_factory=dict)
    status: TradeStatus = TradeStatus.MATCHED
    transaction: str = ""
    will_fail: bool = False
    will_retry: bool = False

    @property
    def price(self) -> str:
        return vwap_text(value=self.value, shares=self.shares)

    def parties(self) -> list[Account]:
        """The clients that took part, each once, taker first."""
        seen: dict[int, Account] = {}
        for account in (self.taker.account, *(fill.maker.account for fill in self.fills)):
            if not account.house:
                seen.setdefault(id(account), account)
        return list(seen.values())


def moves_of(market: Market, taker: BookOrder, fills: list[Fill], *, fee: int) -> list[Move]:
    """Who gives and gets what: transfer, mint (two BUYs) or merge (two SELLs). The fee falls on the taker."""
    sign = 1 if taker.side is Side.BUY else -1
    shares = sum(fill.shares for fill in fills)
    dollars = sum(fill.dollars for fill in fills)
    moves = [
        Move(
            account=taker.account,
            token_id=market.tokens[taker.outcome],
            shares=sign * shares,
            dollars=-sign * dollars - fee,
            fee=fee,
            price=vwap_text(value=sum(fill.value for fill in fills), shares=shares),
        )
    ]
    for fill in fills:
        maker = fill.maker
        same_token = maker.outcome == taker.outcome
        paid = fill.dollars if same_token else fill.shares - fill.dollars
        maker_sign = 1 if maker.side is Side.BUY else -1
        moves.append(
            Move(
                account=maker.account,
                token_id=market.tokens[maker.outcome],
                shares=maker_sign * fill.shares,
                dollars=-maker_sign * paid,
                price=text(maker.price),
            )
        )
    return moves


def apply_moves(market: Market, moves: list[Move], *, now_ns: int) -> None:
    """Book the moves; collateral grows with minted and shrinks with merged pairs."""
    for move in moves:
        account = move.account
        account.cash += move.dollars
        account.fees_paid += move.fee
        holding = account.holding(move.token_id)
        if move.shares > 0:
            holding.add(shares=move.shares, cost=-move.dollars - move.fee, fee=move.fee, now_ns=now_ns)
        else:
            holding.take(shares=-move.shares, proceeds=move.dollars, now_ns=now_ns)
    market.collateral -= sum(move.dollars + move.fee for move in moves)


def undo_moves(market: Market, moves: list[Move]) -> None:
    """Give everything back, as the venue does when a trade FAILED."""
    for move in moves:
        account, holding = move.account, move.account.holding(move.token_id)
        account.cash -= move.dollars
        account.fees_paid -= move.fee
        holding.shares -= move.shares
        if move.shares > 0:
            holding.cost = max(0, holding.cost + move.dollars + move.fee) if holding.shares else 0
            holding.bought -= move.shares
            holding.fees -= move.fee
        else:
            holding.cost += move.dollars
    market.collateral += sum(move.dollars + move.fee for move in moves)


def in_flight(trades: Iterable[Trade], account: Account, token_id: str) -> int:
    """What an account has spent (of a token, or of cash for an empty id) in trades that the chain has not seen yet."""
    moves = [
        move
        for trade in trades
        if trade.status in (TradeStatus.MATCHED, TradeStatus.RETRYING)
        for move in trade.moves
        if move.account is account
    ]
    if token_id:
        return sum(max(0, -move.shares) for move in moves if move.token_id == token_id)
    return sum(max(0, -move.dollars) for move in moves)


def dependents(trades: Iterable[Trade], account: Account) -> list[Trade]:
    """The trades, still to be settled, that spend what the account will not have when their turn comes: they fail too.

    `trades` in the order in which they settle. What is settled stays; what is doomed brings and takes nothing.
    """
    waiting = [
        (trade, [move for move in trade.moves if move.account is account])
        for trade in trades
        if trade.status is TradeStatus.MATCHED
    ]
    cash, shares = account.cash, {token: held.shares for token, held in account.holdings.items()}
    for move in itertools.chain.from_iterable(moves for _, moves in waiting):
        cash -= move.dollars
        shares[move.token_id] -= move.shares
    found = []
    for trade, moves in waiting:
        if trade.will_fail:
            continue
        dollars = sum(move.dollars for move in moves)
        wanted: Counter[str] = Counter()  # One match may take of the same shares twice, from several resting orders
        for move in moves:
            wanted[move.token_id] += move.shares
        lacking = any(change < 0 and shares[token] + change < 0 for token, change in wanted.items())
        if lacking or (dollars < 0 and cash + dollars < 0):
            found.append(trade)
            continue
        for move in moves:
            cash += move.dollars
            shares[move.token_id] += move.shares
    return found


def trade_ids(run_tag: str, serial: int) -> tuple[str, str]:
    """(id, transaction hash) of the n-th trade of a run."""
    digest = hashlib.sha256(f"{run_tag}:trade:{serial}".encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-a{digest[17:20]}-{digest[20:32]}", "0x" + digest


def trade_activity(trade: Trade, move: Move) -> Activity:
    dollars = abs(move.dollars + move.fee)
    shares = abs(move.shares)
    return Activity(
        kind="TRADE",
        at_ns=trade.matched_ns,
        condition_id=trade.market.condition_id,
        token_id=move.token_id,
        side=str(Side.BUY if move.shares > 0 else Side.SELL),
        shares=shares,
        dollars=dollars,
        price=move.price,
        transaction=trade.transaction,
        trade_id=trade.id,
    )
