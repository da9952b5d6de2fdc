"""Flags, environment, and errors that say what is allowed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.sandbox.catalog import FAMILY_NAMES
from services.sandbox.settings import SettingError, read_settings

ROOT = Path(__file__).parents[3]


def test_a_flag_wins_over_the_environment_and_that_over_the_default():
    settings = read_settings(["--seed", "5"], {"SANDBOX_SEED": "6", "CLOCK_SPEED": "10", "SANDBOX_PORT": "0"})
    assert (settings.run.seed, settings.run.speed, settings.port, settings.run.bankroll_usd) == (5, 10.0, 0, 300)
    assert settings.run.scenario.name == "efficient"


def test_families_are_named_or_all():
    assert read_settings([], {}).run.families == ("5m", "15m")
    assert read_settings(["--families", "1h, range"], {}).run.families == ("1h", "range")
    assert read_settings([], {"SANDBOX_FAMILIES": "all"}).run.families == FAMILY_NAMES


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("SANDBOX_SCENARIO", "paradise", "slow_makers"),
        ("CLOCK_SPEED", "0", "above 0"),
        ("CLOCK_SPEED", "fast", "above 0"),
        ("SANDBOX_FAMILIES", "5m,weekly", "hit, plain"),
        ("SANDBOX_FAMILIES", ",", "all, or 5m, 15m"),
        ("SANDBOX_PORT", "70000", "65535"),
        ("BANKROLL_USD", "-1", "whole dollars"),
    ],
)
def test_a_bad_value_names_its_variable_and_what_is_allowed(variable, value, allowed):
    with pytest.raises(SettingError) as caught:
        read_settings([], {variable: value})
    assert variable in str(caught.value)
    assert allowed in str(caught.value)


def test_the_process_exits_with_two_and_one_line_on_a_bad_value():
    env = os.environ | {"SANDBOX_SCENARIO": "paradise", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "services.sandbox"], env=env, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
