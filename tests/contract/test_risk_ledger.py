"""What risk reads from the ledger: open positions, stops that end by themselves, the record of each strategy."""

import signal
from collections.abc import Callable
from decimal import Decimal

import psycopg
import pytest

from pmarb.bus.streams import RedisBus
from pmarb.db import limits as in_force
from pmarb.db import portfolio as stored
from pmarb.db.pool import Connection
from pmarb.domain.messages import Approval, Marks, Rejection
from pmarb.domain.sizing import Record
from pmarb.domain.values import NANOS
from tests.contract.test_risk_service import Risk, answered, now_ns, start  # noqa: F401 - a fixture

BOUGHT = """
WITH o AS (
    INSERT INTO orders (order_hash, opportunity_id, leg, slug, event, underlying, family, market, token, outcome, side,
        order_type, limit_price, shares, usd, reserved, fee_rate, fee_exponent, fair, expiry, expires_at, state,
        created_at, updated_at)
    VALUES ('0xb', 'opp-b', 0, 'b', 'b', 'b', '5m', '0xb', 'b', 'Up', 'BUY', 'FAK', 0.5, 30, 15, 15.525, 0.07, 1, 0.6,
        %(at)s + 300000000000, %(at)s, 'FILLED', %(at)s, %(at)s)
)
INSERT INTO trades VALUES ('tb', '0xb', 30, 0.5, 0.525, 'confirmed', %(at)s, %(at)s)
"""


async def test_what_open_positions_lose_counts_toward_the_day_and_outlives_kill_9(
    start: Callable[..., Risk],  # noqa: F811
    redis_bus: RedisBus,
    database_url: str,
) -> None:
    with psycopg.connect(database_url) as writer:
        writer.execute("SET CONSTRAINTS ALL DEFERRED")
        writer.execute(BOUGHT, {"at": now_ns() - 10 * NANOS})  # So that it is none of the last second's orders
    risk = start(MAX_MARKET_PCT="20", MAX_TOTAL_EXPOSURE_PCT="50")
    await risk.wrote("portfolio_rebuilt")
    denial = await answered(redis_bus, 1)
    assert isinstance(denial, Rejection)
    assert denial.detail == "pnl_today,of_it_open=-15.525,-15.525 limit=-15", "nobody knows what it is worth"
    await redis_bus.publish(Marks(bids={"b": Decimal("0.45")}, ts_event=now_ns(), ts_init=now_ns()))
    assert isinstance(await answered(redis_bus, 2), Approval)
    await redis_bus.publish(Marks(bids={"b": Decimal("0.01")}, ts_event=now_ns(), ts_init=now_ns()))
    assert "lost $15.22 today ($15.22 of it on open positions, at the bid)" in await risk.wrote("breaker_tripped")
    risk.end(signal.SIGKILL)
    successor = start("successor")
    await successor.wrote("state=HALTED")
    assert "breaker_tripped" not in successor.log.read_text()


@pytest.mark.parametrize(
    ("state", "clears_at", "later"),
    [
        ("HALTED", 5, "ACTIVE"),
        ("REDUCING", 5, "ACTIVE"),
        ("HALTED", 0, "HALTED"),
        ("HALTED", 7, "HALTED"),
        ("KILLED", 0, "KILLED"),
        ("KILLED", 5, "KILLED"),
    ],
)
async def test_a_stop_clears_only_where_it_says_so(database_url: str, state: str, clears_at: int, later: str) -> None:
    async with await Connection.connect(database_url, autocommit=True) as connection:
        await connection.execute("UPDATE trading_state SET state = %s, clears_at = %s", (state, clears_at))
        assert await stored.clear(connection, who="risk", why="over", now=6) is (state != later)
        assert (await stored.read_state(connection)).state == later
        cursor = await connection.execute("SELECT count(*) FROM state_log")
        assert await cursor.fetchone() == (int(state != later),)


async def test_the_allocator_counts_what_settled_and_what_was_merged_by_strategy(database_url: str) -> None:
    async with await Connection.connect(database_url, autocommit=True) as connection:
        await connection.execute(EARNED)
        found = await in_force.records(connection)
    assert found == {
        "slow": Record(count=2, total=Decimal("0.5"), squares=Decimal("1.25")),  # Doubled once, halved once
        "fast": Record(count=2, total=Decimal("-0.75"), squares=Decimal("1.0625")),  # Lost all; merged a quarter up
    }


EARNED = """
INSERT INTO verdicts (opportunity_id, verdict, reason, detail, slug, opportunity, judged_at)
SELECT 'o' || n, 'approved', '', '', 's', jsonb_build_object('strategy', CASE WHEN n < 3 THEN 'slow' ELSE 'fast' END), n
FROM generate_series(1, 5) n;
INSERT INTO orders (order_hash, opportunity_id, leg, slug, event, underlying, family, market, token, outcome, side,
    order_type, limit_price, shares, usd, reserved, fee_rate, fee_exponent, fair, expiry, expires_at, state, created_at,
    updated_at)
SELECT 'h' || n, 'o' || n, 0, 's', 'e', 'btc', '5m', 'm', 't' || n, 'Up', 'BUY', 'FAK', 0.5, 4, 2, 2, 0, 1, 0.6, 0, 0,
    'FILLED', n, n FROM generate_series(1, 5) n;
INSERT INTO settlements (token, market, slug, outcome, won, shares, cost, fees, payout, pnl, resolved_at) VALUES
    ('t1', 'm', 's', 'Up', true, 4, 1.5, 0.5, 4, 2, 1), ('t2', 'm', 's', 'Up', false, 4, 2, 0, 1, -1, 1),
    ('t3', 'm', 's', 'Up', false, 4, 2, 0, 0, -2, 1), ('t4', 'm', 's', 'Up', true, 0, 0, 0, 0, 0, 1);
INSERT INTO merges (merge_id, market, slug, token, outcome, shares, cost, fees, payout, pnl, merged_at)
    VALUES
    ('g', 'm', 's', 't4', 'Up', 4, 1.1, 0.1, 2, 0.8, 1), ('g', 'm', 's', 't5', 'Down', 4, 1.9, 0.1, 2, 0, 1)
"""
