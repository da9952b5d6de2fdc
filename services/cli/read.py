"""Commands that only look: status, positions, foreign, orders, opportunities, pnl, receipts."""

import typer

from pmarb.bus.streams import RedisBus
from pmarb.db import foreign as movements
from pmarb.db import rules, views
from pmarb.domain.ledger import Account, equity
from pmarb.domain.scanners import ScannerReport
from pmarb.settings import Settings
from services.cli import context, scanners
from services.cli.output import (
    BOLD,
    END,
    RED,
    Json,
    Limit,
    clock_time,
    disputed,
    print_json,
    print_table,
    say,
    signed,
    usd,
)

app = typer.Typer()
SERVICES = ("scanner", "risk", "executor", "alerter", "console")


@app.command()
def status(json: Json = False) -> None:
    """Is it running, may it trade, what does it hold, what did it earn."""
    of = context.settings()
    services, found = alive(of), scanners.reports(of)
    with context.ledger(of) as ledger:
        body = {
            "venue": of.venue,
            "execution": of.execution,
            "services": services,
            "scanners": scanners.body(found),
            "trading": views.state(ledger),
            "balances": views.balances(ledger),
            "equity": equity(views.balances(ledger)),
            "pnl": views.pnl(ledger),
            "verdicts": {count.name: count.count for count in views.verdict_counts(ledger)},
            "orders": {count.name: count.count for count in views.order_counts(ledger)},
            "fills": views.fills(ledger),
            "open_orders": len(views.open_orders(ledger)),
            "positions": len(views.positions(ledger)),
            "foreign": movements.listed(ledger, limit=20),
            "halted_markets": rules.changes(ledger),
            "tick_to_wire_ms": views.tick_to_wire(ledger),
        }
        if json:
            print_json(body)
            return
        _show_status(of, services, found, ledger)


def alive(of: Settings) -> dict[str, list[str]]:
    """Members of every service by their heartbeats; empty lists when Redis is away."""

    async def ask(bus: RedisBus) -> dict[str, list[str]]:
        return {service: await bus.members(service) for service in SERVICES}

    return context.on_bus(of, ask, away={service: [] for service in SERVICES})


def _show_status(
    of: Settings, services: dict[str, list[str]], found: dict[str, ScannerReport], ledger: views.Connection
) -> None:
    state, balances, pnl, speed = (
        views.state(ledger),
        views.balances(ledger),
        views.pnl(ledger),
        views.tick_to_wire(ledger),
    )
    up = ", ".join(f"{name} x{len(who)}" if len(who) > 1 else name for name, who in services.items() if who)
    down = ", ".join(name for name, who in services.items() if not who)
    say(f"venue      {of.venue}, execution {of.execution}")
    say(f"services   alive: {up or 'none'}" + (f"   {RED}silent: {down}{END}" if down else ""))
    say(f"trading    {BOLD}{state.state}{END} since {clock_time(state.since)}: {state.why} (by {state.who})")
    say(
        f"money      equity {usd(equity(balances))}, cash {usd(balances[Account.CASH])}, "
        f"reserved {usd(balances[Account.RESERVED])}, fees paid {usd(pnl.fees)}"
    )
    say(
        f"P&L        confirmed {signed(pnl.confirmed)}, provisional {signed(pnl.provisional)}"
        f"{disputed(pnl.disputed)}, {pnl.settled} positions settled"
    )
    verdicts = ", ".join(f"{count.count} {count.name}" for count in views.verdict_counts(ledger))
    orders = ", ".join(f"{count.count} {count.name}" for count in views.order_counts(ledger))
    say(f"so far     opportunities: {verdicts or 'none'}; orders: {orders or 'none'}; fills: {views.fills(ledger)}")
    foreign = movements.listed(ledger, limit=500)
    if foreign:
        say(f"foreign    {RED}{len(foreign)} movements of this wallet are not ours{END}: `pm-arb foreign` lists them")
    changed = rules.changes(ledger)
    if changed:
        say(f"rules      {RED}changed in {len(changed)} markets{END}, which are halted: `pm-arb ack` lists them")
    for line in scanners.lines(found):
        say(line)
    if speed.n:
        say(f"speed      tick to wire p50 {speed.p50:.2f} ms, p99 {speed.p99:.2f} ms over {speed.n} orders")


@app.command()
def positions(json: Json = False) -> None:
    """Shares held, until their market is settled and paid."""
    with context.ledger(context.settings()) as ledger:
        rows = views.positions(ledger)
    if json:
        print_json(rows)
        return
    columns = ("market", "outcome", "shares", "cost", "fees", "fair", "ends", "status")
    shown = [
        (
            row.slug,
            row.outcome,
            row.shares,
            usd(row.cost),
            row.fees,
            row.fair,
            clock_time(row.expiry),
            f"{row.status}, {row.provisional} provisional" if row.provisional else row.status,
        )
        for row in rows
    ]
    print_table("Positions", columns, shown, empty="none held.")


