"""Scenarios from JSON files: a base, changed knobs, and a timetable of faults.

    {"name": "bad_day", "summary": "...", "base": "efficient",
     "knobs": {"hold_ms": 250, "competitors": false, "maker_lag": {"median": 2.0, "sigma": 1.0}},
     "faults": [{"at_s": 30, "kind": "lost_reply", "count": 2}, {"at_s": 60, "every_s": 60, "kind": "ws_freeze"}]}

Only `name` is required. Knobs are the fields of `Scenario`; faults are those of `POST /sandbox/faults`, at venue
seconds after the start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import orjson

from services.sandbox.fault_specs import parse_timed
from services.sandbox.scenario import DEFAULT_SCENARIO, SCENARIOS, Lognormal, Scenario

KEYS = {"name", "summary", "base", "knobs", "faults"}
NOT_KNOBS = {"name", "summary", "faults"}


def scenario_of(text: str) -> Scenario:
    """A known name or the path of a JSON file. Raises ValueError or KeyError."""
    if not text.endswith(".json"):
        return SCENARIOS[text]
    try:
        body = orjson.loads(Path(text).read_bytes())
    except OSError as error:
        raise ValueError(f"{text}: {error.strerror}") from error
    return parse_scenario(body)


def parse_scenario(body: object) -> Scenario:
    """Raises ValueError that says what was wrong."""
    if not isinstance(body, dict) or not body.get("name"):
        raise ValueError("a scenario is a JSON object with a name")
    unknown = sorted(set(body) - KEYS)
    if unknown:
        raise ValueError(f"unknown keys: {', '.join(unknown)}; allowed: {', '.join(sorted(KEYS))}")
    base = SCENARIOS.get(str(body.get("base", DEFAULT_SCENARIO)))
    if base is None:
        raise ValueError(f"base must be one of {', '.join(SCENARIOS)}")
    knobs = _knobs(base, body.get("knobs", {}))
    faults = tuple(parse_timed(each) for each in body.get("faults", []))
    summary = str(body.get("summary", f"{base.name} with changes"))
    return replace(base, name=str(body["name"]), summary=summary, faults=base.faults + faults, **knobs)


def _knobs(base: Scenario, wanted: Mapping[str, Any]) -> dict[str, Any]:
    known = {field.name for field in fields(Scenario)} - NOT_KNOBS
    unknown = sorted(set(wanted) - known)
    if unknown:
        raise ValueError(f"unknown knobs: {', '.join(unknown)}; allowed: {', '.join(sorted(known))}")
    return {name: _value(name, getattr(base, name), value) for name, value in wanted.items()}


def _value(name: str, current: object, value: Any) -> object:
    """A value of the type that the knob has; of a lognormal one a number changes the median."""
    try:
        if isinstance(current, Lognormal):
            if isinstance(value, dict):
                return replace(current, **{key: float(number) for key, number in value.items()})
            return replace(current, median=float(value))
        if isinstance(current, tuple):
            return tuple((int(first), float(second)) for first, second in value)
        return bool(value) if isinstance(current, bool) else float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"knob {name} was {value!r}") from error
