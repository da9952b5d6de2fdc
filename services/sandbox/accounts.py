"""Accounts: cash, shares, what is reserved by open and held orders, and the running record of what happened.

All amounts are micro-units. Total cash plus locked collateral equals total deposits at every moment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.sandbox.orders import Order
    from services.sandbox.trades import Trade


@dataclass(slots=True)
class Holding:
    """Shares of one token with what they cost.

    `cost` excludes fees; `realized` is the profit of what was sold or redeemed.
    """

    shares: int = 0
    cost: int = 0
    fees: int = 0
    bought: int = 0
    realized: int = 0
    first_ns: int = 0
    last_ns: int = 0

    def add(self, *, shares: int, cost: int, fee: int, now_ns: int) -> None:
        self.shares += shares
        self.bought += shares
        self.cost += cost
        self.fees += fee
        self.first_ns = self.first_ns or now_ns
        self.last_ns = now_ns

    def take(self, *, shares: int, proceeds: int, now_ns: int) -> None:
        """Remove shares at average cost."""
        cost = self.cost * shares // self.shares if self.shares else 0
        self.shares -= shares
        self.cost -= cost
        self.realized += proceeds - cost
        self.last_ns = now_ns


@dataclass(frozen=True, kw_only=True, slots=True)
class Activity:
    """One line of the wallet's history: TRADE, SPLIT, MERGE, REDEEM or DEPOSIT. Amounts in micro-units."""

    kind: str
    at_ns: int
    condition_id: str = ""
    token_id: str = ""
    side: str = ""
    shares: int = 0
    dollars: int = 0
    price: str = "0"
    transaction: str = ""
    trade_id: str = ""
    # Which markets of its event a conversion took from.
    chosen: tuple[int, ...] = ()


@dataclass(slots=True, eq=False)
class Account:
    """A party. `address` signs, `wallet` holds the money (the same for an EOA)."""

    address: str
    wallet: str
    signature_type: int
    private_key: str = ""
    house: bool = False
    banned: bool = False
    closed_only: bool = False
    cash: int = 0
    deposits: int = 0
    fees_paid: int = 0
    redeemed: int = 0
    holdings: dict[str, Holding] = field(default_factory=dict)
    open_orders: dict[str, Order] = field(default_factory=dict)
    trades: list[Trade] = field(default_factory=list)
    activity: list[Activity] = field(default_factory=list)
    post_count: dict[str, int] = field(default_factory=dict)

    def deposit(self, micro: int, *, now_ns: int) -> None:
        self.cash += micro
        self.deposits += micro
        self.activity.append(Activity(kind="DEPOSIT", at_ns=now_ns, dollars=micro))

    def count_post(self, order_id: str) -> None:
        self.post_count[order_id] = self.post_count.get(order_id, 0) + 1

    def holding(self, token_id: str) -> Holding:
        return self.holdings.setdefault(token_id, Holding())

    def shares(self, token_id: str) -> int:
        held = self.holdings.get(token_id)
        return held.shares if held else 0

    def reserved_cash(self) -> int:
        return sum(order.reserved_cash for order in self.open_orders.values())

    def reserved_shares(self, token_id: str) -> int:
        return sum(order.reserved_shares for order in self.open_orders.values() if order.token_id == token_id)


class Accounts:
    """All parties, found by signer address or by wallet, without regard to letter case."""

    def __init__(self) -> None:
        self._by_address: dict[str, Account] = {}
        self.everyone: list[Account] = []

    def add(self, account: Account) -> Account:
        self._by_address[account.address.lower()] = account
        self._by_address[account.wallet.lower()] = account
        self.everyone.append(account)
        return account

    def find(self, address: str) -> Account | None:
        return self._by_address.get(address.lower())
