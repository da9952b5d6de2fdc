"""Results that stop trading altogether, decided from the portfolio (quant.md 4)."""

from collections.abc import Iterator
from dataclasses import dataclass

from pmarb.domain.limits import Limits
from pmarb.domain.messages import TradingState
from pmarb.domain.values import NANOS, ZERO
from services.risk.gates import calibration_z, cooling_until, reject_ratio
from services.risk.portfolio import DAY, Portfolio


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """A state to enter and why; `clears_at` is when it ends by itself, 0 for never."""

    state: TradingState
    why: str
    clears_at: int

    def says_more_than(self, state: TradingState, clears_at: int) -> bool:
        """Whether it is stricter than what stands, or lasts longer."""
        ranks = tuple(TradingState)
        if self.state is not state:
            return ranks.index(self.state) > ranks.index(state)
        return clears_at > 0 and (self.clears_at == 0 or self.clears_at > clears_at)


def tripped(portfolio: Portfolio, limits: Limits, *, now: int) -> Breaker | None:
    """The strictest breaker that the results trip, if any."""
    return next(_breakers(portfolio, limits, now), None)


def _breakers(portfolio: Portfolio, limits: Limits, now: int) -> Iterator[Breaker]:
    """From the strictest to the mildest."""
    if portfolio.drawdown >= limits.drawdown_kill_pct:
        why = f"drawdown {portfolio.drawdown:.1%} from the peak of ${portfolio.peak:.2f}"
        yield Breaker(state=TradingState.KILLED, why=why, clears_at=0)
    z = calibration_z(portfolio, limits)
    if z is not None and z < limits.calibration_z:
        why = f"the last {limits.calibration_window} positions paid {-z:.1f} standard deviations less than they cost"
        yield Breaker(state=TradingState.HALTED, why=why, clears_at=0)
    ratio = reject_ratio(portfolio, limits)
    if ratio is not None and ratio > limits.reject_ratio:
        why = f"the venue refused {ratio:.0%} of the last {limits.reject_window} orders"
        yield Breaker(state=TradingState.HALTED, why=why, clears_at=0)
    midnight = (max(now // DAY, *portfolio.results, 0) + 1) * DAY  # A clock that is set back ends no stop sooner
    unrealised, allowed = portfolio.open_loss_seen, limits.daily_loss_pct * portfolio.capital
    lost = -portfolio.day_pnl - unrealised
    if lost >= allowed > ZERO:
        still_open = f" (${-unrealised:.2f} of it on open positions, at the bid)" if unrealised else ""
        why = f"lost ${lost:.2f} today{still_open}, limit ${allowed:.2f}"
        yield Breaker(state=TradingState.HALTED, why=why, clears_at=midnight)
    burnt, bearable = portfolio.fees_today, limits.fee_burn_pct * portfolio.equity
    if burnt >= bearable > ZERO:
        why = f"paid ${burnt:.2f} in fees today, limit ${bearable:.2f}"
        yield Breaker(state=TradingState.HALTED, why=why, clears_at=midnight)
    cooled = cooling_until(portfolio, limits)
    if cooled > now:
        why = (
            f"{portfolio.losses_in_a_row} losses in a row, cooling down for {limits.cool_down // (60 * NANOS)} minutes"
        )
        yield Breaker(state=TradingState.REDUCING, why=why, clears_at=cooled)
