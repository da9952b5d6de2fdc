"""The embedded servers keep their promises: as root and as anybody, after a crash of any part."""

import contextlib
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from psycopg.conninfo import conninfo_to_dict

from pmarb.embedded import EmbeddedError, EmbeddedServers, Endpoints, binaries, ephemeral, running
from pmarb.embedded.places import NOBODY, open_to_all

LIBS = Path(__file__).parents[2] / "libs"
AS_ROOT = os.geteuid() == 0
HOLDER = """
import sys, time
from pathlib import Path
from pmarb.embedded import EmbeddedServers
servers = EmbeddedServers(Path(sys.argv[1]))
endpoints = servers.start()
print(endpoints.redis_url, endpoints.database_url, servers.pid("redis"), servers.pid("postgres"), flush=True)
sys.stdin.readline()
servers.stop()
"""


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pm-arb-test-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        yield Path(folder) / "data"


def remember(endpoints: Endpoints, value: int) -> None:
    with redis.Redis.from_url(endpoints.redis_url) as client:
        client.xadd("kept", {"value": value})
    with psycopg.connect(endpoints.database_url, autocommit=True) as connection:
        connection.execute("create table if not exists kept (value int)")
        connection.execute("insert into kept values (%s)", [value])


def remembered_by_redis(endpoints: Endpoints) -> int:
    with redis.Redis.from_url(endpoints.redis_url) as client:
        return int(client.xlen("kept"))


def bound(taker: socket.socket, port: int) -> bool:
    with contextlib.suppress(OSError):
        taker.bind(("127.0.0.1", port))
        return True
    return False


def remembered(endpoints: Endpoints) -> tuple[int, int]:
    streamed = remembered_by_redis(endpoints)
    with psycopg.connect(endpoints.database_url) as connection:
        row = connection.execute("select count(*) from kept").fetchone()
    assert row is not None
    return int(streamed), int(row[0])


def eventually(what: Callable[[], bool], *, within: float = 20) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if what():
            return True
        time.sleep(0.02)
    return False


