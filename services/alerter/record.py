"""The table of alerts: written before they are sent, so that a restart sends what it owes and nothing twice."""

from collections.abc import Sequence
from typing import LiteralString

import psycopg
from psycopg.rows import class_row

from pmarb import logs
from pmarb.db import pool
from pmarb.db.delivered import Delivery
from pmarb.domain.messages import Alert, AlertKind, Priority

log = logs.get(__name__)

NOBODY = "not sent: APPRISE_URLS is empty"
HELD = "not sent: held back in a storm of alerts"
RETRYING = "retrying: "
GAVE_UP = "gave up: "


class Record:
    """Postgres may be away: an alert is then sent without a record, and a line in the log says so."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: pool.Connection | None = None

    async def write(self, alert: Alert, error: str) -> int | None:
        """The alert's row number; None without a database."""
        query: LiteralString = """
            INSERT INTO deliveries (kind, priority, dedupe_key, title, body, delivered, error, ts_event)
            VALUES (%s, %s, %s, %s, %s, false, %s, %s) RETURNING id"""
        values = (alert.kind, alert.priority, alert.dedupe_key, alert.title, alert.body, error, alert.ts_event)
        try:
            connection = await self._open()
            row = await (await connection.execute(query, values)).fetchone()
        except psycopg.OperationalError as error_:
            log.warning("alert_not_recorded", title=alert.title, error=str(error_).strip())
            return None
        return None if row is None else int(row[0])

    async def update(self, row: int | None, *, delivered: bool, error: str) -> None:
        """Delivered once, it stays delivered."""
        if row is None:
            return
        query: LiteralString = "UPDATE deliveries SET delivered = delivered OR %s, error = %s WHERE id = %s"
        try:
            await (await self._open()).execute(query, (delivered, error, row))
        except psycopg.OperationalError as error_:
            log.warning("delivery_not_recorded", row=row, error=str(error_).strip())

    async def knows(self, dedupe_key: str) -> bool:
        """Whether an alert of this key was ever written. False without a database: better twice than never."""
        query: LiteralString = "SELECT 1 FROM deliveries WHERE dedupe_key = %s LIMIT 1"
        try:
            return await (await (await self._open()).execute(query, (dedupe_key,))).fetchone() is not None
        except psycopg.OperationalError:
            return False

    async def recent_keys(self, *, since: int) -> list[str]:
        """Keys of alerts since that venue time."""
        query: LiteralString = "SELECT DISTINCT dedupe_key FROM deliveries WHERE ts_event >= %s"
        rows = await (await (await self._open()).execute(query, (since,))).fetchall()
        return [str(key) for (key,) in rows]

    async def owed(self, *, since: int) -> Sequence[tuple[int, Alert]]:
        """Alerts that were written and neither delivered nor given up before the process ended."""
        query: LiteralString = """
            SELECT id, kind, priority, title, body, delivered, error, ts_event FROM deliveries
            WHERE NOT delivered AND (error = '' OR error LIKE 'retrying: %%') AND ts_event >= %s ORDER BY id"""
        async with (await self._open()).cursor(row_factory=class_row(Delivery)) as cursor:
            return [(row.id, _alert(row)) for row in await (await cursor.execute(query, (since,))).fetchall()]

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()

    async def _open(self) -> pool.Connection:
        if self._connection is None or self._connection.closed or self._connection.broken:
            self._connection = await pool.connect(self._dsn)
        return self._connection


def _alert(row: Delivery) -> Alert:
    return Alert(
        kind=AlertKind(row.kind),
        priority=Priority(row.priority),
        dedupe_key="",
        title=row.title,
        body=row.body,
        ts_event=row.ts_event,
        ts_init=row.ts_event,
    )
