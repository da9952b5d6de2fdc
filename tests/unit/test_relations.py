"""Sets among watched markets: told when proven and paid for, and for no other reason."""

import itertools
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from pmarb.domain.market import Above, Between, Outcome, Settlement, Twap
from pmarb.domain.values import NANOS
from pmarb.venue import rules
from services.scanner.decide import Watched
from services.scanner.relations import Proven, bundles, judge
from tests.scanning import a_book, a_market, limits

NOON = rules.noon(date(2026, 11, 26))
NOW = NOON - 3600 * NANOS


def a_strike(name: str, rule: Settlement, *, bid: str, ask: str, proven: int = NOW, **changes: Any) -> Watched:
    market = a_market(
        slug=name,
        condition_id=f"0x{name}",
        event="an-event",
        settlement=rule,
        family="above",
        opens_at=NOON - 86_400 * NANOS,
        closes_at=NOON,
        outcomes=(Outcome(label="Yes", token=f"{name}y"), Outcome(label="No", token=f"{name}n")),
    )
    up = a_book(f"{name}y", bid=bid, ask=ask)
    down = a_book(f"{name}n", bid=str(1 - Decimal(ask)), ask=str(1 - Decimal(bid)))
    return Watched(market=replace(market, **changes), up=up, down=down, proven=proven)


def a_ladder(**changes: Any) -> list[Watched]:
    """The higher strike is dearer than the lower one: Yes of the lower at .50 and No of the higher at .38."""
    low = a_strike("low", Above(strike=82_000), bid="0.49", ask="0.50")
    return [low, a_strike("high", Above(strike=84_000), bid="0.62", ask="0.63", **changes)]


def found(watched: list[Watched], **changes: Any) -> Any:
    judged = [judge(bundle, limits(**changes), now=NOW, real=NOW) for bundle in bundles(watched)]
    return next((one for one in judged if one is not None), None)


def test_sets_are_proven_anew_only_when_markets_or_the_references_of_windows_change() -> None:
    low, high = a_ladder()
    proven = Proven()
    (ladder,) = proven.among([low, high])
    assert proven.among([low, high])[0] is ladder
    low.stated_strike = 82_500.0  # Proves nothing of a strike
    assert proven.among([low, high])[0] is ladder
    higher = a_strike("higher", Above(strike=85_000), bid="0.30", ask="0.31")
    assert len(proven.among([low, high, higher])) == 3
    assert len(proven.among([low, higher])) == 1
    low.market = replace(low.market, fees=None)
    assert proven.among([low, higher]) == ()

    windows = [a_window("five", 84_000.0), a_window("fifteen", 84_100.0)]
    assert [side.watched for side in proven.among(windows)[0].sides] == windows
    windows[0].stated_strike = 84_200.0
    assert [side.watched for side in proven.among(windows)[0].sides] == windows[::-1]
    windows[0].stated_strike = None
    assert proven.among(windows) == ()


def a_window(name: str, strike: float) -> Watched:
    window = a_strike(name, Twap(lookback=60), bid="0.49", ask="0.50")
    window.stated_strike = strike
    return window


def test_a_broken_ladder_is_told_with_all_its_terms() -> None:
    told = found(a_ladder())
    assert [(leg.token, leg.outcome, leg.price) for leg in told.legs] == [
        ("lowy", "Yes", Decimal("0.50")),
        ("highn", "No", Decimal("0.38")),
    ]
    fees = Decimal("0.0175") + Decimal("0.07") * Decimal("0.38") * Decimal("0.62")
    assert told.net_edge == pytest.approx(Decimal("0.12") - fees, abs=Decimal("0.000002"))
    assert told.gross_edge - told.fee == told.net_edge
    assert told.net_edge >= told.threshold > limits().min_edge
    assert told.bound_by == "leg_risk"
    assert {"leg_risk", "unwind", "skew_ms", "lock_s", "apr", "payoff"} <= set(told.inputs)
    assert len({leg.shares for leg in told.legs}) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"closes_at": NOON + 86_400 * NANOS},
        {"underlying": "eth"},
        {"fees": None},
        {"accepting": False},
        {"proven": NOW - 3 * NANOS},
        {"proven": NOW - NANOS},
    ],
)
def test_what_is_not_proven_or_not_readable_is_not_told(changes: dict[str, Any]) -> None:
    assert found(a_ladder(**changes)) is None


def test_a_sound_ladder_and_a_thin_edge_are_not_told() -> None:
    low = a_strike("low", Above(strike=82_000), bid="0.61", ask="0.62")
    assert found([low, a_strike("high", Above(strike=84_000), bid="0.49", ask="0.50")]) is None
    assert found(a_ladder(), min_edge=Decimal("0.09")) is None


def a_set(asks: list[str]) -> list[Watched]:
    borders = [None, 80_000.0, 82_000.0, None]
    ranges = [Between(low=a, high=b) for a, b in itertools.pairwise(borders)]
    return [
        a_strike(f"r{n}", rule, bid=str(Decimal(ask) - Decimal("0.01")), ask=ask, neg_risk=True)
        for n, (rule, ask) in enumerate(zip(ranges, asks, strict=True))
    ]


def test_a_whole_set_is_told_and_a_part_of_it_is_not() -> None:
    told = found(a_set(["0.30", "0.30", "0.25"]))
    assert told.strategy == "bundle_set"
    assert [leg.outcome for leg in told.legs] == ["Yes"] * 3
    no = found(a_set(["0.45", "0.40", "0.35"]))
    assert [leg.outcome for leg in no.legs] == ["No"] * 3
    assert no.fair == 2
    assert found(a_set(["0.30", "0.30", "0.25"])[:2]) is None
    assert found(a_set(["0.34", "0.33", "0.34"])) is None
    other = a_set(["0.30", "0.30", "0.25"])
    other[1].market = replace(other[1].market, augmented=True)
    assert found(other) is None
