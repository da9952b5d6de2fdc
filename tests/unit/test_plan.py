"""The plan of a bankroll: the research's table, and its page word by word."""

import random
from decimal import Decimal
from pathlib import Path

import pytest

from pmarb.domain.limits import Limits
from services.cli import plan
from services.cli.planning import chance_of_stop, make_plan

GOLDEN = Path(__file__).with_name("plan_200.txt")


@pytest.mark.parametrize(
    ("bankroll", "stake", "trades", "edge", "percent"),
    [
        (300, "2.75", 10, 0.0, 37),
        (300, "2.75", 10, 0.02, 17),
        (300, "2.75", 20, 0.0, 62),
        (200, "2.75", 10, 0.0, 66),
        (500, "2.75", 10, 0.0, 8),
        (500, "5.00", 10, -0.015, 61),
        (300, "5.00", 10, 0.0, 76),
    ],
)
def test_luck_reaches_the_stop_as_often_as_the_research_found(
    bankroll: int, stake: str, trades: int, edge: float, percent: int
) -> None:
    found = chance_of_stop(
        Decimal(bankroll), Decimal(stake), trades, Limits(), edge=edge, draws=random.Random(1), paths=1000
    )
    assert abs(found.chance * 100 - percent) < 5
    assert found.low < found.chance < found.high


def test_the_page_of_200_dollars(capsys: pytest.CaptureFixture[str]) -> None:
    """Written anew by: pm-arb plan --bankroll 200 > tests/unit/plan_200.txt"""
    plan.plan(bankroll="200", trades=10, rent="5", seed=1, json=False)
    printed = capsys.readouterr().out
    assert printed == GOLDEN.read_text()
    assert "do not run this live" in printed


def test_a_bankroll_below_everything_cannot_trade_and_a_large_one_may() -> None:
    poor = make_plan(bankroll=Decimal(10), limits=Limits(), trades_a_day=1, rent_month=Decimal(5),
                     draws=random.Random(1), paths=50)  # fmt: skip
    assert poor.objections[0] == "no order the venue takes is within the limits"
    assert "would not pay the server's $5 a month" in poor.objections[-1]
    rich = make_plan(bankroll=Decimal(5000), limits=Limits(), trades_a_day=10, rent_month=Decimal(5),
                     draws=random.Random(1), paths=50)  # fmt: skip
    assert rich.objections == ()
    assert rich.verdict.startswith("nothing here forbids it")
