"""Connections for the hot path: psycopg 3, autocommit, statements prepared on first use."""

from typing import Any

import psycopg
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

Connection = psycopg.AsyncConnection[TupleRow]
Pool = AsyncConnectionPool[Connection]

CONNECT_WITHIN = 3  # Seconds

Unavailable = psycopg.OperationalError
"""The database is away, or the connection was lost: what was being written may or may not be there."""


async def open_pool(dsn: str, *, size: int) -> Pool:
    """A pool of `size` connections, all open.

    Raises:
        Unavailable: nobody answers there.
    """
    await (await connect(dsn)).close()  # The pool would retry in silence; the caller wants to know
    pool = AsyncConnectionPool(
        dsn,
        min_size=size,
        max_size=size,
        kwargs=_options(),
        open=False,
        timeout=CONNECT_WITHIN,  # A kill asks the ledger before it trusts the venue's list: not for long
        connection_class=psycopg.AsyncConnection,
    )
    await pool.open(wait=True, timeout=CONNECT_WITHIN * 2)
    return pool


async def connect(dsn: str) -> Connection:
    """One connection outside any pool.

    Raises:
        Unavailable: nobody answers there.
    """
    return await psycopg.AsyncConnection.connect(dsn, **_options())


def _options() -> dict[str, Any]:
    return {"autocommit": True, "prepare_threshold": 0, "connect_timeout": CONNECT_WITHIN}
