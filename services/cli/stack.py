"""The whole system as processes of this machine: servers, schema, sandbox, services. Used by `up` and `demo`."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import httpx
import psycopg
import redis

from pmarb.bus.port import BusUnavailable
from pmarb.bus.streams import RedisBus
from pmarb.embedded import EmbeddedError, EmbeddedServers, Endpoints
from services.cli import runfile
from services.cli.children import Child, OnLine, Program, WrongSettings
from services.cli.runfile import RunFile
from services.cli.trouble import FAILED, WRONG_USE, Trouble

SERVICES: Final = ("risk", "executor", "alerter", "console", "scanner")  # Who finds starts when all others are ready
STOP_ORDER: Final = ("scanner", "risk", "executor", "alerter", "console", "sandbox")
READY_WITHIN: Final = 60.0  # Seconds
LOOK_EVERY: Final = 1.0  # Seconds
EXECUTOR_GRACE: Final = 30.0  # Seconds to cancel everything, verify it and write the receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run. `environment` goes to every process, over our own; `scratch` is a folder that goes with the run.

    In `sandbox_state` the sandbox remembers its world until this run ends, also when it crashes; without, it forgets.
    """

    command: str
    data_dir: Path
    scenario: str
    seed: int
    speed: float
    console_port: int
    environment: Mapping[str, str] = field(default_factory=dict)
    scratch: Path | None = None
    sandbox_state: Path | None = None

    @property
    def with_sandbox(self) -> bool:
        return venue_of(self.environment) != "polymarket"


