"""The Redis-compatible server: append-only file every second, and never an eviction."""

import signal
import socket
from pathlib import Path
from urllib.parse import quote

from pmarb.embedded import places
from pmarb.embedded.binaries import Binaries
from pmarb.embedded.places import Account
from pmarb.embedded.process import STOP_WITHIN, Server

SOCKET = "redis.sock"
CONFIGURATION = """\
bind 127.0.0.1
port {port}
{listen}
dir "{folder}"
requirepass {password}
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
daemonize no
"""


def server(place: Path, binaries: Binaries, *, port: int, owner: Account | None) -> Server:
    folder = places.server_folder(place, "redis", owner)
    password = places.password(place)
    _end_leftover(places.last_ports(place).get("redis"), password)
    configuration = folder / "redis.conf"
    sockets = places.sockets(place, owner)
    listen = f'unixsocket "{sockets / SOCKET}"' if sockets else ""
    text = CONFIGURATION.format(port=port, listen=listen, folder=folder, password=password)
    places.write_private(configuration, text, owner)
    return Server(
        name="redis",
        argv=(str(binaries.redis), str(configuration)),
        folder=folder,
        log=place / "redis.log",
        port=port,
        owner=owner,
        stop_signal=signal.SIGTERM,
        ready=lambda _pid: _answers(port, password),
    )


def url(*, port: int, password: str, sockets: Path | None) -> str:
    if sockets is not None:
        return f"unix://:{password}@{quote(str(sockets / SOCKET))}?db=0"
    return f"redis://:{password}@127.0.0.1:{port}/0"


def _answers(port: int, password: str) -> bool:
    """Whether it answers commands; while it loads its file it answers -LOADING."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            return _read(connection, len(b"+OK\r\n+PONG\r\n")) == b"+OK\r\n+PONG\r\n"
    except OSError:
        return False


def _end_leftover(port: int | None, password: str) -> None:
    """Stop the server of an earlier supervisor that was killed: whoever takes our password is ours."""
    if port is None or not _answers(port, password):
        return
    with socket.create_connection(("127.0.0.1", port), timeout=STOP_WITHIN) as connection:
        connection.sendall(f"AUTH {password}\r\nSHUTDOWN\r\n".encode())
        while connection.recv(64):
            pass


def _read(connection: socket.socket, size: int) -> bytes:
    answer = b""
    while len(answer) < size and (piece := connection.recv(64)):
        answer += piece
        if answer.startswith(b"-") or b"\r\n-" in answer:
            break
    return answer
