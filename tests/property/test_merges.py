"""Merging apportions cost and fees without losing or inventing a millionth, and takes no more than is ours."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmarb.db.ledger import Holding
from pmarb.db.merges import Ask
from pmarb.domain import ledger as books
from pmarb.domain.ledger import Account, Ledger, part_of
from pmarb.domain.messages import Fill, Merge
from pmarb.domain.orders import FillStatus
from pmarb.domain.values import MICRO, NANOS, ZERO, Side
from pmarb.venue.port import VenueMerge
from services.executor import pairs
from services.risk.portfolio import Portfolio
from tests.builders import NOW, an_approval

MICROS = st.integers(1, 10**9).map(lambda units: units * MICRO)
MONEY = st.integers(0, 10**9).map(lambda units: units * MICRO)


def a_holding(token: str, shares: Decimal, cost: Decimal, fees: Decimal = ZERO) -> Holding:
    return Holding(
        token=token, market="m", slug="s", outcome=token, shares=shares, cost=cost, fees=fees, expiry=NOW, pending=0,
        opened_at=NOW, changed_at=NOW,
    )  # fmt: skip


def a_merge(count: Decimal, *, at: int = NOW) -> VenueMerge:
    return VenueMerge(merge_id="0x1:m", market="m", pairs=count, usd=count, ts_event=at)


@given(MONEY, MICROS, st.data())
def test_a_part_is_never_too_small_and_the_last_one_takes_the_rest(
    whole: Decimal, held: Decimal, data: st.DataObject
) -> None:
    left, shares, taken = whole, held, ZERO
    while shares > ZERO:
        count = data.draw(st.integers(1, int(shares / MICRO))) * MICRO if taken == ZERO else shares
        part = part_of(left, taken=count, held=shares)
        assert part * shares >= left * count
        assert ZERO <= part - left * count / shares < MICRO or part == left
        left, shares, taken = left - part, shares - count, taken + part
        assert left >= ZERO
    assert taken == whole


@pytest.mark.parametrize("taken", [ZERO, Decimal(-1), Decimal(7)])
def test_what_is_not_held_has_no_part(taken: Decimal) -> None:
    with pytest.raises(ValueError, match="is no part of"):
        part_of(Decimal(1), taken=taken, held=Decimal(6))


@given(MICROS, MICROS, MONEY, MONEY, MONEY)
def test_a_merge_moves_what_it_says_and_sums_to_zero(
    ups: Decimal, downs: Decimal, cost_up: Decimal, cost_down: Decimal, fee: Decimal
) -> None:
    pair = pairs.pairs([a_holding("up", ups, cost_up, fee), a_holding("down", downs, cost_down)])["m"]
    found = pairs.parts(pair, pair.count)
    cost = sum((part.cost for part in found), ZERO)
    ledger = Ledger()
    entry = books.merged(merge_id="0x1:m", cost=cost, payout=pair.count, ts_event=NOW)
    assert (ledger.post(entry), ledger.post(entry)) == (True, False)
    assert ledger.total == ZERO
    assert ledger.balances[Account.CASH] == sum((part.payout for part in found), ZERO) == min(ups, downs)
    assert ledger.balances[Account.CONFIRMED] == -cost
    assert sum((part.pnl + part.fees for part in found), ZERO) == -ledger.balances[Account.REALISED]
    spent = {held.token: held.cost for held in pair.held if held.shares == pair.count}
    assert {part.token: part.cost for part in found if part.token in spent} == spent


@given(MICROS, MICROS, MICROS, MONEY, MONEY, st.booleans())
def test_of_a_merge_only_pairs_of_ours_are_ours(
    ups: Decimal, downs: Decimal, merged: Decimal, theirs_up: Decimal, theirs_down: Decimal, asked: bool
) -> None:
    pair = pairs.pairs([a_holding("up", ups, ZERO), a_holding("down", downs, ZERO)])["m"]
    row = a_merge(merged)
    ours = pairs.ours_of(row, pair, {"up": theirs_up, "down": theirs_down}, asked=asked)
    assert ZERO <= ours <= min(ups, downs, merged)
    assert asked or ours <= max(merged - min(theirs_up, theirs_down), ZERO)
    moved = pairs.others(row, ours, ["down", "up"])
    assert sum((each.usd for each in moved), ZERO) + ours == merged
    assert {each.shares for each in moved} <= {ours - merged}


def test_an_older_merge_and_one_sided_holdings_are_not_ours() -> None:
    pair = pairs.pairs([a_holding("up", Decimal(5), ZERO), a_holding("down", Decimal(5), ZERO)])["m"]
    assert pairs.ours_of(a_merge(Decimal(5), at=NOW - 60 * NANOS), pair, {}, asked=False) == ZERO
    lone = pairs.pairs([a_holding("up", Decimal(5), ZERO)])["m"]
    assert lone.count == ZERO
    assert not pairs.both_sides(lone, {})
    assert pairs.both_sides(lone, {"m": {"down": Decimal(5)}})
    assert pairs.ours_of(a_merge(Decimal(5)), lone, {"down": Decimal(5)}, asked=False) == ZERO


def test_a_merge_answers_the_asking_of_its_market_and_count() -> None:
    ask = Ask(market="m", pairs=Decimal(5), asked_at=NOW)
    assert pairs.answered(a_merge(Decimal(5)), [ask]) == ask
    assert pairs.answered(a_merge(Decimal(4)), [ask]) is None
    assert pairs.answered(a_merge(Decimal(5), at=NOW - 60 * NANOS), [ask]) is None
    assert pairs.answered(a_merge(Decimal(5)), [replace(ask, market="other")]) is None


def test_only_settled_down_pairs_of_an_open_market_are_ready() -> None:
    held = [replace(a_holding(t, Decimal(5), ZERO), expiry=NOW + 300 * NANOS) for t in ("up", "down")]
    later = NOW + pairs.SETTLED_DOWN
    assert pairs.pairs(held)["m"].ready(later)
    assert not pairs.pairs(held)["m"].ready(later - 1)
    assert not pairs.pairs(held)["m"].ready(NOW + 300 * NANOS)
    assert not pairs.pairs([held[0], replace(held[1], pending=1)])["m"].ready(later)
    assert not pairs.pairs([held[0], replace(held[1], shares=Decimal("0.99"))])["m"].ready(later)


@given(st.permutations(["up", "down", "merge", "merge"]), st.integers(1, 8))
def test_risk_forgets_what_was_merged_in_whatever_order_it_hears_of_it(told: list[str], count: int) -> None:
    """8 up at 0.60 and 8 down at 0.45, each with a fee of 0.10."""
    portfolio = Portfolio(capital=Decimal(300))
    costs = {"up": Decimal("4.90"), "down": Decimal("3.70")}
    for token in costs:
        portfolio.on_approval(an_approval(opportunity_id=token, expires_at=0))
    held = [a_holding(token, Decimal(8), cost - Decimal("0.1"), Decimal("0.1")) for token, cost in costs.items()]
    found = pairs.parts(pairs.pairs(held)["m"], Decimal(count))
    merge = Merge(
        merge_id="0x1:m", market="m", slug="s", parts=found, payout=Decimal(count),
        pnl=sum((part.pnl for part in found), ZERO), equity=ZERO, ts_event=NOW, ts_init=NOW,
    )  # fmt: skip
    for name in told:
        if name == "merge":
            portfolio.on_merge(merge)
            continue
        fill = Fill(
            trade_id=name, order_hash=name, opportunity_id=name, slug="s", market="m", token=name, outcome=name,
            side=Side.BUY, shares=Decimal(8), price=(costs[name] - Decimal("0.1")) / 8, fee=Decimal("0.1"),
            status=FillStatus.CONFIRMED, ts_event=NOW, ts_init=NOW,
        )  # fmt: skip
        portfolio.on_fill(fill)
    for commitment in portfolio.commitments.values():
        left = sum(commitment.left.values(), ZERO)
        assert abs(left - (1 - Decimal(count) / 8)) < Decimal("1e-20")
    assert portfolio.realised == merge.pnl
    assert portfolio.losses_in_a_row == (1 if merge.pnl < ZERO else 0)
