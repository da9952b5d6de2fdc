"""Contract calls on the ledger: all of a batch or nothing, the right contract, and orders that lose their cover."""

import pytest

from services.sandbox.abi import MalformedCall, rlp_items, rlp_list
from services.sandbox.book import Side
from services.sandbox.chain import ADAPTER, MERGE, NEG_RISK_ADAPTER, SPLIT, Call
from services.sandbox.money import MICRO
from services.sandbox.positions import ChainError


def call(name: bytes, condition: str, amount: int, *, target: str = ADAPTER) -> Call:
    """splitPosition or mergePositions: collateral, parent, condition, offset of the partition, amount, partition."""
    words = [0, 0, int(condition, 16), 160, amount, 2, 1, 2]
    return Call(target=target, value=0, data=name + b"".join(word.to_bytes(32, "big") for word in words))


def test_a_batch_happens_whole_or_not_at_all(bench):
    market, account = bench.market(), bench.account()
    good, bad = (call(SPLIT, market.condition_id, dollars * MICRO) for dollars in (10, 1000))
    with pytest.raises(ChainError, match="exceeds balance"):
        bench.world.chain.execute(account, [good, bad], transaction="0x1")
    assert (account.cash, account.shares(market.tokens[0]), market.collateral) == (300 * MICRO, 0, 0)
    assert [line.kind for line in account.activity] == ["DEPOSIT"]
    bench.world.chain.execute(account, [good, good], transaction="0x2")
    assert (account.cash, account.shares(market.tokens[1]), market.collateral) == (280 * MICRO, 20 * MICRO, 20 * MICRO)
    assert bench.imbalance() == 0


def test_each_kind_of_market_has_its_own_contract(bench):
    market, account = bench.market(), bench.account()
    for target in (NEG_RISK_ADAPTER, "0x" + "11" * 20):
        with pytest.raises(ChainError, match="wrong adapter"):
            bench.world.chain.execute(account, [call(SPLIT, market.condition_id, MICRO, target=target)], transaction="")
    with pytest.raises(ChainError, match="too short"):
        bench.world.chain.execute(account, [Call(target=ADAPTER, value=0, data=SPLIT + b"abc")], transaction="")
    with pytest.raises(ChainError, match="reverted"):
        bench.world.chain.execute(account, [Call(target=ADAPTER, value=0, data=b"1234")], transaction="")


def test_merged_shares_no_longer_cover_an_order(bench):
    market, account = bench.market(), bench.account()
    bench.world.chain.execute(account, [call(SPLIT, market.condition_id, 10 * MICRO)], transaction="")
    order = bench.order(side=Side.SELL, price=0.9, shares=8)
    bench.place(order)
    bench.world.chain.execute(account, [call(MERGE, market.condition_id, 5 * MICRO)], transaction="")
    assert not account.open_orders
    assert order.id not in market.book.orders


def test_transactions_are_read_as_they_are_written():
    items = [b"", b"\x01", b"\x80", b"x" * 55, b"y" * 300]
    assert rlp_items(rlp_list(items)) == items
    for broken in (b"", b"\x83ab", b"\xc2\xc0", rlp_list(items)[:-1]):
        with pytest.raises(MalformedCall):
            rlp_items(broken)
