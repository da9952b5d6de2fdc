"""The limits that were in force last, so that a start with others is noticed; and the record of each strategy."""

from collections.abc import Mapping

from psycopg.types.json import Jsonb

from pmarb.db.pool import Connection
from pmarb.domain.sizing import Record


async def replace_limits(connection: Connection, limits: Mapping[str, str], *, now: int) -> Mapping[str, str] | None:
    """Store the limits now in force; those that were, None where there were none or they are the same."""
    row = await (await connection.execute("SELECT limits FROM limits_log ORDER BY id DESC LIMIT 1")).fetchone()
    before: Mapping[str, str] | None = None if row is None else row[0]
    if before == limits:
        return None
    await connection.execute("INSERT INTO limits_log (limits, ts_event) VALUES (%s, %s)", (Jsonb(dict(limits)), now))
    return before


_RECORDS = """
WITH of_token AS (
    SELECT DISTINCT ON (token) token, coalesce(v.opportunity->>'strategy', '') AS strategy
    FROM orders LEFT JOIN verdicts v USING (opportunity_id) ORDER BY token, created_at),
returns AS (
    SELECT strategy, s.pnl / (s.cost + s.fees) AS gain
    FROM settlements s JOIN of_token USING (token) WHERE s.cost + s.fees > 0
    UNION ALL
    SELECT strategy, sum(payout - cost - fees) / sum(cost + fees)
    FROM merges JOIN of_token USING (token) GROUP BY strategy, merge_id HAVING sum(cost + fees) > 0)
SELECT strategy, count(*), sum(gain), sum(gain * gain) FROM returns GROUP BY strategy
"""


async def records(connection: Connection) -> dict[str, Record]:
    """What each strategy's settled positions, and pairs merged before, earned for a dollar staked."""
    cursor = await connection.execute(_RECORDS)
    return {row[0]: Record(count=row[1], total=row[2], squares=row[3]) async for row in cursor}
