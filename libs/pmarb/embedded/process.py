"""One server process: start it, wait until it is ready, stop it."""

import ctypes
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pmarb.embedded.errors import EmbeddedError, PortTaken
from pmarb.embedded.places import Account

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
READY_WITHIN = 30.0  # Seconds
STOP_WITHIN = 10.0  # Seconds, before it is killed
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    name: str
    argv: tuple[str, ...]
    folder: Path
    log: Path
    port: int
    owner: Account | None
    stop_signal: signal.Signals
    ready: Callable[[int], bool]


class Child:
    """A running server. Made by the single-threaded supervisor alone: the kernel ties its life to that thread."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._log_from = server.log.stat().st_size if server.log.exists() else 0
        owner = server.owner
        with server.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own binary, our own arguments
                server.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=server.folder,
                env=ENVIRONMENT,
                user=owner.uid if owner else None,
                group=owner.gid if owner else None,
                extra_groups=[] if owner else None,
                preexec_fn=_die_with_parent(server.stop_signal),  # noqa: PLW1509 - one thread
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def wait_ready(self) -> None:
        """Return once the server answers.

        Raises:
            PortTaken: it could not bind its port.
            EmbeddedError: it ended, or did not answer in time; the text carries the end of its log.
        """
        deadline = time.monotonic() + READY_WITHIN
        while not self.server.ready(self.pid):
            if self.ended:
                raise self._failure("ended at its start")
            if time.monotonic() > deadline:
                self.stop()
                raise self._failure(f"was not ready after {READY_WITHIN:.0f} s")
            time.sleep(0.005)

    def stop(self) -> None:
        """Stop in order, and by force after a while."""
        if self.ended:
            return
        self._process.send_signal(self.server.stop_signal)
        try:
            self._process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGQUIT)
            self._kill()

    def _kill(self) -> None:
        try:
            self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _failure(self, what: str) -> EmbeddedError:
        with self.server.log.open("rb") as log:
            log.seek(self._log_from)
            said = log.read().decode(errors="replace").strip()
        kind = PortTaken if "in use" in said.lower() and "memory" not in said.lower() else EmbeddedError
        return kind(f"{self.server.name} {what}: {said[-600:]}")


def _die_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """On Linux the kernel sends `number` to the server when the supervisor dies, however it dies."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)

    return ask


def command_of(pid: int) -> str:
    """The command line of a process, empty if there is none."""
    listing = Path(f"/proc/{pid}/cmdline")
    if Path("/proc/self").exists():
        try:
            return listing.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    done = subprocess.run(  # noqa: S603
        ["ps", "-ww", "-o", "args=", "-p", str(pid)],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout
