"""`pm-arb why`: each gate with its value and its limit, for what was traded and for what never was."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Final

import typer

from pmarb.db import trace as lives
from pmarb.db import views
from pmarb.db import why as answers
from pmarb.domain.values import NANOS
from services.cli import context
from services.cli.output import BOLD, END, RED, Json, clock_time, print_json, print_table, say
from services.cli.tracing import only
from services.cli.trouble import FAILED, WRONG_USE, Trouble
from services.cli.words import reason

app = typer.Typer()
FAR: Final = 60 * NANOS
"""A scan that ended this long from the time asked for says nothing about it."""


@app.command()
def why(
    target: Annotated[str, typer.Argument(help="A market's slug, or an opportunity's id or its beginning.")],
    at: Annotated[
        str, typer.Option(help="When, UTC: 2026-11-25T14:03:20, or Unix seconds. Unset: the latest there is.")
    ] = "",
    json: Json = False,
) -> None:
    """Why was this traded, or not: every question asked, what was found, what it had to be, and the day's funnel.

    For a market, the scanner's questions stand as they were at the end of the ten seconds around that time; what is
    older than three days is kept as one answer for ten minutes.
    """
    with context.ledger(context.settings()) as ledger:
        ids = lives.find_ids(ledger, target)
        if ids:
            _of_opportunity(ledger, only(target, ids), json)
        else:
            _of_market(ledger, target, at, json)


def moment(text: str) -> int:
    """A time in nanoseconds.

    Raises:
        Trouble: it is none.
    """
    try:
        if re.fullmatch(r"\d{9,11}(\.\d+)?", text):
            return int(float(text) * NANOS)
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Trouble(f"--at was {text!r}; give 2026-11-25T14:03:20 (UTC) or Unix seconds", WRONG_USE) from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()) * NANOS


def _of_opportunity(ledger: views.Connection, target: str, json: bool) -> None:
    found = answers.opportunity(ledger, target)
    if found is None:
        raise Trouble(f"Opportunity {target} has an order but no verdict: `pm-arb trace {target}`.", FAILED)
    funnel = answers.funnel(ledger, at=found.judged_at)
    if json:
        print_json({"judged": found, "funnel": funnel})
        return
    _show_judged(found)
    _show_funnel(funnel)


def _of_market(ledger: views.Connection, slug: str, at: str, json: bool) -> None:
    time = moment(at) if at else answers.last_seen(ledger, slug)
    looked, judged = answers.looked_at(ledger, slug, at=time), answers.judged_near(ledger, slug, at=time)
    if looked is None and not judged:
        raise Trouble(
            f"{slug} is no opportunity, and no market that was scanned or judged here in the days that are kept.",
            FAILED,
        )
    funnel = answers.funnel(ledger, at=time)
    if json:
        print_json({"at": time, "scanned": looked, "judged": judged, "funnel": funnel})
        return
    say(f"{BOLD}{slug}{END} at {clock_time(time)}")
    if looked is not None:
        _show_looked(looked, time)
    for verdict in judged:
        _show_judged(verdict)
    if not judged:
        say("Risk was never asked about this market.")
    _show_funnel(funnel)


def _show_looked(looked: answers.Looked, time: int) -> None:
    if not looked.since - FAR <= time <= looked.until + FAR:
        say(f"{RED}Not scanned then{END}; nearest {clock_time(looked.since)} to {clock_time(looked.until)}:")
    passed_over = ", ".join(f"{count} {name}" for name, count in sorted(looked.skips.items(), key=lambda kv: -kv[1]))
    say(
        f"Scanned {looked.looks} times to {clock_time(looked.until)}: found {looked.found}, {passed_over or 'no skips'}"
    )
    _show_gates("The scanner's questions then", looked.last)


def _show_judged(found: answers.Judged) -> None:
    said = f"approved, bound by {found.reason}" if found.verdict == "approved" else f"denied: {reason(found.reason)}"
    say(f"\n{found.opportunity_id} at {clock_time(found.judged_at)}: {BOLD}{said}{END} ({found.detail})")
    if found.order_state:
        say(f"Its order: {found.order_state} {found.order_cause}")
    if found.gates:
        _show_gates("Risk's questions", found.gates)
    else:
        say("Its gates were not kept by the version that judged it.")


def _show_gates(title: str, gates: answers.Gates) -> None:
    rows = [("yes" if ok else f"{RED}NO{END}", name, value, limit) for name, value, limit, ok in gates]
    print_table(title, ("passed", "question", "value", "limit"), rows, empty="none were kept.")


def _show_funnel(funnel: answers.Funnel) -> None:
    day = datetime.fromtimestamp(funnel.day / NANOS, UTC).strftime("%Y-%m-%d")
    say(
        f"\n{BOLD}{day}{END}: {funnel.looks:,} looks, {funnel.found} opportunities, {funnel.approved} approved, "
        f"{funnel.denied} denied, {funnel.fills} fills; orders: {_listed(funnel.orders) or 'none'}"
    )
    say(f"passed over: {_listed(funnel.skips) or 'nothing'}")
    say(f"denied: {_listed(funnel.denials) or 'nothing'}")


def _listed(counts: Sequence[views.Count]) -> str:
    return ", ".join(f"{count.count:,} {count.name}" for count in counts)
