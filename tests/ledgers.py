"""A small ledger with one winning trade, one no-match and one denial, written as the services write it."""

import psycopg

from pmarb import codec
from tests.builders import NOW, an_approval, an_opportunity

TOKEN = "1001"
HASH = "0x" + "ab" * 32
LATE = "0x" + "cd" * 32


def with_a_trade(database_url: str) -> None:
    """Deposit 300, buy 6 Up at 0.50 with a fee of 0.105, win, get 6 back: 302.895 in cash."""
    with psycopg.connect(database_url) as writer:
        _verdicts(writer)
        for order_hash, opportunity, state, cause in (
            (HASH, "opp-1", "FILLED", ""),
            (LATE, "opp-3", "REJECTED", "no_match: no orders found to match with FAK order"),
        ):
            writer.execute(
                "INSERT INTO orders (order_hash, opportunity_id, leg, slug, event, underlying, family, market, token,"
                " outcome, side, order_type, limit_price, shares, usd, reserved, fee_rate, fee_exponent, fair, expiry,"
                " expires_at, state, cause, tick_real, judged_real, sent_real, answered_real, created_at, updated_at)"
                " VALUES (%s, %s, 0, 'btc-updown-5m-1790000000', 'e', 'btc', '5m', '0xmarket', %s, 'Up', 'BUY', 'FAK',"
                " 0.50, 6, 3, 3.105, 0.07, 1, 0.62, %s, %s, %s, %s, 1000000, 2000000, 3000000, 9000000, %s, %s)",
                (order_hash, opportunity, TOKEN, NOW, NOW, state, cause, NOW, NOW),
            )
        writer.execute("INSERT INTO trades VALUES ('t1', %s, 6, 0.50, 0.105, 'confirmed', %s, %s)", (HASH, NOW, NOW))
        writer.execute(
            "INSERT INTO settlements VALUES (%s, '0xmarket', 'btc-updown-5m-1790000000', 'Up', true, 6, 3, 0.105, 6,"
            " 2.895, %s, %s)",
            (TOKEN, NOW, NOW),
        )
        for name, postings in (
            ("deposit", {"cash": 300, "capital": -300}),
            ("match", {"confirmed": 3, "fees": "0.105", "cash": "-3.105"}),
            ("resolve", {"redeemable": 6, "realised": -3, "confirmed": -3}),
            ("redeem", {"cash": 6, "redeemable": -6}),
        ):
            writer.execute("INSERT INTO entries (entry_id, kind, ref, ts_event) VALUES (%s, %s, 'r', 0)", (name, name))
            for account, amount in postings.items():
                writer.execute("INSERT INTO postings VALUES (%s, %s, %s)", (name, account, amount))


def _verdicts(writer: psycopg.Connection) -> None:
    opportunity = codec.encode_value(an_opportunity(tick_real=1_000_000, found_real=1_500_000)).decode()
    approval = codec.encode_value(an_approval(judged_real=2_000_000)).decode()
    for row in (
        ("opp-1", "approved", "order_usd", "reserved=3.105", opportunity, approval),
        ("opp-2", "denied", "duplicate", "since_s=3", opportunity, None),
        ("opp-3", "approved", "order_usd", "reserved=3.105", opportunity, approval),
    ):
        writer.execute(
            "INSERT INTO verdicts (opportunity_id, verdict, reason, detail, slug, opportunity, approval, judged_at)"
            " VALUES (%s, %s, %s, %s, 'btc-updown-5m-1790000000', %s, %s, %s)",
            (*row, NOW),
        )
