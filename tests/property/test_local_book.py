"""The tops of a kept book are those of its levels, whatever the changes were, refused ones included."""

import contextlib
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from pmarb.venue.books import LocalBook
from pmarb.venue.parse import BookFrame, ParseError, WireChange, WireLevel

PRICES = st.sampled_from(["0.10", "0.20", "0.30", "0.50", "0.99"])  # Few, so that levels come and go
SIZES = st.sampled_from(["0", "0.00", "5", "12.5", "1e3", "-1", "nan", "many"])
CHANGES = st.builds(
    WireChange,
    asset_id=st.sampled_from(["1", "1", "1", "2"]),
    price=st.one_of(PRICES, st.just("2.0")),
    size=SIZES,
    side=st.sampled_from(["BUY", "SELL"]),
    hash=st.just("h"),
)


LEVELS = st.lists(st.builds(WireLevel, price=PRICES, size=st.just("3")), max_size=4)


@given(st.lists(st.lists(CHANGES, max_size=6), min_size=1, max_size=8), LEVELS, LEVELS)
def test_tops_are_kept_as_changes_go(
    frames: list[list[WireChange]], bids: list[WireLevel], asks: list[WireLevel]
) -> None:
    book = LocalBook("1")
    book.snapshot(BookFrame(asset_id="1", bids=bids, asks=asks, timestamp=1), ts_init=1)
    for number, changes in enumerate(frames, start=2):
        with contextlib.suppress(ParseError):
            book.take(changes)
        book.changed(digest="h", ts_event=number, ts_init=number)
        exact = book.book()
        assert Decimal(repr(book.bid)) == max((price for price, _ in exact.bids), default=Decimal(0))
        assert Decimal(repr(book.ask)) == min((price for price, _ in exact.asks), default=Decimal(1))
