"""Prices, makers, settlement: what a whole run does while nobody watches."""

import math
import statistics
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from services.sandbox.book import Side
from services.sandbox.clock import MS_NS, SECOND_NS
from services.sandbox.digital import up_probability, up_probability_before_open
from services.sandbox.families import WINDOWS, question
from services.sandbox.fault_specs import Fault, Spec
from services.sandbox.markets import FINE_TICK, MarketState, make_market
from services.sandbox.money import MICRO
from services.sandbox.orders import OrderStatus, OrderType
from services.sandbox.prices import ASSETS, HISTORY_S, IndexPath, Oracle
from services.sandbox.rtds import Subscription
from services.sandbox.scenario import SCENARIOS
from services.sandbox.trades import TradeStatus
from services.sandbox.wallets import address_of_key, key_from_seed, wallet_for

ANCHOR_NS = 1_795_000_000 * SECOND_NS
EFFICIENT = SCENARIOS["efficient"]


def path(seed: int = 1, anchor_ns: int = ANCHOR_NS) -> IndexPath:
    return IndexPath(asset=ASSETS["btc"], seed=seed, anchor_ns=anchor_ns, scenario=EFFICIENT)


def run(bench, *, seconds: int, step_ns: int = 200 * MS_NS) -> None:
    """Step makers and settlement through venue time as the loops would."""
    end = bench.now_ns + seconds * SECOND_NS
    while bench.now_ns < end:
        bench.now_ns += step_ns
        bench.world.house.step(bench.now_ns)
        bench.world.settlement.step_trades(bench.now_ns)
        if bench.now_ns % SECOND_NS < step_ns:
            bench.world.settlement.step(bench.now_ns)


