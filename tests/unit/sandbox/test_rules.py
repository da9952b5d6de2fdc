"""Amounts, ticks, minimums, balances and order types, with the venue's texts."""

import pytest

from services.sandbox.api_account import page
from services.sandbox.book import Side
from services.sandbox.clock import SECOND_NS
from services.sandbox.fees import FeeSchedule, taker_fee
from services.sandbox.markets import COARSE_TICK, FINE_TICK
from services.sandbox.money import MICRO, decimals, text
from services.sandbox.orders import OrderStatus, OrderType
from services.sandbox.refusals import Refusal
from services.sandbox.rules import FAK_MISSED, FOK_MISSED
from services.sandbox.user_messages import trade_row


def refusal(bench, order) -> str:
    with pytest.raises(Refusal) as caught:
        bench.place(order)
    return caught.value.text


def seller(bench, shares=100, price=0.5):
    """The second account offers shares that it bought against the first one's offer of the other outcome."""
    maker = bench.order(price=1 - price, shares=shares, outcome=1, account=bench.account(1))
    bench.place(maker)
    return maker


def test_fee_is_floored_to_five_decimals_of_the_published_transaction():
    shares, price = 580_677_591, 0.527058567
    value = round(shares * price * MICRO)
    assert taker_fee(shares=shares, value=value, schedule=FeeSchedule()) == 10_132_090


@pytest.mark.parametrize(("micro", "expected"), [(500_000, "0.5"), (12 * MICRO, "12"), (1, "0.000001"), (0, "0")])
def test_amounts_are_written_in_their_shortest_form(micro, expected):
    assert text(micro) == expected


def test_decimals_counts_the_places_in_use():
    assert [decimals(value) for value in (MICRO, 100_000, 14_285_700, 1)] == [0, 1, 4, 6]


def test_a_market_buy_pays_its_dollars_and_the_fee_on_top(bench):
    seller(bench)
    placed = bench.place(bench.order(price=0.5, dollars=10, order_type=OrderType.FAK))
    assert (placed.status, placed.making, placed.taking) == ("matched", 10 * MICRO, 20 * MICRO)
    assert bench.account().cash == 300 * MICRO - 10 * MICRO - 350_000
    assert bench.account(1).cash == 290 * MICRO
    assert bench.imbalance() == 0


def test_a_seller_pays_the_fee_out_of_the_proceeds(bench):
    seller(bench)
    bench.place(bench.order(price=0.5, dollars=10, order_type=OrderType.FAK))
    bench.place(bench.order(price=0.4, shares=20, account=bench.account(1)))
    before = bench.account().cash
    placed = bench.place(bench.order(side=Side.SELL, price=0.4, shares=20, order_type=OrderType.FAK))
    assert (placed.making, placed.taking) == (20 * MICRO, 8 * MICRO)
    assert bench.account().cash - before == 8 * MICRO - 336_000
    assert bench.imbalance() == 0


def test_a_better_price_gives_a_market_buy_more_shares(bench):
    seller(bench, price=0.4)
    placed = bench.place(bench.order(price=0.5, dollars=10, order_type=OrderType.FAK))
    assert placed.taking == 25 * MICRO


def test_fok_is_all_or_nothing_and_fak_takes_what_there_is(bench):
    seller(bench, shares=10)
    assert refusal(bench, bench.order(price=0.5, dollars=6, order_type=OrderType.FOK)) == FOK_MISSED
    assert bench.account().cash == 300 * MICRO
    assert bench.place(bench.order(price=0.5, dollars=6, order_type=OrderType.FAK)).making == 5 * MICRO
    assert refusal(bench, bench.order(price=0.5, dollars=6, order_type=OrderType.FAK)) == FAK_MISSED


