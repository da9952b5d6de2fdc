"""What chaos happens to: real servers, a real sandbox, two executors that die and come back, the other services."""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import redis.asyncio as redis

from pmarb.db.migrate import upgrade
from pmarb.embedded import EmbeddedServers, Endpoints
from tests.executors import Ground, pids_of
from tests.starting import ROOT, running_sandbox
from tests.waiting import PATIENCE_S

SPEED: Final = 10
DISK_MB: Final = 1024
EXECUTORS: Final = ("executor-1", "executor-2")
OTHERS: Final = ("risk", "scanner", "alerter", "console")
LIVES: Final = (2.5, 6.0)
"""Seconds after which an executor that has not met its fate is killed all the same."""


@dataclass(kw_only=True)
class Keeper:
    """Keeps one program running, whatever ends it. `kills` counts what ended it by SIGKILL, by where."""

    name: str
    arguments: tuple[str, ...]
    environment: dict[str, str]
    log: Path
    fates: Iterator[str] | None = None
    mortal: bool = False
    kills: dict[str, int] = field(default_factory=dict)
    crashes: int = 0
    _process: asyncio.subprocess.Process | None = None
    _task: asyncio.Task[None] | None = None
    _began: int = 0
    _dice: random.Random = field(default_factory=random.Random)

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep())

    async def stop(self) -> int | None:
        """SIGTERM, and no restart; its exit code."""
        if self._task is None:
            return None
        self._task.cancel()
        await asyncio.wait([self._task])
        process = self._process
        if process is None or process.returncode is not None:
            return None if process is None else process.returncode
        process.send_signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(process.wait(), 30)
        except TimeoutError:
            process.kill()
            return await process.wait()

    async def ready(self, *, within: float = PATIENCE_S) -> None:
        """Until this life has reconciled and follows its books."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            if self.log.exists() and b"feed_connected" in self.log.read_bytes()[self._began :]:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{self.name} was not ready within {within:.0f} s: see {self.log}")

    async def kill9(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def _keep(self) -> None:
        while True:
            fate = next(self.fates) if self.mortal and self.fates is not None else ""
            with self.log.open("ab") as log:
                self._began = log.tell()
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable, *self.arguments, env=self.environment | ({"CHAOS_DIE_AT": fate} if fate else {}),
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT,
                )  # fmt: skip
            code = await self._lived(self._process, fate)
            if code == -signal.SIGKILL:
                where = fate.partition(":")[0] or "at random"
                self.kills[where] = self.kills.get(where, 0) + 1
            else:
                self.crashes += 1
                await asyncio.sleep(0.2)

    async def _lived(self, process: asyncio.subprocess.Process, fate: str) -> int:
        if not fate:
            return await process.wait()
        try:
            return await asyncio.wait_for(process.wait(), self._dice.uniform(*LIVES))
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            return await process.wait()


@dataclass(kw_only=True)
class World:
    """All of it, running."""

    ground: Ground
    servers: EmbeddedServers
    endpoints: Endpoints
    keepers: dict[str, Keeper]
    disk: Path | None
    """A small file system of their own for the servers' data, where this account may mount one."""

    @property
    def dsn(self) -> str:
        return self.endpoints.database_url

    @property
    def executors(self) -> list[Keeper]:
        return [self.keepers[name] for name in EXECUTORS]

    async def mortal(self, fates: Iterator[str], dice: random.Random) -> None:
        """From their next life on, the executors die at points of `fates`; this life ends now."""
        for keeper in self.executors:
            keeper.fates, keeper.mortal, keeper._dice = fates, True, dice
            await keeper.kill9()

    async def immortal(self) -> None:
        """Let them live: this life, which has an end set, ends now."""
        for keeper in self.executors:
            keeper.mortal = False
            await keeper.kill9()

    async def kill_redis(self) -> None:
        os.kill(self.servers.pid("redis"), signal.SIGKILL)
        await self.redis_answers()

    async def redis_loses_its_last_second(self) -> None:
        """What a host crash costs under an append-only file that is written out every second."""
        before = self._redis_writes_to()
        size = before.stat().st_size
        await asyncio.sleep(1)
        supervisor = self.servers.supervisor_pid
        os.kill(supervisor, signal.SIGSTOP)  # So that it does not start Redis again before the file is cut
        try:
            pid = self.servers.pid("redis")
            os.kill(pid, signal.SIGKILL)
            await asyncio.to_thread(_until_dead, pid)
            if self._redis_writes_to() == before:  # Else it began a file anew, and what came before is no tail
                os.truncate(before, size)
        finally:
            os.kill(supervisor, signal.SIGCONT)
        await self.redis_answers()

    def _redis_writes_to(self) -> Path:
        """The newest of its append-only files: they are numbered, not padded."""
        files = (self.servers.place / "redis" / "appendonlydir").glob("*.incr.aof")
        return max(files, key=lambda file: int(file.name.split(".")[-3]))

    async def kill_postgres(self) -> None:
        os.kill(self.servers.pid("postgres"), signal.SIGKILL)

    async def freeze(self, server: str, *, seconds: float) -> None:
        """For a while it answers nobody and every connection stands, as behind a network that swallows everything."""
        parent = self.servers.pid(server)
        os.kill(parent, signal.SIGSTOP)  # First, so that it has no other child meanwhile
        frozen = pids_of(parent)
        try:
            for pid in frozen:
                os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(seconds)
        finally:
            for pid in frozen:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    async def fill_disk(self, *, seconds: float) -> None:
        """No byte is left for anybody for a while."""
        assert self.disk is not None
        filler = self.disk / "filler"
        with filler.open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(b"\0" * size)
        await asyncio.sleep(seconds)
        filler.unlink()

    async def kill_services(self) -> None:
        for name in OTHERS:
            await self.keepers[name].kill9()

    async def redis_answers(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(redis.RedisError, OSError):
                async with redis.Redis.from_url(self.endpoints.redis_url) as client:
                    await client.ping()
                    return
            await asyncio.sleep(0.05)
        said = [
            (self.servers.place / name).read_text(errors="replace")[-1500:] for name in ("redis.log", "supervisor.log")
        ]
        raise AssertionError(f"Redis did not come back: {'; '.join(said)}")


@contextlib.asynccontextmanager
async def world(seed: int, logs: Path) -> AsyncIterator[World]:
    """Started, with a schema and money; ended with everything it started."""
    folder = _folder()
    disk = _small_disk(folder)
    servers = EmbeddedServers(folder / "data")
    options = ("--seed", str(seed), "--speed", str(SPEED), "--scenario", "slow_makers", "--bankroll", "1000000")
    try:
        endpoints = await asyncio.to_thread(servers.start)
        await asyncio.to_thread(upgrade, endpoints.database_url)
        with running_sandbox(*options) as ready, Ground(ready=ready) as ground:
            keepers = {name: _keeper(name, ground, endpoints, folder, logs) for name in (*EXECUTORS, *OTHERS)}
            made = World(ground=ground, servers=servers, endpoints=endpoints, keepers=keepers, disk=disk)
            for keeper in keepers.values():
                keeper.start()
            try:
                yield made
            finally:
                await asyncio.gather(*(keeper.stop() for keeper in keepers.values()))
    finally:
        await asyncio.to_thread(servers.stop)
        _remove(folder, disk)


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="pm-arb-chaos-"))
    folder.chmod(0o711)
    return folder


