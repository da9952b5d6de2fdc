"""The meter's verdict on evidence whose truth is known, and the three ways to fill a paper order."""

import random
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pmarb.domain.evidence import Evidence, Paid, joined
from pmarb.domain.meter import Reading, Standard, Verdict, read
from services.cli.__main__ import app
from services.cli.evaluation_report import write_report
from services.cli.reading import body, sections
from services.replay.__main__ import main
from services.replay.marking import Marker
from services.replay.run import Parameters, replay
from services.replay.sweep import SweepError, parsed
from tests.evidence import a_bet, bets_with, evidence, samples_with
from tests.scanning import write_tape

QUICK = Standard(rounds=300)


def reading_of(found: Evidence) -> Reading:
    return read(found, random.Random(1), QUICK)


def test_a_real_edge_is_called_one() -> None:
    result = reading_of(evidence(0.04))
    assert result.verdict is Verdict.EDGE, result.words
    assert result.more == 0
    assert all(criterion.met for criterion in result.criteria)
    assert result.forecasts is not None
    assert result.forecasts.gap is not None
    assert result.forecasts.gap.mean > 0


def test_losing_marks_are_no_edge() -> None:
    result = reading_of(evidence(-0.03))
    assert result.verdict is Verdict.NO_EDGE, result.words
    assert result.trading.marks[5].high < 0


def test_an_edge_too_small_to_matter_is_no_edge() -> None:
    result = reading_of(Evidence(bets=bets_with(0.002, count=400)))
    assert result.verdict is Verdict.NO_EDGE, result.words


def test_few_trades_are_not_enough_and_say_how_many_are_missing() -> None:
    result = reading_of(evidence(0.02, count=12))
    assert result.verdict is Verdict.NOT_ENOUGH
    assert 20 <= result.more <= 60
    assert f"about {result.more:,} more trades needed" in result.words
    nothing = reading_of(Evidence())
    assert (nothing.verdict, nothing.more) == (Verdict.NOT_ENOUGH, 39)


def test_a_market_that_forecasts_better_in_general_may_still_be_late_where_it_was_bet() -> None:
    late = Evidence(samples=samples_with(0.15, 0.01, windows=150), bets=bets_with(0.04, count=150))
    result = reading_of(late)
    assert result.forecasts is not None
    assert result.forecasts.gap is not None
    assert result.forecasts.gap.high < 0
    assert result.verdict is Verdict.EDGE, result.words


@pytest.mark.parametrize("filled", [True, False])
def test_an_edge_where_the_market_was_wiser_is_the_models_error(filled: bool) -> None:
    wrong = [
        a_bet(300 + n, fair=Decimal("0.95"), mid=Decimal("0.5"), won=n % 2 == 0, marks={5: Decimal("0.55")})
        for n in range(100)
    ]
    bets = wrong if filled else [replace(bet, filled=None, optimistic=None, pessimistic=None) for bet in wrong]
    result = reading_of(Evidence(samples=evidence(0.04).samples, bets=(*bets_with(0.04, count=150), *bets)))
    assert [c.name for c in result.criteria if not c.met] == ["market not certainly wiser where it was bet"]
    assert result.verdict is Verdict.NOT_ENOUGH


def test_orders_without_a_middle_are_judged_by_all_forecasts() -> None:
    found = evidence(-0.03)
    blind = tuple(replace(bet, mid=None) for bet in bets_with(0.04, count=150))
    result = reading_of(replace(found, bets=blind))
    assert [c.name for c in result.criteria if not c.met] == ["market not certainly wiser where it was bet"]


def test_an_edge_that_a_slow_path_loses_is_not_promoted() -> None:
    found = evidence(0.04)
    dear = Paid(shares=Decimal(10), price=Decimal("0.56"), fee=Decimal("0.17"))
    late = Evidence(samples=found.samples, bets=tuple(replace(bet, pessimistic=dear) for bet in found.bets))
    result = reading_of(late)
    assert result.verdict is not Verdict.EDGE
    assert [c.name for c in result.criteria if not c.met] == ["still above 0 on a slow order path"]


def test_outcomes_alone_need_many_more_trades() -> None:
    unmarked = tuple(replace(bet, marks={}, won=n % 2 == 0) for n, bet in enumerate(bets_with(0.0, count=100)))
    result = reading_of(Evidence(bets=unmarked))
    assert result.verdict is Verdict.NOT_ENOUGH
    assert result.more == 3864 - 100


