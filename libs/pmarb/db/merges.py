"""Merges of both outcomes of a market into dollars: what was asked for, written down first, and what was booked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final, LiteralString

from psycopg.cursor_async import AsyncCursor
from psycopg.rows import TupleRow

from pmarb.db.ledger import post
from pmarb.db.pool import Pool
from pmarb.domain.ledger import Entry
from pmarb.domain.messages import Merge


class Step(StrEnum):
    """What became of asking. Only the latest step of a market counts: one asking a market is under way at most."""

    ASKED = "asked"
    BOOKED = "booked"
    REFUSED = "refused"
    UNPAID = "unpaid"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Pairs of a market that the relayer was asked, or was about to be asked, to merge, and nobody knows the end."""

    market: str
    pairs: Decimal
    asked_at: int


_LATEST: Final[LiteralString] = """
    SELECT DISTINCT ON (market) market, pairs, step, ts_event FROM merge_log ORDER BY market, id DESC
"""


class MergeBook:
    """The merges and merge_log tables."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def ask(self, pairs: Mapping[str, Decimal], *, now: int) -> None:
        """Write down what is about to be asked for, by market."""
        async with self._pool.connection() as connection, connection.transaction(), connection.cursor() as cursor:
            for market, count in pairs.items():
                await _note(cursor, market, count, Step.ASKED, "", now)

    async def open(self) -> list[Ask]:
        """What was asked for and has no end yet."""
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(_LATEST)).fetchall()
        return [
            Ask(market=market, pairs=pairs, asked_at=at) for market, pairs, step, at in rows if step == Step.ASKED.value
        ]

    async def last_steps(self) -> dict[str, int]:
        """Market -> when its latest step was (venue time)."""
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(_LATEST)).fetchall()
        return {market: at for market, _, _, at in rows}

    async def end(self, ask: Ask, step: Step, detail: str, *, now: int) -> None:
        """The asking came to nothing; `detail` says why."""
        async with self._pool.connection() as connection, connection.cursor() as cursor:
            await _note(cursor, ask.market, ask.pairs, step, detail, now)

    async def booked(self, merge_ids: Sequence[str]) -> dict[str, Decimal]:
        """Those of the merges that are booked -> pairs of ours in them."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT merge_id, min(shares) FROM merges WHERE merge_id = ANY(%s) GROUP BY merge_id",
                (list(merge_ids),),
            )
            return dict(await cursor.fetchall())

    async def book(self, merge: Merge, entry: Entry, *, ask: Ask | None, now: int) -> bool:
        """Write the merge and its entry, and end the asking it answers, in one transaction. Whether it was new."""
        async with self._pool.connection() as connection, connection.transaction(), connection.cursor() as cursor:
            if await post(cursor, (entry,)) == 0:
                return False
            for part in merge.parts:
                await cursor.execute(
                    "INSERT INTO merges (merge_id, token, market, slug, outcome, shares, cost, fees, payout, pnl, "
                    "merged_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                    (
                        merge.merge_id,
                        part.token,
                        merge.market,
                        merge.slug,
                        part.outcome,
                        part.shares,
                        part.cost,
                        part.fees,
                        part.payout,
                        part.pnl,
                        merge.ts_event,
                    ),
                )
            if ask is not None:
                await _note(cursor, ask.market, ask.pairs, Step.BOOKED, merge.merge_id, now)
            return True


async def _note(cursor: AsyncCursor[TupleRow], market: str, pairs: Decimal, step: Step, detail: str, now: int) -> None:
    await cursor.execute(
        "INSERT INTO merge_log (market, pairs, step, detail, ts_event) VALUES (%s, %s, %s, %s, %s)",
        (market, pairs, step.value, detail, now),
    )