class Stack:
    """Start with `start`, end with `stop`; `kill` is for the impatient."""

    def __init__(self, plan: Plan, on_line: OnLine) -> None:
        self.plan = plan
        self.children: dict[str, Child] = {}
        self.environment: dict[str, str] = {}
        self.console_url = ""
        self._on_line = on_line
        self._servers = EmbeddedServers(plan.data_dir)

    async def start(self) -> None:
        """Return once every service has shown a sign of life.

        Raises:
            Trouble: something did not start, in words for the person at the terminal.
        """
        endpoints = await self._start_servers()
        await self._migrate(endpoints)
        self.environment = self._environment(endpoints)
        if self.plan.with_sandbox:
            await asyncio.to_thread(forget_last_world, endpoints)
            if self.plan.sandbox_state is not None:
                shutil.rmtree(self.plan.sandbox_state, ignore_errors=True)
            await self._run(self._sandbox())
            await self._until_sandbox_answers()
        runfile.write(self._run_file())
        *others, finder = SERVICES
        for name in others:
            await self._run(self._service(name))
        await self._until_alive(others)
        await self._run(self._service(finder))
        await self._until_alive([finder])

    async def stop(self) -> dict[str, int | None]:
        """Stop in order, the executor before the venue and the servers last; the exit codes."""
        codes = {}
        for name in STOP_ORDER:
            codes[name] = await self.stop_one(name)
        await asyncio.to_thread(self._servers.stop)
        runfile.remove()
        return codes

    async def stop_one(self, name: str) -> int | None:
        """Stop one process; None if it is not running."""
        child = self.children.pop(name, None)
        if child is None:
            return None
        code = await child.stop()
        self._on_line(name, f"stopped with code {code}")
        return code

    async def wait_broken(self) -> None:
        """Return only by raising, when a service cannot run at all or the servers do not come back."""
        watched = [asyncio.create_task(child.wait_broken()) for child in self.children.values()]
        watched.append(asyncio.create_task(self._until_servers_end()))
        try:
            await asyncio.gather(*watched)
        finally:
            for task in watched:
                task.cancel()

    async def _until_servers_end(self) -> None:
        while not self._servers.ended:  # noqa: ASYNC110 - another process ends
            await asyncio.sleep(LOOK_EVERY)
        log = self._servers.place / "supervisor.log"
        raise Trouble(f"Redis and PostgreSQL ended and do not come back; nothing can trade. Why: {log}", FAILED)

    def kill(self) -> None:
        """End everything now."""
        for child in self.children.values():
            child.kill()
        self._servers.stop()
        runfile.remove()
        if self.plan.scratch is not None:
            shutil.rmtree(self.plan.scratch, ignore_errors=True)

    async def _start_servers(self) -> Endpoints:
        try:
            return await asyncio.to_thread(self._servers.start)
        except EmbeddedError as error:
            raise Trouble(f"The embedded servers did not start: {error}", FAILED) from None

    async def _migrate(self, endpoints: Endpoints) -> None:
        from pmarb.db.migrate import upgrade  # Half the start of every other command, which needs none of it

        try:
            await asyncio.to_thread(upgrade, endpoints.database_url)
        except psycopg.OperationalError as error:
            raise Trouble(f"The ledger could not be prepared: {error}", FAILED) from None

    def _environment(self, endpoints: Endpoints) -> dict[str, str]:
        sandbox = {
            "SANDBOX_URL": f"http://127.0.0.1:{free_port(0)}",
            "CLOCK_SPEED": f"{self.plan.speed:g}",
            "CLOCK_ANCHOR_NS": str(time.time_ns()),
            "SANDBOX_STATE": str(self.plan.sandbox_state or ""),
        }
        servers = {"REDIS_URL": endpoints.redis_url, "DATABASE_URL": endpoints.database_url}
        return {**self.plan.environment, **servers, **(sandbox if self.plan.with_sandbox else {})}

    def _sandbox(self) -> Program:
        port = self.environment["SANDBOX_URL"].rpartition(":")[2]
        options = ["--port", port, "--seed", str(self.plan.seed), "--scenario", self.plan.scenario, "--json"]
        arguments = ("-m", "services.sandbox", *options)
        return Program(name="sandbox", arguments=arguments, environment=self._own("sandbox"))

    def _service(self, name: str) -> Program:
        environment = self._own(name)
        if name == "console":
            port = free_port(self.plan.console_port)
            environment |= {"CONSOLE_PORT": str(port), "CONSOLE_HOST": "127.0.0.1"}
            self.console_url = f"http://127.0.0.1:{port}"
        program = Program(name=name, arguments=("-m", f"services.{name}"), environment=environment)
        if name != "executor":
            return program
        return replace(program, grace=EXECUTOR_GRACE, dies_with=signal.SIGTERM)  # It must cancel what is open

    def _own(self, name: str) -> dict[str, str]:
        folder = self._servers.place / "heartbeats"
        folder.mkdir(exist_ok=True)
        return {**self.environment, "HEARTBEAT_FILE": str(folder / name), "MEMBER": name}

    async def _run(self, program: Program) -> None:
        child = Child(program, self._on_line)
        self.children[program.name] = child
        await child.start()

    def _run_file(self) -> RunFile:
        return RunFile(
            pid=os.getpid(),
            command=self.plan.command,
            environment={"VENUE": "sandbox", **self.environment},
            console_url=self.console_url,
        )

    async def _until_sandbox_answers(self) -> None:
        url = f"{self.environment['SANDBOX_URL']}/sandbox/health"
        async with httpx.AsyncClient(timeout=5) as client:

            async def answers() -> bool:
                with contextlib.suppress(httpx.TransportError):
                    return (await client.get(url)).is_success
                return False

            await self._until("the sandbox", answers)

    async def _until_alive(self, names: Sequence[str]) -> None:
        """Each of these has beaten; the run file then names the console too."""
        bus = RedisBus(self.environment["REDIS_URL"])
        try:
            for name in names:

                async def beats(name: str = name) -> bool:
                    with contextlib.suppress(BusUnavailable):
                        return bool(await bus.members(name))
                    return False

                await self._until(name, beats)
        finally:
            await bus.close()
        runfile.write(self._run_file())

    async def _until(self, what: str, ready: Callable[[], Awaitable[bool]]) -> None:
        deadline = time.monotonic() + READY_WITHIN
        broken = asyncio.create_task(self.wait_broken())
        try:
            while not await ready():
                if broken.done():
                    broken.result()
                if time.monotonic() > deadline:
                    raise Trouble(
                        f"{what} gave no sign of life within {READY_WITHIN:.0f} s: see its lines above.", FAILED
                    )
                await asyncio.sleep(0.1)
        except WrongSettings as error:
            raise Trouble(str(error), WRONG_USE) from None
        finally:
            broken.cancel()


def venue_of(environment: Mapping[str, str]) -> str:
    """Where these settings, or else our own environment, trade."""
    return environment.get("VENUE", os.environ.get("VENUE", "")).strip().lower() or "sandbox"


def forget_last_world(endpoints: Endpoints) -> None:
    """A new run has a new sandbox, so a ledger of its money begins anew too; stops, receipts and alerts are kept.

    Only for a data folder that never saw another venue: `up` keeps one folder a venue.
    """
    with psycopg.connect(endpoints.database_url) as connection:
        connection.execute("SET LOCAL pmarb.new_world = 'yes'")  # The ledger is append-only for everything else
        connection.execute(
            "TRUNCATE postings, entries, settlements, merges, merge_log, trades, orders, foreign_movements, verdicts"
        )
    with redis.Redis.from_url(endpoints.redis_url) as client:
        client.flushall()


def free_port(wanted: int) -> int:
    """This loopback port, or any free one when it is taken or 0."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise Trouble("No loopback port is free.", FAILED)
