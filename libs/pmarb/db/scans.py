"""What the scanner looked at and passed over, by market and interval: for `why`. Written in batches, kept for days."""

from collections.abc import Sequence

from psycopg.types.json import Jsonb

from pmarb.db.pool import Connection
from pmarb.domain.messages import Scanned

_INSERT = """
INSERT INTO scans (slug, until, since, looks, found, skips, last) VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (slug, until) DO NOTHING
"""


async def store(connection: Connection, scanned: Sequence[Scanned]) -> None:
    if not scanned:
        return
    rows = [(s.slug, s.ts_event, s.since, s.looks, s.found, Jsonb(s.skips), Jsonb(s.gates)) for s in scanned]
    async with connection.transaction(), connection.cursor() as cursor:
        await cursor.execute("SET LOCAL synchronous_commit = off")
        await cursor.executemany(_INSERT, rows)


async def forget(connection: Connection, *, before: int) -> None:
    """Drop what is older."""
    await connection.execute("DELETE FROM scans WHERE until < %s", (before,))
