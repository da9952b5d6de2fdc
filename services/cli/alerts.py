"""`pm-arb alerts`: what was sent, and whether anything arrives at all."""

import asyncio
import json as jsonlib
import os
import subprocess
import sys
import time
from typing import Final

import typer

from pmarb.bus.port import BusUnavailable
from pmarb.bus.streams import RedisBus
from pmarb.db import delivered
from pmarb.domain.messages import Alert, AlertKind, Priority
from pmarb.settings import Settings
from services.cli import context, runfile
from services.cli.envfile import dotenv
from services.cli.output import Json, Limit, clock_time, print_json, print_table, say
from services.cli.trouble import FAILED, Trouble

app = typer.Typer(help="What was sent, and whether anything arrives.", no_args_is_help=True)
WITHIN: Final = 30.0  # Seconds
NO_CHANNEL: Final = 3
HOW: Final = (
    "No channel is set. Put one or more Apprise addresses into APPRISE_URLS, comma separated, for example "
    "pover://USER@TOKEN (Pushover), ntfy://TOPIC, mailto://USER:PASSWORD@HOST, then run this again."
)


@app.command("list")
def list_sent(limit: Limit = 20, json: Json = False) -> None:
    """The latest alerts and whether a channel took them."""
    with context.ledger(context.settings()) as ledger:
        rows = delivered.deliveries(ledger, limit=limit)
    if json:
        print_json(rows)
        return
    columns = ("time", "priority", "title", "body", "delivered")
    shown = [
        (
            clock_time(row.ts_event),
            row.priority,
            row.title,
            row.body,
            "yes" if row.delivered else row.error or "not yet",
        )
        for row in rows
    ]
    print_table("Alerts", columns, shown, empty="none so far.")


@app.command("test")
def send_test(json: Json = False) -> None:
    """Send a test alert: through the running alerter, or straight from here when nothing runs."""
    if runfile.read() is None and not os.environ.get("REDIS_URL"):
        _straight(json=json)
    else:
        _through_alerter(context.settings(), json=json)


def _straight(*, json: bool) -> None:
    command = [sys.executable, "-m", "services.alerter.probe"]
    done = subprocess.run(  # noqa: S603 - ourselves
        command, env=os.environ | dotenv(), capture_output=True, text=True, check=False
    )
    if done.returncode == NO_CHANNEL:
        raise Trouble(HOW, FAILED)
    results = [jsonlib.loads(line) for line in done.stdout.splitlines()]
    if json:
        print_json({"channels": results})
    for result in [] if json else results:
        say(f"{result['channel']}: {'delivered' if result['delivered'] else 'FAILED, ' + result['error']}")
    if done.returncode:
        raise Trouble(done.stderr.strip() or "Not every channel took the test alert.", FAILED)


def _through_alerter(of: Settings, *, json: bool) -> None:
    now = of.clock().now()
    alert = Alert(
        kind=AlertKind.TEST,
        priority=Priority.NORMAL,
        dedupe_key=f"test:{now}",
        title=f"pm-arb test alert {clock_time(now)}",
        body="If you can read this, alerts reach you.",
        ts_event=now,
        ts_init=now,
    )
    asyncio.run(_publish(of, alert))
    row = _outcome(of, alert)
    if json:
        print_json(row)
    if not row.delivered:
        raise Trouble(HOW if "APPRISE_URLS" in row.error else f"Not delivered yet: {row.error or 'no answer'}", FAILED)
    if not json:
        say("Delivered.")


async def _publish(of: Settings, alert: Alert) -> None:
    bus = RedisBus(of.redis_url)
    try:
        await bus.publish(alert)
    except BusUnavailable as error:
        raise Trouble(f"Redis does not answer: {error}\n{context.START_ONE}", FAILED) from None
    finally:
        await bus.close()


def _outcome(of: Settings, alert: Alert) -> delivered.Delivery:
    deadline = time.monotonic() + WITHIN
    found: delivered.Delivery | None = None
    with context.ledger(of) as ledger:
        while time.monotonic() < deadline:
            found = next((row for row in delivered.deliveries(ledger) if row.title == alert.title), None)
            if found is not None and (found.delivered or found.error):
                return found
            time.sleep(0.2)
    if found is None:
        raise Trouble("The alerter did not take it: does it run? `pm-arb status` shows.", FAILED)
    return found
