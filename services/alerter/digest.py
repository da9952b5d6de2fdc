"""The regular alerts: one a day, one an hour, each about the period that ended. Venue time, UTC."""

from datetime import UTC, datetime

from pmarb.db import views
from pmarb.domain.messages import Alert, AlertKind, Priority
from pmarb.domain.values import NANOS, ZERO

HOUR_NS = 3600 * NANOS


def daily_summary(connection: views.Connection, day: int, *, now: int) -> Alert | None:
    """Trades, P&L and positions of the `day`-th day since 1970; None for a day without a verdict or a trade."""
    start = day * views.DAY_NS
    end = start + views.DAY_NS
    judged = views.verdicts_between(connection, start=start, end=end)
    trades = views.trades_between(connection, start=start, end=end)
    if not judged and not trades:
        return None
    label = _date(start)
    pnl = views.pnl(connection)
    settled = next((line for line in pnl.by_day if line.day == label), None)
    held = views.positions(connection)
    cost = sum((position.cost for position in held), ZERO)
    result = "nothing settled" if settled is None else f"{settled.settled} settled ({settled.won} won)"
    body = (
        f"{trades} trades of {judged} opportunities; {result}, P&L {settled.pnl if settled else ZERO:+.2f} "
        f"after fees {settled.fees if settled else ZERO:.2f}. Open: {len(held)} positions, cost ${cost:.2f}. "
        f"Since the start: confirmed {pnl.confirmed:+.2f}, provisional {pnl.provisional:+.2f}."
    )
    return Alert(
        kind=AlertKind.DAILY_SUMMARY,
        priority=Priority.NORMAL,
        dedupe_key=f"daily_summary:{label}",
        title=f"Day {label}: {settled.pnl if settled else ZERO:+.2f} USD",
        body=body,
        ts_event=end,
        ts_init=now,
    )


def opportunity_count(connection: views.Connection, hour: int, *, now: int) -> Alert:
    """How many opportunities risk saw in the `hour`-th hour since 1970."""
    start = hour * HOUR_NS
    judged = views.verdicts_between(connection, start=start, end=start + HOUR_NS)
    trades = views.trades_between(connection, start=start, end=start + HOUR_NS)
    label = _hour(start)
    return Alert(
        kind=AlertKind.OPPORTUNITY_COUNT,
        priority=Priority.LOW,
        dedupe_key=f"opportunity_count:{label}",
        title=f"{judged} opportunities in an hour",
        body=f"{judged} opportunities and {trades} trades in the hour from {label}. Why not more: pm-arb opportunities",
        ts_event=start + HOUR_NS,
        ts_init=now,
    )


def _date(ns: int) -> str:
    return datetime.fromtimestamp(ns / NANOS, UTC).strftime("%Y-%m-%d")


def _hour(ns: int) -> str:
    return datetime.fromtimestamp(ns / NANOS, UTC).strftime("%Y-%m-%dT%H:%MZ")
