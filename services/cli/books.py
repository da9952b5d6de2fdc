"""Whether the ledger agrees with itself: every account explained by orders, trades, merges, settlements, in own SQL.

This is a second reader on purpose: it shares nothing with the code that books.
"""

from typing import Any, Final, LiteralString

import psycopg

from pmarb.domain.checks import Check
from services.cli.compare import some

# What each account must hold, told by the other tables.
_ACCOUNTS: Final[dict[str, LiteralString]] = {
    "reserved": """
        SELECT coalesce(sum(o.reserved - (SELECT coalesce(sum(round(t.shares * t.price, 6) + t.fee), 0) FROM trades t
            WHERE t.order_hash = o.order_hash)), 0)
        FROM orders o WHERE NOT EXISTS (SELECT FROM entries WHERE entry_id = 'release:' || o.order_hash)""",
    "provisional": "SELECT coalesce(sum(round(shares * price, 6)), 0) FROM trades WHERE status = 'provisional'",
    "confirmed": """
        SELECT coalesce(sum(round(t.shares * t.price, 6)), 0) - (SELECT coalesce(sum(m.cost), 0) FROM merges m
            WHERE NOT EXISTS (SELECT FROM settlements s WHERE s.token = m.token))
        FROM trades t JOIN orders o USING (order_hash)
        WHERE t.status = 'confirmed' AND NOT EXISTS (SELECT FROM settlements s WHERE s.token = o.token)""",
    "fees": "SELECT coalesce(sum(fee), 0) FROM trades WHERE status <> 'failed'",
    "redeemable": """
        SELECT coalesce(sum(s.payout - coalesce((SELECT sum(p.amount) FROM postings p JOIN entries e USING (entry_id)
            WHERE e.kind = 'redeem' AND p.account = 'cash'
                AND (e.ref = s.token OR starts_with(e.ref, s.token || ':'))), 0)), 0)
        FROM settlements s WHERE s.redeemed_at = 0""",
    "realised": """
        SELECT coalesce(sum(cost - payout), 0) + (SELECT coalesce(sum(cost - payout), 0) FROM merges)
        FROM settlements""",
}

