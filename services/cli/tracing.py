"""`pm-arb trace ID`: the life of one opportunity."""

from typing import Annotated

import typer

from pmarb.db import trace as lives
from pmarb.domain.values import NANOS
from services.cli import context
from services.cli.output import Json, clock_time, print_json, print_table
from services.cli.trouble import FAILED, Trouble

app = typer.Typer()
Id = Annotated[str, typer.Argument(help="An opportunity's id, or enough of its beginning (from `orders`, a log line).")]


@app.command()
def trace(opportunity_id: Id, json: Json = False) -> None:
    """From the tick to the payout: every step of one opportunity, and the time between them.

    Steps on this machine's clock are measured in milliseconds from the tick; steps the venue dates are in its seconds.
    """
    with context.ledger(context.settings()) as ledger:
        found = lives.trace(ledger, only(opportunity_id, lives.find_ids(ledger, opportunity_id)))
    if found is None:
        raise Trouble(f"Opportunity {opportunity_id} has no verdict and no order.", FAILED)
    if json:
        print_json(found)
        return
    print_table(
        f"{found.opportunity_id}  {found.slug}",
        ("step", "here, ms", "venue time", "+ s", "what"),
        _rows(found),
        empty="",
    )


def only(given: str, found: list[str]) -> str:
    """The one id that was meant.

    Raises:
        Trouble: none, or several.
    """
    if given in found or len(found) == 1:
        return given if given in found else found[0]
    if not found:
        raise Trouble(f"No opportunity begins with {given!r}. `pm-arb opportunities` lists them.", FAILED)
    raise Trouble(f"{given!r} could be any of {', '.join(found)}: give more of it.", FAILED)


def _rows(found: lives.Trace) -> list[tuple[str, str, str, str, str]]:
    first_real = next((step.real for step in found.steps if step.real), 0)
    first_at = next((step.at for step in found.steps if step.at), 0)
    return [
        (
            step.name,
            f"{(step.real - first_real) / 1e6:+.3f}" if step.real else "",
            clock_time(step.at) if step.at else "",
            f"{(step.at - first_at) / NANOS:+.2f}" if step.at else "",
            step.detail,
        )
        for step in found.steps
    ]