@pytest.mark.parametrize(
    ("wanted", "fragment"),
    [
        (
            {"price": 0.5, "dollars": 5.001, "order_type": OrderType.FAK},
            "market buy orders maker amount supports a max accuracy",
        ),
        ({"price": 0.5, "shares": 10.001}, "the buy orders maker amount supports a max accuracy of 4 decimals"),
        ({"price": 0.505, "shares": 10}, "breaks minimum tick size rule: 0.01"),
        ({"price": 0.5, "shares": 4}, "Size (4) lower than the minimum: 5"),
        ({"price": 0.5, "dollars": 0.8, "order_type": OrderType.FAK}, "marketable BUY order ($0.8), min size: $1"),
        ({"price": 0.5, "shares": 1000}, "not enough balance / allowance"),
        ({"price": 0.5, "shares": 10, "side": Side.SELL}, "not enough balance / allowance"),
        ({"price": 0.5, "shares": 10, "order_type": OrderType.GTD, "expiration": 1}, "invalid expiration"),
    ],
)
def test_orders_that_break_a_rule_are_refused_with_its_text(bench, wanted, fragment):
    assert fragment in refusal(bench, bench.order(**wanted))


def test_market_amounts_keep_four_decimals_at_the_fine_tick_too(bench):
    order = bench.order(price=0.985, dollars=9.98, order_type=OrderType.FAK)
    order.market.tick, order.taker_amount = FINE_TICK, 10_131_970
    assert "taker amount a max of 4 decimals" in refusal(bench, order)


def test_shares_cut_down_keep_a_market_buy_on_its_tick(bench):
    seller(bench, price=0.07, shares=200)
    order = bench.order(price=0.07, dollars=1, order_type=OrderType.FAK)
    order.taker_amount = 14_285_700
    assert bench.place(order).status == "matched"


def test_open_orders_reserve_their_funds(bench):
    bench.place(bench.order(price=0.5, shares=400))
    assert "sum of active orders: 200000000" in refusal(bench, bench.order(price=0.5, shares=300))


def test_the_fee_counts_when_the_balance_is_checked(bench):
    seller(bench, shares=700, price=0.6)
    assert "not enough balance" in refusal(bench, bench.order(price=0.6, dollars=299, order_type=OrderType.FAK))


def test_the_same_order_twice_is_a_duplicate(bench):
    order = bench.order(price=0.3, shares=10)
    bench.place(order)
    assert refusal(bench, order) == f"order {order.id} is invalid. Duplicated."


def test_post_only_must_not_cross(bench):
    seller(bench)
    crossing = bench.order(price=0.5, shares=10, post_only=True)
    assert refusal(bench, crossing) == "invalid post-only order: order crosses book"
    assert bench.place(bench.order(price=0.49, shares=10, post_only=True)).status == "live"


def test_a_partly_filled_limit_order_rests_with_what_is_left(bench):
    seller(bench, shares=10)
    order = bench.order(price=0.5, shares=25)
    assert bench.place(order).taking == 10 * MICRO
    assert (order.status, order.remaining) == (OrderStatus.LIVE, 15 * MICRO)
    assert bench.world.exchange.cancel(bench.account(), order.id) is None
    assert bench.world.exchange.cancel(bench.account(), order.id) == "already canceled or matched"


def test_a_held_order_reserves_its_funds_and_cannot_be_cancelled(bench):
    seller(bench)
    order = bench.order(price=0.5, dollars=200, order_type=OrderType.FAK)
    bench.world.exchange.validate(order)
    bench.world.exchange.hold(order)
    assert bench.world.exchange.cancel(bench.account(), order.id) == "order match delayed due to market conditions"
    assert "not enough balance" in refusal(bench, bench.order(price=0.5, dollars=150, order_type=OrderType.FAK))
    assert bench.world.exchange.finish(order).status == "matched"


