"""`pm-arb ack`: a person has read that the venue changed a market's rules."""

from typing import Annotated

import typer

from pmarb.db import gate, rules
from services.cli import context
from services.cli.control import who
from services.cli.output import Json, clock_time, print_json, print_table, say
from services.cli.trouble import FAILED, WRONG_USE, Trouble

app = typer.Typer()


@app.command()
def ack(
    market: Annotated[str, typer.Argument(help="The market's slug or id; none: list what waits.")] = "",
    reason: Annotated[str, typer.Option("--reason", "-r", help="Required: why the new rules are all right.")] = "",
    json: Json = False,
) -> None:
    """Accept changed rules of a market (fee, tick, minimum, delay, rule text), so that it trades again.

    The same change in other windows of the series is accepted with it, and new windows are compared with the new rules.
    """
    of = context.settings()
    with context.ledger(of) as ledger:
        found = rules.changes(ledger, market)
    if not market:
        if json:
            print_json(found)
            return
        shown = [(clock_time(change.seen_at), change.slug, change.changed) for change in found]
        print_table("Halted by changed rules", ("since", "market", "old -> new"), shown, empty="no market.")
        return
    if not found:
        raise Trouble(f"No change of {market} waits to be acknowledged. `pm-arb ack` lists what does.", FAILED)
    if not reason.strip():
        raise Trouble(f"Say why it is all right: {found[0].changed} (--reason '...')", WRONG_USE)
    with gate.writer(of.dsn) as writer:
        slugs = rules.acknowledge(writer, found[0], who=who(), why=reason, now=of.clock().now())
    if json:
        print_json({"acknowledged": slugs, "changed": found[0].changed})
    else:
        say(f"Acknowledged ({reason}): {found[0].changed}. Trading again: {', '.join(slugs)}.")
