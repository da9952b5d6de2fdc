"""`pm-arb plan`: what a bankroll can and cannot do here, before anything is risked."""

import random
from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer

from pmarb.domain.limits import Limits
from services.cli.output import BOLD, END, Json, print_json, print_table, say, usd
from services.cli.planning import DAYS, WORTH, Plan, make_plan
from services.cli.trouble import WRONG_USE, Trouble

app = typer.Typer()
Amount = Annotated[str, typer.Option(help="Dollars to trade with.")]


@app.command()
def plan(
    bankroll: Amount = "300",
    trades: Annotated[int, typer.Option(min=1, max=200, help="Trades a day; the limit with real money is 10.")] = 10,
    rent: Annotated[str, typer.Option(help="What the server costs a month, dollars.")] = "5",
    seed: Annotated[int, typer.Option(min=0, help="Of the simulation: the same seed, the same chances.")] = 1,
    json: Json = False,
) -> None:
    """What fees, the venue's minimums, luck and a server's rent do to a bankroll. Needs nothing that runs."""
    found = make_plan(
        bankroll=_dollars("--bankroll", bankroll, least=Decimal(1)),
        limits=Limits(),
        trades_a_day=trades,
        rent_month=_dollars("--rent", rent, least=Decimal(0)),
        draws=random.Random(seed),  # noqa: S311 - a repeatable simulation
    )
    if json:
        print_json({"verdict": found.verdict, "plan": found})
    else:
        show(found)


def _dollars(name: str, text: str, *, least: Decimal) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise Trouble(f"{name} was {text!r}, not a number of dollars", WRONG_USE) from None
    if not amount.is_finite() or not least <= amount <= 100_000:
        raise Trouble(f"{name} was {text}; it may be from {least} to 100000", WRONG_USE)
    return amount


def show(found: Plan) -> None:
    """The verdict last, where a reader's eye ends."""
    columns = ("price", "fee a share", "of the stake", "break-even", "least order", "within the limits")
    rows = [
        (
            f"{row.price:.2f}",
            f"${row.fee:.4f}",
            f"{row.of_stake:.2%}",
            f"{row.break_even:.4f}",
            usd(row.minimum_usd),
            "yes" if row.allowed else "no",
        )
        for row in found.curve
    ]
    print_table(f"Crypto windows with {usd(found.bankroll)}", columns, rows, empty="")
    for warning in found.warnings:
        say(warning)
    say(f"\nAn order at evens: {found.shares} shares for {usd(found.stake)}; up to {found.trades_a_day} a day.")
    say(
        f"A server for {usd(found.rent_month)} a month is {found.rent_of_bankroll:.1%} of it: a share must earn "
        f"{found.rent_edge * 100:.2f}c beyond its fee to pay for it."
    )
    say(
        f"With a true edge of {WORTH * 100:.0f}c a share (few have one) a month would bring "
        f"{usd(found.earns_month)} after rent."
    )
    shown = [
        (f"{ruin.edge * 100:+.1f}c", f"{ruin.chance:.0%}", f"{ruin.low:.0%} to {ruin.high:.0%}") for ruin in found.ruin
    ]
    say(f"\nThe chance to lose {usd(found.stop_usd)} from the peak, and so to be stopped, within {DAYS} days:")
    print_table("", ("true edge a share", "chance", "95 % interval"), shown, empty="")
    if found.bearable_trades < found.trades_a_day:
        say(
            f"Luck alone reaches it in at most a third of cases with {found.bearable_trades} trades a day of this size."
            if found.bearable_trades
            else "Luck alone reaches it in more than a third of cases even with one trade a day of this size."
        )
    say(f"\nVerdict: {BOLD}{found.verdict}{END}" + (", because" if found.objections else ""))
    for objection in found.objections:
        say(f"  - {objection}")