def test_gtd_ends_a_minute_before_its_stated_second(bench):
    second = bench.now_ns // 10**9 + 200
    order = bench.order(price=0.3, shares=10, order_type=OrderType.GTD, expiration=second)
    bench.place(order)
    bench.now_ns = (second - 61) * 10**9
    bench.world.exchange.expire()
    assert str(order.status) == "LIVE"
    bench.now_ns = (second - 60) * 10**9
    bench.world.exchange.expire()
    assert order.status is OrderStatus.CANCELED


def test_a_match_with_very_many_makers_is_several_trades(bench):
    bench.world.exchange.bucket_fills = 3
    for _ in range(7):
        bench.place(bench.order(price=0.5, shares=5, outcome=1, account=bench.account(1)))
    placed = bench.place(bench.order(price=0.5, shares=35))
    trades = bench.account().trades
    assert placed.trade_ids == tuple(trade.id for trade in trades)
    assert len({trade.id for trade in trades} | {trade.transaction for trade in trades}) == 6
    assert [(trade.bucket, len(trade.fills)) for trade in trades] == [(0, 3), (1, 3), (2, 1)]
    assert {(row["match_time"], row["taker_order_id"]) for row in (trade_row(t, bench.account()) for t in trades)} == {
        (str(bench.now_ns // SECOND_NS), placed.order_id)
    }
    assert (placed.taking, bench.account().shares(bench.market().tokens[0])) == (35 * MICRO, 35 * MICRO)
    assert bench.imbalance() == 0


def test_a_refusal_for_want_of_money_counts_what_rests_and_what_was_just_matched(bench):
    bench.place(bench.order(price=0.5, shares=100, outcome=1, account=bench.account(1)))
    bench.place(bench.order(price=0.5, shares=100))
    bench.place(bench.order(price=0.2, shares=100))
    with pytest.raises(Refusal) as caught:
        bench.place(bench.order(price=0.3, shares=1000))
    assert caught.value.text.endswith(
        "balance: 300000000, sum of active orders: 20000000, sum of matched orders: 51750000, order amount: 300000000"
    )


def test_a_post_only_order_that_crosses_at_the_match_is_refused_by_the_engine(bench):
    order = bench.order(price=0.5, shares=10, post_only=True)
    bench.world.exchange.validate(order)
    bench.place(bench.order(price=0.5, shares=10, outcome=1, account=bench.account(1)))
    with pytest.raises(Refusal, match="crosses the book"):
        bench.world.exchange.finish(order)


def test_the_venues_wrong_clock_stamps_orders_and_trades(bench):
    bench.world.clock.skew_ns = -30 * SECOND_NS
    bench.place(bench.order(price=0.5, shares=10, outcome=1, account=bench.account(1)))
    bench.place(bench.order(price=0.5, shares=10))
    row = trade_row(bench.account().trades[0], bench.account())
    wrong = str(bench.now_ns // SECOND_NS - 30)
    assert (row["match_time"], row["last_update"]) == (wrong, wrong)


def test_lists_come_in_pages_of_a_hundred_with_a_cursor():
    rows = [{"n": number} for number in range(250)]
    seen, cursor = [], None
    while cursor != "LTE=":
        part = page(rows, cursor)
        seen.append(part["count"])
        cursor = part["next_cursor"]
    assert seen == [100, 100, 50]
    assert page(rows, "LTE=")["data"] == []
    with pytest.raises(Refusal, match="next_cursor"):
        page(rows, "over there")


def test_the_tick_becomes_finer_near_the_edges_and_resting_orders_stay(bench):
    market = bench.market()
    bench.place(bench.order(price=0.9, shares=10))
    assert (market.tick, len(market.book.orders)) == (COARSE_TICK, 1)
    bench.place(bench.order(price=0.97, shares=10))
    assert (market.tick, len(market.book.orders)) == (FINE_TICK, 2)
    bench.place(bench.order(price=0.985, shares=10))
    with pytest.raises(Refusal, match=r"breaks minimum tick size rule: 0\.001"):
        bench.place(bench.order(price=0.9855, shares=10))