def lives(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_restart_keeps_the_data_and_the_addresses(data_dir: Path) -> None:
    with EmbeddedServers(data_dir) as first:
        remember(first, 1)
    with EmbeddedServers(data_dir) as second:
        assert remembered(second) == (1, 1)
        assert second == first


def test_redis_appends_every_second_and_never_evicts(data_dir: Path) -> None:
    with EmbeddedServers(data_dir) as endpoints, redis.Redis.from_url(endpoints.redis_url) as client:
        assert client.config_get("appendonly", "appendfsync", "maxmemory-policy") == {
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
        }


def test_nobody_enters_without_the_password(data_dir: Path) -> None:
    with EmbeddedServers(data_dir) as endpoints:
        open_door = re.sub(r"//:[^@]+@", "//", endpoints.redis_url)
        with redis.Redis.from_url(open_door) as client, pytest.raises(redis.AuthenticationError):
            client.ping()
        address = endpoints.database_url.split("@")[1]
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(f"postgresql://pmarb:wrong@{address}")
        assert "://" not in repr(endpoints)


@pytest.mark.parametrize("name", ["redis", "postgres"])
def test_a_killed_server_comes_back_where_it_was_with_its_data(data_dir: Path, name: str) -> None:
    servers = EmbeddedServers(data_dir)
    with servers as endpoints:
        remember(endpoints, 1)
        killed = servers.pid(name)
        os.kill(killed, signal.SIGKILL)
        assert eventually(lambda: servers.pid(name) != killed)
        assert remembered(endpoints) == (1, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says where an orphan works")
def test_a_killed_postgres_comes_back_though_a_query_of_its_goes_on(data_dir: Path) -> None:
    servers = EmbeddedServers(data_dir)
    with servers as endpoints:
        remember(endpoints, 1)
        with contextlib.closing(psycopg.connect(endpoints.database_url, autocommit=True)) as busy:
            busy.pgconn.send_query(b"select count(*) from generate_series(1, 100000), generate_series(1, 100000) b")
            time.sleep(0.5)
            with subprocess.Popen(["sleep", "600"], cwd=servers.place / "postgres") as somebody:
                os.kill(killed := servers.pid("postgres"), signal.SIGKILL)
                assert eventually(lambda: servers.pid("postgres") != killed)
                assert remembered(endpoints) == (1, 1)
                assert somebody.poll() is None, "who only looks at the folder is left alone"
                somebody.kill()


def test_a_server_that_cannot_come_back_yet_is_tried_again(data_dir: Path) -> None:
    servers = EmbeddedServers(data_dir)
    with servers as endpoints:
        remember(endpoints, 1)
        port = int(str(conninfo_to_dict(endpoints.database_url)["port"]))
        os.kill(servers.supervisor_pid, signal.SIGSTOP)  # So that it does not start it before the port is taken
        os.kill(killed := servers.pid("postgres"), signal.SIGKILL)
        with socket.socket() as taker:
            taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            assert eventually(lambda: bound(taker, port))
            taker.listen()
            os.kill(servers.supervisor_pid, signal.SIGCONT)
            assert eventually(lambda: "does not come back" in (servers.place / "supervisor.log").read_text())
            assert remembered_by_redis(endpoints) == 1, "the other one goes on"
        assert eventually(lambda: servers.pid("postgres") != killed)
        assert remembered(endpoints) == (1, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
@pytest.mark.parametrize("victim", ["owner", "supervisor"])
def test_servers_die_with_whoever_held_them_and_the_data_stays(data_dir: Path, victim: str) -> None:
    owner = hold(data_dir, [sys.executable])
    words = said(owner)
    pids = [int(words[2]), int(words[3])]
    remember(Endpoints(redis_url=words[0], database_url=words[1]), 1)
    os.kill(owner.pid if victim == "owner" else parent_of(pids[0]), signal.SIGKILL)
    assert eventually(lambda: not any(lives(pid) for pid in pids))
    owner.communicate("\n")
    with EmbeddedServers(data_dir) as endpoints:
        assert remembered(endpoints) == (1, 1)


def test_a_folder_is_served_once_and_can_be_asked_for(data_dir: Path) -> None:
    assert running(data_dir) is None
    with EmbeddedServers(data_dir) as endpoints:
        assert running(data_dir) == endpoints
        with pytest.raises(EmbeddedError, match="running already"):
            EmbeddedServers(data_dir).start()
    assert running(data_dir) is None


async def test_both_serve_inside_an_event_loop(data_dir: Path) -> None:
    async with EmbeddedServers(data_dir) as endpoints:
        remember(endpoints, 1)
        assert remembered(endpoints) == (1, 1)


def test_ephemeral_servers_leave_nothing_behind(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(data_dir.parent))
    with ephemeral() as endpoints:
        remember(endpoints, 1)
        assert list(data_dir.parent.iterdir())
    assert not list(data_dir.parent.iterdir())


def test_missing_servers_are_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "find_spec", lambda _name: None)
    monkeypatch.setattr(binaries, "SYSTEM_POSTGRES", ())
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(EmbeddedError, match=r"pip install 'pm-arb\[embedded\]'"):
        binaries.locate()


@pytest.mark.skipif(not AS_ROOT, reason="only root has to step down")
def test_root_serves_a_folder_under_a_closed_one_and_opens_none(tmp_path: Path) -> None:
    closed = tmp_path / "home"
    closed.mkdir(mode=0o700)
    before = modes(closed)
    servers = EmbeddedServers(closed / "data")
    with servers as endpoints:
        remember(endpoints, 1)
        assert not servers.place.is_relative_to(closed)
        assert Path(f"/proc/{servers.pid('postgres')}").stat().st_uid == NOBODY
        assert Path(f"/proc/{servers.pid('redis')}").stat().st_uid == NOBODY
    assert modes(closed) == before
    subprocess.run(["rm", "-rf", str(servers.place)], check=True)


@pytest.mark.skipif(not AS_ROOT, reason="an ordinary user has just run all of the above")
def test_an_ordinary_user_serves_too() -> None:
    packages = Path(psycopg.__file__).parents[1]
    python = next((path for path in (Path(sys.executable), Path("/usr/bin/python3")) if usable(path)), None)
    if python is None or not open_to_all(packages) or not open_to_all(LIBS):
        pytest.skip("this interpreter, or this checkout, lies under a closed folder")
    with tempfile.TemporaryDirectory(prefix="pm-arb-test-") as folder:
        os.chown(folder, NOBODY, NOBODY)
        owner = hold(
            Path(folder) / "data", ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", str(python)]
        )
        words = said(owner)
        remember(Endpoints(redis_url=words[0], database_url=words[1]), 1)
        owner.communicate("\n", timeout=30)
        assert owner.returncode == 0


def usable(python: Path) -> bool:
    if not python.exists() or not open_to_all(python):
        return False
    check = [str(python), "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    return subprocess.run(check, check=False).returncode == 0


def modes(folder: Path) -> list[int]:
    return [stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.parents)]


def hold(data_dir: Path, python: list[str]) -> subprocess.Popen[str]:
    """Another process that holds the servers until it reads a line."""
    environment = dict(os.environ, PYTHONPATH=f"{LIBS}:{Path(psycopg.__file__).parents[1]}")
    return subprocess.Popen(
        [*python, "-c", HOLDER, str(data_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
        env=environment,
    )


def said(owner: subprocess.Popen[str]) -> list[str]:
    assert owner.stdout is not None
    return owner.stdout.readline().split()


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
