"""The demo's moving picture of what happens, for a terminal."""

from dataclasses import dataclass
from decimal import Decimal

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from pmarb.db import delivered, views
from services.cli.output import clock_time, disputed, plain, signed, styled


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What the ledger said a moment ago."""

    opportunities: int
    approvals: int
    reasons: tuple[views.Count, ...]
    orders: tuple[views.Count, ...]
    trades: tuple[views.TradeRow, ...]
    fills: int
    open_positions: int
    confirmed: Decimal
    provisional: Decimal
    disputed: Decimal
    settled: int
    alerts: tuple[delivered.Delivery, ...]


def snapshot(ledger: views.Connection) -> Snapshot:
    reasons = tuple(views.rejection_counts(ledger))
    total = sum(count.count for count in views.verdict_counts(ledger))
    pnl = views.pnl(ledger)
    return Snapshot(
        opportunities=total,
        approvals=total - sum(count.count for count in reasons),
        reasons=reasons,
        orders=tuple(views.order_counts(ledger)),
        trades=tuple(views.trades(ledger, limit=5)),
        fills=views.fills(ledger),
        open_positions=len(views.positions(ledger)),
        confirmed=pnl.confirmed,
        provisional=pnl.provisional,
        disputed=pnl.disputed,
        settled=pnl.settled,
        alerts=tuple(delivered.deliveries(ledger, limit=4)),
    )


def picture(now: Snapshot, phase: str) -> RenderableType:
    return Group(
        Panel(_counts(now), title="pm-arb demo, sandbox money", subtitle=phase, title_align="left"),
        Panel(_trades(now), title="last trades", title_align="left"),
        Panel(_alerts(now), title="alerts", title_align="left"),
    )


def line(now: Snapshot) -> str:
    """The same in one line, for a log."""
    return (
        f"{now.opportunities} opportunities, {now.approvals} approved, {now.fills} fills, {now.settled} settled, "
        f"P&L confirmed {now.confirmed:+.2f} provisional {now.provisional:+.2f} disputed {now.disputed:+.2f}"
    )


def _counts(now: Snapshot) -> RenderableType:
    table = Table.grid(padding=(0, 3))
    why = ", ".join(f"{count.name} {count.count}" for count in now.reasons[:4]) or "-"
    orders = ", ".join(f"{count.name} {count.count}" for count in now.orders) or "-"
    table.add_row("opportunities", str(now.opportunities), "")
    table.add_row("denied by risk", str(now.opportunities - now.approvals), why)
    table.add_row("approved", str(now.approvals), "")
    table.add_row("orders", str(sum(count.count for count in now.orders)), orders)
    table.add_row("fills", str(now.fills), f"{now.open_positions} positions open, {now.settled} settled")
    table.add_row(
        "P&L",
        styled(signed(now.confirmed)),
        styled(f"confirmed; {signed(now.provisional)} provisional{disputed(now.disputed)}"),
    )
    return table


def _trades(now: Snapshot) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for trade in now.trades:
        what = f"{trade.side} {plain(trade.shares)} {trade.outcome} at {plain(trade.price)}"
        row = (clock_time(trade.ts_event), trade.slug, what, f"fee {plain(trade.fee)}", trade.status)
        table.add_row(*map(Text, row))
    return table if now.trades else Text("none yet")


def _alerts(now: Snapshot) -> RenderableType:
    lines = [Text(f"{clock_time(alert.ts_event)} {alert.priority:<8} {alert.title}") for alert in now.alerts]
    return Group(*lines) if lines else Text("none yet")