def _remove(folder: Path, disk: Path | None) -> None:
    if disk is not None:
        subprocess.run(["umount", "--lazy", str(disk)], check=False)
    shutil.rmtree(folder, ignore_errors=True)


def _until_dead(pid: int) -> None:
    """Its parent is stopped and does not bury it: it stays as a zombie."""
    stat = Path(f"/proc/{pid}/stat")
    while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.005)


def _small_disk(folder: Path) -> Path | None:
    """Mount a file system that can be full; None where that is not allowed."""
    disk = folder / "data"
    disk.mkdir()
    disk.chmod(0o711)
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return None
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=711", "tmpfs", str(disk)]
    return disk if subprocess.run(command, check=False, capture_output=True).returncode == 0 else None


def _keeper(name: str, ground: Ground, endpoints: Endpoints, folder: Path, logs: Path) -> Keeper:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("CLOCK_", "WALLET_", "CLOB_", "APPRISE_"))}
    clock = ground.ready["clock"]
    environment |= {
        "PYTHONPATH": f"{ROOT / 'libs'}{os.pathsep}{ROOT}",
        "REDIS_URL": endpoints.redis_url,
        "DATABASE_URL": endpoints.database_url,
        "SANDBOX_URL": ground.ready["clob"],
        "CLOCK_SPEED": str(clock["speed"]),
        "CLOCK_ANCHOR_NS": str(clock["anchor_ns"]),
        "MEMBER": name,
        "HEARTBEAT_FILE": str(folder / f"{name}.beat"),
        "KILL_FILE": str(folder / "kill"),
        "ANSWER_WITHIN_S": "1.5",
        "CONSOLE_PORT": "0",
        "LOG_FORMAT": "json",
    }
    module = "tests.chaos.dying_executor" if name in EXECUTORS else f"services.{name}"
    return Keeper(name=name, arguments=("-m", module), environment=environment, log=logs / f"{name}.log")
