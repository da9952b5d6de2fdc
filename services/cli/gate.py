"""`pm-arb gate`: what stands between paper and real money, and the one way to open it."""

import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from pmarb.db import evidence as records
from pmarb.db import gate as stored
from pmarb.db.modes import history
from pmarb.domain import gate as rules
from pmarb.domain.evidence import Evidence
from pmarb.domain.meter import Criterion, Standard, read
from pmarb.settings import Settings
from services.cli import context
from services.cli.control import who
from services.cli.doctor import LOOK, can_log_in, examined, last_look
from services.cli.evaluate import of_tapes
from services.cli.output import BOLD, END, GREEN, RED, Json, clock_time, print_json, say
from services.cli.trouble import FAILED, Trouble

app = typer.Typer(no_args_is_help=True, help="The gate between paper and real money: show it, open it, close it.")
Tapes = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[TAPE]...", help="Recordings of the hours traded: they give the marks and the controls."),
]
Rounds = Annotated[int, typer.Option(min=100, max=100_000, help="Resamples behind every interval.")]


@app.command()
def show(tapes: Tapes = None, rounds: Rounds = 10_000, json: Json = False) -> None:
    """Everything that must be true before real money, and whether it is. Exit code 0 only if the gate is open."""
    of = context.settings()
    with context.ledger(of) as ledger:
        state = stored.state(ledger)
    criteria = found(of, tapes or [], rounds)
    if json:
        print_json({"state": state, "criteria": criteria})
    else:
        told = f"open since {clock_time(state.at_real)} by {state.who}" if state.opened else f"locked: {state.why}"
        say(f"The gate is {BOLD}{told}{END}")
        _list(criteria)
    if not state.opened:
        raise typer.Exit(FAILED)


@app.command("open")
def open_(tapes: Tapes = None, rounds: Rounds = 10_000) -> None:
    """Open it, if everything else is true and you type the acknowledgement. Risk asks the ledger again by itself."""
    of = context.settings()
    if of.venue != "polymarket":
        raise Trouble("The sandbox has no real money and no gate. Set VENUE=polymarket.", FAILED)
    criteria = found(of, tapes or [], rounds)
    _list(criteria)
    if rules.missing(criteria):
        raise Trouble("The gate stays locked: what says no above is not there yet.", FAILED)
    say(f"\nType: {BOLD}{rules.PHRASE}{END}")
    if sys.stdin.readline().strip() != rules.PHRASE:
        raise Trouble("That was something else. The gate stays locked.", FAILED)
    _note(of, opened=True, why="opened with everything met", criteria=criteria)
    say("The gate is open. Risk closes it by itself when real results fall below, `pm-arb gate close` does at once.")


@app.command()
def close(
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; kept in the ledger.")] = "closed by hand",
) -> None:
    """Lock it again. Evidence for another opening counts from now on."""
    _note(context.settings(), opened=False, why=reason, criteria=())
    say("The gate is locked: no real order is written from now on. What is open is still settled.")


def found(of: Settings, tapes: list[Path], rounds: int) -> tuple[Criterion, ...]:
    """Every criterion, from the ledger, the tapes, the doctor and the receipts."""
    with context.ledger(of) as ledger:
        modes, state = history(ledger), stored.state(ledger)
        everything = records.evidence(ledger)
        latency, drilled = stored.latency_ms(ledger), stored.drilled_at(ledger)
    paper = rules.of_paper(everything, modes, since=state.closed_at)
    circumstances = rules.Circumstances(
        modes=modes, latency_ms=latency, drilled_at=drilled, complaints=tuple(_complaints(of))
    )
    reading = read(_marked(paper, tapes), random.Random(1), Standard(rounds=rounds))  # noqa: S311 - repeatable
    return (
        *rules.recorded(paper, modes),
        *rules.measured(reading),
        *rules.circumstantial(circumstances, now=of.clock().real()),
    )


def _complaints(of: Settings) -> Iterator[str]:
    """What the doctor finds wrong with real money, from here, though it may still be paper that is traded."""
    real = of.model_copy(update={"execution": "live"})
    yield from (check.name for check in examined(real).checks if not check.ok)
    if not can_log_in() and last_look(real) is None:
        yield f"the wallet was not looked at within an hour: pip install 'pm-arb[cli,executor]', or {LOOK}"


def _marked(paper: Evidence, tapes: list[Path]) -> Evidence:
    return of_tapes(tapes, "", marking=paper) if tapes else paper


def _note(of: Settings, *, opened: bool, why: str, criteria: Sequence[Criterion]) -> None:
    with context.ledger(of):  # Says in words what is wrong with the database
        pass
    with stored.writer(of.dsn) as connection:
        now = of.clock().real()
        stored.note(connection, opened=opened, who=who(), why=why, criteria=criteria, now_real=now)


def _list(criteria: Sequence[Criterion]) -> None:
    for criterion in criteria:
        mark = f"{GREEN}yes{END}" if criterion.met else f"{RED}no {END}"
        say(f"  {mark} {criterion.name}: {criterion.found}")
