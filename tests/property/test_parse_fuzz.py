"""Whatever arrives, the parsers answer with a value or with ParseError."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pmarb.venue import candles, gamma, parse
from pmarb.venue.books import LocalBook
from tests.scanning import a_market, gamma_object

numbers = st.one_of(
    st.integers(), st.floats(), st.sampled_from(["NaN", "Infinity", "-1", "0.5", ".5", "1e999", "1_0", ""])
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)
raws = st.one_of(st.binary(max_size=200), values.map(lambda value: json.dumps(value).encode()))
kinds = st.sampled_from(
    ["book", "price_change", "best_bid_ask", "last_trade_price", "tick_size_change", "market_resolved", "new_market", 7]
)
changes = st.fixed_dictionaries(
    {
        "asset_id": st.just("1"),
        "price": numbers.map(str),
        "size": numbers.map(str),
        "side": st.sampled_from(["BUY", "SELL"]),
    }
)
frames = st.fixed_dictionaries(
    {"event_type": kinds, "asset_id": st.just("1"), "timestamp": numbers},
    optional={
        "bids": st.lists(st.fixed_dictionaries({"price": numbers.map(str), "size": numbers.map(str)}), max_size=3),
        "asks": st.lists(st.fixed_dictionaries({"price": numbers.map(str), "size": numbers.map(str)}), max_size=3),
        "price_changes": st.lists(changes, max_size=3),
        "best_bid": numbers.map(str),
        "best_ask": numbers.map(str),
        "tick_size": numbers,
        "new_tick_size": numbers.map(str),
    },
)


@given(raws)
@example(b"[" * 100_000)
@example(b'{"event_type":"book","x":' + b"[" * 50_000)
@example(b"\xff\xfe")
def test_any_bytes_are_a_value_or_a_parse_error(raw: bytes) -> None:
    for reader in (parse.frames, parse.rest_books, parse.rtds, parse.spot, candles.klines, parse.plain, gamma.market):
        try:
            reader(raw)
        except parse.ParseError:
            continue


@given(frames)
def test_a_book_fed_with_anything_stays_a_book(message: dict[str, Any]) -> None:
    book = LocalBook("1")
    try:
        for frame in parse.frames(json.dumps(message)):
            _feed(book, frame)
    except parse.ParseError:
        pass
    exact = book.book()
    assert all(0 <= price <= 1 and size >= 0 for price, size in (*exact.bids, *exact.asks))


def _feed(book: LocalBook, frame: parse.Frame) -> None:
    if isinstance(frame, parse.BookFrame):
        book.snapshot(frame, ts_init=1)
    elif isinstance(frame, parse.PriceChangeFrame):
        for change in frame.price_changes:
            book.change(change)
        book.changed(digest=None, ts_event=parse.milliseconds(frame.timestamp), ts_init=1)
    elif isinstance(frame, parse.BestBidAskFrame):
        book.top(frame, ts_init=1)
    elif isinstance(frame, parse.TickSizeFrame):
        book.set_tick(frame.new_tick_size)


@given(st.sampled_from(sorted(gamma_object(a_market()))), values)
def test_a_market_with_any_field_replaced_is_read_or_refused(key: str, value: object) -> None:
    body = json.dumps({**gamma_object(a_market()), key: value})
    try:
        market = gamma.market(body)
    except parse.ParseError:
        return
    assert market.fees is None or 0 <= market.fees.rate <= 1
    assert 0 < market.tick < 1


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 99), st.integers(0, 5)), max_size=40))
def test_the_kept_top_is_the_top_of_the_exact_book(steps: list[tuple[bool, int, int]]) -> None:
    book = LocalBook("1")
    book.snapshot(parse.BookFrame(asset_id="1", bids=[], asks=[], timestamp=0), ts_init=1)
    for buy, cents, size in steps:
        book.change(
            parse.WireChange(asset_id="1", side="BUY" if buy else "SELL", price=f"0.{cents:02d}", size=str(size))
        )
        book.changed(digest=None, ts_event=1, ts_init=1)
        exact = book.book()
        assert book.bid == pytest.approx(float(exact.bids[0].price) if exact.bids else 0)
        assert book.ask == pytest.approx(float(exact.asks[0].price) if exact.asks else 1)
