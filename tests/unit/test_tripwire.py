"""What counts as a change of a market's rules, and in what words."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from pmarb.domain.fees import FREE, FeeSchedule
from pmarb.domain.market import SpotTick
from services.risk.tripwire import changed
from services.scanner.rules import RuleBook, rules_of
from tests.scanning import a_market


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


def test_news_is_told_once_and_the_tick_that_refines_itself_at_the_extremes_is_none() -> None:
    book, market = RuleBook(), a_market()
    first = book.news(market, refined_at=None, now=1)
    assert first is not None
    assert (first.series, first.rules["fee"]) == ("btc-5m", "0.07^1")
    assert book.news(market, refined_at=None, now=2) is not None  # It has not gone out yet
    book.told(first)
    assert book.news(market, refined_at=None, now=3) is None
    fine = replace(market, tick=Decimal("0.001"))
    assert book.news(fine, refined_at=0.97, now=4) is None
    assert book.news(fine, refined_at=0.60, now=4) is not None
    assert book.news(fine, refined_at=None, now=4) is not None
    book.keep([])
    assert not book.knows(market.slug)
