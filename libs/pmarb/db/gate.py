"""Who opened and closed the gate to real money, and whether the ledger carries it: rows are only added."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import LiteralString

import psycopg
from psycopg.types.json import Jsonb

from pmarb.clock import Clock
from pmarb.db import control
from pmarb.db import evidence as records
from pmarb.db.modes import history
from pmarb.db.views import Connection
from pmarb.domain import gate
from pmarb.domain.gate import LIVE, mode_at
from pmarb.domain.messages import TradingState
from pmarb.domain.meter import Criterion

_LAST: LiteralString = "SELECT id, opened, who, why, at_real FROM gate_log ORDER BY id DESC LIMIT 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateState:
    """Whether a person opened it and nothing has closed it since; `at_real` is when that was, 0 for never.

    `row` is the number of the last word in the log, 0 where there is none.
    """

    row: int
    opened: bool
    who: str
    why: str
    at_real: int
    closed_at: int


def state(connection: Connection) -> GateState:
    row = connection.execute(_LAST).fetchone()
    closed = connection.execute("SELECT coalesce(max(at_real), 0) FROM gate_log WHERE NOT opened").fetchone()
    closed_at = int(closed[0]) if closed else 0
    if row is None:
        return GateState(row=0, opened=False, who="", why="nobody has opened it yet", at_real=0, closed_at=0)
    return GateState(row=row[0], opened=row[1], who=row[2], why=row[3], at_real=row[4], closed_at=closed_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`locked` says why nothing real may be traded, empty if it may; `opening` is the row of the log that was proven
    by the ledger to allow it, 0 for none; `shut` whether it was open until this question closed it."""

    locked: str
    opening: int = 0
    shut: bool = False


def ask(connection: Connection, *, now: int, now_real: int) -> Finding:
    """What stands between the ledger and real money now. An opening that the paper fills do not carry opens nothing;
    one that the real fills refute is closed here, with a halt, at once."""
    state_, modes = state(connection), history(connection)
    evidence = records.evidence(connection)
    earned = gate.recorded(gate.of_paper(evidence, modes, since=state_.closed_at), modes)
    lacking = gate.missing(earned)
    if not state_.opened or lacking:
        return Finding(locked="; ".join(filter(None, ("" if state_.opened else state_.why, lacking))))
    real = [bet for bet in evidence.bets if bet.decided_at >= state_.at_real and mode_at(modes, bet.decided_at) == LIVE]
    why = gate.shut_by(real, random.Random(1))  # noqa: S311 - a repeatable bootstrap
    if not why:
        return Finding(locked="", opening=state_.row)
    return Finding(locked=why, shut=_demote(connection, state_, why, earned, now=now, now_real=now_real))


def _demote(
    connection: Connection, opened: GateState, why: str, earned: Sequence[Criterion], *, now: int, now_real: int
) -> bool:
    """Closed and halted in one step, behind every order that is being written; whether nobody had done so before."""
    with connection.transaction():
        connection.execute("SELECT FROM trading_state WHERE id = 1 FOR UPDATE")
        if state(connection).row != opened.row:
            return False
        note(connection, opened=False, who="evidence", why=why, criteria=earned, now_real=now_real)
        control.change(connection, TradingState.HALTED, who="risk", why=f"demoted to paper: {why}", now=now)
        return True


_CHANGES: LiteralString = """
    SELECT (SELECT max(id) FROM gate_log), (SELECT max(id) FROM ledger_modes), (SELECT count(*) FROM settlements)
"""


class Watch:
    """Asks the ledger on a connection of its own, and again when anything that the answer rests on is another."""

    def __init__(self, dsn: str, clock: Clock) -> None:
        self._dsn = dsn
        self._clock = clock
        self._seen: object = None
        self._found = Finding(locked="the ledger has not been asked yet")

    async def look(self) -> Finding:
        """A ledger that does not answer allows nothing."""
        return await asyncio.to_thread(self._look)

    def _look(self) -> Finding:
        try:
            with writer(self._dsn) as connection:
                seen = connection.execute(_CHANGES).fetchone()
                if seen == self._seen:
                    return replace(self._found, shut=False)
                self._found = ask(connection, now=self._clock.now(), now_real=self._clock.real())
                self._seen = seen
                return self._found
        except psycopg.OperationalError as error:
            self._seen = None
            return Finding(locked=f"the ledger could not be asked: {str(error).splitlines()[0]}")


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
