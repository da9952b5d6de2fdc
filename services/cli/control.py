"""Commands that stop and start trading, and the one that tells of money brought in: stop, resume, kill, deposit."""

import asyncio
import getpass
import subprocess
import sys
import time
from decimal import Decimal, InvalidOperation
from importlib.util import find_spec
from typing import Annotated

import typer

from pmarb.bus.port import BusUnavailable
from pmarb.bus.streams import RedisBus
from pmarb.db import control as states
from pmarb.db import views
from pmarb.domain.ledger import Account
from pmarb.domain.messages import Halt, Kill, Message, Resume
from pmarb.settings import Settings
from services.cli import context
from services.cli.output import Json, print_json, say, say_error
from services.cli.read import alive, took
from services.cli.trouble import FAILED, WRONG_USE, Trouble

app = typer.Typer()
RECEIPT_WITHIN = 30.0  # Seconds
EMPTY_WITHIN = 20.0
DIRECTLY = (
    "Straight to the venue: pm-arb kill --direct, or with compose: "
    "docker compose run --rm executor python -m services.executor.kill --reason '...'"
)
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; it goes into the ledger and the alerts.")]


@app.command()
def stop(reason: Reason = "stopped by hand", json: Json = False) -> None:
    """Halt: no new orders, and the open ones are cancelled. `pm-arb resume --reason ...` ends it."""
    of = context.settings()
    now = of.clock().now()
    with context.ledger(of):
        changed = states.halt(of.dsn, who=who(), why=reason, now=now)
    if not changed:
        raise Trouble("Trading is KILLED already, which says more than a halt.", FAILED)
    heard = _publish(of, Halt(who=who(), why=reason, clears_at=0, ts_event=now, ts_init=now))
    left = _wait_for_no_open_orders(of)
    if json:
        print_json({"state": "HALTED", "reason": reason, "message_sent": heard, "open_orders": left})
    else:
        say(f"Halted: {reason}. Open orders: {len(left)}.")
    if left:
        raise Trouble(_still_open(of, left), FAILED)


@app.command()
def resume(
    reason: Annotated[str, typer.Option("--reason", "-r", help="Required: why it is safe again.")] = "",
    json: Json = False,
) -> None:
    """Trade again after a stop or a kill. A kill is never ended by anything else."""
    if not reason.strip():
        raise Trouble("Say why it is safe to trade again: pm-arb resume --reason '...'", WRONG_USE)
    of = context.settings()
    now = of.clock().now()
    with context.ledger(of) as ledger:
        before = views.state(ledger)
        states.resume(of.dsn, who=who(), why=reason, now=now)
    heard = _publish(of, Resume(who=who(), why=reason, ts_event=now, ts_init=now))
    if json:
        print_json({"state": "ACTIVE", "reason": reason, "message_sent": heard, "before": before})
        return
    say(f"ACTIVE again ({reason}). Before: {before.state} by {before.who}: {before.why}.")


@app.command()
def kill(
    reason: Reason = "killed by hand",
    direct: Annotated[
        bool, typer.Option("--direct", help="Straight to the venue, without an executor, the bus or the ledger.")
    ] = False,
    json: Json = False,
) -> None:
    """The emergency brake: latch KILLED, cancel everything, wait for the executor's proof of zero open orders.

    Nothing but `pm-arb resume --reason ...` ends it, no restart does. `docker compose stop executor` also cancels
    everything, but does not latch. --direct needs the executor's packages and its wallet, and keeps trying until the
    venue confirms or you press Ctrl-C; with compose:
    docker compose run --rm executor python -m services.executor.kill --reason '...'
    """
    of = context.settings()
    if direct:
        raise typer.Exit(_kill_directly(reason))
    now, asked = of.clock().now(), time.time_ns()
    try:
        with context.ledger(of):
            states.kill(of.dsn, who=who(), why=reason, now=now)
    except Trouble as trouble:
        raise Trouble(f"NOTHING was killed. {trouble}\n{DIRECTLY}", trouble.code) from None
    if not json:
        say(f"KILLED is latched: {reason}. No order can be sent from now on.")
    _publish(of, Kill(who=who(), why=reason, ts_event=now, ts_init=now))
    receipt = _wait_for_receipt(of, since_real=asked)
    if json:
        print_json({"state": "KILLED", "reason": reason, "receipt": receipt})
    if receipt is None:
        raise Trouble(_no_receipt(of), FAILED)
    if not json:
        _show(receipt)
    if receipt.open_after or receipt.unverified or not receipt.verified_real:
        words = receipt.unverified or f"{len(receipt.open_after)} orders open"
        raise Trouble(f"Not everything is verified: {words}. The executor keeps trying: pm-arb receipts.", FAILED)


def _kill_directly(reason: str) -> int:
    """Its exit code. Only the executor's packages can sign, so it is a program of theirs."""
    if find_spec("polymarket") is None:
        raise Trouble(f"--direct needs the executor's packages, which are not installed here. {DIRECTLY}", FAILED)
    command = [sys.executable, "-m", "services.executor.kill", "--reason", reason]
    return subprocess.run(command, check=False).returncode  # noqa: S603 - our own program


@app.command()
def deposit(
    amount: Annotated[str, typer.Argument(help="Dollars brought in; with a minus, taken out.")],
    reason: Annotated[str, typer.Option("--reason", "-r", help="Required: where they came from or went.")] = "",
) -> None:
    """Tell the ledger of money that you moved into or out of the wallet; without it the books and the venue differ."""
    try:
        dollars = Decimal(amount)
    except InvalidOperation:
        raise Trouble(f"AMOUNT was {amount!r}, not a number of dollars", WRONG_USE) from None
    if not dollars.is_finite() or dollars == 0 or not reason.strip():
        raise Trouble("Say how much and why: pm-arb deposit 50 --reason 'topped up from the exchange'", WRONG_USE)
    of = context.settings()
    with context.ledger(of) as ledger:
        states.deposit(of.dsn, usd=dollars, who=who(), why=reason, now=of.clock().now())
        capital = -views.balances(ledger)[Account.CAPITAL]
    say(f"Booked ${dollars:f} ({reason}). Capital is now ${capital:f}; `pm-arb audit` compares.")


def who() -> str:
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
            say_error(f"Redis does not answer ({error}); the state is latched in the database all the same.")
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
        "KILLED is latched, but no executor runs: nothing was cancelled and nothing is verified. "
        f"Orders left open are cancelled when it starts. {DIRECTLY}"
    )


def _show(receipt: views.Receipt) -> None:
    say(
        f"Receipt {receipt.id}: {len(receipt.open_before)} open before, {len(receipt.cancelled)} cancelled, "
        f"{len(receipt.open_after)} open after, verified in {took(receipt)}."
    )
