"""Whatever is sent to it, the sandbox makes and loses no money, and its one mirrored book stays in order."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from services.sandbox import positions
from services.sandbox.accounts import Account
from services.sandbox.book import BookOrder, Fill, Side
from services.sandbox.clock import SECOND_NS
from services.sandbox.markets import Market
from services.sandbox.money import MICRO
from services.sandbox.orders import Order, OrderType
from services.sandbox.refusals import Refusal
from services.sandbox.rules import limit_price
from services.sandbox.scenario import SCENARIOS
from services.sandbox.world import RunSettings, World

ANCHOR_NS = 1_795_000_000 * SECOND_NS
TRADERS = 3
# A world takes milliseconds to build: to shrink a failure would take minutes, and its seed is printed anyway.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
FLOW = settings(max_examples=60, deadline=None, phases=PHASES, suppress_health_check=[HealthCheck.too_slow])


@dataclass(frozen=True)
class Step:
    """One thing that happens; `kind` decides which of the other fields matter."""

    kind: str
    who: int
    outcome: int
    side: Side
    cents: int
    hundredths: int
    order_type: OrderType
    post_only: bool
    which: int


STEPS = st.builds(
    Step,
    kind=st.sampled_from(["order"] * 8 + ["cancel", "market", "fail", "house", "split", "merge"]),
    who=st.integers(0, TRADERS - 1),
    outcome=st.integers(0, 1),
    side=st.sampled_from(Side),
    cents=st.integers(1, 99),
    hundredths=st.integers(100, 6000),
    order_type=st.sampled_from([OrderType.GTC, OrderType.GTC, OrderType.GTD, OrderType.FOK, OrderType.FAK]),
    post_only=st.booleans(),
    which=st.integers(0, 50),
)


# Few prices and sizes, so that what is bought is soon sold on.
DEALS = st.builds(
    Step,
    kind=st.just("order"),
    who=st.integers(0, TRADERS - 1),
    outcome=st.integers(0, 1),
    side=st.sampled_from(Side),
    cents=st.sampled_from([49, 50, 51]),
    hundredths=st.sampled_from([500, 1000, 2000]),
    order_type=st.sampled_from([OrderType.GTC, OrderType.GTC, OrderType.FAK]),
    post_only=st.just(False),
    which=st.just(0),
)


class Floor:
    """A world with one market and a few traders; checks the invariants after every step."""

    def __init__(self, *, with_house: bool = False) -> None:
        run = RunSettings(seed=7, scenario=SCENARIOS["instant"], speed=1.0, anchor_ns=ANCHOR_NS, bankroll_usd=500)
        self.world = World(run)
        self.now_ns = ANCHOR_NS
        self.world.clock.now_ns = lambda: self.now_ns  # type: ignore[method-assign]
        self.world.settlement.step(self.now_ns)
        self.market: Market = next(iter(self.world.markets.live()))
        self.traders = [self.world.open_account(signature_type=0) for _ in range(TRADERS)]
        self.with_house = with_house
        self.serial = 0
        self.fees = 0

    def run(self, step: Step) -> None:
        self.now_ns += SECOND_NS // 5
        if step.kind == "cancel":
            self._cancel(step)
        elif step.kind == "fail":
            self._fail(step)
        elif step.kind in ("split", "merge"):
            self._convert(step)
        elif step.kind == "house" and self.with_house:
            self.world.house.step(self.now_ns)
        else:
            self._place(step)

    def _place(self, step: Step) -> None:
        before = self._priorities()
        order = self._order(step)
        expected = self.market.book.plan(order.book_order())
        trades = set(self.world.exchange.trades)
        try:
            self.world.exchange.validate(order)
            self.world.exchange.finish(order)
        except Refusal:
            return
        made = [self.world.exchange.trades[key] for key in self.world.exchange.trades if key not in trades]
        fills = [fill for trade in made for fill in trade.fills]
        assert [_essence(fill) for fill in fills] == [_essence(fill) for fill in expected]
        check_priority(before, order, fills)

    def _order(self, step: Step) -> Order:
        self.serial += 1
        price, shares = step.cents * MICRO // 100, step.hundredths * MICRO // 100
        order_type = OrderType.FAK if step.kind == "market" else step.order_type
        dollars = shares * price // MICRO
        if step.side is Side.BUY and not order_type.rests:
            dollars = dollars // 10_000 * 10_000
            shares = dollars * MICRO // price // 100 * 100
        maker, taker = (dollars, shares) if step.side is Side.BUY else (shares, dollars)
        return Order(
            id=f"0x{self.serial:064x}",
            account=self.traders[step.who],
            api_key="key",
            market=self.market,
            outcome=step.outcome,
            side=step.side,
            order_type=order_type,
            post_only=step.post_only and order_type.rests,
            maker_amount=max(1, maker),
            taker_amount=max(1, taker),
            price=limit_price(side=step.side, maker_amount=max(1, maker), taker_amount=max(1, taker)),
            expiration=self.now_ns // SECOND_NS + 600 if order_type is OrderType.GTD else 0,
            created_ns=self.now_ns,
            stamped_ns=self.now_ns,
        )

    def _cancel(self, step: Step) -> None:
        account = self.traders[step.who]
        resting = list(account.open_orders)
        if resting:
            assert self.world.exchange.cancel(account, resting[step.which % len(resting)]) is None

    def _convert(self, step: Step) -> None:
        """Dollars into pairs or back; orders that this leaves uncovered are cancelled."""
        account, amount = self.traders[step.who], step.hundredths * MICRO // 100
        change = positions.split if step.kind == "split" else positions.merge
        try:
            change(account, self.market, amount, now_ns=self.now_ns, transaction="0x")
        except positions.ChainError:
            return
        self.world.exchange.cancel_uncovered(account)

    def _fail(self, step: Step) -> None:
        """A ghost fill that nobody has used; the others have a test of their own."""
        unsettled = list(self.world.exchange.unsettled)
        if not unsettled:
            return
        trade = unsettled[step.which % len(unsettled)]
        if all(move.account.shares(move.token_id) >= max(0, move.shares) for move in trade.moves):
            self.world.exchange.unsettled.remove(trade)
            self.world.exchange.fail(trade)

    def _priorities(self) -> dict[str, tuple[int, int]]:
        """Place of every resting order in its side's queue: (better prices first, arrival)."""
        places: dict[str, tuple[int, int]] = {}
        for is_bid, levels in ((True, self.market.book.bids), (False, self.market.book.asks)):
            for price, level in levels.items():
                for position, order_id in enumerate(level.orders):
                    places[order_id] = (-price if is_bid else price, position)
        return places

    def check(self) -> None:
        accounts = self.world.accounts.everyone
        cash, fees = sum(a.cash for a in accounts), sum(a.fees_paid for a in accounts)
        locked = sum(market.collateral for market in self.world.markets.by_slug.values())
        assert cash + fees + locked == sum(a.deposits for a in accounts)
        shares = [sum(a.shares(token) for a in accounts) for token in self.market.tokens]
        assert shares[0] == shares[1] == self.market.collateral
        assert all(held.shares >= 0 for a in accounts for held in a.holdings.values())
        for trader in self.traders:
            assert trader.cash >= 0
            assert trader.reserved_cash() <= trader.cash
        check_book(self.market)


