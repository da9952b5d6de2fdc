"""Sequences of events: replayed, duplicated or reordered, they change nothing; the ledger always sums to zero."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmarb.domain import ledger as books
from pmarb.domain.ledger import Account, Entry, EntryKind, Ledger, Posting, Unbalanced
from pmarb.domain.orders import (
    Accepted,
    Ended,
    FillStatus,
    Order,
    OrderEvent,
    OrderState,
    OrderType,
    OutcomeUnknown,
    ProvenAbsent,
    Refused,
    Trade,
    Traded,
    fold,
)
from pmarb.domain.values import ZERO, Side


def an_order() -> Order:
    return Order(
        order_hash="0xhash",
        opportunity_id="opp-1",
        leg=0,
        market="0xmarket",
        token="1001",
        side=Side.BUY,
        order_type=OrderType.FAK,
        limit_price=Decimal("0.50"),
        shares=Decimal(6),
        usd=Decimal(3),
        reserved=Decimal("3.21"),
        expires_at=0,
    )


def a_trade(trade_id: str, status: FillStatus) -> Trade:
    size = Decimal(len(trade_id) + 1)
    return Trade(
        trade_id=trade_id, shares=size, price=Decimal("0.50"), fee=size * Decimal("0.0175"), status=status, ts_event=1
    )


TRADES = st.builds(a_trade, st.sampled_from(["t", "tt"]), st.sampled_from(FillStatus))
EVENTS: st.SearchStrategy[OrderEvent] = st.one_of(
    st.builds(Traded, trade=TRADES),
    st.builds(Accepted, state=st.sampled_from([OrderState.LIVE, OrderState.DELAYED, OrderState.MATCHED])),
    st.just(Refused(reason="not enough balance")),
    st.just(OutcomeUnknown(detail="timeout")),
    st.just(Ended(state=OrderState.CANCELLED)),
    st.just(ProvenAbsent()),
)


def folded(events: list[OrderEvent]) -> Order:
    order = an_order()
    for event in events:
        order = fold(order, event)
    return order


@given(st.lists(EVENTS, max_size=12))
def test_an_event_seen_twice_in_a_row_is_seen_once(events: list[OrderEvent]) -> None:
    order = folded(events)
    for event in events[-1:]:
        assert fold(order, event) == order


@given(st.lists(st.builds(Traded, trade=TRADES), max_size=8))
def test_replaying_all_trades_changes_nothing(events: list[OrderEvent]) -> None:
    assert folded([*events, *events]) == folded(events)


@given(st.lists(EVENTS, max_size=12))
def test_final_standings_are_never_taken_back(events: list[OrderEvent]) -> None:
    order = an_order()
    for event in events:
        after = fold(order, event)
        final = {t.trade_id: t.status for t in order.trades if t.status is not FillStatus.PROVISIONAL}
        assert final.items() <= {t.trade_id: t.status for t in after.trades}.items()
        if order.state.terminal and not isinstance(event, Traded):
            assert after == order
        order = after


@given(st.lists(EVENTS, max_size=12))
def test_shares_are_held_exactly_by_trades_that_did_not_fail(events: list[OrderEvent]) -> None:
    order = folded(events)
    if order.state is OrderState.FILLED:
        assert order.filled_shares > ZERO
    if order.state in (OrderState.REJECTED, OrderState.ABSENT, OrderState.CANCELLED, OrderState.FAILED):
        assert order.filled_shares == ZERO
    assert order.spent == sum((t.notional + t.fee for t in order.trades if t.status is not FillStatus.FAILED), ZERO)


def test_a_timeout_is_not_a_refusal() -> None:
    order = folded([OutcomeUnknown(detail="timeout")])
    assert order.state is OrderState.UNKNOWN
    assert not order.state.terminal
    matched = fold(order, Traded(trade=a_trade("t", FillStatus.PROVISIONAL)))
    assert matched.state is OrderState.MATCHED


def test_a_late_refusal_does_not_undo_a_trade() -> None:
    order = folded([Traded(trade=a_trade("t", FillStatus.PROVISIONAL)), Refused(reason="late")])
    assert order.state is OrderState.MATCHED


def test_a_trade_after_a_refusal_is_believed() -> None:
    order = folded([Refused(reason="said no"), Traded(trade=a_trade("t", FillStatus.CONFIRMED))])
    assert order.state is OrderState.FILLED


def test_a_ghost_fill_leaves_nothing() -> None:
    order = folded(
        [
            Traded(trade=a_trade("t", FillStatus.PROVISIONAL)),
            Traded(trade=a_trade("t", FillStatus.FAILED)),
            Traded(trade=a_trade("t", FillStatus.PROVISIONAL)),
        ]
    )
    assert order.state is OrderState.FAILED
    assert order.filled_shares == ZERO


AMOUNTS = st.decimals(min_value="0.01", max_value="100", places=5)


@st.composite
def entries(draw: st.DrawFn) -> list[Entry]:
    """Any life of a few orders, in any order, with repetitions."""
    made: list[Entry] = [books.deposit(ref="start", amount=Decimal(300), ts_event=0)]
    for number in range(draw(st.integers(0, 4))):
        trade = Trade(
            trade_id=f"t{number}",
            shares=draw(AMOUNTS),
            price=Decimal("0.43"),
            fee=draw(AMOUNTS),
            status=FillStatus.PROVISIONAL,
            ts_event=number,
        )
        payout = draw(st.sampled_from([ZERO, trade.shares]))
        made += [
            books.reserve(order_hash=f"o{number}", amount=trade.notional * 2, ts_event=number),
            books.matched(trade, paid_from=Account.RESERVED, ts_event=number),
            books.release(order_hash=f"o{number}", amount=draw(AMOUNTS), ts_event=number),
            draw(st.sampled_from([books.confirmed(trade, ts_event=number), books.failed(trade, ts_event=number)])),
            books.resolved(token=f"k{number}", cost=trade.notional, payout=payout, ts_event=number),
            books.redeemed(ref=f"k{number}", payout=payout, ts_event=number),
        ]
    return draw(st.permutations(made + draw(st.lists(st.sampled_from(made), max_size=5))))


@given(entries())
def test_the_ledger_sums_to_zero_after_every_entry(sequence: list[Entry]) -> None:
    ledger = Ledger()
    for entry in sequence:
        ledger.post(entry)
        assert ledger.total == ZERO


@given(entries())
def test_replayed_and_duplicated_entries_change_nothing(sequence: list[Entry]) -> None:
    once, twice = Ledger(), Ledger()
    once.post_all(sequence)
    twice.post_all([*sequence, *reversed(sequence)])
    assert once.balances == twice.balances


def test_an_unbalanced_entry_cannot_be_made() -> None:
    with pytest.raises(Unbalanced):
        Entry(
            entry_id="x",
            kind=EntryKind.DEPOSIT,
            ref="x",
            postings=(Posting(account=Account.CASH, amount=Decimal(1)),),
            ts_event=0,
        )


def test_a_winning_trade_from_order_to_cash() -> None:
    trade = Trade(
        trade_id="t",
        shares=Decimal(6),
        price=Decimal("0.5"),
        fee=Decimal("0.105"),
        status=FillStatus.CONFIRMED,
        ts_event=1,
    )
    ledger = Ledger()
    ledger.post_all(
        [
            books.deposit(ref="start", amount=Decimal(300), ts_event=0),
            books.reserve(order_hash="o", amount=Decimal("3.21"), ts_event=1),
            books.matched(trade, paid_from=Account.RESERVED, ts_event=2),
            books.release(order_hash="o", amount=Decimal("0.105"), ts_event=2),
            books.confirmed(trade, ts_event=3),
            books.resolved(token="1001", cost=Decimal(3), payout=Decimal(6), ts_event=4),
        ]
    )
    assert books.equity(ledger.balances) == Decimal("302.895")
    assert books.realised_pnl(ledger.balances) == Decimal("2.895")
    ledger.post(books.redeemed(ref="1001", payout=Decimal(6), ts_event=5))
    assert ledger.balances[Account.CASH] == Decimal("302.895")
    assert ledger.total == ZERO
