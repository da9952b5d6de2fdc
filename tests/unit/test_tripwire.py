"""What counts as a change of a market's rules, and in what words."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from pmarb.domain.fees import FREE, FeeSchedule
from pmarb.domain.market import MarketInfo, SpotTick
from pmarb.venue.parse import BookFrame, ParseError, WireLevel
from services.risk.tripwire import changed
from services.scanner.rules import RuleBook, rules_of
from tests.scanning import a_book, a_market


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fees": FeeSchedule(Decimal("0.10"))}, "fee 0.07^1 -> 0.1^1"),
        ({"fees": FREE}, "fee 0.07^1 -> 0^1"),
        ({"fees": None}, "fee 0.07^1 -> unknown"),
        ({"tick": Decimal("0.001")}, "tick 0.01 -> 0.001"),
        ({"min_size": Decimal(15)}, "min_size 5 -> 15"),
        ({"taker_delay": False}, "delay yes -> no"),
        ({"template": "f00"}, "template none -> f00"),
        ({"settlement": SpotTick()}, "settlement Twap(lookback=60) -> SpotTick()"),
        ({"neg_risk": True}, "neg_risk no -> yes"),
        ({"outcomes": a_market().outcomes[::-1]}, "tokens Up=1001,Down=1002 -> Down=1002,Up=1001"),
        ({"accepting": False, "closed": True}, ""),
    ],
)
def test_each_rule_that_changes_is_told_with_old_and_new(changes: dict[str, Any], words: str) -> None:
    assert changed(rules_of(a_market()), rules_of(a_market(**changes)), same_market=True) == words


def test_a_new_window_has_tokens_of_its_own_but_the_rules_of_its_series() -> None:
    other = a_market(outcomes=a_market().outcomes[::-1], min_size=Decimal(6))
    assert changed(rules_of(a_market()), rules_of(other), same_market=False) == "min_size 5 -> 6"


def test_news_is_told_once() -> None:
    book, market = RuleBook(), a_market()
    first = book.news(market, middles=[0.5], now=1)
    assert first is not None
    assert (first.series, first.rules["fee"]) == ("btc-5m", "0.07^1")
    assert book.news(market, middles=[0.5], now=2) is not None  # It has not gone out yet
    book.told(first)
    assert book.news(market, middles=[0.5], now=3) is None
    book.keep([])
    assert not book.knows(market.slug)


def known(market: MarketInfo) -> RuleBook:
    book = RuleBook()
    first = book.news(market, middles=[0.5], now=1)
    assert first is not None
    book.told(first)
    return book


def test_a_tick_that_refines_itself_at_the_extremes_is_no_news_for_the_markets_life() -> None:
    market, fine = a_market(), a_market(tick=Decimal("0.001"))
    book = known(market)
    assert book.unexplained(fine, [])
    assert book.unexplained(fine, [0.60])
    assert not book.unexplained(fine, [0.60, 0.97])
    assert book.news(fine, middles=[0.60], now=2) is None  # Seen once; a book made anew does not remember
    changed_too = book.news(replace(fine, min_size=Decimal(9)), middles=[0.60], now=3)
    assert changed_too is not None
    assert (changed_too.rules["min_size"], changed_too.rules["tick"]) == ("9", "0.01")
    for middles in ([], [0.60]):
        book = known(market)
        told = book.news(fine, middles=middles, now=2)
        assert told is not None
        assert told.rules["tick"] == "0.001"
        book.told(told)
        assert book.news(fine, middles=[0.97], now=3) is None  # Told as it is, it stays so


@pytest.mark.parametrize("middle", [0.97, 0.03, 0.60])
def test_a_tick_that_was_fine_when_a_scanner_came_is_no_change(middle: float) -> None:
    fine = a_market(tick=Decimal("0.001"))
    book = RuleBook()
    told = book.news(fine, middles=[middle], now=1)
    assert told is not None
    assert told.rules["tick"] == "0.01"
    book.told(told)
    assert book.news(fine, middles=[0.60], now=2) is None


def test_a_snapshot_with_a_finer_tick_is_of_its_own_prices() -> None:
    book = a_book("1", bid="0.93", ask="0.94")
    bids, asks = [WireLevel(price="0.96", size="5")], [WireLevel(price="0.98", size="5")]
    at = 9_000_000_000_000
    book.snapshot(BookFrame(asset_id="1", timestamp=at, tick_size="0.001", bids=bids, asks=asks), ts_init=9)
    assert book.refined_at == 0.97
    with pytest.raises(ParseError):
        book.snapshot(BookFrame(asset_id="1", timestamp=at, tick_size="2", bids=[], asks=[]), ts_init=9)
    assert (book.bid, book.ask, book.tick) == (0.96, 0.98, Decimal("0.001"))
