"""Options that several commands share, and what they may be."""

import math
from typing import Annotated, Final

import typer

from services.cli.trouble import WRONG_USE, Trouble

SCENARIOS: Final = {
    "efficient": "makers and competitors as fast as measured: there is rarely anything to earn",
    "slow_makers": "makers ten times later and no competitors: a correct system earns",
    "instant": "no delays anywhere: for tests of mechanics",
}
HIGHEST_SPEED: Final = 100.0

Scenario = Annotated[str, typer.Option(help=f"What the sandbox plays: {', '.join(SCENARIOS)}.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same prices and makers.")]


def checked_scenario(name: str) -> str:
    if name not in SCENARIOS:
        known = "\n".join(f"  {known:<12} {about}" for known, about in SCENARIOS.items())
        raise Trouble(f"--scenario was {name!r}. It may be:\n{known}", WRONG_USE)
    return name


def checked_speed(speed: float) -> float:
    if not math.isfinite(speed) or not 0 < speed <= HIGHEST_SPEED:
        raise Trouble(f"--speed was {speed:g}. It may be above 0 and up to {HIGHEST_SPEED:g}.", WRONG_USE)
    return speed


def checked_seconds(seconds: float) -> float:
    if not math.isfinite(seconds) or seconds <= 0:
        raise Trouble(f"--seconds was {seconds:g}. It may be any number above 0.", WRONG_USE)
    return seconds
