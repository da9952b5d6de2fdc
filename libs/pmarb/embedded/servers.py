"""The face of the embedded servers: start them, get their addresses, stop them."""

import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO

from pmarb.embedded import places
from pmarb.embedded.errors import AlreadyRunning, EmbeddedError

STOP_WITHIN = 30.0  # Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Where to connect; both addresses hold the password, so neither is shown."""

    redis_url: str = field(repr=False)
    database_url: str = field(repr=False)


class EmbeddedServers:
    """Redis and PostgreSQL over one data folder, alive until `stop` or until this process ends, however it ends.

    A folder that was served before is served again with everything in it, also after a kill -9. As root the data may
    lie elsewhere than asked: see `place`.
    """

    def __init__(self, data_dir: Path) -> None:
        self._wanted = data_dir
        self._supervisor: subprocess.Popen[str] | None = None
        self._place: Path | None = None

    @property
    def place(self) -> Path:
        """Where the data and the logs are."""
        if self._place is None:
            self._place = places.settle(self._wanted)
        return self._place

    def start(self) -> Endpoints:
        """Return once both servers answer.

        Raises:
            BinariesMissing, AlreadyRunning, EmbeddedError: with a text for the person at the terminal.
        """
        if self._supervisor is not None:
            raise AlreadyRunning(f"the servers of {self.place} are running already")
        with (self.place / "supervisor.log").open("a") as log:
            self._supervisor = subprocess.Popen(  # noqa: S603 - ourselves
                [sys.executable, "-m", "pmarb.embedded.supervisor", str(self.place)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # Ctrl-C is for the services: they still need the servers to drain
            )
        return self._first_words(self._supervisor)

    def stop(self) -> None:
        """Stop both in order; nothing happens if they do not run."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is None:
            return
        with contextlib.suppress(BrokenPipeError):
            _pipe(supervisor.stdin).close()
        try:
            supervisor.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            supervisor.kill()
            supervisor.wait()
        _pipe(supervisor.stdout).close()

    @property
    def supervisor_pid(self) -> int:
        """The process that starts them again."""
        if self._supervisor is None:
            raise EmbeddedError("the servers are not running")
        return self._supervisor.pid

    @property
    def ended(self) -> bool:
        """Whether whoever starts them again has itself ended: they do not come back."""
        return self._supervisor is not None and self._supervisor.poll() is not None

    def pid(self, name: str) -> int:
        """The process of "redis" or "postgres"; another one after a crash."""
        return int(json.loads((self.place / "pids.json").read_text())[name])

    def _first_words(self, supervisor: subprocess.Popen[str]) -> Endpoints:
        line = _pipe(supervisor.stdout).readline()
        said = json.loads(line) if line else {"error": f"the supervisor ended: see {self.place / 'supervisor.log'}"}
        if "error" in said:
            self.stop()
            raise EmbeddedError(said["error"])
        return Endpoints(**said)

    def __enter__(self) -> Endpoints:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Endpoints:
        return await asyncio.to_thread(self.start)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)


@contextlib.contextmanager
def ephemeral() -> Iterator[Endpoints]:
    """Both servers over a folder that goes with them: for a test session or a demonstration."""
    folder = Path(tempfile.mkdtemp(prefix="pm-arb-"))
    servers = EmbeddedServers(folder / "data")
    folder.chmod(0o711)
    try:
        with servers as endpoints:
            yield endpoints
    finally:
        shutil.rmtree(servers.place, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


def running(data_dir: Path) -> Endpoints | None:
    """The addresses of the servers that another process holds over this folder, if any does."""
    place = places.settle(data_dir)
    try:
        places.lock(place).close()
    except AlreadyRunning:
        return Endpoints(**json.loads((place / "endpoints.json").read_text()))
    return None


def _pipe(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise EmbeddedError("the supervisor has no pipe")
    return stream
