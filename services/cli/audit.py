"""`pm-arb audit`: the ledger against the venue, one line a question."""

import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import typer

from pmarb.db import foreign, views
from pmarb.domain.checks import Check
from pmarb.settings import Settings
from services.cli import context
from services.cli.books import consistent
from services.cli.compare import Audit, LedgerView, Match, VenueView, agree, audit, books_balance
from services.cli.output import END, GREEN, RED, Json, print_json, say
from services.cli.trouble import FAILED, Trouble

app = typer.Typer()
TRIES: Final = 5
PAUSE: Final = 1.0  # Seconds: what is on its way while we look is no disagreement
_STATUS: Final = {"MATCHED": "provisional", "MINED": "provisional", "CONFIRMED": "confirmed", "FAILED": "failed"}


@app.command("audit")
def command(json: Json = False) -> None:
    """Compare ledger and venue: orders, trades, positions, cash; and the ledger with itself: every account explained.

    Exit code 0 only if they agree. What is in flight is asked again for some seconds before it counts.
    """
    of = context.settings()
    with context.ledger(of) as ledger:
        result = examine(of, ledger)
    if json:
        print_json(result)
    else:
        show(result)
    if not result.ok:
        raise typer.Exit(FAILED)


def examine(of: Settings, ledger: views.Connection) -> Audit:
    """The audit, repeated while the two sides disagree, up to `TRIES` times."""
    result = _once(of, ledger)
    for _ in range(TRIES - 1):
        if result.ok:
            break
        time.sleep(PAUSE)
        result = _once(of, ledger)
    return result


def show(result: Audit) -> None:
    for check in result.checks:
        mark = f"{GREEN}ok  {END}" if check.ok else f"{RED}FAIL{END}"
        say(f"{mark} {check.name:<18} {check.detail}")
    say("The ledger and the venue agree." if result.ok else f"{RED}The ledger and the venue DISAGREE.{END}")


def _once(of: Settings, ledger: views.Connection) -> Audit:
    ours = ledger_view(ledger)
    if of.venue != "sandbox":
        raise Trouble("The audit against Polymarket itself is not built yet; it works against the sandbox.", FAILED)
    itself = consistent(ledger)
    if of.execution == "paper":
        note = Check(name="venue", ok=True, detail="paper trading: the venue has no account of ours to compare with")
        return audit([*books_balance(ours), *itself, note])
    return audit([*agree(ours, venue_view(of, ours)), *itself])


def ledger_view(ledger: views.Connection) -> LedgerView:
    settled = views.settlements(ledger)
    return LedgerView(
        balances=views.balances(ledger),
        unbalanced=views.unbalanced_entries(ledger),
        order_hashes=frozenset(views.order_hashes(ledger)),
        open_orders=frozenset(order.order_hash for order in views.open_orders(ledger)),
        trades={
            trade.trade_id: Match(
                shares=trade.shares, usd=trade.shares * trade.price, fee=trade.fee, status=trade.status
            )
            for trade in views.all_trades(ledger)
        },
        positions={position.token: position.shares for position in views.positions(ledger)},
        worthless=frozenset(row.token for row in settled if row.payout == 0 and row.shares > 0),
        foreign=foreign.listed(ledger, limit=10_000),
    )


def venue_view(of: Settings, ours: LedgerView) -> VenueView:
    """What the sandbox says of the wallet that posted our orders."""
    account = _our_account(of, ours)
    listed = context.sandbox_get(
        of, "/data-api/positions", {"user": account["wallet"], "sizeThreshold": "0", "limit": "500"}
    )
    return VenueView(
        cash=Decimal(account["cash"]),
        deposits=Decimal(account["deposits"]),
        fees=Decimal(account["fees_paid"]),
        order_ids=frozenset(account["post_count_by_order_id"]),
        open_orders=frozenset(order["id"] for order in account["open_orders"]),
        trades={trade["id"]: _match(trade) for trade in account["trades"]},
        positions={row["token_id"]: Decimal(row["shares"]) for row in account["positions"]},
        listed={row["asset"]: Decimal(str(row["size"])) for row in listed},
    )


def _match(trade: Mapping[str, Any]) -> Match:
    fee = Decimal(trade["fee"])
    return Match(
        shares=abs(Decimal(trade["share_change"])),
        usd=abs(Decimal(trade["cash_change"]) + fee),
        fee=fee,
        status=_STATUS[trade["status"]],
    )


def _our_account(of: Settings, ours: LedgerView) -> Mapping[str, Any]:
    """The account with an order of ours; before the first order, the one that the executor takes: the first."""
    ready = context.sandbox_get(of, "/sandbox/ready")
    accounts = [context.sandbox_get(of, f"/sandbox/accounts/{each['wallet']}") for each in ready["accounts"]]
    used = [account for account in accounts if ours.order_hashes & account["post_count_by_order_id"].keys()]
    found: Mapping[str, Any] = (used or accounts)[0]
    return found
