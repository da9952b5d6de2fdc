"""Collateral into pairs and back: split, merge and redeem, as the venue's adapters do them (venue.md 7)."""

from __future__ import annotations

from services.sandbox.accounts import Account, Activity
from services.sandbox.keccak import keccak256
from services.sandbox.markets import Market
from services.sandbox.money import MICRO


class ChainError(Exception):
    """A call that a contract would revert; the text is the reason."""


def split(account: Account, market: Market, amount: int, *, now_ns: int, transaction: str) -> None:
    """Dollars become as many shares of both outcomes."""
    if amount > account.cash:
        raise ChainError("ERC20: transfer amount exceeds balance")
    if market.closed:
        raise ChainError("condition is already resolved")
    account.cash -= amount
    market.collateral += amount
    for token in market.tokens:
        account.holding(token).add(shares=amount, cost=amount // 2, fee=0, now_ns=now_ns)
    _note(account, market, "SPLIT", amount, amount, now_ns=now_ns, transaction=transaction)


def merge(account: Account, market: Market, amount: int, *, now_ns: int, transaction: str) -> None:
    """Pairs become dollars, one each, at once and without a fee."""
    if any(amount > account.shares(token) for token in market.tokens):
        raise ChainError("ERC1155: burn amount exceeds balance")
    account.cash += amount
    market.collateral -= amount
    for token in market.tokens:
        account.holding(token).take(shares=amount, proceeds=amount // 2, now_ns=now_ns)
    _note(account, market, "MERGE", amount, amount, now_ns=now_ns, transaction=transaction)


def redeem(
    account: Account, market: Market, outcome: int, *, now_ns: int, transaction: str = "", shares: int | None = None
) -> int:
    """Shares of one outcome of a resolved market become what they are worth; returns the micro-dollars paid."""
    if not market.closed:
        raise ChainError("result for condition not received yet")
    token = market.tokens[outcome]
    held = account.shares(token)
    count = held if shares is None else shares
    if count > held:
        raise ChainError("ERC1155: burn amount exceeds balance")
    if count == 0:
        return 0
    paid = count * market.payout(outcome) // MICRO
    account.holding(token).take(shares=count, proceeds=paid, now_ns=now_ns)
    account.cash += paid
    account.redeemed += paid
    market.collateral -= paid
    transaction = transaction or "0x" + keccak256(f"{account.wallet}:{token}".encode()).hex()
    _note(account, market, "REDEEM", count, paid, now_ns=now_ns, transaction=transaction, token_id=token)
    return paid


def _note(
    account: Account,
    market: Market,
    kind: str,
    shares: int,
    dollars: int,
    *,
    now_ns: int,
    transaction: str,
    token_id: str = "",
) -> None:
    if account.house:
        return
    account.activity.append(
        Activity(
            kind=kind,
            at_ns=now_ns,
            condition_id=market.condition_id,
            token_id=token_id,
            shares=shares,
            dollars=dollars,
            transaction=transaction,
        )
    )
