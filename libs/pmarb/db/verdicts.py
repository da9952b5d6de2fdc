"""Every judgement of risk, kept for `trace`, `why` and the funnel. Written in batches, off the hot path."""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.types.json import Jsonb

from pmarb import codec
from pmarb.db.pool import Connection
from pmarb.domain.messages import Approval, Opportunity, Rejection

_INSERT = """
INSERT INTO verdicts (opportunity_id, verdict, reason, detail, slug, opportunity, approval, gates, judged_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (opportunity_id) DO NOTHING
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`gates` are the questions asked: (name, value, limit, whether it was passed)."""

    opportunity: Opportunity
    answer: Approval | Rejection
    gates: tuple[tuple[str, str, str, bool], ...] = ()


async def store(connection: Connection, verdicts: Sequence[Verdict]) -> None:
    """Keep the first verdict on each opportunity; a repetition changes nothing."""
    if not verdicts:
        return
    async with connection.transaction(), connection.cursor() as cursor:
        await cursor.execute("SET LOCAL synchronous_commit = off")
        await cursor.executemany(_INSERT, [_row(verdict) for verdict in verdicts])


def _row(verdict: Verdict) -> tuple[object, ...]:
    opportunity, answer = verdict.opportunity, verdict.answer
    body = codec.encode_value(opportunity).decode()
    if isinstance(answer, Approval):
        approval = codec.encode_value(answer).decode()
        words = ("approved", answer.bound_by, f"reserved={answer.reserved}")
    else:
        approval = None
        words = ("denied", str(answer.reason), answer.detail)
    return (opportunity.opportunity_id, *words, opportunity.slug, body, approval, Jsonb(verdict.gates), answer.ts_event)
