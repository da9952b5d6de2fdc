"""`python -m pmarb.embedded.supervisor DATA_DIR`: holds both servers for the process at the other end of its stdin.

It prints one JSON line, the addresses or the error, and then lives until its stdin closes (the owner ended, in
whatever way) or SIGTERM arrives, stopping the servers in order. A server that crashes is started again where it was.
A process of its own, since the kernel kills a child with the *thread* that made it: this one has a single thread.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from pmarb.embedded import binaries, places, postgres, redis
from pmarb.embedded.errors import EmbeddedError, PortTaken
from pmarb.embedded.process import Child, Server

PORT_TRIES = 5
CRASHES, PER_SECONDS = 10, 60.0  # More than these and the supervisor gives up
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0  # Seconds between tries: ten of them are most of a minute
NAMES = ("redis", "postgres")  # In the order of their stopping


class Supervisor:
    def __init__(self, place: Path) -> None:
        self.place = place
        self._owner = places.account()
        found = binaries.locate()
        self._binaries = found if self._owner is None else binaries.readable_by_all(found)
        self._children: dict[str, Child] = {}
        self._ports: dict[str, int] = {}
        self._crashes: deque[float] = deque(maxlen=CRASHES)
        self._next_try = 0.0
        self._pause = FIRST_PAUSE

    def start(self) -> dict[str, str]:
        """Start both, the slow one last to be waited for, and answer their addresses."""
        last = places.last_ports(self.place)
        for name in NAMES:
            self._spawn(name, places.free_port(last.get(name)))
        for name in NAMES:
            self._await(name)
        places.write_private(self.place / "ports.json", json.dumps(self._ports))
        password, sockets = places.password(self.place), places.sockets(self.place, self._owner)
        endpoints = {
            "redis_url": redis.url(port=self._ports["redis"], password=password, sockets=sockets),
            "database_url": postgres.url(port=self._ports["postgres"], password=password, sockets=sockets),
        }
        places.write_private(self.place / "endpoints.json", json.dumps(endpoints))
        self._note_pids()
        return endpoints

    @property
    def patience(self) -> float | None:
        """Seconds until the next try to start a server that does not come back; None while both run."""
        if not any(child.ended for child in self._children.values()):
            return None
        return max(0.0, self._next_try - time.monotonic())

    def revive(self) -> None:
        """Start again what has crashed; what does not come back (a full disk, a port taken) is tried again later.

        Raises:
            EmbeddedError: a server crashes without end.
        """
        if time.monotonic() < self._next_try:
            return
        for name in NAMES:
            if not self._children[name].ended:
                continue
            self._note_crash(name)
            try:
                self._spawn(name, self._ports[name])
                self._children[name].wait_ready()
            except (EmbeddedError, OSError) as error:
                self._next_try = time.monotonic() + self._pause
                say(f"{name} does not come back, next try in {self._pause:g} s: {error}")
                self._pause = min(2 * self._pause, LONGEST_PAUSE)
                continue
            self._pause = FIRST_PAUSE
            self._note_pids()
            say(f"{name} ended and was started again, pid {self._children[name].pid}")

    def stop(self) -> None:
        for name in NAMES:
            if name in self._children:
                self._children[name].stop()
        (self.place / "endpoints.json").unlink(missing_ok=True)

    def _spawn(self, name: str, port: int) -> None:
        make: dict[str, Callable[..., Server]] = {"redis": redis.server, "postgres": postgres.server}
        self._ports[name] = port
        self._children[name] = Child(make[name](self.place, self._binaries, port=port, owner=self._owner))

    def _await(self, name: str) -> None:
        """Wait for one server; if somebody was quicker to its port, take another."""
        for _ in range(PORT_TRIES):
            try:
                return self._children[name].wait_ready()
            except PortTaken as error:
                say(str(error))
                self._spawn(name, places.free_port(None))
        return self._children[name].wait_ready()

    def _note_crash(self, name: str) -> None:
        now = time.monotonic()
        self._crashes.append(now)
        if len(self._crashes) == CRASHES and now - self._crashes[0] < PER_SECONDS:
            raise EmbeddedError(f"{name} crashed again: {CRASHES} crashes in a minute")

    def _note_pids(self) -> None:
        pids = {name: child.pid for name, child in self._children.items()}
        places.write_private(self.place / "pids.json", json.dumps(pids))


def say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}\n")
    sys.stderr.flush()


def answer(what: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def watch(supervisor: Supervisor, signals: int) -> None:
    """Sleep until the owner goes, SIGTERM comes, a child ends or one is to be tried again."""
    while True:
        readable, _, _ = select.select([0, signals], [], [], supervisor.patience)
        if 0 in readable and not os.read(0, 64):
            return say("the owner has gone")
        if signals in readable and signal.SIGTERM in os.read(signals, 64):
            return say("asked to stop")
        supervisor.revive()


def listen_to_signals() -> int:
    """A descriptor that turns readable with the number of every signal of interest."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return reading


def main() -> int:
    place = Path(sys.argv[1])
    signals = listen_to_signals()
    try:
        held = places.lock(place)
    except EmbeddedError as error:
        answer({"error": str(error)})
        return 1
    with held:
        return serve(place, signals)


def serve(place: Path, signals: int) -> int:
    supervisor: Supervisor | None = None
    try:
        supervisor = Supervisor(place)
        answer(supervisor.start())
        watch(supervisor, signals)
    except (EmbeddedError, OSError, subprocess.SubprocessError) as error:
        say(str(error))
        answer({"error": str(error)})
        return 1
    finally:
        if supervisor is not None:
            supervisor.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
