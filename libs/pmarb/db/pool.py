"""Connections of the services: psycopg 3, autocommit, statements prepared on first use, none waited for without end."""

from typing import Any, Final, LiteralString

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

CONNECT_WITHIN = 3  # Seconds
ANSWER_WITHIN: Final = 5.0
"""Seconds. A server that is frozen, or beyond a network that swallows all, closes nothing and says nothing."""

_NOTICED: Final[LiteralString] = """
    SELECT set_config('tcp_keepalives_idle', '10', false), set_config('tcp_keepalives_interval', '5', false),
        set_config('tcp_keepalives_count', '3', false), set_config('idle_in_transaction_session_timeout', '30s', false)
"""
"""Whoever the network cut off keeps its locks until the server notices: in half a minute, by itself in hours."""

Unavailable = psycopg.OperationalError
"""The database is away, or the connection was lost: what was being written may or may not be there."""


class Connection(psycopg.AsyncConnection[TupleRow]):
    """Takes a server that does not answer for one that is away: a kill must not wait for it, nor an alert."""

    async def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait for one exchange with the server.

        Raises:
            Unavailable: also when it took longer than `ANSWER_WITHIN`.
        """
        try:
            return await super().wait(gen, interval, ANSWER_WITHIN if timeout is None else timeout)
        except Unavailable:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.pgconn.finish()  # Given up in the midst: what comes late would be taken for the next answer
            raise


Pool = AsyncConnectionPool[Connection]


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
        connection_class=Connection,
        configure=_configure,
    )
    await pool.open(wait=True, timeout=CONNECT_WITHIN * 2)
    return pool


async def connect(dsn: str) -> Connection:
    """One connection outside any pool.

    Raises:
        Unavailable: nobody answers there.
    """
    connection = await Connection.connect(dsn, **_options())
    try:
        await _configure(connection)
    except BaseException:
        await connection.close()
        raise
    return connection


async def _configure(connection: Connection) -> None:
    await connection.execute(_NOTICED)


def _options() -> dict[str, Any]:
    return {"autocommit": True, "prepare_threshold": 0, "connect_timeout": CONNECT_WITHIN}
