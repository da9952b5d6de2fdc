"""Processes of ours that start in a moment: forked from one that has imported what all of them import.

Each is what `python -m services.x` is, with its own environment, signals and exit code; only the second that each would
spend on reading the same libraries is spent once. That they start from nothing is shown where a person would start
them: by the demo, `pm-arb up` and the drill of the chaos tests.
"""

import contextlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[1]
NOWHERE = Path(os.devnull)
POSING = "POSING"

_context = ForkServerContext()
_context.set_forkserver_preload(["tests.warm"])


class Started:
    """`python -m module arguments`, as `subprocess.Popen` would show it. Writes to `out` and `err`; stdin is empty."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str] = (),
        *,
        env: Mapping[str, str],
        cwd: Path = ROOT,
        out: IO[Any] | None = None,
        err: IO[Any] | None = None,
    ) -> None:
        assert POSING not in env, "tests/posing changes what the process that this is forked from has read already"
        self.args = [module, *arguments]
        with NOWHERE.open("ab") as nowhere, _importable():
            sinks = [_sink(out or nowhere), _sink(err or nowhere)]
            self._process: ForkServerProcess = _context.Process(
                target=_become, args=(self.args, dict(env), str(cwd), *sinks), daemon=True
            )
            self._process.start()
            for sink in sinks:
                sink.close()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, negative for a signal."""
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def from_nothing(module: str, *, env: Mapping[str, str], out: IO[Any], err: IO[Any]) -> subprocess.Popen[bytes]:
    """The same without a fork."""
    return subprocess.Popen([sys.executable, "-m", module], env=env, stdout=out, stderr=err, cwd=ROOT)


def finished(
    module: str, arguments: Sequence[str] = (), *, env: Mapping[str, str], cwd: Path = ROOT, timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run it to its end and keep what it wrote; killed and a TimeoutExpired if that takes longer."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = Started(module, arguments, env=env, cwd=cwd, out=out, err=err)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        words = []
        for written in (out, err):
            written.seek(0)
            words.append(written.read().decode())
        return subprocess.CompletedProcess(process.args, code, *words)


@contextlib.contextmanager
def running_sandbox(*options: str) -> Iterator[dict[str, Any]]:
    """A sandbox on a free loopback port; what it printed when it was ready. It must end well."""
    arguments = ["--host", "127.0.0.1", "--port", "0", "--json", *options]
    process, ready = announced("services.sandbox", arguments, env=os.environ)
    try:
        yield ready
    finally:
        process.terminate()
        assert process.wait(timeout=20) == 0


def announced(module: str, arguments: Sequence[str], *, env: Mapping[str, str]) -> tuple[Started, Any]:
    """A process that says in one line of JSON when it is ready, and that line."""
    reading, writing = os.pipe()
    with open(reading) as lines:  # noqa: PTH123 - a pipe
        with open(writing, "wb") as out:  # noqa: PTH123
            process = Started(module, arguments, env=env, out=out)
        line = lines.readline()
    return process, json.loads(line)


@contextlib.contextmanager
def _importable() -> Iterator[None]:
    """The process that the others are forked from is started by the first of them, and finds `tests` by this."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT / "libs"), str(ROOT), before)))
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def _sink(file: IO[Any]) -> Connection:
    """A connection is what a process can be given; this one is only a file that can."""
    return Connection(os.dup(file.fileno()), readable=False)


def _become(command: list[str], env: dict[str, str], cwd: str, out: Connection, err: Connection) -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(command[0].rpartition(".")[2])  # Its name, where there is such a place
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.path[:0] = [place for place in env.get("PYTHONPATH", "").split(os.pathsep) if place]
    sys.argv = command
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)
