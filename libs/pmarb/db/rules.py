"""Rules of markets as they were seen, and who acknowledged that they changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import LiteralString

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from pmarb.db import views
from pmarb.db.pool import Connection
from pmarb.domain.messages import MarketRules


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a market is compared with: itself as last seen, else the series' newest rules that nobody has to look at."""

    rules: Mapping[str, str]
    same_market: bool


async def known(connection: Connection, seen: MarketRules) -> Known | None:
    """None for the first market of its series."""
    cursor = await connection.execute(
        "SELECT rules, market = %(market)s FROM market_rules"
        " WHERE market = %(market)s OR (series = %(series)s AND (changed = '' OR acknowledged_at > 0))"
        " ORDER BY market = %(market)s DESC, greatest(seen_at, acknowledged_at) DESC LIMIT 1",
        {"market": seen.market, "series": seen.series},
    )
    row = await cursor.fetchone()
    return None if row is None else Known(rules=row[0], same_market=row[1])


async def keep(connection: Connection, seen: MarketRules, *, changed: str) -> None:
    """Store what was seen; a change, in words, waits for a person."""
    await connection.execute(
        "INSERT INTO market_rules (market, slug, series, rules, seen_at, changed)"
        " VALUES (%(market)s, %(slug)s, %(series)s, %(rules)s, %(at)s, %(changed)s)"
        " ON CONFLICT (market) DO UPDATE SET rules = excluded.rules, seen_at = excluded.seen_at,"
        " changed = excluded.changed, acknowledged_by = '', acknowledged_why = '', acknowledged_at = 0"
        " WHERE excluded.changed <> ''",
        {
            "market": seen.market,
            "slug": seen.slug,
            "series": seen.series,
            "rules": Jsonb(seen.rules),
            "at": seen.ts_event,
            "changed": changed,
        },
    )


async def waiting(connection: Connection) -> dict[str, str]:
    """Markets whose rules changed and nobody has acknowledged it, with what changed."""
    cursor = await connection.execute(
        "SELECT market, changed FROM market_rules WHERE changed <> '' AND acknowledged_at = 0"
    )
    return {row[0]: row[1] async for row in cursor}


async def forget(connection: Connection, *, before: int) -> None:
    """Drop what is older, but for the newest rules of each series that nobody has to look at."""
    await connection.execute(
        "DELETE FROM market_rules WHERE seen_at < %s AND market NOT IN ("
        " SELECT DISTINCT ON (series) market FROM market_rules WHERE changed = '' OR acknowledged_at > 0"
        " ORDER BY series, greatest(seen_at, acknowledged_at) DESC)",
        (before,),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A market halted by itself."""

    market: str
    slug: str
    series: str
    changed: str
    seen_at: int


def changes(connection: views.Connection, name: str = "") -> Sequence[Change]:
    """Changes that wait for a person, newest first; of the market with that slug or id, or all."""
    query: LiteralString = (
        "SELECT market, slug, series, changed, seen_at FROM market_rules WHERE changed <> '' AND acknowledged_at = 0"
        " AND (%(name)s = '' OR slug = %(name)s OR market = %(name)s) ORDER BY seen_at DESC"
    )
    with connection.cursor(row_factory=class_row(Change)) as cursor:
        return cursor.execute(query, {"name": name}).fetchall()


def acknowledge(connection: views.Connection, change: Change, *, who: str, why: str, now: int) -> Sequence[str]:
    """A person has read it: the markets of the series that changed alike trade again; their slugs."""
    cursor = connection.execute(
        "UPDATE market_rules SET acknowledged_by = %(who)s, acknowledged_why = %(why)s, acknowledged_at = %(now)s"
        " WHERE acknowledged_at = 0 AND series = %(series)s AND changed = %(changed)s RETURNING slug",
        {"who": who, "why": why, "now": now, "series": change.series, "changed": change.changed},
    )
    return sorted(row[0] for row in cursor.fetchall())
