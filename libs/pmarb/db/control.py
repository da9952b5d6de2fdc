"""The trading state, which a person may change: the row in Postgres is the truth, messages only spread it.

Synchronous, for the console and the command line.
"""

from decimal import Decimal
from typing import LiteralString

import psycopg

from pmarb.db import views
from pmarb.domain import ledger
from pmarb.domain.messages import TradingState

_CHANGE: LiteralString = """
    WITH changed AS (
        UPDATE trading_state SET state = %(state)s, who = %(who)s, why = %(why)s, since = %(now)s, clears_at = 0
        WHERE id = 1 AND NOT (state = 'KILLED' AND %(state)s = 'HALTED') RETURNING state)
    INSERT INTO state_log (state, who, why, ts_event)
    SELECT state, %(who)s, %(why)s, %(now)s FROM changed RETURNING state
"""


def halt(dsn: str, *, who: str, why: str, now: int) -> bool:
    """Stop opening until a person resumes. False when trading is KILLED already, which says more."""
    return _change(dsn, TradingState.HALTED, who=who, why=why, now=now)


def kill(dsn: str, *, who: str, why: str, now: int) -> None:
    """Latch KILLED: no restart ends it."""
    _change(dsn, TradingState.KILLED, who=who, why=why, now=now)


def resume(dsn: str, *, who: str, why: str, now: int) -> None:
    """Arm again, also after a kill."""
    _change(dsn, TradingState.ACTIVE, who=who, why=why, now=now)


def deposit(dsn: str, *, usd: Decimal, who: str, why: str, now: int) -> None:
    """Book capital brought into the wallet, or taken out of it, by a person."""
    entry = ledger.deposit(ref=f"{now}:{who}:{why}", amount=usd, ts_event=now)
    with psycopg.connect(dsn, connect_timeout=3) as connection:
        book(connection, entry)


def book(connection: views.Connection, entry: ledger.Entry) -> None:
    """Write an entry that is not there yet, in the caller's transaction."""
    connection.execute(
        "INSERT INTO entries (entry_id, kind, ref, ts_event) VALUES (%s, %s, %s, %s)",
        (entry.entry_id, entry.kind.value, entry.ref, entry.ts_event),
    )
    for posting in entry.postings:
        connection.execute(
            "INSERT INTO postings (entry_id, account, amount) VALUES (%s, %s, %s)",
            (entry.entry_id, posting.account.value, posting.amount),
        )


def change(connection: views.Connection, state: TradingState, *, who: str, why: str, now: int) -> bool:
    """The state, until a person resumes. False when trading is KILLED already, which says more than a halt."""
    values = {"state": str(state), "who": who, "why": why, "now": now}
    return connection.execute(_CHANGE, values).fetchone() is not None


def _change(dsn: str, state: TradingState, *, who: str, why: str, now: int) -> bool:
    with psycopg.connect(dsn, connect_timeout=3) as connection:
        return change(connection, state, who=who, why=why, now=now)
