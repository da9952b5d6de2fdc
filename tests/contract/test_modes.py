"""One ledger on paper, then with a wallet: what is unfinished where, what is taken over once, what begins anew."""

from decimal import Decimal

import pytest

from pmarb.db import gate, modes
from pmarb.db import portfolio as stored
from pmarb.db.orders import NO_REAL_MONEY
from pmarb.db.pool import Connection
from pmarb.domain.values import NANOS
from pmarb.settings import WrongSettings
from services.executor.gatekeeper import admitted
from services.executor.settings import ExecutorSettings
from services.risk.rebuild import rebuilt
from tests.contract.test_risk_service import DEPOSIT

PAPER, LIVE = ("polymarket", "paper"), ("polymarket", "live")
LOST = """
WITH o AS (
    INSERT INTO orders (order_hash, opportunity_id, leg, slug, event, underlying, family, market, token, outcome, side,
        order_type, limit_price, shares, usd, reserved, fee_rate, fee_exponent, fair, expiry, expires_at, state,
        created_at, updated_at)
    VALUES ('0x1', 'o1', 0, 's', 's', 'btc', '5m', 'm', 't', 'Up', 'BUY', 'FAK', 0.5, 180, 90, 90, 0, 1, 0.6, 0, 0,
        'FILLED', 15, 15)
), traded AS (
    INSERT INTO trades VALUES ('t1', '0x1', 180, 0.5, 0, 'confirmed', 15, 15)
), entry AS (INSERT INTO entries (entry_id, kind, ref, ts_event) VALUES ('resolve:t', 'resolve', 't', 16))
INSERT INTO postings VALUES ('resolve:t', 'cash', -90), ('resolve:t', 'realised', 90)
"""
SETTLED = """
INSERT INTO settlements (token, market, slug, outcome, won, shares, cost, fees, payout, pnl, resolved_at, redeemed_at)
VALUES ('t', 'm', 's', 'Up', false, 180, 90, 0, 0, -90, 16, 16)
"""


async def test_a_paper_ledger_goes_on_with_a_wallet(database_url: str) -> None:
    with gate.writer(database_url) as ledger:
        modes.enter(ledger, venue="polymarket", execution="paper", now_real=10)
        modes.enter(ledger, venue="polymarket", execution="paper", now_real=11)
        ledger.execute(DEPOSIT)
        with ledger.transaction():
            ledger.execute("SET CONSTRAINTS ALL DEFERRED")
            ledger.execute(LOST)
        assert modes.take_over(ledger, cash=Decimal(250), now=17) is None, "it has moved nowhere"
        assert modes.unfinished(ledger) == {PAPER: 1}
        ledger.execute(SETTLED)
        assert modes.unfinished(ledger) == {}
        modes.enter(ledger, venue="polymarket", execution="live", now_real=20)
        assert [mode.since_real for mode in modes.history(ledger)] == [10, 20]
        assert modes.take_over(ledger, cash=Decimal(250), now=21) == 40
        assert modes.take_over(ledger, cash=Decimal(100), now=22) is None, "a difference from then on is a mismatch"
    async with await Connection.connect(database_url, autocommit=True) as connection:
        snapshot = await stored.load(connection, since=0)
    assert (snapshot.capital, snapshot.resumed_at, snapshot.rearmed_at) == (Decimal(340), 21, 21)
    portfolio = rebuilt(snapshot, (), now=30 * NANOS)
    assert (portfolio.equity, portfolio.drawdown, portfolio.losses_in_a_row) == (Decimal(250), Decimal(0), 0)


@pytest.mark.parametrize(
    ("made_in", "execution", "refused"),
    [
        ("live", "paper", "1 orders or positions of VENUE=polymarket EXECUTION=live are not settled yet"),
        ("paper", "live", "1 orders or positions of VENUE=polymarket EXECUTION=paper are not settled yet"),
        ("paper", "paper", ""),
        ("", "paper", ""),
        ("", "live", "1 orders or positions of VENUE=unknown EXECUTION=unknown are not settled yet"),
    ],
)
async def test_neither_execution_takes_over_what_the_other_has_open(
    database_url: str, capsys: pytest.CaptureFixture[str], made_in: str, execution: str, refused: str
) -> None:
    with gate.writer(database_url) as ledger:
        if made_in:
            modes.enter(ledger, venue="polymarket", execution=made_in, now_real=10)
        ledger.execute(DEPOSIT)
        with ledger.transaction():
            ledger.execute("SET CONSTRAINTS ALL DEFERRED")
            ledger.execute(LOST)
    settings = ExecutorSettings.model_validate(
        {"venue": "polymarket", "execution": execution, "database_url": database_url}
    )
    if not refused:
        assert await admitted(settings, settings.clock()) == (None, NO_REAL_MONEY)
        return
    with pytest.raises(WrongSettings):
        await admitted(settings, settings.clock())
    assert refused in capsys.readouterr().err