def test_a_reading_depends_on_its_seed_and_on_nothing_else() -> None:
    assert reading_of(evidence(0.04)) == reading_of(evidence(0.04))


def test_controls_and_unfilled_orders_are_reported() -> None:
    found = evidence(0.04)
    missed = a_bet(500, filled=None, optimistic=None, pessimistic=None, opposite=None, marks={}, won=True)
    result = reading_of(replace(found, bets=(*found.bets, missed)))
    trading = result.trading
    assert (trading.orders, trading.filled) == (151, 150)
    assert trading.won_unfilled == 1.0
    assert trading.opposite is not None
    assert trading.opposite.mean < 0
    assert trading.random is not None
    assert trading.random.mean < 0.05
    assert trading.attribution.total == trading.pnl
    assert {bucket.name for bucket in trading.buckets} >= {"side Up", "asset btc", "family 5m"}


def test_report_has_the_verdict_the_figures_and_the_picture(tmp_path: Path) -> None:
    found = evidence(0.04, count=60)
    result = reading_of(found)
    write_report(tmp_path / "out", result, found)
    assert (tmp_path / "out" / "meter.png").read_bytes().startswith(b"\x89PNG")
    for name in ("report.md", "report.html"):
        text = (tmp_path / "out" / name).read_text()
        assert str(result.verdict) in text
        assert "Three fills of the same orders" in text
    assert body(result)["outcomes_needed"] == {"1c": 15456, "2c": 3864, "3c": 1717, "5c": 618}
    assert all(rows for _, rows in sections(result))


def test_a_tape_is_evaluated_from_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "late.tape.jsonl.zst"
    write_tape(path, seed=3)
    found = CliRunner().invoke(
        app, ["evaluate", str(path), "--json", "--rounds", "200", "--replay-with", "--model-weight 1"]
    )
    assert found.exit_code == 0, found.output
    assert '"verdict":"not enough evidence"' in found.output
    assert '"samples":9' in found.output


def test_a_paper_order_is_filled_three_times_and_marked(tmp_path: Path) -> None:
    path = tmp_path / "late.tape.jsonl.zst"
    write_tape(path, seed=3)
    report = replay([path], Parameters(model_weight=1.0))
    found = report.tapes[0].evidence
    bet = found.bets[0]
    assert bet.optimistic is not None
    assert bet.filled is not None
    assert bet.filled.shares <= bet.optimistic.shares
    assert bet.opposite is not None
    assert set(bet.marks) == {1, 5, 30, 60}
    assert len(found.samples) == 9
    assert all(sample.mid is not None for sample in found.samples)
    modes = report.as_dict()["fills_by"]
    assert Decimal(modes["gap"]) == Decimal(modes["optimistic"]["pnl"]) - Decimal(modes["pessimistic"]["pnl"])
    assert joined((found, found)).samples[0] == found.samples[0]


def test_orders_of_a_ledger_are_marked_by_the_tape_of_their_hours(tmp_path: Path) -> None:
    path = tmp_path / "late.tape.jsonl.zst"
    write_tape(path, seed=3)
    found = replay([path], Parameters(model_weight=1.0)).tapes[0].evidence
    bare = Evidence(bets=tuple(replace(bet, marks={}, opposite=None) for bet in found.bets))
    marker = Marker(bare)
    again = replay([path], marker=marker).tapes[0].evidence
    marked = marker.marked(again)
    assert [(bet.marks, bet.opposite) for bet in marked.bets] == [(bet.marks, bet.opposite) for bet in found.bets]
    assert marked.samples == found.samples


def test_a_sweep_runs_every_combination_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "late.tape.jsonl.zst"
    write_tape(path, seed=3)
    options = ["--model-weight", "1", "--sweep", "k_se=0,2", "--sweep", "min_edge=2,60", "--workers", "2"]
    assert main([str(path), *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0].split("  ")[1] for line in lines] == [
        "k_se=0 min_edge=2",
        "k_se=0 min_edge=60",
        "k_se=2 min_edge=2",
        "k_se=2 min_edge=60",
    ]
    assert ["opportunities 0 " in line for line in lines] == [False, True, False, True]
    with pytest.raises(SweepError, match="write NAME=VALUE"):
        parsed(["colour=red"])
