"""Commands that stop and start trading: stop, resume, kill."""

import asyncio
import getpass
import time
from typing import Annotated

import typer

from pmarb.bus.port import BusUnavailable
from pmarb.bus.streams import RedisBus
from pmarb.db import control as states
from pmarb.db import views
from pmarb.domain.messages import Halt, Kill, Message, Resume
from pmarb.settings import Settings
from services.cli import context
from services.cli.output import Json, errors, print_json, say
from services.cli.read import alive, took
from services.cli.trouble import FAILED, WRONG_USE, Trouble

app = typer.Typer()
RECEIPT_WITHIN = 30.0  # Seconds
EMPTY_WITHIN = 20.0
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; it goes into the ledger and the alerts.")]


@app.command()
def stop(reason: Reason = "stopped by hand", json: Json = False) -> None:
    """Halt: no new orders, and the open ones are cancelled. `pm-arb resume --reason ...` ends it."""
    of = context.settings()
    now = of.clock().now()
    with context.ledger(of):
        changed = states.halt(of.dsn, who=_who(), why=reason, now=now)
    if not changed:
        raise Trouble("Trading is KILLED already, which says more than a halt.", FAILED)
    heard = _publish(of, Halt(who=_who(), why=reason, clears_at=0, ts_event=now, ts_init=now))
    left = _wait_for_no_open_orders(of)
    if json:
        print_json({"state": "HALTED", "reason": reason, "message_sent": heard, "open_orders": left})
    else:
        say(f"Halted: {reason}. Open orders: {len(left)}.")
    if left:
        raise Trouble(_still_open(of, left), FAILED)


@app.command()
def resume(reason: Annotated[str, typer.Option("--reason", "-r", help="Required: why it is safe again.")] = "") -> None:
    """Trade again after a stop or a kill. A kill is never ended by anything else."""
    if not reason.strip():
        raise Trouble("Say why it is safe to trade again: pm-arb resume --reason '...'", WRONG_USE)
    of = context.settings()
    now = of.clock().now()
    with context.ledger(of) as ledger:
        before = views.state(ledger)
        states.resume(of.dsn, who=_who(), why=reason, now=now)
    _publish(of, Resume(who=_who(), why=reason, ts_event=now, ts_init=now))
    say(f"ACTIVE again ({reason}). Before: {before.state} by {before.who}: {before.why}.")


@app.command()
def kill(reason: Reason = "killed by hand", json: Json = False) -> None:
    """The emergency brake: latch KILLED, cancel everything, wait for the executor's proof of zero open orders.

    Nothing but `pm-arb resume --reason ...` ends it, no restart does. `docker compose stop executor` also works.
    """
    of = context.settings()
    now, asked = of.clock().now(), time.time_ns()
    with context.ledger(of):
        states.kill(of.dsn, who=_who(), why=reason, now=now)
    if not json:
        say(f"KILLED is latched: {reason}. No order can be sent from now on.")
    _publish(of, Kill(who=_who(), why=reason, ts_event=now, ts_init=now))
    receipt = _wait_for_receipt(of, since_real=asked)
    if json:
        print_json({"state": "KILLED", "reason": reason, "receipt": receipt})
    if receipt is None:
        raise Trouble(_no_receipt(of), FAILED)
    if not json:
        _show(receipt)
    if receipt.open_after or receipt.unverified or not receipt.verified_real:
        raise Trouble("The venue did not confirm zero open orders: look at the venue yourself.", FAILED)


def _who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "operator"


def _publish(of: Settings, message: Message) -> bool:
    """Whether the message went out; the database holds the state already, and every order asks it."""

    async def send() -> bool:
        bus = RedisBus(of.redis_url)
        try:
            await bus.publish(message)
        except BusUnavailable as error:
            errors.print(f"Redis does not answer ({error}); the state is latched in the database all the same.")
            return False
        finally:
            await bus.close()
        return True

    return asyncio.run(send())


def _wait_for_no_open_orders(of: Settings) -> list[str]:
    """Order hashes still open after the wait."""
    deadline = time.monotonic() + EMPTY_WITHIN
    with context.ledger(of) as ledger:
        while True:
            left = [order.order_hash for order in views.open_orders(ledger)]
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.2)


def _wait_for_receipt(of: Settings, *, since_real: int) -> views.Receipt | None:
    deadline = time.monotonic() + RECEIPT_WITHIN
    with context.ledger(of) as ledger:
        while time.monotonic() < deadline:
            found = views.receipts(ledger, limit=1, since_real=since_real)
            if found:
                return found[0]
            if not alive(of)["executor"]:
                return None
            time.sleep(0.1)
    return None


def _still_open(of: Settings, left: list[str]) -> str:
    if not alive(of)["executor"]:
        return f"{len(left)} orders are open and no executor runs to cancel them: `pm-arb up`, or cancel at the venue."
    return f"{len(left)} orders are still open; `pm-arb orders` shows them, `pm-arb kill` is stronger."


def _no_receipt(of: Settings) -> str:
    if alive(of)["executor"]:
        return f"KILLED is latched, but no receipt came within {RECEIPT_WITHIN:.0f} s: look at the executor's log."
    return (
        "KILLED is latched, but no executor runs: nothing was cancelled. "
        "Orders left open are cancelled when it starts, or cancel them at the venue."
    )


def _show(receipt: views.Receipt) -> None:
    say(
        f"Receipt {receipt.id}: {len(receipt.open_before)} open before, {len(receipt.cancelled)} cancelled, "
        f"{len(receipt.open_after)} open after, verified in {took(receipt)}."
    )