def _essence(fill: Fill) -> tuple[str, int, int, int]:
    return fill.maker.id, fill.shares, fill.price, fill.dollars


def check_priority(places: dict[str, tuple[int, int]], order: Order, fills: list[Fill]) -> None:
    """Makers were met best price first, then first come; all but the last were used up."""
    met = [places[fill.maker.id] for fill in fills]
    assert met == sorted(met)
    assert all(fill.maker.id not in order.market.book.orders for fill in fills[:-1])
    taker = order.book_order()
    skipped = [key for key in places if key not in {fill.maker.id for fill in fills}]
    if fills:
        side = [key for key in skipped if _is_opposite(order.market, key, taker)]
        assert all(places[key] > met[-1] for key in side)


def _is_opposite(market: Market, order_id: str, taker: BookOrder) -> bool:
    resting = market.book.orders.get(order_id)
    return resting is not None and resting.is_bid != taker.is_bid


def check_book(market: Market) -> None:
    bid, ask = market.book.best_bid(), market.book.best_ask()
    assert bid is None or ask is None or bid < ask
    for side in Side:
        first = market.book.sizes(outcome=0, side=side)
        second = market.book.sizes(outcome=1, side=side.opposite)
        assert first == sorted((MICRO - price, size) for price, size in second)
    for levels in (market.book.bids, market.book.asks):
        for level in levels.values():
            assert level.total == sum(order.remaining for order in level.orders.values()) > 0


def walk(floor: Floor, steps: list[Step]) -> Iterator[Floor]:
    for step in steps:
        floor.run(step)
        floor.check()
        yield floor


@FLOW
@given(steps=st.lists(STEPS, min_size=5, max_size=60))
def test_clients_among_themselves(steps):
    assert sum(1 for _ in walk(Floor(), steps)) == len(steps)


@pytest.mark.long
@settings(FLOW, max_examples=30)
@given(steps=st.lists(STEPS, min_size=5, max_size=30))
def test_clients_among_makers_and_takers(steps):
    floor = Floor(with_house=True)
    floor.world.house.step(floor.now_ns)
    assert sum(1 for _ in walk(floor, steps)) == len(steps)


@FLOW
@given(steps=st.lists(DEALS, min_size=30, max_size=60), ghosts=st.lists(st.booleans(), min_size=5, max_size=20))
def test_ghosts_leave_nobody_with_less_than_nothing(steps, ghosts):
    """Any trade may fail, also when what it brought was sold on: what depends on it fails as well."""
    floor = Floor()
    fates = itertools.cycle(ghosts)
    floor.world.exchange.fate = lambda trade: setattr(trade, "will_fail", next(fates))
    for step in steps:
        floor.run(step)
        floor.world.settlement.step_trades(floor.now_ns)
        check_book(floor.market)
    for _ in range(20):
        floor.now_ns += SECOND_NS
        floor.world.settlement.step_trades(floor.now_ns)
    assert not floor.world.exchange.unsettled
    floor.check()


@settings(max_examples=25, deadline=None, phases=PHASES)
@given(steps=st.lists(STEPS, min_size=10, max_size=40))
def test_what_was_paid_in_comes_out_at_the_end(steps):
    """After resolution no share and no collateral is left, and every dollar lies in an account or went as a fee."""
    floor = Floor()
    for _ in walk(floor, steps):
        pass
    market, world = floor.market, floor.world
    floor.now_ns = market.end_ns + SECOND_NS
    world.settlement.resolve(market, floor.now_ns)
    world.settlement.redeem(market, floor.now_ns)
    accounts: list[Account] = world.accounts.everyone
    assert all(account.shares(token) == 0 for account in accounts for token in market.tokens)
    assert not any(account.open_orders for account in accounts)
    assert market.collateral == sum(a.cash + a.fees_paid - a.deposits for a in accounts) == 0
