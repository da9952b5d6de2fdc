"""Command line and environment of the sandbox. A flag wins over its environment variable, that over the default."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from services.sandbox.catalog import DEFAULT_FAMILIES, FAMILY_NAMES, families_named
from services.sandbox.journal import FileJournal, Journal
from services.sandbox.recovery import continued
from services.sandbox.scenario import DEFAULT_SCENARIO, SCENARIOS
from services.sandbox.scenario_file import scenario_of
from services.sandbox.tape import TapeFile
from services.sandbox.world import RunSettings

Value = TypeVar("Value")
MAX_SPEED = 100.0
EPILOG = """\
examples:
  python -m services.sandbox                                   port 8900, real time, measured defaults
  python -m services.sandbox --port 0 --json                   free port; prints one JSON line when ready
  python -m services.sandbox --scenario slow_makers --speed 10 ten venue seconds a second, makers that sleep

scenarios:
"""


class SettingError(ValueError):
    """A value that cannot be used; the text names the variable and what is allowed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Where to listen, how to print, what to run, and where to remember it."""

    host: str
    port: int
    as_json: bool
    run: RunSettings
    state: Path | None
    anchor_stated: bool

    def begin(self) -> tuple[RunSettings, Journal]:
        """The run and its journal; with a state, that of the run it holds. Raises JournalError."""
        if self.state is None:
            return self.run, Journal()
        journal = FileJournal(self.state)
        return continued(self.run, journal, anchor_stated=self.anchor_stated), journal


def read_settings(argv: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Raises SettingError for a bad value."""
    flags = vars(parser().parse_args(argv))

    def pick(flag: str, variable: str, default: str, parse: Callable[[str], Value], allowed: str) -> Value:
        raw = flags[flag] if flags[flag] is not None else environment.get(variable, "") or default
        try:
            return parse(raw)
        except (ValueError, KeyError) as error:
            was = f"{raw!r} ({error})" if raw.endswith((".json", ".zst")) else repr(raw)
            raise SettingError(f"{variable} (--{flag.replace('_', '-')}) was {was}; allowed: {allowed}") from error

    names, families = ", ".join(SCENARIOS), ", ".join(FAMILY_NAMES)
    return Settings(
        host=pick("host", "SANDBOX_HOST", "127.0.0.1", str, "an address to listen on"),
        port=pick("port", "SANDBOX_PORT", "8900", _within(0, 65535), "0 (any free port) to 65535"),
        as_json=flags["json"],
        state=pick("state", "SANDBOX_STATE", "", _folder, "a folder"),
        anchor_stated=bool(flags["anchor_ns"] or environment.get("CLOCK_ANCHOR_NS")),
        run=RunSettings(
            seed=pick("seed", "SANDBOX_SEED", "1", _within(0, 2**63), "a whole number from 0"),
            scenario=pick("scenario", "SANDBOX_SCENARIO", DEFAULT_SCENARIO, scenario_of, f"{names}, or a FILE.json"),
            speed=pick("speed", "CLOCK_SPEED", "1", _speed, f"a number above 0 and up to {MAX_SPEED:g}"),
            anchor_ns=pick(
                "anchor_ns", "CLOCK_ANCHOR_NS", str(time.time_ns()), _within(1, 2**63), "nanoseconds since 1970"
            ),
            tape=pick("tape", "SANDBOX_TAPE", "", _tape, "a file FILE.tape.jsonl.zst"),
            families=pick("families", "SANDBOX_FAMILIES", ",".join(DEFAULT_FAMILIES), _families, f"all, or {families}"),
            bankroll_usd=pick("bankroll", "BANKROLL_USD", "300", _within(0, 10**9), "whole dollars from 0"),
        ),
    )


def parser() -> argparse.ArgumentParser:
    described = "\n".join(f"  {each.name:<17} {each.summary}" for each in SCENARIOS.values())
    made = argparse.ArgumentParser(
        prog="python -m services.sandbox",
        description="A Polymarket look-alike to test against: signed orders, books, streams, fees, settlement, faults.",
        epilog=EPILOG + described,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--host", help="address to listen on (SANDBOX_HOST, default 127.0.0.1)")
    made.add_argument("--port", help="port, 0 for any free one (SANDBOX_PORT, default 8900)")
    made.add_argument("--seed", help="prices, keys, markets and settlement follow from it (SANDBOX_SEED, default 1)")
    made.add_argument(
        "--scenario", help=f"{', '.join(SCENARIOS)}, or a FILE.json (SANDBOX_SCENARIO, default {DEFAULT_SCENARIO})"
    )
    made.add_argument(
        "--families", help=f"all, or some of {', '.join(FAMILY_NAMES)} (SANDBOX_FAMILIES, default 5m,15m)"
    )
    made.add_argument("--tape", help="show the books of a recording instead of made-up markets (SANDBOX_TAPE)")
    made.add_argument("--speed", help="venue seconds a real second (CLOCK_SPEED, default 1)")
    made.add_argument("--anchor-ns", help="moment where venue time equals real time (CLOCK_ANCHOR_NS, default now)")
    made.add_argument("--bankroll", help="dollars on each account (BANKROLL_USD, default 300)")
    made.add_argument("--state", help="folder to remember the run in; the next start goes on with it (SANDBOX_STATE)")
    made.add_argument("--json", action="store_true", help="print one JSON line when ready instead of text")
    return made


def _within(low: int, high: int) -> Callable[[str], int]:
    def parse(raw: str) -> int:
        value = int(raw)
        if not low <= value <= high:
            raise ValueError(raw)
        return value

    return parse


def _families(raw: str) -> tuple[str, ...]:
    if raw.strip() == "all":
        return FAMILY_NAMES
    names = tuple(part.strip() for part in raw.split(",") if part.strip())
    if not names:
        raise ValueError(raw)
    families_named(names)
    return names


def _tape(raw: str) -> TapeFile | None:
    return TapeFile(raw) if raw else None


def _folder(raw: str) -> Path | None:
    return Path(raw) if raw else None


def _speed(raw: str) -> float:
    value = float(raw)
    if not 0 < value <= MAX_SPEED:
        raise ValueError(raw)
    return value
