"""What a demo found, for programs and for people."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from pmarb.db import views
from services.cli.audit import show as show_audit
from services.cli.compare import Audit
from services.cli.output import END, RED, disputed, print_table, say, signed, terminal, usd
from services.cli.words import reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of a demo. `unsettled` are positions still open at its end: their result stays provisional."""

    seconds: float
    scenario: str
    seed: int
    speed: float
    opportunities: int
    approvals: int
    rejections: Mapping[str, int]
    skips: Mapping[str, int]
    orders: Mapping[str, int]
    no_matches: int
    fills: int
    settled: int
    unsettled: int
    fees: Decimal
    pnl: views.Pnl
    receipt: views.Receipt | None
    audit: Audit
    latency: views.Latency
    rss_mb: float | None
    restarts: Mapping[str, int] = field(default_factory=dict)


def gather(ledger: views.Connection, audit: Audit, **of_the_run: Any) -> Report:
    """The report of what the ledger holds now; `of_the_run` is what only the demo knows."""
    verdicts = {count.name: count.count for count in views.verdict_counts(ledger)}
    rejections = {count.name: count.count for count in views.rejection_counts(ledger)}
    total, denied = sum(verdicts.values()), sum(rejections.values())
    result = views.pnl(ledger)
    return Report(
        opportunities=total,
        approvals=total - denied,
        rejections=rejections,
        orders={count.name: count.count for count in views.order_counts(ledger)},
        no_matches=views.no_matches(ledger),
        fills=views.fills(ledger),
        settled=result.settled,
        unsettled=len(views.positions(ledger)),
        fees=result.fees,
        pnl=result,
        receipt=next(iter(views.receipts(ledger, limit=1)), None),
        audit=audit,
        latency=views.tick_to_wire(ledger),
        **of_the_run,
    )


def as_json(report: Report) -> dict[str, Any]:
    """One flat document; amounts are numbers with all their digits."""
    latency = report.latency
    return {
        "seconds": report.seconds,
        "scenario": report.scenario,
        "seed": report.seed,
        "speed": report.speed,
        "opportunities": report.opportunities,
        "approvals": report.approvals,
        "rejections": dict(report.rejections),
        "skips": dict(report.skips),
        "orders": dict(report.orders),
        "no_matches": report.no_matches,
        "fills": report.fills,
        "settled": report.settled,
        "unsettled": report.unsettled,
        "fees": float(report.fees),
        "pnl": {
            "confirmed": float(report.pnl.confirmed),
            "provisional": float(report.pnl.provisional),
            "disputed": float(report.pnl.disputed),
        },
        "receipt": report.receipt,
        "audit": report.audit,
        "latency_ms": {"tick_to_wire": {"p50": round(latency.p50, 3), "p99": round(latency.p99, 3), "n": latency.n}},
        "rss_mb": report.rss_mb,
        "restarts": dict(report.restarts),
    }


def show(report: Report) -> None:
    """The same for a person, with what it means."""
    terminal.rule("What you saw")
    say(_funnel(report))
    _show_counts("The scanner passed over", report.skips, explain=False)
    _show_counts("Risk denied because", report.rejections, explain=True)
    say(_orders(report))
    say(_money(report))
    if report.latency.n:
        speed = report.latency
        say(
            f"From the tick to the signed order on the wire: p50 {speed.p50:.2f} ms, p99 {speed.p99:.2f} ms "
            f"over {speed.n} orders (signed, written to the ledger first)."
        )
    if report.rss_mb is not None:
        say(f"Memory of everything, servers and sandbox included: {report.rss_mb:.0f} MB at most.")
    terminal.rule("Kill receipt and audit")
    say(_receipt(report.receipt))
    show_audit(report.audit)


def _funnel(report: Report) -> str:
    denied = report.opportunities - report.approvals
    share = f" ({denied / report.opportunities:.0%})" if report.opportunities else ""
    return (
        f"{report.opportunities} opportunities beat their own uncertainty and the fee. Risk denied {denied}{share} and "
        f"approved {report.approvals}. Most denials are the same mispricing seen again while it lasts: one entry a "
        "window is allowed, and small accounts have small caps."
    )


def _show_counts(title: str, counts: Mapping[str, int], *, explain: bool) -> None:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    rows = [(count, name, reason(name) if explain else "") for name, count in ordered]
    print_table(title, ("count", "reason", ""), rows, empty="nothing.")


def _orders(report: Report) -> str:
    by_state = ", ".join(f"{count} {state}" for state, count in report.orders.items()) or "none"
    raced = f" ({report.no_matches} came too late: nothing was left at our price)" if report.no_matches else ""
    return f"Orders: {by_state}{raced}. Fills: {report.fills}. Positions settled: {report.settled}."


def _money(report: Report) -> str:
    text = (
        f"P&L confirmed {signed(report.pnl.confirmed)} after {usd(report.fees)} of fees, "
        f"provisional {signed(report.pnl.provisional)}{disputed(report.pnl.disputed)}."
    )
    if report.unsettled:
        text += f" {report.unsettled} positions had not settled when the demo ended; their result is not counted yet."
    if report.scenario == "slow_makers":
        text += " The makers of this scenario are ten times slower than real ones: do not expect this anywhere else."
    return text


def _receipt(receipt: views.Receipt | None) -> str:
    if receipt is None:
        return f"{RED}The executor left no receipt.{END}"
    took = (receipt.verified_real - receipt.started_real) / 1e9
    verified = f"verified in {took:.2f} s" if receipt.verified_real else f"{RED}not verified{END}"
    return f"{len(receipt.cancelled)} orders cancelled, {len(receipt.open_after)} open afterwards, {verified}."
