"""`pm-arb demo`: the whole system on made-up money for a minute, then the truth about it."""

import asyncio
import contextlib
import json as jsonlib
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.live import Live

from pmarb.clock import ScaledClock
from pmarb.db import views
from pmarb.domain.values import NANOS
from pmarb.runtime import until_stopped
from pmarb.settings import Settings
from pmarb.waiting import until_set
from services.cli import live
from services.cli.audit import examine
from services.cli.children import WrongSettings
from services.cli.footprint import resident_mb
from services.cli.options import Scenario, Seed, checked_scenario, checked_seconds, checked_speed
from services.cli.output import Json, errors, print_json, styled, terminal
from services.cli.report import Report, as_json, gather
from services.cli.report import show as show_report
from services.cli.stack import Plan, Stack
from services.cli.trouble import FAILED, WRONG_USE, Trouble
from services.cli.up import refuse_second_stack, stopping_on_signals

app = typer.Typer()
SETTLING: Final = 200.0  # Venue seconds from a window's end to the payout, at most
SLACK: Final = 15.0  # Real seconds more for our own steps
ARRIVING: Final = 30.0  # Real seconds for answers, confirmations and payouts under way, at most
LOOK_EVERY: Final = 0.5  # Seconds
WEIGH_EVERY: Final = 8  # Looks
TELL_EVERY: Final = 10.0  # Seconds between lines without a terminal
SKIP: Final = "skip_"
LOG: Final = Path(".pm-arb") / "demo.log"


@app.command()
def demo(
    seconds: Annotated[float, typer.Option(help="Real seconds of trading; settling and the audit come after.")] = 60,
    scenario: Scenario = "slow_makers",
    seed: Seed = 1,
    speed: Annotated[
        float, typer.Option(help="Venue seconds a real second; 10 makes 5-minute windows last 30 s.")
    ] = 10,
    settle_within: Annotated[float, typer.Option(help="Real seconds to wait for open positions, at most.")] = 300,
    json: Json = False,
) -> None:
    """Watch it find, deny, trade, settle and account, with no keys, no internet and no real money.

    Runs Redis, PostgreSQL, the sandbox venue and every service, then stops the scanner, waits for open positions to
    settle, stops the executor (which proves that no order is open), and compares the ledger with the venue.
    Exit code 0 only if they agree. Ctrl-C stops early and still audits.
    """
    scenario, speed, seconds = checked_scenario(scenario), checked_speed(speed), checked_seconds(seconds)
    refuse_second_stack()
    folder = Path(tempfile.mkdtemp(prefix="pm-arb-demo-"))
    folder.chmod(0o711)  # The servers' own account must be able to walk in
    plan = Plan(
        command="demo",
        data_dir=folder / "data",
        scratch=folder,
        scenario=scenario,
        seed=seed,
        speed=speed,
        console_port=0,
        environment={"VENUE": "sandbox", "EXECUTION": "live", "LOG_FORMAT": "json"},
    )
    try:
        report = asyncio.run(Demo(plan, seconds, settle_within, quiet=json).run())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if json:
        print_json(as_json(report))
    else:
        show_report(report)
    raise typer.Exit(0 if report.audit.ok else FAILED)


