"""Processes that live no longer than ours: started, listened to, restarted after a crash, stopped in order."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

OnLine = Callable[[str, str], None]

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # Seconds between restarts
HEALTHY_AFTER = 30.0  # Seconds alive that forgive earlier crashes
WRONG_SETTINGS: Final = 2
_PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None) if sys.platform == "linux" else None  # Loaded before any fork


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run. `grace` is how long it may take to stop; `dies_with` is the signal it gets should we be killed;
    `nice` is added to its niceness: 0 for what an order waits for, more for what can wait."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    grace: float = 10.0
    dies_with: int = signal.SIGKILL
    nice: int = 0


class WrongSettings(RuntimeError):
    """A service refused its settings: starting it again cannot help."""


class Child:
    """A program that is kept running until it is told to stop. Its lines go to `on_line(name, line)`."""

    def __init__(self, program: Program, on_line: OnLine) -> None:
        self.program = program
        self.restarts = 0
        self._on_line = on_line
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._keeper: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def start(self) -> None:
        """Run it, and run it again whenever it ends before `stop`."""
        await self._spawn()
        self._keeper = asyncio.create_task(self._keep())

    async def wait_broken(self) -> None:
        """Return only by raising: WrongSettings when the program refused its settings."""
        if self._keeper is not None:
            await asyncio.shield(self._keeper)

    async def stop(self) -> int | None:
        """Ask it to end, then make it; its exit code, None if it never ran."""
        self._stopping = True
        process = self._process
        if process is None:
            return None
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), self.program.grace)
        except TimeoutError:
            self._on_line(self.program.name, f"did not end within {self.program.grace:.0f} s and was killed")
            self._signal(signal.SIGKILL)
            await process.wait()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        return process.returncode

    def kill(self) -> None:
        """End it now."""
        self._stopping = True
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    async def _spawn(self) -> None:
        program = self.program
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *program.arguments,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **program.environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=1 << 20,
            start_new_session=True,  # Ctrl-C is for us: we stop them in order
            preexec_fn=lambda: _begin(program),
        )

    async def _keep(self) -> None:
        pause, loop = FIRST_PAUSE, asyncio.get_running_loop()
        while True:
            process, born = self._process, loop.time()
            if process is None:
                return
            await self._listen(process)
            code = await process.wait()
            if self._stopping:
                return
            if code == WRONG_SETTINGS:
                raise WrongSettings(f"{self.program.name} refused its settings: see its last lines above")
            pause = FIRST_PAUSE if loop.time() - born > HEALTHY_AFTER else pause
            self._on_line(self.program.name, f"ended with code {code}; starts again in {pause:g} s")
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
            self.restarts += 1
            await self._spawn()

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            return
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # A line longer than the buffer
                continue
            if not line:
                return
            self._on_line(self.program.name, line.decode(errors="replace").rstrip())


def _begin(program: Program) -> None:
    """In the child, before it becomes the program: the kernel signals it when our process ends, however it ends."""
    os.nice(program.nice)
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, program.dies_with)
