"""`pm-arb`: everything a person does with the system."""

import sys

import typer

from services.cli import (
    ack,
    alerts,
    audit,
    control,
    demo,
    doctor,
    evaluate,
    gate,
    passing,
    plan,
    read,
    tracing,
    up,
    why,
)
from services.cli.trouble import Trouble

HELP = """A micro-stakes trader for Polymarket that tells the truth about its edge.

New here? `pm-arb demo` shows everything in two minutes, with no keys and no real money.
To let it run: `pm-arb up`, then in another terminal `pm-arb status`, `pm-arb trace ID`, `pm-arb audit`.
To stop it: `pm-arb stop` (halt), `pm-arb kill` (emergency, latched until `pm-arb resume --reason ...`).
"""

app = typer.Typer(
    name="pm-arb",
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
GROUPS = (
    demo.app,
    up.app,
    read.app,
    tracing.app,
    control.app,
    audit.app,
    doctor.app,
    evaluate.app,
    plan.app,
    ack.app,
    why.app,
    passing.app,
)
for group in GROUPS:
    app.add_typer(group)
app.add_typer(alerts.app, name="alerts")
app.add_typer(gate.app, name="gate")


def main() -> None:
    """Run a command; trouble is one line and an exit code, never a traceback."""
    try:
        app()
    except Trouble as trouble:
        print(f"pm-arb: {trouble}", file=sys.stderr)
        sys.exit(trouble.code)


if __name__ == "__main__":
    main()