class Listener:
    """A client of a price feed that is told at once."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.wanted: set[Subscription] = set()

    def push_json(self, message: dict[str, Any], **_: float) -> None:
        self.told.append(message)


async def test_a_feed_whose_steps_are_late_tells_each_second_once(bench):
    """Who subscribes while a start catches up with its anchor is told the history until then, and then the rest."""
    world, listener, topic = bench.world, Listener(), Subscription("crypto_prices_chainlink", "btc")
    begun = bench.now_ns // SECOND_NS
    world.start()
    for task in world._tasks:
        task.cancel()
    bench.now_ns += 9 * SECOND_NS
    world.rtds._begin(listener, topic)
    listener.wanted.add(topic)
    world.rtds.hub.clients.add(listener)
    for second in range(begun + 1, begun + 10):
        world.rtds.step(second)
    history, *updates = listener.told
    seconds = [row["timestamp"] // 1000 for row in history["payload"]["data"]]
    seconds += [update["payload"]["timestamp"] // 1000 for update in updates]
    assert seconds == list(range(begun - 119, begun + 10))


def test_the_same_seed_gives_the_same_path_whatever_was_asked_first():
    one, other = path(), path()
    late = ANCHOR_NS + 1234 * SECOND_NS
    assert one.at(late) == other.span(late, late + SECOND_NS)[0]
    assert other.oracle(late // SECOND_NS) == one.oracle(late // SECOND_NS)
    assert path(seed=2).at(late) != one.at(late)


def test_the_anchor_moves_the_path_in_time_but_not_its_shape():
    shift = 17 * SECOND_NS + 12_345_678
    one, other = path(), path(anchor_ns=ANCHOR_NS + shift)
    times = [second * SECOND_NS for second in range(-HISTORY_S, 60, 37)]
    assert [one.at(ANCHOR_NS + t) for t in times] == [other.at(ANCHOR_NS + shift + t) for t in times]


def test_the_path_has_the_volatility_it_claims():
    prices = path().span(ANCHOR_NS - 8000 * SECOND_NS, ANCHOR_NS)[::20]
    returns = [math.log(b / a) for a, b in pairwise(prices)]
    assert 0.3e-4 < statistics.pstdev(returns) < 0.7e-4


def test_fair_value_agrees_with_a_simulation():
    spot, sigma, tau = 84_000.0, 0.5e-4, 30.0
    rng, wins, runs = Random(3), 0, 4000
    strike, seen = 84_001.0, 83_999.0
    for _ in range(runs):
        price, total = spot, 0.0
        for _ in range(int(tau)):
            price *= math.exp(rng.gauss(0, sigma))
            total += price
        wins += (30 * seen + total) / 60 >= strike
    model = up_probability(spot=spot, strike=strike, elapsed_mean=seen, tau=tau, spreads=((1.0, sigma),))
    assert abs(model - wins / runs) < 0.03


def test_fair_value_is_a_half_until_the_opening_average_forms():
    far = up_probability_before_open(spot=1.0, elapsed_mean=1.0, until_open=90, window=300, spreads=((1.0, 1e-9**0.5),))
    assert far == 0.5


def test_markets_roll_ahead_and_their_ids_follow_from_seed_and_slug(bench):
    for family in WINDOWS:
        assert sum(market.terms.series == family.series for market in bench.world.markets.live()) == 4
    market = bench.market()
    again = make_market(terms=market.terms, seed=7, now_ns=0)
    other = make_market(terms=market.terms, seed=8, now_ns=0)
    assert (again.tokens, again.condition_id) == (market.tokens, market.condition_id)
    assert other.tokens != market.tokens
    assert all(int(token) >> 40 & (2**64 - 1) for token in market.tokens)


def test_titles_are_worded_as_on_the_venue():
    family = next(each for each in WINDOWS if each.series_slug == "btc-up-or-down-15m")
    assert question(family, 1_790_616_600) == "Bitcoin Up or Down - September 28, 1:30PM-1:45PM ET"


def test_makers_quote_close_to_fair_and_nobody_makes_money_from_nothing(bench):
    run(bench, seconds=200)
    market = bench.market()
    bid, ask = market.best(0)
    fair = bench.world.house.fair(market, bench.now_ns)
    assert bid is not None or ask is not None
    assert abs((bid or 0) / MICRO - fair) < 0.08
    assert market.trades > 0
    assert bench.imbalance() == 0


def test_a_window_ends_settles_and_pays_its_winners(bench):
    run(bench, seconds=1)
    now_s = bench.now_ns // SECOND_NS
    windows = [m for m in bench.world.markets.live() if "eth-updown-5m" in m.slug]
    market = next(m for m in windows if m.start > now_s)
    for outcome in (0, 1):
        bench.place(bench.order(price=0.98, dollars=10, order_type=OrderType.FAK, outcome=outcome, market=market))
    resting = bench.order(price=0.01, shares=100, market=market)
    bench.place(resting)
    held = [bench.account().shares(token) for token in market.tokens]
    run(bench, seconds=market.end - bench.now_ns // SECOND_NS + 1, step_ns=SECOND_NS)
    assert market.state is MarketState.OPEN
    run(bench, seconds=3, step_ns=SECOND_NS)
    assert (market.state, resting.status) == (MarketState.ENDED, OrderStatus.CANCELED)
    before = bench.account().cash
    run(bench, seconds=162, step_ns=SECOND_NS)
    assert market.closed
    run(bench, seconds=12, step_ns=SECOND_NS)
    oracle = Oracle(bench.world.paths["eth"])
    expected = 0 if oracle.twap(market.end) >= oracle.twap(market.start) else 1
    assert market.winner == expected
    assert bench.account().cash - before == held[expected] == bench.account().redeemed
    assert [bench.account().shares(token) for token in market.tokens] == [0, 0]
    assert [line.kind for line in bench.account().activity].count("REDEEM") == 2
    assert market.collateral == 0
    assert bench.imbalance() == 0


def test_a_trade_is_mined_then_confirmed(bench):
    run(bench, seconds=1)
    bench.place(bench.order(price=0.98, dollars=5, order_type=OrderType.FAK))
    trade = bench.account().trades[0]
    seen = []
    for _ in range(6):
        seen.append(trade.status)
        run(bench, seconds=1, step_ns=SECOND_NS)
    assert seen == ["MATCHED", "MATCHED", "MINED", "MINED", "MINED", "CONFIRMED"]


def test_a_ghost_fill_gives_everything_back(bench):
    run(bench, seconds=1)
    bench.world.faults.arm(Spec(kind=Fault.GHOST_FILL))
    bench.place(bench.order(price=0.98, dollars=5, order_type=OrderType.FAK))
    account = bench.account()
    assert account.cash < 300 * MICRO
    run(bench, seconds=3, step_ns=SECOND_NS)
    assert account.trades[0].status is TradeStatus.FAILED
    assert (account.cash, account.fees_paid) == (300 * MICRO, 0)
    assert account.shares(bench.market().tokens[0]) == 0
    assert [line.kind for line in account.activity] == ["DEPOSIT"]
    assert bench.imbalance() == 0


def test_the_tick_becomes_finer_near_the_ends(bench):
    bench.place(bench.order(price=0.97, shares=10, account=bench.account(1)))
    bench.place(bench.order(price=0.02, shares=10, outcome=1))
    assert bench.market().tick == FINE_TICK


def test_makers_that_cross_a_clients_order_trade_with_it(bench):
    run(bench, seconds=1)
    market = bench.market()
    bench.place(bench.order(price=0.99, dollars=20, order_type=OrderType.FAK, market=market))
    shares = bench.account().shares(market.tokens[0]) // MICRO
    order = bench.order(side=Side.SELL, price=0.03, shares=shares, market=market)
    assert bench.place(order).status == "matched"
    assert bench.imbalance() == 0


@pytest.mark.parametrize("index", [0, 1, 2])
def test_wallets_are_where_the_factories_would_put_them(index):
    wallet = pytest.importorskip("polymarket._internal.wallet")
    environment = pytest.importorskip("polymarket._internal.environment")
    owner = address_of_key(key_from_seed(seed=5, index=index))
    derivation = environment.PRODUCTION_CONFIG.wallet_derivation
    expected = (
        owner,
        wallet.derive_proxy_wallet_address(owner, derivation),
        wallet.derive_safe_wallet_address(owner, derivation),
        wallet.derive_beacon_deposit_wallet_address(owner, derivation),
    )
    assert tuple(wallet_for(owner, signature_type=kind) for kind in range(4)) == expected
