"""Where the ledger traded, by venue and execution, and what it takes to go from one to another. Rows are only added."""

from collections import Counter
from decimal import Decimal
from typing import LiteralString

from pmarb.db import control
from pmarb.db.views import Connection
from pmarb.domain import ledger
from pmarb.domain.gate import Mode, mode_at
from pmarb.domain.orders import FillStatus, OrderState

Unfinished = Counter[tuple[str, str]]


def enter(connection: Connection, *, venue: str, execution: str, now_real: int) -> None:
    """Note where the ledger trades from now on, if that is new."""
    with connection.transaction():  # Two services say so when they start
        connection.execute("LOCK TABLE ledger_modes IN EXCLUSIVE MODE")
        row = connection.execute("SELECT venue, execution FROM ledger_modes ORDER BY id DESC LIMIT 1").fetchone()
        if row != (venue, execution):
            connection.execute(
                "INSERT INTO ledger_modes (venue, execution, since_real) VALUES (%s, %s, %s)",
                (venue, execution, now_real),
            )


def history(connection: Connection) -> tuple[Mode, ...]:
    """Where it traded, oldest first."""
    cursor = connection.execute("SELECT venue, execution, since_real FROM ledger_modes ORDER BY id")
    return tuple(Mode(venue=row[0], execution=row[1], since_real=row[2]) for row in cursor)


_UNFINISHED: LiteralString = """
    SELECT o.created_at FROM orders o
    WHERE o.state = ANY(%s) OR (
        EXISTS (SELECT FROM trades t WHERE t.order_hash = o.order_hash AND t.status <> %s)
        AND NOT EXISTS (SELECT FROM settlements s WHERE s.token = o.token AND s.redeemed_at > 0))
"""


def unfinished(connection: Connection) -> Unfinished:
    """Orders that hold funds or shares which no redemption has ended, by the (venue, execution) they were made in."""
    still_open = [each.value for each in OrderState if not each.terminal]
    rows, modes = connection.execute(_UNFINISHED, (still_open, FillStatus.FAILED)), history(connection)
    return Counter(mode_at(modes, row[0]) for row in rows)


def take_over(connection: Connection, *, cash: Decimal, now: int) -> Decimal | None:
    """Where the ledger moved here from elsewhere: book, once, what this wallet holds more or less than the one before.

    `cash` is the wallet's. Nothing may be unfinished. The dollars booked; None where there was nothing to take over.
    """
    with connection.transaction():
        connection.execute("LOCK TABLE ledger_modes IN EXCLUSIVE MODE")
        moved = connection.execute("SELECT id, since_real FROM ledger_modes ORDER BY id DESC LIMIT 2").fetchall()
        held = connection.execute("SELECT sum(amount) FROM postings WHERE account = 'cash'").fetchone()
        if len(moved) < 2 or held is None or held[0] is None:
            return None
        (row, since), *_ = moved
        booked = connection.execute(
            "SELECT FROM entries WHERE kind = 'deposit' AND ts_event >= %s", (since,)
        ).fetchone()
        if booked is not None:
            return None
        amount: Decimal = cash - held[0]
        control.book(connection, ledger.deposit(ref=f"mode:{row}", amount=amount, ts_event=now))  # Of nothing too
        return amount
