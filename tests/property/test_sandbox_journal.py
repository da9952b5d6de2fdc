"""A sandbox that is killed between any two steps, or in the middle of writing, remembers what its clients were told."""

import itertools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.sandbox import user_messages
from services.sandbox.accounts import Account
from services.sandbox.api_control import true_trade
from services.sandbox.book import Side
from services.sandbox.chain import ADAPTER, CONVERT, MERGE, NEG_RISK_ADAPTER, REDEEM, SPLIT, Call
from services.sandbox.clock import SECOND_NS
from services.sandbox.journal import FILE, FileJournal
from services.sandbox.markets import Market
from services.sandbox.money import MICRO
from services.sandbox.orders import OrderType
from services.sandbox.scenario import SCENARIOS
from services.sandbox.trades import TradeStatus
from services.sandbox.world import RunSettings, World
from tests.property.test_sandbox_invariants import ANCHOR_NS, DEALS, FLOW, TRADERS, Floor, Step, check_book

RUN = RunSettings(
    seed=7,
    scenario=SCENARIOS["instant"],
    speed=1.0,
    anchor_ns=ANCHOR_NS,
    bankroll_usd=500,
    families=("5m", "augmented"),
)
ACTS = st.builds(
    Step,
    kind=st.sampled_from(
        ["cancel", "market", "house", "split", "merge", "redeem", "convert", "resolve", "wait", "login", "post"]
    ),
    who=st.integers(0, TRADERS - 1),
    outcome=st.integers(0, 1),
    side=st.sampled_from(Side),
    cents=st.sampled_from([49, 50, 51]),
    hundredths=st.sampled_from([500, 1000, 2000]),
    order_type=st.sampled_from([OrderType.GTC, OrderType.FAK]),
    post_only=st.just(False),
    which=st.integers(0, 50),
)
# Some of everything, or many deals in a row: what is bought is sold on before it is settled.
STEPS = st.one_of(st.lists(st.one_of(DEALS, ACTS), min_size=10, max_size=50), st.lists(DEALS, min_size=30, max_size=50))
FATES = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=5, max_size=20)


class Mortal(Floor):
    """A floor whose world can be killed: another one then goes on in its folder."""

    def __init__(self, folder: Path, fates: list[tuple[bool, bool]], *, with_house: bool) -> None:
        self.folder, self.with_house = folder, with_house
        self.now_ns, self.serial, self.fees = ANCHOR_NS, 0, 0
        self._fates = itertools.cycle(fates)
        self._be_born()
        self.traders = [self.world.open_account(signature_type=0) for _ in range(TRADERS)]
        window = self.world.markets.by_slug[f"btc-updown-5m-{ANCHOR_NS // SECOND_NS // 300 * 300 + 300}"]
        event = next(event for event in self.world.markets.by_event.values() if event[0].neg_risk)
        self.markets = [window, event[1]]
        self.market = self.markets[0]

    def endow(self) -> None:
        """Everybody gets pairs to sell, merge and convert."""
        for account, market in itertools.product(self.traders, self.markets):
            self._send(account, contract_call("split", market, 100 * MICRO, 0))

    def _be_born(self) -> None:
        self.journal = FileJournal(self.folder)
        self.world = World(RUN, self.journal)
        self.world.clock.now_ns = lambda: self.now_ns  # type: ignore[method-assign]
        self.world.exchange.fate = self._decide
        self.world.settlement.catch_up(self.now_ns)
        self.world.settlement.step(self.now_ns)

    def _decide(self, trade: Any) -> None:
        trade.will_fail, trade.will_retry = next(self._fates)

    def die(self) -> None:
        """And come back."""
        self.journal.close()
        self._be_born()
        self.traders = [account for known in self.traders if (account := self.world.accounts.find(known.wallet))]
        self.markets = [self.world.markets.by_slug[market.slug] for market in self.markets]

    def run(self, step: Step) -> None:
        market = self.market = self.markets[step.which % len(self.markets)]
        account, amount = self.traders[step.who], step.hundredths * MICRO // 100
        if step.kind == "wait":
            self.now_ns += 15 * SECOND_NS
        elif step.kind == "resolve":
            if not market.closed and step.which > 30:
                answer = (0, 1, "even")[step.which % 3]
                self.world.settlement.resolve(market, self.now_ns, decided=(answer,))
        elif step.kind == "post":
            self.world.gateway._count(account, f"0x{step.which:064x}")
        elif step.kind == "login":
            key = self.world.keys.issue(account.address, step.which % 3)
            self.world.keys.issue_builder(account.address)
            if step.outcome:
                self.world.keys.delete(key)
        elif step.kind in ("split", "merge", "redeem", "convert"):
            self._send(account, contract_call(step.kind, market, amount, self._event_number(market)))
        elif step.kind != "house" or self.with_house:
            super().run(step)
        self.world.settlement.step(self.now_ns)
        self.world.settlement.step_trades(self.now_ns)

    def _event_number(self, market: Market) -> int:
        return self.world.markets.by_event[market.terms.event_slug].index(market)

    def _send(self, account: Account, call: Call) -> None:
        self.serial += 1
        self.world.chain.send(account, call, transaction=f"0x{self.serial:064x}")

    def check(self) -> None:
        accounts = self.world.accounts.everyone
        locked = sum(market.collateral for market in self.world.markets.by_slug.values())
        assert sum(a.cash + a.fees_paid - a.deposits for a in accounts) + locked == 0
        for market in self.markets:
            check_book(market)


