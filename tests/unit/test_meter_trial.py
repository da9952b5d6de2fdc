"""The simulated market that tries the meter: the real rules trade it, and a seed is a seed."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bench import trial
from bench.trial import LIMITS, Notebook, Task, live, measure, one
from pmarb.domain.meter import Verdict
from services.replay.engine import Engine


def test_a_seed_lives_the_same_life_twice_and_leaves_evidence() -> None:
    one, other = live("slow_makers", 1, 0.35), live("slow_makers", 1, 0.35)
    assert one.report.decision_hash == other.report.decision_hash
    found = one.report.evidence
    assert found == other.report.evidence
    assert one.report.settlement.agreed == one.report.settlement.known > 0
    assert any(bet.filled for bet in found.bets)
    assert all(bet.marks for bet in found.bets if bet.closes_at - bet.decided_at > 70e9)
    assert all(sample.mid is not None for sample in found.samples[:20])
    assert measure(one, 1).verdict is not Verdict.EDGE, "twenty minutes are not enough"


@pytest.mark.parametrize(("scenario", "k_se"), [("efficient", 2.0), ("efficient", 0.0), ("slow_makers", 2.0)])
def test_what_the_screen_leaves_out_would_have_found_nothing(scenario: str, k_se: float) -> None:
    limits = replace(LIMITS, k_se=k_se)
    screened, whole = live(scenario, 2, 0.2, limits), live(scenario, 2, 0.2, limits, kind=Engine)
    assert screened.report.looks < whole.report.looks
    assert screened.report.opportunities == whole.report.opportunities > 0
    assert screened.report.decision_hash == whole.report.decision_hash
    assert screened.report.evidence == whole.report.evidence


def test_outcomes_are_kept_and_not_lived_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "outcomes.jsonl"
    first = one(Task(scenario="efficient", seed=5, hours=0.1, k_se=0.0))
    Notebook(file).note(first)
    Notebook(file).note(replace(first, task=replace(first.task, scenario="slow_makers"), verdict=Verdict.EDGE))
    assert Notebook(file).known[first.task] == first
    assert json.loads(file.read_text().splitlines()[0])["task"] == asdict(first.task)

    def lived(task: Task) -> None:
        raise AssertionError(f"{task} was lived again")

    monkeypatch.setattr(trial, "one", lived)
    options = ["--seeds", "1", "--first-seed", "5", "--hours", "0.1", "--k-se", "0", "--rarity-hours", "0"]
    assert trial.main([*options, "--json", str(file)]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == {
        "efficient": {"edge": 0, "no_edge": 0, "not_enough": 1},
        "slow_makers": {"edge": 1, "no_edge": 0, "not_enough": 0},
    }
    assert "false promotions: 0 of 1" in said.err
