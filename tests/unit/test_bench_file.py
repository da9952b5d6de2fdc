"""The bench's file has the promised names, units and baselines."""

import json
from pathlib import Path

import pytest

from bench import latest
from bench.measure import Measured


def a_row(name: str, unit: str, *, baseline: float = 2.0) -> Measured:
    return Measured(name=name, unit=unit, median=1.0, p99=9.0, baseline_name="the floor", baseline=baseline)


def test_rows_are_written_under_names_that_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latest, "OUT", tmp_path / "out" / "latest.json")
    rows = [a_row(name, "us") for name in latest.NAMES]
    rows += [a_row("tick to wire", "ms"), a_row("judge an opportunity", "us"), a_row("odd", "/s", baseline=0)]
    found = {entry["name"]: entry for entry in json.loads(latest.write(rows, "a machine").read_text())}
    promised = {"replay_events_per_s", "scanner_us_per_tick", "scanner_us_per_market", "book_message_us"}
    promised |= {"tick_to_wire_p50_ms", "tick_to_wire_p99_ms"}
    assert promised <= found.keys()
    assert (found["tick_to_wire_p50_ms"]["value"], found["tick_to_wire_p99_ms"]["value"]) == (1.0, 9.0)
    assert found["tick_to_wire_p99_ms"]["ratio"] == 4.5
    assert found["judge_an_opportunity_us"]["machine"] == "a machine"
    assert {"name", "value", "unit", "baseline", "ratio", "machine"} <= found["odd_per_s"].keys()
    assert found["odd_per_s"]["ratio"] is None
