"""The ledger as the meter's evidence: filled and unfilled orders, outcomes known or deduced, failed trades left out."""

import random
from decimal import Decimal

import psycopg

from pmarb.db import evidence, views
from pmarb.domain.attribution import attribute
from pmarb.domain.meter import Verdict, read
from tests.builders import an_opportunity
from tests.ledgers import HASH, LATE, TOKEN, with_a_trade


def test_a_ledgers_orders_become_bets(database_url: str) -> None:
    with_a_trade(database_url)
    with views.connect(database_url) as ledger:
        found = evidence.evidence(ledger)
    filled, missed = sorted(found.bets, key=lambda bet: bet.filled is None)
    seen = an_opportunity()
    assert filled.filled is not None
    assert (filled.filled.shares, filled.filled.price, filled.filled.fee) == (
        Decimal(6),
        Decimal("0.5"),
        Decimal("0.105"),
    )
    assert (filled.won, filled.token, filled.fair) == (True, TOKEN, Decimal("0.62"))
    assert (filled.ask, filled.mid, filled.expected) == (seen.legs[0].price, seen.mid, seen.net_edge)
    assert filled.decided_at == seen.ts_init
    assert (missed.filled, missed.won) == (None, True), "what settled in its market says how it would have ended"
    assert attribute(filled) is None, "nobody has marked it yet"
    reading = read(found, random.Random(1))
    assert (reading.trading.orders, reading.trading.filled) == (2, 1)
    assert reading.trading.pnl == Decimal("2.895")
    assert reading.verdict is Verdict.NOT_ENOUGH


def test_a_failed_trade_is_no_fill_and_an_open_market_no_outcome(database_url: str) -> None:
    with_a_trade(database_url)
    with psycopg.connect(database_url) as writer:
        writer.execute("UPDATE trades SET status = 'failed' WHERE order_hash = %s", (HASH,))
        writer.execute(
            "UPDATE orders SET slug = 'btc-updown-5m-1790000300', token = '7' WHERE order_hash = %s", (LATE,)
        )
    with views.connect(database_url) as ledger:
        found = evidence.evidence(ledger)
    assert [bet.filled for bet in found.bets] == [None]
    assert found.unsettled == 1
