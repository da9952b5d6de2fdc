"""Options that several commands share, and what they may be."""

import math
from typing import Annotated, Final

import typer

from services.cli.trouble import WRONG_USE, Trouble

SCENARIOS: Final = {
    "efficient": "makers and competitors as fast as measured: there is rarely anything to earn",
    "slow_makers": "makers ten times later and no competitors: a correct system earns",
    "no_competitors": "real makers, and nobody who races you for their stale quotes",
    "stale_oracle": "every minute the oracle falls silent for 25 s while everything else goes on",
    "crossed_book": "every 20 s the books show a bid above their ask for 3 s",
    "basis_jump": "every two minutes the oracle steps 8 basis points away from the index, or back",
    "restart_425": "the engine restarts: 90 s of 425, then two minutes post-only",
    "fee_change": "the fee of every market changes twice",
    "settlement_failed": "35 of 100 matched buys are ghosts: matched, then failed",
    "spot_gap": "every 90 s the index gaps by 20 basis points",
    "instant": "no delays anywhere: for tests of mechanics",
}
HIGHEST_SPEED: Final = 100.0

Scenario = Annotated[str, typer.Option(help=f"What the sandbox plays: {', '.join(SCENARIOS)}.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same prices and makers.")]


def checked_scenario(name: str) -> str:
    if name not in SCENARIOS:
        known = "\n".join(f"  {known:<18} {about}" for known, about in SCENARIOS.items())
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
