"""Fees that the venue shows no more are found in the balance, and never more than a fee could be."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from pmarb.db.ledger import BookedFee
from pmarb.domain.fees import FeeSchedule
from services.executor.mismatch import fees_by_balance

EXPECTED, CHARGED = FeeSchedule(Decimal("0.07")), FeeSchedule(Decimal("0.10"))


def trade(number: int, shares: str, price: str) -> BookedFee:
    fee = EXPECTED.charged(shares=Decimal(shares), price=Decimal(price))
    return BookedFee(trade_id=f"t{number}", fee=fee, shares=Decimal(shares), price=Decimal(price))


def test_a_wrong_rate_is_found_again() -> None:
    trades = [trade(1, "12", "0.45"), trade(2, "30", "0.10"), trade(3, "5", "0.80")]
    right = {each.trade_id: CHARGED.charged(shares=each.shares, price=each.price) for each in trades}
    lacking = sum((right[each.trade_id] - each.fee for each in trades), Decimal(0))
    found = fees_by_balance(trades, lacking)
    assert found is not None
    assert all(abs(found[trade_id] - fee) < Decimal("0.0001") for trade_id, fee in right.items())


def test_what_no_fee_could_be_is_not_explained() -> None:
    trades = [trade(1, "12", "0.45")]
    dearest = FeeSchedule(Decimal("0.25")).charged(shares=Decimal(12), price=Decimal("0.45"))
    assert fees_by_balance(trades, dearest - trades[0].fee) is not None
    assert fees_by_balance(trades, dearest - trades[0].fee + Decimal("0.00001")) is None
    assert fees_by_balance(trades, -trades[0].fee - Decimal("0.00001")) is None
    assert fees_by_balance([], Decimal("0.01")) is None


sizes = st.decimals(min_value="5", max_value="500", places=6)
prices = st.decimals(min_value="0.01", max_value="0.99", places=2)


@given(st.lists(st.tuples(sizes, prices), min_size=1, max_size=8), st.decimals("-0.9", "2.4", places=3))
def test_all_that_lacks_is_shared_out_and_no_fee_is_beyond_what_could_be(
    bought: list[tuple[Decimal, Decimal]], part: Decimal
) -> None:
    trades = [trade(number, str(shares), str(price)) for number, (shares, price) in enumerate(bought)]
    booked = sum((each.fee for each in trades), Decimal(0))
    lacking = (booked * part).quantize(Decimal("0.000001"))
    found = fees_by_balance(trades, lacking)
    assert found is not None
    assert sum(found.values()) == booked + lacking
    for each in trades:
        dearest = FeeSchedule(Decimal("0.25")).charged(shares=each.shares, price=each.price)
        assert 0 <= found[each.trade_id] <= max(dearest, each.fee)
        assert found[each.trade_id] >= each.fee if lacking >= 0 else found[each.trade_id] <= each.fee