@app.command()
def foreign(limit: Limit = 20, json: Json = False) -> None:
    """What somebody else did in our wallet: told apart, counted when ledger and venue are compared, never adopted."""
    with context.ledger(context.settings()) as ledger:
        rows = movements.listed(ledger, limit=limit)
    if json:
        print_json(rows)
        return
    columns = ("time", "what", "outcome", "shares", "dollars", "token", "order")
    shown = [
        (clock_time(row.ts_event), row.kind, row.outcome, row.shares, row.usd, row.token[:12], row.order_hash[:12])
        for row in rows
    ]
    print_table("Foreign movements", columns, shown, empty="none: everything in the wallet is ours.")


@app.command()
def orders(limit: Limit = 20, json: Json = False) -> None:
    """Orders sent, with the venue's answer."""
    with context.ledger(context.settings()) as ledger:
        rows = views.orders(ledger, limit=limit)
    if json:
        print_json(rows)
        return
    columns = ("time", "market", "order", "limit", "filled", "state", "cause", "opportunity")
    shown = [
        (
            clock_time(row.created_at),
            row.slug,
            f"{row.side} {row.shares.normalize():f} {row.outcome}",
            row.limit_price,
            row.filled,
            row.state,
            row.cause[:60],
            row.opportunity_id[:12],
        )
        for row in rows
    ]
    print_table("Orders", columns, shown, empty="none sent yet. `pm-arb opportunities` says why.")


@app.command()
def opportunities(limit: Limit = 20, json: Json = False) -> None:
    """What the scanner found and what risk said of it, with the reasons of the denials counted."""
    with context.ledger(context.settings()) as ledger:
        rows, reasons = views.verdicts(ledger, limit=limit), views.rejection_counts(ledger)
        verdicts = views.verdict_counts(ledger)
    if json:
        print_json({"verdicts": verdicts, "rejections": reasons, "opportunities": rows})
        return
    columns = ("time", "market", "verdict", "reason", "detail", "opportunity")
    shown = [
        (clock_time(row.judged_at), row.slug, row.verdict, row.reason, row.detail, row.opportunity_id[:12])
        for row in rows
    ]
    empty = "none found yet; the scanner's log line `scan_summary` counts what it skipped and why."
    print_table("Opportunities", columns, shown, empty=empty)
    print_table(
        "Denied because of", ("reason", "count"), [(row.name, row.count) for row in reasons], empty="none denied."
    )


@app.command()
def pnl(json: Json = False) -> None:
    """Profit and loss: confirmed (paid), provisional (not yet) and disputed (should have been), by day, after fees."""
    with context.ledger(context.settings()) as ledger:
        result = views.pnl(ledger)
        balances = views.balances(ledger)
    if json:
        print_json({"pnl": result, "balances": balances, "equity": equity(balances)})
        return
    merges = f" and {result.merged} merges of pairs" if result.merged else ""
    say(f"confirmed   {signed(result.confirmed)}   of {result.settled} settled positions{merges}, after their fees")
    say(f"provisional {signed(result.provisional)}   not yet paid, and fees of what is still open")
    say(f"disputed    {signed(result.disputed)}   resolved, but not paid as it should have been")
    say(f"fees        {usd(result.fees)}   equity {usd(equity(balances))}")
    shown = [(day.day, day.settled, day.won, usd(day.fees), signed(day.pnl)) for day in result.by_day]
    print_table("By day (UTC)", ("day", "settled", "won", "fees", "P&L"), shown, empty="nothing settled yet.")


@app.command()
def receipts(limit: Limit = 10, json: Json = False) -> None:
    """Proofs of kills: what was open, what was cancelled, what was verified."""
    with context.ledger(context.settings()) as ledger:
        rows = views.receipts(ledger, limit=limit)
    if json:
        print_json(rows)
        return
    columns = ("id", "who", "why", "open before", "cancelled", "open after", "took", "unverified")
    shown = [
        (
            row.id,
            row.who,
            row.why,
            len(row.open_before),
            len(row.cancelled),
            len(row.open_after),
            took(row),
            row.unverified or "-",
        )
        for row in rows
    ]
    print_table("Kill receipts", columns, shown, empty="no kill so far.")


def took(row: views.Receipt) -> str:
    """Seconds from the kill to verified zero."""
    return f"{(row.verified_real - row.started_real) / 1e9:.2f} s" if row.verified_real else "not verified"
