"""A replay compares markets with each other too, and carries a set through as the executor would."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pmarb.domain.values import NANOS
from pmarb.venue import rules, tape
from services.replay.report import TapeReport
from services.replay.run import Parameters, replay
from tests.unit.test_rules import ABOVE_TEXT, a_body

NOON = rules.noon(date(2026, 11, 26)) // NANOS
BEGIN, SEEN = NOON - 4000, NOON - 3600
LOWER, HIGHER = 83_000, 84_000
YES, NO = "Yes", "No"
TOKENS = {(LOWER, YES): "11", (LOWER, NO): "12", (HIGHER, YES): "21", (HIGHER, NO): "22"}
RICH = Parameters(bankroll=Decimal(2000), model_weight=0.0)


def a_strike(strike: int) -> dict[str, Any]:
    body = a_body(ABOVE_TEXT, f"Will the price of Bitcoin be above ${strike:,} on November 26?")
    body |= {"clobTokenIds": json.dumps([TOKENS[strike, YES], TOKENS[strike, NO]]), "conditionId": f"0x{strike}"}
    body |= {"slug": f"above-{strike}", "active": True, "acceptingOrders": True, "enableOrderBook": True}
    return body | {"eventStartTime": f"{datetime.fromtimestamp(BEGIN, tz=UTC):%Y-%m-%dT%H:%M:%SZ}"}


def a_book(strike: int, outcome: str, bid: str, ask: str, *, size: str) -> dict[str, Any]:
    return {
        "event_type": "book",
        "market": f"0x{strike}",
        "asset_id": TOKENS[strike, outcome],
        "bids": [{"price": bid, "size": size}],
        "asks": [{"price": ask, "size": size}],
        "timestamp": str(SEEN * 1000),
    }


def both(strike: int, bid: str, ask: str, *, size: str) -> list[dict[str, Any]]:
    """The two sides of one mirrored book; the prices are those of Yes."""
    turned = [str(1 - Decimal(price)) for price in (ask, bid)]
    return [a_book(strike, YES, bid, ask, size=size), a_book(strike, NO, *turned, size=size)]


def of_tape(path: Path, *changes: dict[str, Any]) -> TapeReport:
    """What is made of a strike that is cheaper than a higher one; `changes` come before the first leg is answered."""
    with tape.TapeWriter(path, fields={"venue": "polymarket"}, level=3) as writer:
        for second in range(BEGIN, SEEN + 20):
            if second == SEEN - 10:
                for strike in (LOWER, HIGHER):
                    writer.add(t=second * NANOS, src="gamma", msg=a_strike(strike))
            price = {"e": "trade", "s": "BTCUSDT", "p": "83500.00", "E": second * 1000, "T": second * 1000}
            writer.add(t=second * NANOS, src="spot.binance", msg=price)
            if second == SEEN:
                cheap, dear = both(LOWER, "0.39", "0.40", size="60"), both(HIGHER, "0.50", "0.51", size="900")
                writer.add(t=second * NANOS, src="clob.market", msg=json.dumps([*cheap, *dear]))
                for change in changes:
                    writer.add(t=second * NANOS + NANOS // 5, src="clob.market", msg=json.dumps([change]))
        for strike in (LOWER, HIGHER):
            done = {"event_type": "market_resolved", "market": f"0x{strike}", "timestamp": str(NOON * 1000)}
            done |= {"winning_outcome": "No", "winning_asset_id": TOKENS[strike, NO]}
            writer.add(t=(NOON + 200) * NANOS, src="clob.market", msg=done)
    first, second_ = replay([path], RICH), replay([path], RICH)
    assert first.decision_hash == second_.decision_hash
    return first.tapes[0]


def test_a_ladder_that_cannot_be_right_is_bought_whole_and_pays(tmp_path: Path) -> None:
    found = of_tape(tmp_path / "ladder.tape.jsonl.zst")
    assert found.sets == {"complete": 1}, found.as_dict()
    assert (found.orders, found.fills, found.settled, found.unsettled) == (2, 2, 2, 0)
    assert found.pnl > 0


DEARER = a_book(HIGHER, NO, "0.68", "0.70", size="900")
NO_WAY_OUT = a_book(LOWER, NO, "0.55", "0.80", size="60")
GONE = a_book(LOWER, YES, "0.55", "0.60", size="60")


@pytest.mark.parametrize(
    ("changes", "ending", "fills"),
    [((DEARER,), "exited", 2), ((DEARER, NO_WAY_OUT), "held", 1), ((GONE,), "nothing", 0)],
    ids=["left", "held", "missed"],
)
def test_a_leg_that_was_missed_ends_the_set(
    tmp_path: Path, changes: tuple[dict[str, Any], ...], ending: str, fills: int
) -> None:
    found = of_tape(tmp_path / "ladder.tape.jsonl.zst", *changes)
    assert found.sets[ending] == 1, found.as_dict()
    assert (found.fills, found.settled, found.unsettled) == (fills, fills, 0)
    assert found.pnl <= 0
