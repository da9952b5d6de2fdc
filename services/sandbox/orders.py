"""An order of a client from its signed body to its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from services.sandbox.accounts import Account
from services.sandbox.book import BookOrder, Side
from services.sandbox.markets import Market
from services.sandbox.money import notional_up


class OrderType(StrEnum):
    GTC = "GTC"
    GTD = "GTD"
    FOK = "FOK"
    FAK = "FAK"

    @property
    def rests(self) -> bool:
        return self in (OrderType.GTC, OrderType.GTD)


class OrderStatus(StrEnum):
    HELD = "DELAYED"
    LIVE = "LIVE"
    UNMATCHED = "UNMATCHED"
    MATCHED = "MATCHED"
    CANCELED = "CANCELED"


@dataclass(slots=True, eq=False)
class Order:
    """`maker_amount` is what it gives, `taker_amount` what it asks for, as signed; `price` is the limit per share."""

    id: str
    account: Account
    api_key: str
    market: Market
    outcome: int
    side: Side
    order_type: OrderType
    post_only: bool
    maker_amount: int
    taker_amount: int
    price: int
    expiration: int
    created_ns: int
    # The same by the venue's own clock, which may be wrong.
    stamped_ns: int
    status: OrderStatus = OrderStatus.HELD
    matched: int = 0
    trade_ids: list[str] = field(default_factory=list)
    resting: BookOrder | None = None
    fee_reserve: int = 0

    @property
    def token_id(self) -> str:
        return self.market.tokens[self.outcome]

    @property
    def size(self) -> int:
        """Shares as signed."""
        return self.taker_amount if self.side is Side.BUY else self.maker_amount

    @property
    def spends_dollars(self) -> bool:
        """FOK and FAK BUYs spend their dollars; everything else trades its shares (venue.md 3.4)."""
        return self.side is Side.BUY and not self.order_type.rests

    @property
    def remaining(self) -> int:
        return self.resting.remaining if self.resting else self.size - self.matched

    @property
    def reserved_cash(self) -> int:
        if self.side is Side.SELL:
            return 0
        if self.resting:
            return notional_up(shares=self.resting.remaining, price=self.price)
        return self.maker_amount + self.fee_reserve

    @property
    def reserved_shares(self) -> int:
        return self.remaining if self.side is Side.SELL else 0

    def book_order(self) -> BookOrder:
        return BookOrder(
            id=self.id,
            account=self.account,
            outcome=self.outcome,
            side=self.side,
            price=self.price,
            size=self.size,
            budget=self.maker_amount if self.spends_dollars else 0,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """Outcome of an accepted order, amounts from its owner's view in micro-units."""

    order_id: str
    status: str
    making: int
    taking: int
    trade_ids: tuple[str, ...]
