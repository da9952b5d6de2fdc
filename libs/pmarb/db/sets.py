"""Sets of legs: written before the first is sent, ended once, so that whoever starts next knows what is unfinished."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final, LiteralString

from pmarb import codec
from pmarb.db.pool import Pool
from pmarb.domain.messages import Approval


class Ending(StrEnum):
    """How a set ended. `complete` may turn into the next two when a trade of it fails on chain."""

    COMPLETE = "complete"
    HELD = "held"
    EXITED = "exited"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSet:
    """A set that is not at its end: its approval, and the venue time after which no leg of it is sent any more.

    `broken` is one that was complete until a trade of it failed.
    """

    approval: Approval
    deadline: int
    broken: bool


_OPEN: Final[LiteralString] = """
    SELECT approval::text, deadline, ending <> '' FROM sets
    WHERE ending = '' OR (ending = 'complete' AND EXISTS (
        SELECT FROM orders o JOIN trades t USING (order_hash)
        WHERE o.opportunity_id = sets.opportunity_id AND t.status = 'failed'))
    ORDER BY created_at
"""


class SetBook:
    """The sets table."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def begin(self, approval: Approval, *, deadline: int, now: int) -> bool:
        """Write down what is about to be bought. False when it was begun before: then no leg of it may be sent."""
        body = codec.encode(approval)[codec.BODY].decode()
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "INSERT INTO sets (opportunity_id, slug, approval, worst_loss, deadline, created_at) "
                "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (approval.opportunity_id, approval.slug, body, approval.worst_loss, deadline, now),
            )
            return cursor.rowcount == 1

    async def open(self) -> list[StoredSet]:
        """Sets that have no end yet, or whose end a failed trade has undone, oldest first."""
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(_OPEN)).fetchall()
        return [StoredSet(approval=_approval(row[0]), deadline=row[1], broken=row[2]) for row in rows]

    async def end(
        self, opportunity_id: str, ending: Ending, detail: str, *, whole: Decimal, skew: int, now: int
    ) -> bool:
        """Write how it ended: `whole` sets are held, `skew` lay between its first leg and its last. Whether new."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "UPDATE sets SET ending = %(ending)s, detail = %(detail)s, whole = %(whole)s, skew = %(skew)s, "
                "ended_at = %(now)s WHERE opportunity_id = %(opportunity_id)s "
                "AND (ending = '' OR (ending = 'complete' AND %(ending)s <> 'complete'))",
                {
                    "opportunity_id": opportunity_id,
                    "ending": ending.value,
                    "detail": detail,
                    "whole": whole,
                    "skew": skew,
                    "now": now,
                },
            )
            return cursor.rowcount == 1


def _approval(body: str) -> Approval:
    message = codec.decode({codec.TYPE: Approval.__name__.encode(), codec.BODY: body.encode()})
    assert isinstance(message, Approval)
    return message
