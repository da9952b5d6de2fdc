"""The gate for real: no file, variable, fresh database or forged row opens it, and real losses close it."""

import asyncio
import json
import subprocess
from collections.abc import Callable

import psycopg

from pmarb.bus.streams import RedisBus
from pmarb.domain.gate import PHRASE
from pmarb.domain.messages import Alert, Approval, Rejection, Stream
from pmarb.domain.values import NANOS
from tests.contract.test_cli import bare, pm_arb  # noqa: F401 - fixtures
from tests.contract.test_risk_service import Risk, answers, fresh, now_ns, start  # noqa: F401 - a fixture

LIVE = {"VENUE": "polymarket", "EXECUTION": "live"}
DAY = 86_400 * NANOS

BETS = """
WITH made AS (
    SELECT n, %(from)s + n * %(step)s::bigint AS at, n %% 20 < %(of_twenty)s AS won FROM generate_series(1, %(count)s) n
), sent AS (
    INSERT INTO orders (order_hash, opportunity_id, leg, slug, event, underlying, family, market, token, outcome, side,
        order_type, limit_price, shares, usd, reserved, fee_rate, fee_exponent, fair, expiry, expires_at, state,
        tick_real, sent_real, created_at, updated_at)
    SELECT %(name)s || n, %(name)s || n, 0, %(name)s || n, %(name)s || n, 'btc', '5m', %(name)s || n, %(name)s || n,
        'Up', 'BUY', 'FAK', 0.5, 5, 2.5, 2.5875, 0.07, 1, 0.6, at + 300000000000, at, 'FILLED', 1, 200000000, at, at
    FROM made RETURNING order_hash
), matched AS (
    INSERT INTO trades SELECT 't' || %(name)s || n, %(name)s || n, 5, 0.5, 0.0875, 'confirmed', at, at FROM made
)
INSERT INTO settlements (token, market, slug, outcome, won, shares, cost, fees, payout, pnl, resolved_at, redeemed_at)
SELECT %(name)s || n, %(name)s || n, %(name)s || n, 'Up', won, 5, 2.5, 0.0875, CASE WHEN won THEN 5 ELSE 0 END,
    CASE WHEN won THEN 0.01 ELSE -0.01 END, at + 360000000000, at + 370000000000 FROM made
"""


def bet(database_url: str, name: str, *, since: int, step: int, count: int, of_twenty: int) -> None:
    """So many filled and settled orders, of every twenty so many won; the money hardly moves."""
    with psycopg.connect(database_url) as writer:
        values = {"name": name, "from": since, "step": step, "count": count, "of_twenty": of_twenty}
        writer.execute("SET CONSTRAINTS ALL DEFERRED")
        writer.execute(BETS, values)


def earned(database_url: str, *, paper_since: int, opened_at: int) -> None:
    """Twenty days of paper that won thirteen of twenty, then an opened gate."""
    with psycopg.connect(database_url) as writer:
        writer.execute(
            "INSERT INTO ledger_modes (venue, execution, since_real) VALUES ('polymarket', 'paper', %s)", (paper_since,)
        )
        if opened_at:
            writer.execute(
                "INSERT INTO ledger_modes (venue, execution, since_real) VALUES ('polymarket', 'live', %s)",
                (opened_at,),
            )
            forge(writer, opened_at)
    bet(database_url, "p", since=paper_since, step=3600 * NANOS, count=460, of_twenty=13)


def forge(writer: psycopg.Connection, at: int) -> None:
    writer.execute(
        "INSERT INTO gate_log (opened, who, why, criteria, at_real) VALUES (true, 'me', 'trust me', '[]', %s)", (at,)
    )


async def test_a_fresh_database_a_variable_and_a_forged_row_leave_it_locked(
    start: Callable[..., Risk],  # noqa: F811
    redis_bus: RedisBus,
    database_url: str,
) -> None:
    risk = start(**LIVE)
    await risk.wrote("portfolio_rebuilt")
    await redis_bus.publish(fresh(1, now_ns()))
    (answer,) = await answers(redis_bus, 1)
    assert isinstance(answer, Rejection)
    assert answer.reason == "gate_locked"
    risk.end()
    with psycopg.connect(database_url) as writer:
        forge(writer, now_ns())
    again = start(**LIVE)
    await again.wrote("300 paper fills: 0")
    await redis_bus.publish(fresh(2, now_ns()))
    assert {answer.reason for answer in await answers(redis_bus, 2) if isinstance(answer, Rejection)} == {"gate_locked"}


async def titles(bus: RedisBus) -> list[str]:
    """Of the alerts there are, once there is one: risk denies first and tells then."""
    for _ in range(200):
        found = [alert.title for alert in await bus.tail(Stream.ALERTS, since_ns=0) if isinstance(alert, Alert)]
        if found:
            return found
        await asyncio.sleep(0.05)
    return []


async def test_an_earned_gate_trades_and_real_losses_demote_by_themselves(
    start: Callable[..., Risk],  # noqa: F811
    redis_bus: RedisBus,
    database_url: str,
) -> None:
    now = now_ns()
    earned(database_url, paper_since=now - 40 * DAY, opened_at=now - 10 * DAY)
    risk = start(**LIVE)
    await risk.wrote("real money may be traded")
    await redis_bus.publish(fresh(1, now_ns()))
    (answer,) = await answers(redis_bus, 1)
    assert isinstance(answer, Approval), answer
    bet(database_url, "l", since=now - 9 * DAY, step=3600 * NANOS, count=70, of_twenty=0)
    assert "e-value of 70 real fills fell to" in await risk.wrote("demoted_to_paper")
    await redis_bus.publish(fresh(2, now_ns()))
    denial = (await answers(redis_bus, 2))[-1]
    assert isinstance(denial, Rejection)
    assert await titles(redis_bus) == ["Demoted to paper: real money is locked again"]
    with psycopg.connect(database_url) as connection:
        last = connection.execute("SELECT opened, who FROM gate_log ORDER BY id DESC LIMIT 1").fetchone()
        state = connection.execute("SELECT state, why FROM trading_state").fetchone()
    assert last == (False, "evidence")
    assert state is not None
    assert (state[0], state[1][:17]) == ("HALTED", "demoted to paper:")


def test_the_command_lists_what_is_missing_and_opens_nothing(
    pm_arb: Callable[..., subprocess.CompletedProcess[str]],  # noqa: F811
    database_url: str,
) -> None:
    earned(database_url, paper_since=now_ns() - 40 * DAY, opened_at=0)
    shown = pm_arb("gate", "show", "--rounds", "100", "--json", VENUE="polymarket")
    assert shown.returncode == 1
    criteria = {c["name"]: c["met"] for c in json.loads(shown.stdout)["criteria"]}
    assert criteria["300 paper fills"]
    assert criteria["e-value of the outcomes at least 20"]
    assert not criteria["marks after 5 s and fees above 0"]
    assert not criteria["a kill drilled within 7 days, verified empty"]
    opened = pm_arb("gate", "open", "--rounds", "100", VENUE="polymarket")
    assert opened.returncode == 1
    assert "stays locked" in opened.stderr
    assert PHRASE not in opened.stdout
    assert "no real money" in pm_arb("gate", "open").stderr
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM gate_log").fetchone() == (0,)
