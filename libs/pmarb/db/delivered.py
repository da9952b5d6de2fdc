"""Alerts as they were sent, read only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString

from psycopg.rows import class_row

from pmarb.db.views import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """An alert and whether at least one channel took it."""

    id: int
    kind: str
    priority: str
    title: str
    body: str
    delivered: bool
    error: str
    ts_event: int


def deliveries(connection: Connection, *, limit: int = 20) -> Sequence[Delivery]:
    """Newest first."""
    query: LiteralString = """
        SELECT id, kind, priority, title, body, delivered, error, ts_event FROM deliveries ORDER BY id DESC LIMIT %s"""
    with connection.cursor(row_factory=class_row(Delivery)) as cursor:
        return cursor.execute(query, (limit,)).fetchall()
