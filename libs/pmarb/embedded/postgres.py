"""The PostgreSQL server: commits are durable, everything else is small."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

from pmarb.embedded import places
from pmarb.embedded.binaries import Binaries
from pmarb.embedded.errors import EmbeddedError
from pmarb.embedded.places import Account
from pmarb.embedded.process import ENVIRONMENT, STOP_WITHIN, Server, command_of

USER = "pmarb"
DATABASE = "postgres"
PARAMETERS = {
    "listen_addresses": "127.0.0.1",
    "synchronous_commit": "on",
    "max_connections": "100",
    "shared_buffers": "32MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


def server(place: Path, binaries: Binaries, *, port: int, owner: Account | None) -> Server:
    folder = place / "postgres"
    _end_leftover(folder)
    if not (folder / "PG_VERSION").exists():
        _create(place, binaries, owner)
    sockets = places.sockets(place, owner)
    settings = PARAMETERS | {"unix_socket_directories": str(sockets or "")}
    parameters = [text for name, value in settings.items() for text in ("-c", f"{name}={value}")]
    return Server(
        name="postgres",
        argv=(str(binaries.postgres), "-D", str(folder), "-p", str(port), *parameters),
        folder=folder,
        log=place / "postgres.log",
        port=port,
        owner=owner,
        stop_signal=signal.SIGINT,  # "fast": ends the sessions and writes a checkpoint
        ready=lambda pid: _accepts(folder, pid),
    )


def url(*, port: int, password: str, sockets: Path | None) -> str:
    if sockets is not None:
        return f"postgresql://{USER}:{password}@/{DATABASE}?host={quote(str(sockets), safe='')}&port={port}"
    return f"postgresql://{USER}:{password}@127.0.0.1:{port}/{DATABASE}"


def _create(place: Path, binaries: Binaries, owner: Account | None) -> None:
    """Make the cluster beside its place and rename it there: half a cluster is never found."""
    draft = place / "postgres.new"
    shutil.rmtree(draft, ignore_errors=True)
    places.server_folder(place, draft.name, owner)
    secret = place / "password.postgres"
    places.write_private(secret, places.password(place), owner)
    try:
        _initdb(binaries.initdb, draft, secret, owner)
    finally:
        secret.unlink()
    draft.rename(place / "postgres")


def _initdb(initdb: Path, folder: Path, secret: Path, owner: Account | None) -> None:
    settings = ["--auth=scram-sha-256", "--no-locale", "-E", "UTF8", "--no-sync", "--no-instructions"]
    done = subprocess.run(  # noqa: S603 - our own binary, our own arguments
        [initdb, "-D", folder, "-U", USER, f"--pwfile={secret}", *settings],
        env=ENVIRONMENT,
        cwd="/",
        user=owner.uid if owner else None,
        group=owner.gid if owner else None,
        extra_groups=[] if owner else None,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode != 0:
        raise EmbeddedError(f"initdb failed: {done.stderr.strip()[-600:]}")


def _accepts(folder: Path, pid: int) -> bool:
    """Whether this very process says it is ready: the eighth line of its pid file."""
    try:
        lines = (folder / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


def _end_leftover(folder: Path) -> None:
    """Stop the server of an earlier supervisor that was killed, and remove a pid file that names nobody of ours."""
    path = folder / "postmaster.pid"
    deadline = time.monotonic() + STOP_WITHIN
    while path.exists():
        pid = int(path.read_text().split("\n", 1)[0])
        if str(folder) not in command_of(pid):  # Pids are used again
            _end_orphans(folder)
            path.unlink(missing_ok=True)
            return
        os.kill(pid, signal.SIGINT if time.monotonic() < deadline else signal.SIGQUIT)
        time.sleep(0.1)


def _end_orphans(folder: Path) -> None:
    """End the sessions of a server that was killed: they see it only between two steps, and none may start before.

    Linux says in which folder a process works; elsewhere the next server is tried until they have gone by themselves.
    """
    deadline = time.monotonic() + STOP_WITHIN
    while (orphans := _sessions_in(folder)) and time.monotonic() < deadline:
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGQUIT)
        time.sleep(0.02)


def _sessions_in(folder: Path) -> list[int]:
    """PostgreSQL's own processes alone: a person's shell may be there, too."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cwd").readlink() == folder and command_of(int(entry.name)).startswith("postgres:"):
                found.append(int(entry.name))
    return found
