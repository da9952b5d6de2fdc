"""`pm-arb evaluate`: is the edge real yet, by our own records or by recorded data."""

import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from pmarb.db import evidence as records
from pmarb.domain.evidence import Evidence
from pmarb.domain.meter import Reading, Standard, read
from services.cli import context, reading
from services.cli.evaluation_report import write_report
from services.cli.output import BOLD, END, Json, print_json, say, say_error
from services.cli.trouble import FAILED, WRONG_USE, Trouble

app = typer.Typer()

Tapes = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[TAPE]...", help="Recorded data, files or folders; none: the ledger of what runs here."),
]
ReportTo = Annotated[
    Path | None, typer.Option("--report", metavar="DIR", help="Write report.html, report.md and meter.png there.")
]
Rounds = Annotated[int, typer.Option(min=100, max=100_000, help="Resamples behind every interval.")]
Seed = Annotated[int, typer.Option(help="Of the resampling: the same seed, the same intervals.")]
OfLedger = Annotated[
    bool, typer.Option("--ledger", help="With tapes: judge the ledger's orders, marked by these recordings.")
]
ReplayWith = Annotated[
    str, typer.Option("--replay-with", metavar="ARGS", help="For tapes: options of `pm-arb replay`, e.g. '--k-se 1'.")
]


@app.command()
def evaluate(
    tapes: Tapes = None,
    json: Json = False,
    report: ReportTo = None,
    rounds: Rounds = 10_000,
    seed: Seed = 1,
    replay_with: ReplayWith = "",
    ledger: OfLedger = False,
) -> None:
    """Is the edge real yet? One verdict: no edge, not enough evidence (n more trades needed), or edge.

    Scores the fair values against the outcomes and against the market's middle at the same instants, marks every fill
    1, 5, 30 and 60 s later after fees, tests with a SPRT and an anytime-valid e-value, and runs controls that must
    lose.
    """
    found = of_ledger() if ledger or not tapes else None
    if tapes:
        found = of_tapes(tapes, replay_with, marking=found)
    assert found is not None
    result = read(found, random.Random(seed), Standard(rounds=rounds))  # noqa: S311 - a repeatable bootstrap
    if report is not None:
        write_report(report, result, found)
    if json:
        print_json(reading.body(result))
        return
    show(result)
    if report is not None:
        say(f"Report: {report / 'report.html'}")


def of_ledger() -> Evidence:
    """What the running system has recorded."""
    with context.ledger(context.settings()) as ledger:
        return records.evidence(ledger)


def of_tapes(tapes: list[Path], replay_with: str, *, marking: Evidence | None) -> Evidence:
    """What a replay of the tapes gives, in a process of its own; `marking`: these bets instead of its own.

    Raises:
        Trouble: the replay refused; its own words are on the terminal.
    """
    missing = [str(tape) for tape in tapes if not tape.exists()]
    if missing:
        raise Trouble(f"No such tape: {', '.join(missing)}", WRONG_USE)
    say_error("Replaying the tapes ...")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "evidence.json"
        options = [*replay_with.split(), "--json", "--evidence", str(path)]
        if marking is not None:
            bets = Path(folder) / "bets.json"
            bets.write_bytes(msgspec.json.encode(marking))
            options += ["--mark", str(bets)]
        command = [sys.executable, "-m", "services.replay", *map(str, tapes), *options]
        done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL)  # noqa: S603 - ourselves
        if done.returncode or not path.exists():
            raise Trouble(f"The replay ended with {done.returncode}; see above.", FAILED)
        return msgspec.json.decode(path.read_bytes(), type=Evidence)


def show(result: Reading) -> None:
    """The verdict, then the figures behind it."""
    say(f"{BOLD}{result.words}{END}\n")
    for title, rows in reading.sections(result):
        say(f"{BOLD}{title}{END}")
        for name, value in rows:
            say(f"  {name:34} {value}")
        say("")
