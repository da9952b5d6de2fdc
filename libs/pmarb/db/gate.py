"""Where the ledger traded, and who opened and closed the gate to real money: rows are only added."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg.types.json import Jsonb

from pmarb.db.views import Connection
from pmarb.domain.gate import Mode
from pmarb.domain.meter import Criterion

_LAST: LiteralString = "SELECT opened, who, why, at_real FROM gate_log ORDER BY id DESC LIMIT 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateState:
    """Whether a person opened it and nothing has closed it since; `at_real` is when that was, 0 for never."""

    opened: bool
    who: str
    why: str
    at_real: int
    closed_at: int


def enter(connection: Connection, *, venue: str, execution: str, now_real: int) -> None:
    """Note where the ledger trades from now on, if that is new."""
    row = connection.execute("SELECT venue, execution FROM ledger_modes ORDER BY id DESC LIMIT 1").fetchone()
    if row != (venue, execution):
        connection.execute(
            "INSERT INTO ledger_modes (venue, execution, since_real) VALUES (%s, %s, %s)", (venue, execution, now_real)
        )


def modes(connection: Connection) -> tuple[Mode, ...]:
    """Where it traded, oldest first."""
    cursor = connection.execute("SELECT venue, execution, since_real FROM ledger_modes ORDER BY id")
    return tuple(Mode(venue=row[0], execution=row[1], since_real=row[2]) for row in cursor)


def state(connection: Connection) -> GateState:
    row = connection.execute(_LAST).fetchone()
    closed = connection.execute("SELECT coalesce(max(at_real), 0) FROM gate_log WHERE NOT opened").fetchone()
    closed_at = int(closed[0]) if closed else 0
    if row is None:
        return GateState(opened=False, who="", why="nobody has opened it yet", at_real=0, closed_at=0)
    return GateState(opened=row[0], who=row[1], why=row[2], at_real=row[3], closed_at=closed_at)


def note(
    connection: Connection, *, opened: bool, who: str, why: str, criteria: Sequence[Criterion], now_real: int
) -> None:
    """It was opened, or closed."""
    found = [{"name": c.name, "met": c.met, "found": c.found} for c in criteria]
    connection.execute(
        "INSERT INTO gate_log (opened, who, why, criteria, at_real) VALUES (%s, %s, %s, %s, %s)",
        (opened, who, why, Jsonb(found), now_real),
    )


def drilled_at(connection: Connection) -> int:
    """When a kill was last verified to leave nothing open (this machine's clock); 0 for never."""
    row = connection.execute(
        "SELECT coalesce(max(verified_real), 0) FROM receipts"
        " WHERE verified_real > 0 AND unverified = '' AND open_after = '[]'::jsonb"
    ).fetchone()
    return int(row[0]) if row else 0


def latency_ms(connection: Connection) -> float | None:
    """The 90th percentile from the tick to the wire, of orders sent; None without any."""
    row = connection.execute(
        "SELECT (percentile_cont(0.9) WITHIN GROUP (ORDER BY sent_real - tick_real) / 1e6)::float8 FROM orders"
        " WHERE tick_real > 0 AND sent_real > 0"
    ).fetchone()
    return None if row is None or row[0] is None else float(row[0])


def writer(dsn: str) -> Connection:
    """A connection that may write."""
    return psycopg.connect(dsn, autocommit=True, connect_timeout=3)
