"""Collateral into pairs and back: split, merge and redeem, as the venue's adapters do them (venue.md 7)."""

from __future__ import annotations

from collections.abc import Sequence

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


def convert(
    account: Account, event: Sequence[Market], chosen: Sequence[int], amount: int, *, now_ns: int, transaction: str
) -> None:
    """NO of the chosen markets of a neg-risk event becomes YES of all its others, and dollars for all but one NO."""
    given = [event[number] for number in chosen]
    if any(market.closed for market in event):
        raise ChainError("condition is already resolved")
    if any(amount > account.shares(market.tokens[1]) for market in given):
        raise ChainError("ERC1155: burn amount exceeds balance")
    paid = (len(given) - 1) * amount
    costs = [_cost_of(account, market.tokens[1], amount) for market in given]
    gain, others = max(0, paid - sum(costs)), [market for market in event if market not in given]
    for market, cost in zip(given, costs, strict=True):
        proceeds = cost + (gain if market is given[0] else 0)
        account.holding(market.tokens[1]).take(shares=amount, proceeds=proceeds, now_ns=now_ns)
    for market in others:
        cost = max(0, sum(costs) - paid) // len(others)
        account.holding(market.tokens[0]).add(shares=amount, cost=cost, fee=0, now_ns=now_ns)
    account.cash += paid
    # Exactly one market of the event pays, so the event as a whole still covers every share.
    given[0].collateral -= paid
    _note(account, given[0], "CONVERSION", amount, paid, now_ns=now_ns, transaction=transaction, chosen=tuple(chosen))


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


def _cost_of(account: Account, token: str, shares: int) -> int:
    held = account.holding(token)
    return held.cost * shares // held.shares if held.shares else 0


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
    chosen: tuple[int, ...] = (),
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
            chosen=chosen,
        )
    )