class Demo:
    """One run, phase by phase."""

    def __init__(self, plan: Plan, seconds: float, settle_within: float, *, quiet: bool) -> None:
        self._plan = plan
        self._seconds = seconds
        self._settle_within = settle_within
        self._screen = errors if quiet else terminal
        self._stack = Stack(plan, self._on_line)
        self._log = _log_file()
        self._skips: Counter[str] = Counter()
        self._peak_mb: float | None = None
        self._looks = 0
        self._told = 0.0
        self._started = False

    async def run(self) -> Report:
        stop = asyncio.Event()
        self._say(f"Starting Redis, PostgreSQL, the sandbox and the services. Their lines: {self._log.name}")
        with stopping_on_signals(stop, self._stack):
            try:
                if not await until_stopped(self._stack.start(), stop):
                    raise Trouble("Stopped before everything ran: there is nothing to report.", FAILED)
                return await self._trade_and_report(stop)
            except WrongSettings as error:
                raise Trouble(f"{error} ({self._log.name})", WRONG_USE) from None
            except Trouble as error:
                raise Trouble(f"{error}\nThe services' lines: {self._log.name}", error.code) from None
            finally:
                await self._stack.stop()
                self._log.close()

    async def _trade_and_report(self, stop: asyncio.Event) -> Report:
        dsn = self._stack.environment["DATABASE_URL"]
        with views.connect(dsn) as ledger:
            traded = await self._trade(ledger, stop)
            await self._stack.stop_one("scanner")
            await self._settle(ledger, stop)
            restarts = {name: child.restarts for name, child in self._stack.children.items() if child.restarts}
            await self._stack.stop_one("risk")
            await self._arrive(ledger)
            self._say("Stopping the executor: it cancels what is open and proves it.")
            await self._stack.stop_one("executor")
            self._say("Comparing the ledger with the venue.")
            audit = await asyncio.to_thread(examine, self._settings(), ledger)
            return gather(
                ledger,
                audit,
                seconds=round(traded, 1),
                scenario=self._plan.scenario,
                seed=self._plan.seed,
                speed=self._plan.speed,
                skips=dict(self._skips),
                rss_mb=self._peak_mb,
                restarts=restarts,
            )

    def _settings(self) -> Settings:
        environment = self._stack.environment
        return Settings(
            venue="sandbox",
            execution="live",
            redis_url=environment["REDIS_URL"],
            database_url=environment["DATABASE_URL"],  # type: ignore[arg-type]
            sandbox_url=environment["SANDBOX_URL"],
        )

    async def _trade(self, ledger: views.Connection, stop: asyncio.Event) -> float:
        """Let it trade; for how long it did."""
        start = time.monotonic()
        venue = self._seconds * self._plan.speed
        self._say(
            f"Trading for {self._seconds:g} s, {venue / 60:.0f} minutes of the venue's time. Ctrl-C ends it early."
        )
        broken = asyncio.create_task(self._stack.wait_broken())
        try:
            with self._view() as view:
                while (left := start + self._seconds - time.monotonic()) > 0 and not stop.is_set():
                    await self._look(ledger, view, f"{left:.0f} s left")
                    if broken.done():
                        broken.result()
                    await until_set(stop, within=min(LOOK_EVERY, left))
        finally:
            broken.cancel()
        return time.monotonic() - start

    async def _settle(self, ledger: views.Connection, stop: asyncio.Event) -> None:
        """Wait until nothing is open, until it cannot take longer, or until told to stop."""
        clock = ScaledClock(speed=self._plan.speed, anchor=int(self._stack.environment["CLOCK_ANCHOR_NS"]))
        patience = time.monotonic() + self._settle_within
        with self._view() as view:
            while not stop.is_set():
                held, orders = views.positions(ledger), views.open_orders(ledger)
                if not held and not orders:
                    return
                end = max((position.expiry for position in held), default=clock.now()) / NANOS + SETTLING
                left = min((end - clock.now() / NANOS) / self._plan.speed + SLACK, patience - time.monotonic())
                if left <= 0:
                    return
                await self._look(ledger, view, f"{len(held)} positions left to settle, {left:.0f} s at most")
                await until_set(stop, within=LOOK_EVERY)

    async def _arrive(self, ledger: views.Connection) -> None:
        """Let the executor hear of what is under way: a stopped one would leave the ledger a step behind the venue."""
        patience = time.monotonic() + ARRIVING
        while (count := _under_way(ledger)) and time.monotonic() < patience:
            if time.monotonic() - self._told >= TELL_EVERY:
                self._told = time.monotonic()
                self._say(f"Waiting for {count} orders, trades or payouts under way.")
            await asyncio.sleep(LOOK_EVERY)

    async def _look(self, ledger: views.Connection, view: Live | None, phase: str) -> None:
        self._looks += 1
        if self._looks % WEIGH_EVERY == 0:
            weight = await asyncio.to_thread(resident_mb)
            self._peak_mb = weight if self._peak_mb is None or weight is None else max(self._peak_mb, weight)
        now = await asyncio.to_thread(live.snapshot, ledger)
        if view is not None:
            view.update(live.picture(now, phase))
        elif time.monotonic() - self._told >= TELL_EVERY:
            self._told = time.monotonic()
            self._say(f"{phase}: {live.line(now)}")

    @contextlib.contextmanager
    def _view(self) -> Iterator[Live | None]:
        """A moving picture on a terminal, nothing elsewhere."""
        if self._screen is errors or not self._screen.is_terminal:
            yield None
            return
        with Live(console=self._screen, refresh_per_second=4, transient=True) as view:
            yield view

    def _say(self, text: str) -> None:
        self._screen.print(styled(text), soft_wrap=True)

    def _on_line(self, name: str, line: str) -> None:
        self._log.write(f"{name:<9}{line}\n")
        self._log.flush()
        if name == "scanner" and "scan_summary" in line:
            self._skips.update(_skips_in(line))


def _under_way(ledger: views.Connection) -> int:
    """Orders without an answer, and positions the venue has still to confirm or to pay."""
    unanswered = [order for order in views.open_orders(ledger) if order.state != "LIVE"]
    moving = [held for held in views.positions(ledger) if held.provisional or held.status == "redeemable"]
    return len(unanswered) + len(moving)


def _skips_in(line: str) -> dict[str, int]:
    """The counts in a scanner's summary."""
    try:
        said: dict[str, Any] = jsonlib.loads(line)
    except ValueError:
        return {}
    return {name.removeprefix(SKIP): int(count) for name, count in said.items() if name.startswith(SKIP)}


def _log_file() -> Any:
    """Where the services' lines go: `.pm-arb/demo.log`, or a temporary file where that cannot be written."""
    try:
        LOG.parent.mkdir(mode=0o700, exist_ok=True)
        return LOG.open("w", encoding="utf-8")
    except OSError:
        return tempfile.NamedTemporaryFile("w", prefix="pm-arb-demo-", suffix=".log", delete=False)
