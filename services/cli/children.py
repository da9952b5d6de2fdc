"""Processes that live no longer than ours: started, listened to, restarted after a crash, stopped in order."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

OnLine = Callable[[str, str], None]

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # Seconds between restarts
HEALTHY_AFTER = 30.0  # Seconds alive that forgive earlier crashes
LISTEN_EVERY: Final = 0.1
"""Seconds. Whoever wakes for each line takes a core just when an order needs it."""
LAST_WORDS: Final = 1.0  # Seconds in which the last lines of one that ended must have come
CHUNK: Final = 1 << 16
WRONG_SETTINGS: Final = 2
ERROR: Final = "error: "
"""How the lines begin in which a service names a wrong setting."""
LINES_KEPT: Final = 5
_PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None) if sys.platform == "linux" else None  # Loaded before any fork


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run. `grace` is how long it may take to stop; `dies_with` is the signal it gets should we be killed."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    grace: float = 10.0
    dies_with: int = signal.SIGKILL


class WrongSettings(RuntimeError):
    """A service refused its settings: starting it again cannot help."""


class Child:
    """A program that is kept running until it is told to stop. Its lines go to `on_line(name, line)`."""

    def __init__(self, program: Program, on_line: OnLine) -> None:
        self.program = program
        self.restarts = 0
        self._on_line = on_line
        self._process: asyncio.subprocess.Process | None = None
        self._output = -1
        self._stopping = False
        self._keeper: asyncio.Task[None] | None = None
        self._latest: deque[str] = deque(maxlen=LINES_KEPT)

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
        ran = process.returncode is None
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self.program.grace):
                await process.wait()
        except TimeoutError:
            self._on_line(self.program.name, f"did not end within {self.program.grace:.0f} s and was killed")
            self._signal(signal.SIGKILL)
            await process.wait()
        if self._keeper is not None:
            if ran:
                await asyncio.wait({self._keeper}, timeout=LAST_WORDS)
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
        self._output, said = os.pipe()
        os.set_blocking(self._output, False)
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *program.arguments,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **program.environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=said,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us: we stop them in order
                preexec_fn=lambda: _begin(program.dies_with),
            )
        finally:
            os.close(said)

    async def _keep(self) -> None:
        pause, loop = FIRST_PAUSE, asyncio.get_running_loop()
        while True:
            process, born = self._process, loop.time()
            if process is None:
                return
            await self._listen(self._output)
            code = await process.wait()
            if self._stopping:
                return
            if code == WRONG_SETTINGS:
                raise WrongSettings(f"{self.program.name} refused its settings: {self._why()}")
            pause = FIRST_PAUSE if loop.time() - born > HEALTHY_AFTER else pause
            self._on_line(self.program.name, f"ended with code {code}; starts again in {pause:g} s")
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
            self.restarts += 1
            await self._spawn()

    async def _listen(self, output: int) -> None:
        """Hand on its lines until it and all that it started have closed them."""
        rest = b""
        try:
            while True:
                try:
                    said = os.read(output, CHUNK)
                except BlockingIOError:
                    await _next_look()
                    continue
                if not said:
                    break
                *lines, rest = (rest + said).split(b"\n")
                for line in lines:
                    self._say(line)
                await asyncio.sleep(0)  # However much it says, others have their turn
        finally:
            os.close(output)
        if rest:
            self._say(rest)

    def _say(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        self._on_line(self.program.name, text)
        self._latest.append(text)

    def _why(self) -> str:
        """The wrong settings that it named, else its last line."""
        named = [line.removeprefix(ERROR) for line in self._latest if line.startswith(ERROR)]
        return "\n".join(named or list(self._latest)[-1:])


async def _next_look() -> None:
    """Until the next of the moments at which all children are looked at together."""
    now = asyncio.get_running_loop().time()
    await asyncio.sleep(LISTEN_EVERY - now % LISTEN_EVERY)


def _begin(dies_with: int) -> None:
    """In the child, before it becomes the program: the kernel signals it when our process ends, however it ends."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, dies_with)
