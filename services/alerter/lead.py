"""One alerter is active, by a lock in Postgres that ends with the connection; others stand by."""

import psycopg

from pmarb.db import pool

LOCK = 7004


class LeadLost(RuntimeError):
    """Another alerter took over while our connection was away: start again and stand by."""


class Lead:
    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: pool.Connection | None = None

    async def take(self) -> bool:
        """Whether we are the active one now.

        Raises:
            psycopg.OperationalError: the database does not answer.
        """
        if self._connection is not None:
            await self._connection.close()
        self._connection = await pool.connect(self._dsn)
        row = await (await self._connection.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,))).fetchone()
        return bool(row and row[0])

    async def keep(self) -> None:
        """Check that the lock is still ours, and take it again after the database was away.

        Raises:
            LeadLost: another has it.
            psycopg.OperationalError: the database does not answer; carry on, nobody else can take it either.
        """
        try:
            if self._connection is not None:
                await self._connection.execute("SELECT 1")
                return
        except psycopg.OperationalError:
            pass
        if not await self.take():
            raise LeadLost("another alerter took over")

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
