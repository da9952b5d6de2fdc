"""A world without a server: time stands still unless a test moves it."""

import pytest

from services.sandbox.accounts import Account
from services.sandbox.book import Side
from services.sandbox.clock import SECOND_NS
from services.sandbox.markets import Market
from services.sandbox.money import MICRO
from services.sandbox.orders import Order, OrderType
from services.sandbox.rules import limit_price
from services.sandbox.scenario import SCENARIOS
from services.sandbox.world import RunSettings, World

ANCHOR_NS = 1_795_000_000 * SECOND_NS


class Bench:
    """A world whose clock is set by hand, with helpers that speak of orders in dollars and shares."""

    def __init__(self, *, seed: int = 7, bankroll_usd: int = 300) -> None:
        settings = RunSettings(
            seed=seed, scenario=SCENARIOS["instant"], speed=1.0, anchor_ns=ANCHOR_NS, bankroll_usd=bankroll_usd
        )
        self.now_ns = ANCHOR_NS
        self.world = World(settings)
        self.world.clock.now_ns = lambda: self.now_ns  # type: ignore[method-assign]
        self.serial = 0

    def open_markets(self) -> None:
        self.world.settlement.step(self.now_ns)

    def market(self, slug_part: str = "btc-updown-5m") -> Market:
        return next(market for market in self.world.markets.live() if slug_part in market.slug)

    def account(self, index: int = 0) -> Account:
        return self.world.seeded[index]

    def order(
        self,
        *,
        side: Side = Side.BUY,
        price: float | None = None,
        shares: float | None = None,
        dollars: float | None = None,
        order_type: OrderType = OrderType.GTC,
        outcome: int = 0,
        account: Account | None = None,
        post_only: bool = False,
        expiration: int = 0,
        market: Market | None = None,
    ) -> Order:
        """An order of `shares` at `price`, or of `dollars` at `price` for a market BUY."""
        assert price is not None
        cents = round(price * MICRO)
        count = round(shares * MICRO) if shares is not None else round(dollars / price * 10_000) * 100  # type: ignore[operator]
        money = round(dollars * MICRO) if dollars is not None else count * cents // MICRO
        maker, taker = (money, count) if side is Side.BUY else (count, money)
        self.serial += 1
        return Order(
            id=f"0x{self.serial:064x}",
            account=account or self.account(),
            api_key="key",
            market=market or self.market(),
            outcome=outcome,
            side=side,
            order_type=order_type,
            post_only=post_only,
            maker_amount=maker,
            taker_amount=taker,
            price=limit_price(side=side, maker_amount=maker, taker_amount=taker),
            expiration=expiration,
            created_ns=self.now_ns,
            stamped_ns=self.now_ns,
        )

    def place(self, order: Order):
        self.world.exchange.validate(order)
        return self.world.exchange.finish(order)

    def imbalance(self) -> int:
        """Zero while no cash was made or lost: cash, fees and locked collateral against deposits."""
        accounts = self.world.accounts.everyone
        locked = sum(market.collateral for market in self.world.markets.by_slug.values())
        return sum(a.cash + a.fees_paid - a.deposits for a in accounts) + locked


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.open_markets()
    return made
