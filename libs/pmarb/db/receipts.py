"""Receipts of kills: what was open, what was cancelled, what was verified."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg.types.json import Jsonb

from pmarb.db.pool import Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Proof that nothing is open any more, or the exact words for what could not be verified.

    `verified_real` is when the venue first listed no open order of ours, 0 if it never did.
    """

    who: str
    why: str
    open_before: Sequence[str]
    cancelled: Mapping[str, str]
    open_after: Sequence[str]
    unverified: str
    started_real: int
    verified_real: int
    ts_event: int

    @property
    def verified_ms(self) -> float | None:
        """How long it took from the order to stop until the venue listed nothing open."""
        return (self.verified_real - self.started_real) / 1_000_000 if self.verified_real else None


class Receipts:
    """The receipts table."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, receipt: Receipt) -> None:
        async with self._pool.connection() as connection:
            await connection.execute(
                "INSERT INTO receipts (who, why, open_before, cancelled, open_after, unverified, started_real, "
                "verified_real, ts_event) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
                (
                    receipt.who,
                    receipt.why,
                    Jsonb(list(receipt.open_before)),
                    Jsonb(dict(receipt.cancelled)),
                    Jsonb(list(receipt.open_after)),
                    receipt.unverified,
                    receipt.started_real,
                    receipt.verified_real,
                    receipt.ts_event,
                ),
            )