def contract_call(kind: str, market: Market, amount: int, number: int) -> Call:
    if kind == "convert":
        words = [int(market.terms.neg_risk_id or "0x0", 16), 1 << number, amount]
    else:
        words = [0, 0, int(market.condition_id, 16), 160, amount, 2, 1, 2]
    name = {"split": SPLIT, "merge": MERGE, "redeem": REDEEM, "convert": CONVERT}[kind]
    target = NEG_RISK_ADAPTER if market.neg_risk else ADAPTER
    return Call(target=target, value=0, data=name + b"".join(word.to_bytes(32, "big") for word in words))


def remembered(world: World) -> dict[str, Any]:
    """Everything that clients could know of themselves, but for orders that rested."""
    clients = [account for account in world.accounts.everyone if not account.house]
    return {
        "accounts": {account.wallet: of_account(world, account) for account in clients},
        "unsettled": [
            (trade.id, trade.status, trade.will_fail, trade.will_retry) for trade in world.exchange.unsettled
        ],
        "known_orders": world.exchange.orders.keys() | world.exchange.past_orders,
        "unredeemed": [market.slug for market in world.settlement.unredeemed],
        "chain": (world.chain.sent, world.chain.receipts),
        "markets": {
            market.slug: (market.condition_id, market.tokens, market.event_number, market.created_ns)
            for market in world.markets.by_slug.values()
        },
        "answers": {
            market.slug: (market.winner, market.even, market.closed_ns, market.price_to_beat, market.final_price)
            for market in world.markets.by_slug.values()
            if market.closed
        },
    }


def of_account(world: World, account: Account) -> dict[str, Any]:
    return {
        "money": (account.cash, account.deposits, account.fees_paid, account.redeemed),
        "holdings": {token: asdict(held) for token, held in account.holdings.items()},
        "activity": list(account.activity),
        "trades": [true_trade(trade, account) for trade in account.trades],
        "rows": [user_messages.trade_row(trade, account) for trade in account.trades],
        "posts": account.post_count,
        "keys": (account.private_key, world.keys.of_address(account.address)),
        "builders": world.keys.builders_of(account.address),
    }


def locked(world: World) -> dict[str, int]:
    return {market.slug: market.collateral for market in world.markets.by_slug.values()}


