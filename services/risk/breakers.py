"""Results that stop trading altogether, decided from the portfolio (quant.md 4)."""

from dataclasses import dataclass
from decimal import Decimal

from pmarb.domain.messages import TradingState
from services.risk.limits import Limits
from services.risk.portfolio import DAY, Portfolio


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """A state to enter and why; `clears_at` is when it ends by itself, 0 for never."""

    state: TradingState
    why: str
    clears_at: int


def tripped(portfolio: Portfolio, limits: Limits, *, now: int) -> Breaker | None:
    """The strictest breaker that the results trip, if any."""
    if portfolio.drawdown >= limits.drawdown_kill_pct:
        why = f"drawdown {portfolio.drawdown:.1%} from the peak of ${portfolio.peak:.2f}"
        return Breaker(state=TradingState.KILLED, why=why, clears_at=0)
    midnight = (max(now // DAY, portfolio.day) + 1) * DAY  # A clock that is set back ends no stop sooner
    lost, allowed = -portfolio.day_pnl, limits.daily_loss_pct * portfolio.capital
    if lost >= allowed > Decimal(0):
        why = f"lost ${lost:.2f} today, limit ${allowed:.2f}"
        return Breaker(state=TradingState.HALTED, why=why, clears_at=midnight)
    burnt, bearable = portfolio.fees_today, limits.fee_burn_pct * portfolio.equity
    if burnt >= bearable > Decimal(0):
        why = f"paid ${burnt:.2f} in fees today, limit ${bearable:.2f}"
        return Breaker(state=TradingState.HALTED, why=why, clears_at=midnight)
    return None
