"""Commands that are other programs of ours: sandbox, replay and record. Their own `--help` is passed on."""

import os
import subprocess
import sys

import typer

from services.cli import context as running

app = typer.Typer()
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.command(context_settings=_PASS_ON)
def sandbox(context: typer.Context) -> None:
    """Run the Polymarket look-alike alone: --port --seed --scenario --speed --json (see `pm-arb sandbox --help`)."""
    _become("services.sandbox", context.args)


@app.command(context_settings=_PASS_ON)
def replay(context: typer.Context) -> None:
    """Run the rules over recorded real data: TAPE... [--json] (see `pm-arb replay --help`)."""
    _become("services.replay", context.args)


@app.command(context_settings=_PASS_ON)
def record(context: typer.Context) -> None:
    """Record the public feeds onto tapes for replay: --out DIR --seconds N (see `pm-arb record --help`)."""
    if "--help" not in context.args:
        running.settings()
    _become("services.recorder", context.args)


def _become(module: str, arguments: list[str]) -> None:
    """Turn this process into the program: signals and the exit code are then its own."""
    command = [sys.executable, "-m", module, *arguments]
    if sys.platform == "win32":
        raise typer.Exit(subprocess.run(command, check=False).returncode)  # noqa: S603 - ourselves
    os.execv(sys.executable, command)  # noqa: S606 - ourselves
