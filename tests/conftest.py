"""Fixtures that more than one folder needs: the real servers, a fresh bus, a fresh database, a running sandbox."""

import itertools
import os
import uuid
from collections.abc import AsyncIterator, Iterator

import hypothesis
import psycopg
import pytest
import redis

from pmarb.bus.streams import RedisBus
from pmarb.db.migrate import upgrade
from pmarb.embedded import Endpoints, ephemeral

# A busy machine is no reason to fail
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")

TEMPLATE = "migrated"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each worker begins with one of an even part of all tests: what is long goes there, so that none is left last.

    The long ones mostly wait. So one worker has none of them, and computes meanwhile.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    long = [item for item in items if item.get_closest_marker("long")]
    known = set(long)
    others = iter([item for item in items if item not in known])
    waiting = max(1, workers - 1)
    parts, left = list[pytest.Item](), len(items)
    for worker in range(workers):
        size = left // (workers - worker)  # As xdist deals them out
        first = long[worker::waiting] if worker < waiting else []
        parts += [*first, *itertools.islice(others, max(0, size - len(first)))]
        left -= size
    items[:] = parts


@pytest.fixture(scope="session")
def servers() -> Iterator[Endpoints]:
    """A real Redis-compatible and a real PostgreSQL server for this test process."""
    with ephemeral() as endpoints:
        yield endpoints


@pytest.fixture(scope="session")
def _template(servers: Endpoints) -> str:
    """A migrated database that others are copied from."""
    _run_sql(servers.database_url, f"CREATE DATABASE {TEMPLATE}")
    upgrade(_database(servers.database_url, TEMPLATE))
    return TEMPLATE


@pytest.fixture
def redis_url(servers: Endpoints) -> str:
    """An empty Redis."""
    with redis.Redis.from_url(servers.redis_url) as client:
        client.flushall()
    return servers.redis_url


@pytest.fixture
def database_url(servers: Endpoints, _template: str) -> Iterator[str]:
    """A migrated, empty database of this test's own."""
    name = f"t{uuid.uuid4().hex}"
    _run_sql(servers.database_url, f"CREATE DATABASE {name} TEMPLATE {_template}")
    yield _database(servers.database_url, name)
    _run_sql(servers.database_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def redis_bus(redis_url: str) -> AsyncIterator[RedisBus]:
    bus = RedisBus(redis_url)
    yield bus
    await bus.close()


def _database(url: str, name: str) -> str:
    head, _, query = url.partition("?")
    return f"{head.rpartition('/')[0]}/{name}{'?' + query if query else ''}"


def _run_sql(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())
