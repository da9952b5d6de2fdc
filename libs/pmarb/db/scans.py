"""What the scanner looked at and passed over, by market and interval: for `why`. Written in batches, kept for ever.

After some days the rows of a market are one for ten minutes: counts added up, the questions as they stood at its end.
Under the name ALL the counts of all markets together are kept for the same ten minutes, from the first.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from psycopg.types.json import Jsonb

from pmarb.db.pool import Connection
from pmarb.domain.messages import Scanned
from pmarb.domain.values import NANOS

_INSERT = """
INSERT INTO scans (slug, until, since, looks, found, skips, last) VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (slug, until) DO NOTHING RETURNING 1
"""

_TALLY = """
INSERT INTO scans AS s (slug, until, since, looks, found, skips, last) VALUES (%s, %s, %s, %s, %s, %s, '[]')
ON CONFLICT (slug, until) DO UPDATE SET looks = s.looks + excluded.looks, found = s.found + excluded.found, skips = (
    SELECT coalesce(jsonb_object_agg(key, number), '{}') FROM (
        SELECT key, sum(value::bigint) AS number FROM (
            SELECT * FROM jsonb_each_text(s.skips) UNION ALL SELECT * FROM jsonb_each_text(excluded.skips)) both_of
        GROUP BY key) added)
"""

ALL: Final = ""
SPAN: Final = 600 * NANOS
AT_ONCE: Final = 200
"""Rows written by one statement: the connection is needed for other things."""


async def store(connection: Connection, scanned: Sequence[Scanned]) -> None:
    if not scanned:
        return
    rows = [(s.slug, s.ts_event, s.since, s.looks, s.found, Jsonb(s.skips), Jsonb(s.gates)) for s in scanned]
    async with connection.transaction(), connection.cursor() as cursor:
        await cursor.execute("SET LOCAL synchronous_commit = off")
        await cursor.executemany(_INSERT, rows, returning=True)
        new = []
        for each in scanned:
            if await cursor.fetchone() is not None:  # A message that comes twice counts once
                new.append(each)
            cursor.nextset()
        await cursor.executemany(_TALLY, _tallies(new))


def _tallies(scanned: Sequence[Scanned]) -> list[tuple[object, ...]]:
    """All markets together, for each ten minutes."""
    spans: dict[int, list[Scanned]] = {}
    for each in scanned:
        spans.setdefault(each.ts_event // SPAN, []).append(each)
    rows: list[tuple[object, ...]] = []
    for span, group in spans.items():
        skips: Counter[str] = Counter()
        for each in group:
            skips.update(each.skips)
        looks, found = sum(each.looks for each in group), sum(each.found for each in group)
        rows.append((ALL, (span + 1) * SPAN - 1, span * SPAN, looks, found, Jsonb(skips)))
    return rows


_COMPACT = """
WITH due AS (
    SELECT slug, until / %(span)s AS span FROM scans WHERE until < %(before)s
    GROUP BY 1, 2 HAVING count(*) > 1 LIMIT %(most)s
), old AS (
    DELETE FROM scans s USING due WHERE s.slug = due.slug AND s.until / %(span)s = due.span
        AND s.until >= due.span * %(span)s AND s.until < (due.span + 1) * %(span)s
    RETURNING s.*, due.span
), passed_over AS (
    SELECT slug, span, jsonb_object_agg(key, number) AS skips FROM (
        SELECT slug, span, key, sum(value::bigint) AS number FROM old, jsonb_each_text(old.skips) GROUP BY 1, 2, 3) each
    GROUP BY 1, 2
), merged AS (
    SELECT slug, span, max(until) AS until, min(since) AS since, sum(looks) AS looks, sum(found) AS found,
        (array_agg(last ORDER BY until DESC))[1] AS last FROM old GROUP BY 1, 2
)
INSERT INTO scans (slug, until, since, looks, found, skips, last)
SELECT slug, until, since, looks, found, coalesce(skips, '{}'), last
FROM merged LEFT JOIN passed_over USING (slug, span)
"""


async def compact(connection: Connection, *, before: int) -> bool:
    """Make fewer rows of some that are older, a market and ten minutes each; whether there may be more to do."""
    values = {"before": before // SPAN * SPAN, "span": SPAN, "most": AT_ONCE}
    return (await connection.execute(_COMPACT, values)).rowcount == AT_ONCE
