"""A clock that jumps back, and a restart on top of it, forget no loss."""

from decimal import Decimal

from pmarb.db.portfolio import Snapshot, StoredState
from pmarb.domain.limits import Limits
from pmarb.domain.messages import TradingState
from pmarb.domain.values import NANOS
from services.risk.breakers import tripped
from services.risk.portfolio import DAY, Portfolio
from services.risk.rebuild import rebuilt
from tests.builders import NOW, a_settlement

AT = NOW + 100 * NANOS


def test_a_clock_that_is_set_back_forgets_no_loss() -> None:
    lost = a_settlement(pnl=Decimal(-20), won=False, payout=Decimal(0), ts_event=AT)
    portfolio = Portfolio(capital=Decimal(300), day=AT // DAY)
    portfolio.on_settlement(lost)
    portfolio.at(AT - DAY)
    assert portfolio.day_pnl == -20
    breaker = tripped(portfolio, Limits(), now=AT - DAY)
    assert breaker is not None
    assert breaker.clears_at == (AT // DAY + 1) * DAY
    snapshot = Snapshot(
        capital=Decimal(300), orders=(), fills=(), settlements=(lost,), resumed_at=0,
        state=StoredState(state=TradingState.ACTIVE, who="", why="", since=0, clears_at=0),
    )  # fmt: skip
    for now in (AT, AT - DAY, AT - 30 * DAY):
        again = rebuilt(snapshot, (), now=now)
        again.at(now)
        assert (again.day_pnl, again.drawdown) == (portfolio.day_pnl, portfolio.drawdown)
