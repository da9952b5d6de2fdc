"""Folders, accounts, ports and passwords of the embedded servers."""

import fcntl
import hashlib
import json
import os
import random
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from pmarb.embedded.errors import AlreadyRunning, EmbeddedError

NOBODY = 65534
LONGEST_SOCKET = 100
"""Bytes: the kernels allow 104 or 108 with the closing zero."""
PORTS: Final = range(20_000, 32_768)
"""Linux gives outgoing connections those above; a server that crashed must find its own free again."""
SHARED_FOLDER = Path("/var/tmp")  # noqa: S108 - ownership is checked before use


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who a server runs as when we are root."""

    uid: int
    gid: int


def account() -> Account | None:
    """The unprivileged account to become, or None: stay who we are."""
    return Account(uid=NOBODY, gid=NOBODY) if os.geteuid() == 0 else None


def open_to_all(path: Path) -> bool:
    """Whether any account may walk to `path` and read it (and enter it, if it is a folder)."""
    resolved = path.resolve()
    needed = 0o5 if resolved.is_dir() or os.access(resolved, os.X_OK) else 0o4
    return bool(resolved.stat().st_mode & needed == needed) and _walkable(resolved)


def _walkable(path: Path) -> bool:
    return all(parent.stat().st_mode & 0o1 for parent in path.parents)


def settle(wanted: Path) -> Path:
    """Make the data folder and answer where it is.

    It is `wanted`, unless we are root and the servers' account could not walk there (a home folder is usually closed):
    then a folder of its own under /var/tmp, found again by the same name.
    """
    wanted = wanted.expanduser().absolute()
    if os.geteuid() != 0:
        wanted.mkdir(parents=True, exist_ok=True, mode=0o700)
        return wanted
    if _could_walk(wanted):
        _make_walkable(wanted)
        return wanted
    name = hashlib.sha256(str(wanted).encode()).hexdigest()[:12]
    return _own_folder(SHARED_FOLDER / f"pm-arb-{name}")


def _could_walk(folder: Path) -> bool:
    while not folder.exists():
        folder = folder.parent
    folder = folder.resolve()
    return bool(folder.stat().st_mode & 0o1) and _walkable(folder)


def _make_walkable(folder: Path) -> None:
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir()
        path.chmod(0o711)


def _own_folder(folder: Path) -> Path:
    folder.mkdir(mode=0o711, exist_ok=True)
    state = folder.lstat()
    if state.st_uid != os.geteuid() or folder.is_symlink():
        raise EmbeddedError(f"{folder} belongs to somebody else: name another data folder")
    folder.chmod(0o711)
    return folder


def server_folder(place: Path, name: str, owner: Account | None) -> Path:
    """A folder that only the server's account can read."""
    folder = place / name
    folder.mkdir(mode=0o700, exist_ok=True)
    hand_over(folder, owner)
    return folder


def sockets(place: Path, owner: Account | None) -> Path | None:
    """Where the servers' sockets lie, a quarter quicker a hop than TCP; None where the path is too long for one."""
    folder = server_folder(place, "sockets", owner)
    longest = folder / ".s.PGSQL.65535"
    return folder if len(str(longest).encode()) <= LONGEST_SOCKET else None


def hand_over(path: Path, owner: Account | None) -> None:
    if owner is not None:
        os.chown(path, owner.uid, owner.gid)


def write_private(path: Path, text: str, owner: Account | None = None) -> None:
    """Write a file that one account can read, from its first byte on."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    hand_over(draft, owner)
    draft.replace(path)


def password(place: Path) -> str:
    """The one password of both servers, made at the first start: loopback is open to every account of a machine."""
    path = place / "password"
    if not path.exists():
        write_private(path, secrets.token_urlsafe(24))
    return path.read_text()


def last_ports(place: Path) -> dict[str, int]:
    """The ports of the run before, so that a restart keeps its addresses where it can."""
    path = place / "ports.json"
    if not path.exists():
        return {}
    try:
        return {str(name): int(port) for name, port in json.loads(path.read_text()).items()}
    except (ValueError, AttributeError, TypeError):
        return {}


def free_port(preferred: int | None) -> int:
    """A loopback port to listen on: the preferred one, else one of `PORTS`, else any."""
    chosen = random.sample(PORTS, 20)
    for port in (preferred or chosen[0], *chosen, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise EmbeddedError("no loopback port is free")


def lock(place: Path) -> IO[str]:
    """Hold the data folder for as long as the returned file is open.

    Raises:
        AlreadyRunning: another process holds it.
    """
    file = (place / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise AlreadyRunning(f"the servers of {place} are running already") from error
    return file
