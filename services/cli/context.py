"""Where a command finds the running system: the environment, else the note of `pm-arb up` or `pm-arb demo`."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any, Final, TypeVar

import httpx
import psycopg

from pmarb.bus.port import BusUnavailable
from pmarb.bus.streams import RedisBus
from pmarb.db import views
from pmarb.settings import Settings, read
from services.cli import runfile
from services.cli.trouble import NOT_RUNNING, Trouble

T = TypeVar("T")
SERVERS: Final = ("REDIS_URL", "DATABASE_URL")
START_ONE: Final = (
    "Nothing seems to run here. Start it with `pm-arb up` or `docker compose up --wait` (or look at `pm-arb demo`), "
    "or set DATABASE_URL and REDIS_URL to a running system."
)


def settings() -> Settings:
    """The settings of the running system."""
    _take_over_run_file()
    return read(Settings)


def _take_over_run_file() -> None:
    if any(os.environ.get(name) for name in SERVERS):
        return
    run = runfile.read()
    if run is not None:
        os.environ.update(run.environment)


@contextlib.contextmanager
def ledger(of: Settings) -> Iterator[views.Connection]:
    """A read-only connection.

    Raises:
        Trouble: nobody answers, or the schema is missing.
    """
    try:
        connection = views.connect(of.dsn)
    except psycopg.OperationalError as error:
        raise Trouble(f"PostgreSQL does not answer: {_first_line(error)}\n{START_ONE}", NOT_RUNNING) from None
    with connection:
        try:
            yield connection
        except psycopg.errors.UndefinedTable:
            text = "The database has no tables yet: python -m pmarb.db.migrate makes them (`pm-arb up` does it itself)."
            raise Trouble(text, NOT_RUNNING) from None


def on_bus(of: Settings, ask: Callable[[RedisBus], Coroutine[Any, Any, T]], *, away: T) -> T:
    """What the bus answers; `away` while Redis is."""

    async def asked() -> T:
        bus = RedisBus(of.redis_url)
        try:
            return await ask(bus)
        except BusUnavailable:
            return away
        finally:
            await bus.close()

    return asyncio.run(asked())


def said(of: Settings, service: str) -> dict[str, bytes]:
    """What each running member of a service tells of itself."""
    return on_bus(of, lambda bus: bus.said(service), away={})


def sandbox_get(of: Settings, path: str, query: Mapping[str, str] | None = None) -> Any:
    """A JSON answer of the sandbox.

    Raises:
        Trouble: it does not answer, or not as agreed.
    """
    url = f"{of.sandbox_url}{path}"
    try:
        answer = httpx.get(url, params=query, timeout=10)
        answer.raise_for_status()
        return answer.json()
    except httpx.TransportError as error:
        raise Trouble(f"The sandbox at {of.sandbox_url} does not answer: {error}\n{START_ONE}", NOT_RUNNING) from None
    except (httpx.HTTPStatusError, ValueError) as error:
        raise Trouble(f"The sandbox answered {url} with something else than agreed: {error}") from None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
