"""What counts as a difference between the ledger and the venue, for how long it may last, and when to try again."""

from dataclasses import replace
from decimal import Decimal

import pytest

from pmarb.domain.orders import FillStatus, Order, OrderState, OrderType, Trade
from pmarb.domain.values import NANOS, Side
from pmarb.venue.port import PostIndeterminate, PostPaused, PostRefused
from services.executor.mismatch import (
    SETTLEMENT_LAG,
    USD_TOLERANCE,
    WARN_AFTER,
    Mismatch,
    Patience,
    Range,
    cash_range,
    fee_difference,
    order_mismatches,
    share_ranges,
)
from services.executor.pause import LONGEST, UNADVISED, Pause

ORDER = Order(
    order_hash="0x1", opportunity_id="o", leg=0, market="m", token="1", side=Side.BUY, order_type=OrderType.FAK,
    limit_price=Decimal("0.5"), shares=Decimal(6), usd=Decimal(3), reserved=Decimal("3.2"), expires_at=0,
)  # fmt: skip
TRADE = Trade(
    trade_id="t", shares=Decimal(6), price=Decimal("0.5"), fee=Decimal("0.1"), status=FillStatus.PROVISIONAL, ts_event=0
)
CASH = CASH_HELD, RESERVED = Decimal(96), Decimal("3.2")


def cash(*orders: Order) -> tuple[Decimal, Decimal]:
    found = cash_range(cash=CASH_HELD, reserved=RESERVED, foreign=Decimal(0), open_orders=orders)
    return found.low, found.high


def test_with_nothing_under_way_cash_is_one_amount() -> None:
    assert cash() == (Decimal("99.2"), Decimal("99.2"))
    assert cash_range(cash=Decimal(5), reserved=Decimal(0), foreign=Decimal(-2), open_orders=()).high == 3


def test_an_order_without_a_trade_may_have_spent_all_it_reserved() -> None:
    assert cash(replace(ORDER, state=OrderState.UNKNOWN)) == (Decimal(96), Decimal("99.2"))


def test_a_provisional_trade_may_not_be_paid_yet() -> None:
    assert cash(replace(ORDER, state=OrderState.MATCHED, trades=(TRADE,))) == (Decimal("99.2"), Decimal("102.3"))


@pytest.mark.parametrize(("theirs", "right"), [("99.25", True), ("99.15", True), ("99.26", False), ("99.14", False)])
def test_five_cents_are_bearable(theirs: str, right: bool) -> None:
    found = cash_range(cash=CASH_HELD, reserved=RESERVED, foreign=Decimal(0), open_orders=())
    assert found.holds(Decimal(theirs), tolerance=USD_TOLERANCE) is right


def test_shares_may_be_what_is_confirmed_and_what_may_come() -> None:
    held, foreign = {"1": Decimal(4)}, {"1": Decimal(2), "9": Decimal(7)}
    matched = replace(ORDER, state=OrderState.MATCHED, trades=(TRADE,))
    (of_token,) = share_ranges(confirmed=held, foreign=foreign, open_orders=(matched,)).values()
    assert of_token == Range(low=Decimal(6), high=Decimal(12))
    unknown = share_ranges(confirmed={}, foreign={}, open_orders=(replace(ORDER, state=OrderState.UNKNOWN),))["1"]
    assert unknown.low == 0
    assert unknown.high >= 6


def test_an_order_that_is_over_here_and_open_there_is_a_mismatch() -> None:
    over = replace(ORDER, state=OrderState.CANCELLED)
    assert [each.key for each in order_mismatches([over], ["0x1", "0xforeign"])] == ["order 0x1"]
    lost = replace(ORDER, state=OrderState.MATCHED)
    assert [each.key for each in order_mismatches([lost], [])] == ["trade of order 0x1"]


@pytest.mark.parametrize(
    ("booked", "charged", "apart"),
    [
        ("0.10", "0.10001", "0"),  # A grain of rounding
        ("0.10", "0.103", "0.03"),
        ("0.10", "0.0", "1"),
        ("0", "0.05", "1"),
    ],
)
def test_a_fee_is_compared_with_what_was_booked(booked: str, charged: str, apart: str) -> None:
    assert fee_difference(Decimal(booked), Decimal(charged)) == Decimal(apart)


def test_a_difference_is_told_once_and_halts_only_when_it_lasts() -> None:
    patience, odd = Patience(), [Mismatch(key="cash", ours="1", theirs="2")]
    assert patience.look(odd, now=0) == ([], [])
    assert patience.look(odd, now=WARN_AFTER) == (odd, [])
    assert patience.look(odd, now=SETTLEMENT_LAG - 1) == ([], [])
    assert patience.look(odd, now=SETTLEMENT_LAG) == ([], odd)
    assert patience.look([], now=SETTLEMENT_LAG) == ([], [])
    assert patience.look(odd, now=SETTLEMENT_LAG + 1) == ([], []), "it was gone in between"


def test_a_pause_is_said_once_and_ends_with_any_other_answer() -> None:
    pause, now = Pause(), 1_000 * NANOS
    closed = PostPaused(reason="engine restarting", sent_real=0)
    assert pause.closed(now) == ""
    assert pause.learn(closed, now=now) is not None
    assert pause.closed(now) == "engine restarting"
    assert pause.learn(closed, now=now) is None
    later = now + int(UNADVISED * NANOS)
    assert pause.closed(later) == "", "one order is tried"
    assert pause.learn(PostIndeterminate(detail="?", sent_real=0), now=later) is None
    pause.learn(replace(closed, retry_after_s=1e9), now=later)
    assert pause.closed(later + int(LONGEST * NANOS) - 1) != ""
    assert pause.closed(later + int(LONGEST * NANOS)) == ""
    pause.learn(PostRefused(reason="no", sent_real=0), now=later)
    assert pause.learn(closed, now=later) is not None, "a new closure is said again"