@contextmanager
def floor(fates: list[tuple[bool, bool]], *, with_house: bool = False) -> Iterator[Mortal]:
    with tempfile.TemporaryDirectory() as folder:
        made = Mortal(Path(folder), fates, with_house=with_house)
        try:
            yield made
        finally:
            made.journal.close()


@FLOW
@given(steps=STEPS, fates=FATES, deaths=st.sets(st.integers(0, 49), max_size=4), rich=st.booleans())
def test_clients_among_themselves_lose_nothing(steps, fates, deaths, rich):
    with floor(fates) as mortal:
        if rich:
            mortal.endow()
        for number, step in enumerate(steps):
            mortal.run(step)
            mortal.check()
            if number in deaths or number == len(steps) - 1:
                before, collateral = remembered(mortal.world), locked(mortal.world)
                mortal.die()
                mortal.check()
                assert remembered(mortal.world) == before
                assert locked(mortal.world) == collateral
                assert not any(account.open_orders for account in mortal.traders)


def deal(who: int, side: Side, cents: int, *, kind: str = "order") -> Step:
    return Step(
        kind=kind,
        who=who,
        outcome=0,
        side=side,
        cents=cents,
        hundredths=500,
        order_type=OrderType.GTC,
        post_only=False,
        which=0,
    )


def test_what_was_bought_of_a_ghost_and_sold_on_fails_after_a_crash_too():
    with floor([(True, False), (False, False)]) as mortal:
        mortal.run(deal(0, Side.BUY, 50, kind="split"))
        for who, side, cents in ((0, Side.SELL, 50), (1, Side.BUY, 50), (1, Side.SELL, 51), (2, Side.BUY, 51)):
            mortal.run(deal(who, side, cents))
        ghost, sold_on = mortal.world.exchange.unsettled
        while ghost.status is not TradeStatus.FAILED:
            mortal.run(deal(0, Side.BUY, 1, kind="cancel"))
        assert (sold_on.status, sold_on.will_fail) == (TradeStatus.MATCHED, True)
        mortal.die()
        mortal.run(deal(0, Side.BUY, 1, kind="wait"))
        assert [trade.status for trade in mortal.world.exchange.trades.values()] == [TradeStatus.FAILED] * 2
        assert [trader.shares(mortal.market.tokens[0]) for trader in mortal.traders] == [5 * MICRO, 0, 0]


@pytest.mark.long
@settings(FLOW, max_examples=25)
@given(steps=STEPS, fates=FATES, death=st.integers(0, 49))
def test_clients_among_makers_and_takers_lose_nothing(steps, fates, death):
    with floor(fates, with_house=True) as mortal:
        mortal.endow()
        mortal.world.house.step(mortal.now_ns)
        for number, step in enumerate(steps):
            mortal.run(step)
            if number in (death, len(steps) - 1):
                before = remembered(mortal.world)
                mortal.die()
                mortal.check()
                assert remembered(mortal.world) == before


@settings(FLOW, max_examples=25)
@given(steps=STEPS, fates=FATES, cut=st.floats(0, 1))
def test_a_line_that_was_cut_short_never_happened(steps, fates, cut):
    """Whatever byte the disk ends with: the world comes back, its sums hold, and everybody can go on."""
    with floor(fates) as mortal:
        mortal.endow()
        for step in steps:
            mortal.run(step)
        file = mortal.folder / FILE
        raw = file.read_bytes()
        mortal.journal.close()
        born = raw.index(b"\n") + 1
        file.write_bytes(raw[: born + int(cut * (len(raw) - born))])
        mortal._be_born()
        clients = [account for account in mortal.world.accounts.everyone if not account.house]
        assert sum(a.cash + a.fees_paid - a.deposits for a in mortal.world.accounts.everyone) == -sum(
            locked(mortal.world).values()
        )
        assert all(account.cash >= 0 for account in clients if not mortal.world.exchange.unsettled)
        assert len(mortal.world.seeded) == 2
