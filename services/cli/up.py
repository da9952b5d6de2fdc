"""`pm-arb up`: the whole system on this machine until Ctrl-C, without Docker."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from pmarb.db import views
from pmarb.domain.messages import TradingState
from pmarb.runtime import until_stopped
from services.cli import runfile
from services.cli.children import WrongSettings
from services.cli.envfile import dotenv, unread
from services.cli.options import Scenario, Seed, checked_scenario, checked_speed
from services.cli.output import BOLD, END, RED, YELLOW, say, terminal
from services.cli.stack import Plan, Stack, venue_of
from services.cli.trouble import FAILED, WRONG_USE, Trouble

app = typer.Typer()
_COLOURS: Final = {
    "scanner": "cyan",
    "risk": "yellow",
    "executor": "green",
    "alerter": "magenta",
    "console": "blue",
    "sandbox": "white",
}


@app.command()
def up(
    data_dir: Annotated[
        Path, typer.Option(help="Where Redis and PostgreSQL keep their data, a folder a venue.")
    ] = Path(".pm-arb/data"),
    scenario: Scenario = "slow_makers",
    seed: Seed = 1,
    speed: Annotated[float, typer.Option(help="Venue seconds a real second, sandbox only.")] = 1.0,
    console_port: Annotated[int, typer.Option(help="Where the console listens; another if it is taken.")] = 8080,
) -> None:
    """Run everything until Ctrl-C: Redis, PostgreSQL, the sandbox, and the services.

    Settings come from the environment and `.env` (see .env.example). Ctrl-C stops in order: the executor cancels
    everything and proves it, the servers go last. A second Ctrl-C ends it at once. The data folder keeps the ledger and
    a kill; the sandbox remembers a crash, but begins anew with every `up`, and its ledger with it.
    """
    refuse_second_stack()
    environment = dotenv()
    for name in unread():
        say(f"{YELLOW}{name}{END} in .env is no setting and nothing reads it; .env.example has them all.")
    plan = Plan(
        command="up",
        data_dir=data_dir / venue_of(environment),
        sandbox_state=(data_dir / venue_of(environment) / "sandbox").absolute(),
        scenario=checked_scenario(scenario),
        seed=seed,
        speed=checked_speed(speed),
        console_port=console_port,
        environment=environment,
    )
    code = asyncio.run(_run(Stack(plan, print_line)))
    raise typer.Exit(code)


def refuse_second_stack() -> None:
    """One stack a folder: its note would be overwritten."""
    run = runfile.read()
    if run is not None:
        raise Trouble(f"`pm-arb {run.command}` runs already in this folder (process {run.pid}). Stop it first.", FAILED)


async def _run(stack: Stack) -> int:
    stop = asyncio.Event()
    with stopping_on_signals(stop, stack):
        try:
            if await until_stopped(stack.start(), stop):
                say(f"{BOLD}Everything runs.{END} Console: {stack.console_url}   Ctrl-C stops it in order.")
                say_if_stopped(stack.environment["DATABASE_URL"])
                await until_stopped(stack.wait_broken(), stop)
        except WrongSettings as error:
            raise Trouble(str(error), WRONG_USE) from None
        finally:
            say("Stopping in order: scanner, risk, executor (cancels, verifies), the rest, the servers.")
            codes = await stack.stop()
    bad = {name: code for name, code in codes.items() if code}
    say("Stopped." if not bad else f"Stopped, but not cleanly: {bad}")
    return FAILED if bad else 0


def say_if_stopped(dsn: str) -> None:
    """A stop outlives restarts: say so, or nobody would know why nothing trades."""
    with views.connect(dsn) as ledger:
        now = views.state(ledger)
    if now.state is not TradingState.ACTIVE:
        say(f"{RED}Trading is {now.state}{END}: {now.why} (by {now.who}). `pm-arb resume --reason ...` ends it.")


@contextmanager
def stopping_on_signals(stop: asyncio.Event, stack: Stack) -> Iterator[None]:
    """The first SIGINT or SIGTERM sets `stop`; a second ends everything at once."""
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            stack.kill()
            os._exit(130)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def print_line(name: str, line: str) -> None:
    """A service's line, with its name before it."""
    if sys.stdout.isatty():
        terminal.print(Text.assemble((f"{name:<9}", _COLOURS.get(name, "white")), line), soft_wrap=True)
    else:
        sys.stdout.write(f"{name:<9}{line}\n")
        sys.stdout.flush()
