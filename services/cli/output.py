"""How answers look: tables for people, JSON for programs (decimals as strings, times in nanoseconds UTC)."""

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from pmarb import codec
from pmarb.domain.values import NANOS

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=500, help="How many rows, newest first.")]

WIDE: Final = 160  # Columns where no terminal says how many there are
terminal = Console(width=None if sys.stdout.isatty() else WIDE)
errors = Console(stderr=True)


def say(text: str) -> None:
    """A sentence for the person, with markup and without breaks of our own."""
    terminal.print(text, highlight=False, soft_wrap=True)


def print_json(value: object) -> None:
    """One JSON document on one line."""
    sys.stdout.write(codec.encode_value(value).decode() + "\n")
    sys.stdout.flush()


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """A table, or one sentence when there is nothing to show."""
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    count = 0
    for row in rows:
        table.add_row(*(_shown(value) for value in row))
        count += 1
    if count:
        terminal.print(table)
    else:
        terminal.print(f"{title}: {empty}")


def clock_time(ns: int) -> str:
    """A venue time for people, UTC."""
    return datetime.fromtimestamp(ns / NANOS, UTC).strftime("%m-%d %H:%M:%S") if ns else "-"


def usd(amount: Decimal) -> str:
    return f"{'-' if amount < 0 else ''}${abs(amount):,.2f}"


def signed(amount: Decimal) -> str:
    """A result, with its sign and colour."""
    colour = "green" if amount > 0 else "red" if amount < 0 else "white"
    return f"[{colour}]{amount:+,.2f}[/{colour}]"


def disputed(amount: Decimal) -> str:
    """A further clause where some result is in doubt, nothing otherwise."""
    return f", [red]disputed {amount:+,.2f}[/red]" if amount else ""


def plain(amount: Decimal) -> str:
    """Without trailing zeros and never as an exponent."""
    return f"{amount.normalize():f}"


def _shown(value: object) -> str:
    return plain(value) if isinstance(value, Decimal) else str(value)
