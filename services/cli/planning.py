"""What the venue's minimums, fees and a server's rent do to a bankroll. Pure: the draws and the limits are arguments.

The simulation is that of the research (quant.md, 4): prices spread evenly from 0.25 to 0.75, a fixed stake with its
fee, trades that do not depend on each other, a day's stop and a stop below the peak. Correlated windows make it worse.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal
from typing import Final, Protocol

from pmarb.domain.fees import FeeSchedule, for_category
from pmarb.domain.limits import Limits, warnings_at
from pmarb.domain.proportion import wilson
from pmarb.domain.values import CENT, ONE, ZERO, round_up

CURVE: Final = tuple(Decimal(cents) / 100 for cents in (5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95))
EDGES: Final = (-0.015, 0.0, 0.02, 0.04)
DAYS: Final = 30
PATHS: Final = 2000
TOO_LIKELY: Final = 1 / 3
"""A stop that pure luck reaches more often than this tells nothing about an edge."""

EVENS: Final = Decimal("0.50")
WORTH: Final = Decimal("0.02")
"""The edge of a good day, dollars a share: what is planned with."""


class Draws(Protocol):
    def random(self) -> float: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeRow:
    """At one price: the fee of a share, of the stake, the chance at which it breaks even, the least order."""

    price: Decimal
    fee: Decimal
    of_stake: Decimal
    break_even: Decimal
    minimum_usd: Decimal
    allowed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruin:
    """The chance to reach the stop within 30 days, with its 95 % interval, if a share truly earns `edge`."""

    edge: float
    chance: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Dollars; `rent_edge` is what a share must earn, beyond its fee, to pay the server."""

    bankroll: Decimal
    stake: Decimal
    shares: Decimal
    trades_a_day: int
    curve: tuple[FeeRow, ...]
    warnings: tuple[str, ...]
    rent_month: Decimal
    rent_of_bankroll: Decimal
    rent_edge: Decimal
    earns_month: Decimal
    stop_usd: Decimal
    ruin: tuple[Ruin, ...]
    bearable_trades: int
    objections: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        return (
            "do not run this live" if self.objections else "nothing here forbids it; the gate still asks for evidence"
        )


def make_plan(
    *, bankroll: Decimal, limits: Limits, trades_a_day: int, rent_month: Decimal, draws: Draws, paths: int = PATHS
) -> Plan:
    fees = for_category("crypto")
    stake, shares = typical_order(bankroll, limits, fees)
    month = Decimal(trades_a_day * DAYS) * shares
    ruin = tuple(
        chance_of_stop(bankroll, stake, trades_a_day, limits, edge=edge, draws=draws, paths=paths) for edge in EDGES
    )
    rent_edge = (rent_month / month).quantize(Decimal("0.0001"), ROUND_CEILING) if month else ZERO
    plan = Plan(
        bankroll=bankroll,
        stake=stake,
        shares=shares,
        trades_a_day=trades_a_day,
        curve=tuple(_row(price, bankroll, limits, fees) for price in CURVE),
        warnings=tuple(warnings_at(limits, bankroll)),
        rent_month=rent_month,
        rent_of_bankroll=rent_month / bankroll,
        rent_edge=rent_edge,
        earns_month=month * WORTH - rent_month,
        stop_usd=limits.drawdown_kill_pct * bankroll,
        ruin=ruin,
        bearable_trades=_bearable(bankroll, stake, trades_a_day, limits, draws, paths),
    )
    return replace(plan, objections=tuple(_objections(plan, limits)))


def typical_order(bankroll: Decimal, limits: Limits, fees: FeeSchedule) -> tuple[Decimal, Decimal]:
    """(dollars with the fee, shares) of an order at evens: its share of equity, at least the venue's minimum."""
    each = EVENS + fees.fee(shares=ONE, price=EVENS)
    stake = max(min(limits.order_pct * bankroll, limits.order_usd), round_up(limits.min_shares * each, CENT))
    return stake, (stake / each).quantize(CENT)


def chance_of_stop(
    bankroll: Decimal, stake: Decimal, trades_a_day: int, limits: Limits, *, edge: float, draws: Draws, paths: int
) -> Ruin:
    """By simulation: how often the drawdown reaches its limit within 30 days."""
    stopped = sum(
        _stopped(float(bankroll), float(stake), trades_a_day, limits, edge=edge, draws=draws) for _ in range(paths)
    )
    low, high = wilson(stopped, paths)
    return Ruin(edge=edge, chance=stopped / paths, low=low, high=high)


def _stopped(bankroll: float, stake: float, trades: int, limits: Limits, *, edge: float, draws: Draws) -> bool:
    equity = peak = bankroll
    kill, day_stop = float(limits.drawdown_kill_pct), float(limits.daily_loss_pct) * bankroll
    for _ in range(DAYS):
        start = equity
        for _ in range(trades):
            price = 0.25 + 0.5 * draws.random()
            cost = price + 0.07 * price * (1 - price)
            shares = stake / cost
            equity += shares * (1 - cost) if draws.random() < cost + edge else -stake
            peak = max(peak, equity)
            if equity <= peak * (1 - kill):
                return True
            if start - equity >= day_stop:
                break
    return False


def _bearable(bankroll: Decimal, stake: Decimal, trades: int, limits: Limits, draws: Draws, paths: int) -> int:
    """The most trades a day, of those tried, at which luck alone rarely reaches the stop; 0 if one is too many."""
    for tried in sorted({trades, 20, 10, 8, 6, 5, 4, 3, 2, 1}, reverse=True):
        if tried <= trades:
            found = chance_of_stop(bankroll, stake, tried, limits, edge=0.0, draws=draws, paths=paths)
            if found.chance <= TOO_LIKELY:
                return tried
    return 0


def _row(price: Decimal, bankroll: Decimal, limits: Limits, fees: FeeSchedule) -> FeeRow:
    fee = fees.fee(shares=ONE, price=price)
    least = max(limits.min_shares, round_up(limits.min_usd / price, CENT))
    minimum = round_up(least * (price + fee), CENT)
    return FeeRow(
        price=price,
        fee=fee,
        of_stake=fee / price,
        break_even=price + fee,
        minimum_usd=minimum,
        allowed=minimum <= limits.dearest_minimum(bankroll),
    )


def _objections(plan: Plan, limits: Limits) -> Sequence[str]:
    found = []
    if plan.warnings and plan.warnings[0].startswith("NOTHING"):
        found.append("no order the venue takes is within the limits")
    none = next(ruin for ruin in plan.ruin if ruin.edge == 0)
    if none.chance > TOO_LIKELY:
        found.append(
            f"with no edge at all luck reaches the {limits.drawdown_kill_pct:.0%} stop within {DAYS} days in "
            f"{none.chance:.0%} of cases: it is a spending limit then, not a verdict"
        )
    if plan.earns_month <= 0:
        found.append(f"a true edge of {WORTH * 100:f}c a share would not pay the server's ${plan.rent_month:f} a month")
    return found
