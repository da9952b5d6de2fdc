"""Why something was traded or was not: gates with their values, and a day's funnel."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import LiteralString

from psycopg.rows import class_row

from pmarb.db.views import DAY_NS, Connection, Count

Gates = Sequence[tuple[str, str, str, bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What risk said of an opportunity, with every gate, and what became of its order ("" without one)."""

    opportunity_id: str
    slug: str
    verdict: str
    reason: str
    detail: str
    judged_at: int
    gates: Gates | None
    order_state: str
    order_cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What the scanner saw of a market from `since` to `until`, and how its questions stood at the end."""

    slug: str
    since: int
    until: int
    looks: int
    found: int
    skips: Mapping[str, int]
    last: Gates


@dataclass(frozen=True, slots=True, kw_only=True)
class Funnel:
    """A UTC day, from looks to fills; `skips` and `denials` the commonest first."""

    day: int
    looks: int
    found: int
    skips: tuple[Count, ...]
    approved: int
    denied: int
    denials: tuple[Count, ...]
    orders: tuple[Count, ...]
    fills: int


_JUDGED: LiteralString = """
    SELECT v.opportunity_id, v.slug, v.verdict, v.reason, v.detail, v.judged_at, v.gates,
           CASE WHEN s.opportunity_id IS NULL THEN coalesce(o.state, '')
                ELSE 'set ' || coalesce(nullif(s.ending, ''), 'under way') END AS order_state,
           coalesce(s.detail, o.cause, '') AS order_cause
    FROM verdicts v LEFT JOIN orders o ON o.opportunity_id = v.opportunity_id AND o.leg = 0
    LEFT JOIN sets s ON s.opportunity_id = v.opportunity_id
"""

_NEAR: LiteralString = """
    WHERE v.slug = %(slug)s OR v.opportunity_id IN (
        SELECT opportunity_id FROM sets
        WHERE approval->'legs'
            @> jsonb_build_array(jsonb_build_object('leg', jsonb_build_object('slug', %(slug)s::text))))
    ORDER BY abs(v.judged_at - %(at)s) LIMIT %(limit)s
"""


def opportunity(connection: Connection, opportunity_id: str) -> Judged | None:
    with connection.cursor(row_factory=class_row(Judged)) as cursor:
        return cursor.execute(_JUDGED + " WHERE v.opportunity_id = %s", (opportunity_id,)).fetchone()


def judged_near(connection: Connection, slug: str, *, at: int, limit: int = 3) -> Sequence[Judged]:
    """The verdicts on a market, or on a set that was bought with a leg in it, nearest to `at`, the nearest first."""
    with connection.cursor(row_factory=class_row(Judged)) as cursor:
        return cursor.execute(_JUDGED + _NEAR, {"slug": slug, "at": at, "limit": limit}).fetchall()


def looked_at(connection: Connection, slug: str, *, at: int) -> Looked | None:
    """The scan of a market that covers `at`, or the nearest one."""
    query: LiteralString = "SELECT * FROM scans WHERE slug = %s ORDER BY until < %s, abs(until - %s) LIMIT 1"
    with connection.cursor(row_factory=class_row(Looked)) as cursor:
        return cursor.execute(query, (slug, at, at)).fetchone()


def last_seen(connection: Connection, slug: str) -> int:
    """When a market was last scanned or judged; 0 for never."""
    row = connection.execute(
        "SELECT greatest((SELECT max(until) FROM scans WHERE slug = %(slug)s),"
        " (SELECT max(judged_at) FROM verdicts WHERE slug = %(slug)s))",
        {"slug": slug},
    ).fetchone()
    return 0 if row is None or row[0] is None else int(row[0])


def funnel(connection: Connection, *, at: int) -> Funnel:
    """The UTC day of `at`."""
    start = at // DAY_NS * DAY_NS
    span = (start, start + DAY_NS)
    seen = connection.execute(
        "SELECT coalesce(sum(looks), 0), coalesce(sum(found), 0) FROM scans"
        " WHERE slug = '' AND until >= %s AND until < %s",
        span,
    ).fetchone()
    fills = connection.execute(
        "SELECT count(*) FROM trades WHERE status <> 'failed' AND ts_event >= %s AND ts_event < %s", span
    ).fetchone()
    verdicts = {c.name: c.count for c in _counts(connection, _BY_VERDICT, span)}
    return Funnel(
        day=start,
        looks=int(seen[0]) if seen else 0,
        found=int(seen[1]) if seen else 0,
        skips=_counts(connection, _BY_SKIP, span),
        approved=verdicts.get("approved", 0),
        denied=verdicts.get("denied", 0),
        denials=_counts(connection, _BY_REASON, span),
        orders=_counts(connection, _BY_STATE, span),
        fills=int(fills[0]) if fills else 0,
    )


_BY_SKIP: LiteralString = """
    SELECT key AS name, sum(value::bigint)::bigint AS count FROM scans, jsonb_each_text(skips)
    WHERE slug = '' AND until >= %s AND until < %s GROUP BY 1 ORDER BY 2 DESC, 1"""
_BY_VERDICT: LiteralString = """
    SELECT verdict AS name, count(*) AS count FROM verdicts WHERE judged_at >= %s AND judged_at < %s GROUP BY 1"""
_BY_REASON: LiteralString = """
    SELECT reason AS name, count(*) AS count FROM verdicts
    WHERE verdict = 'denied' AND judged_at >= %s AND judged_at < %s GROUP BY 1 ORDER BY 2 DESC, 1"""
_BY_STATE: LiteralString = """
    SELECT state AS name, count(*) AS count FROM orders WHERE created_at >= %s AND created_at < %s
    GROUP BY 1 ORDER BY 2 DESC, 1"""


def _counts(connection: Connection, query: LiteralString, span: tuple[int, int]) -> tuple[Count, ...]:
    with connection.cursor(row_factory=class_row(Count)) as cursor:
        return tuple(cursor.execute(query, span).fetchall())