# What must not exist: the query names each offender.
_OFFENCES: Final[dict[str, tuple[str, LiteralString]]] = {
    "entries_complete": (
        "entries with fewer than two postings",
        "SELECT entry_id FROM entries e WHERE NOT EXISTS (SELECT FROM postings WHERE entry_id = e.entry_id OFFSET 1)",
    ),
    "orders_reserved": (
        "orders that reserved something else than they may cost",
        """SELECT o.order_hash FROM orders o WHERE NOT EXISTS (SELECT FROM postings p
            WHERE p.entry_id = 'reserve:' || o.order_hash AND p.account = 'reserved' AND p.amount = o.reserved)""",
    ),
    "orders_released": (
        "orders whose state and reservation disagree",
        """SELECT o.order_hash FROM orders o
            WHERE EXISTS (SELECT FROM entries WHERE entry_id = 'release:' || o.order_hash)
            AND o.state IN ('SUBMITTING', 'LIVE', 'DELAYED', 'UNKNOWN')
            OR NOT EXISTS (SELECT FROM entries WHERE entry_id = 'release:' || o.order_hash)
            AND o.state IN ('FILLED', 'CANCELLED', 'EXPIRED', 'REJECTED', 'FAILED', 'ABSENT')""",
    ),
    "order_states": (
        "orders whose state their trades deny",
        """SELECT o.order_hash FROM orders o LEFT JOIN trades t USING (order_hash) GROUP BY o.order_hash
            HAVING o.state <> CASE
                WHEN o.state = 'LIVE' AND o.order_type IN ('GTC', 'GTD') THEN o.state
                WHEN bool_or(t.status = 'provisional') THEN 'MATCHED'
                WHEN bool_or(t.status = 'confirmed') THEN 'FILLED'
                WHEN count(t.trade_id) > 0 THEN 'FAILED'
                WHEN o.state IN ('FILLED', 'FAILED') THEN ''
                ELSE o.state END""",
    ),
    "trades_booked": (
        "trades whose standing was not booked",
        """SELECT trade_id FROM trades t WHERE NOT EXISTS (SELECT FROM entries WHERE entry_id = 'match:' || t.trade_id)
            OR (t.status = 'confirmed') <> EXISTS (SELECT FROM entries WHERE entry_id = 'confirm:' || t.trade_id)
            OR (t.status = 'failed') <> EXISTS (SELECT FROM entries WHERE entry_id = 'fail:' || t.trade_id)""",
    ),
    "settlements_add_up": (
        "settlements that are not what was held",
        """SELECT s.token FROM settlements s LEFT JOIN (
                SELECT token, sum(shares) AS shares, sum(cost) AS cost, sum(fees) AS fees FROM (
                    SELECT o.token, t.shares, round(t.shares * t.price, 6) AS cost, t.fee AS fees
                    FROM trades t JOIN orders o USING (order_hash) WHERE t.status = 'confirmed'
                    UNION ALL SELECT token, -shares, -cost, -fees FROM merges) AS moves
                GROUP BY token) AS held USING (token)
            WHERE (s.shares, s.cost, s.fees) IS DISTINCT FROM (held.shares, held.cost, held.fees)
                OR s.pnl <> s.payout - s.cost - s.fees OR s.payout > s.shares""",
    ),
    "merges_add_up": (
        "merges that are not pairs, not what was booked, or more than was bought",
        """SELECT merge_id FROM merges m GROUP BY merge_id
            HAVING count(*) <> 2 OR min(shares) <> max(shares) OR count(DISTINCT market) <> 1
                OR sum(payout) <> max(shares) OR bool_or(pnl <> payout - cost - fees)
                OR sum(payout) IS DISTINCT FROM (SELECT sum(amount) FROM postings
                    WHERE entry_id = 'merge:' || m.merge_id AND account = 'cash')
                OR -sum(cost) IS DISTINCT FROM (SELECT sum(amount) FROM postings
                    WHERE entry_id = 'merge:' || m.merge_id AND account = 'confirmed')
            UNION ALL SELECT ref FROM entries WHERE kind = 'merge'
                AND NOT EXISTS (SELECT FROM merges WHERE merge_id = ref)
            UNION ALL SELECT token FROM merges GROUP BY token
            HAVING sum(shares) > (SELECT coalesce(sum(t.shares), 0) FROM trades t JOIN orders o USING (order_hash)
                WHERE o.token = merges.token AND t.status = 'confirmed')""",
    ),
    "one_order_a_leg": (
        "approvals carried out twice",
        "SELECT opportunity_id FROM orders GROUP BY opportunity_id, leg HAVING count(*) > 1",
    ),
}


def consistent(ledger: psycopg.Connection[Any]) -> list[Check]:
    """One line a question."""
    return [_explained(ledger), *(_absent(ledger, name, *rule) for name, rule in _OFFENCES.items())]


def _explained(ledger: psycopg.Connection[Any]) -> Check:
    wrong = []
    for account, told in _ACCOUNTS.items():
        (booked,) = _first(ledger, "SELECT coalesce(sum(amount), 0) FROM postings WHERE account = %s", account)
        (wanted,) = _first(ledger, told)
        if booked != wanted:
            wrong.append(f"{account} holds {booked}, orders and trades say {wanted}")
    return Check(
        name="accounts_explained", ok=not wrong, detail=some(wrong) if wrong else f"{len(_ACCOUNTS)} accounts are"
    )


def _absent(ledger: psycopg.Connection[Any], name: str, problem: str, query: LiteralString) -> Check:
    found = [str(row[0]) for row in ledger.execute(query)]
    return Check(name=name, ok=not found, detail=f"{problem}: {some(found)}" if found else "none otherwise")


def _first(ledger: psycopg.Connection[Any], query: LiteralString, *values: object) -> tuple[Any, ...]:
    row = ledger.execute(query, values).fetchone()
    assert row is not None
    return tuple(row)
