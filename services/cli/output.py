"""How answers look: tables for people, JSON for programs (decimals as strings, times in nanoseconds UTC)."""

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pmarb import codec
from pmarb.domain.values import NANOS

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=500, help="How many rows, newest first.")]

WIDE: Final = 160  # Columns where no terminal says how many there are
BOLD, RED, GREEN, YELLOW, END = "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"
"""Styles of a text. Not rich's markup: reasons that people type and what venues answer may hold brackets, too."""

terminal = Console(width=None if sys.stdout.isatty() else WIDE)
errors = Console(stderr=True)


def styled(text: str) -> Text:
    """A text with the styles above, and everything else as it is; colours go where no terminal shows them."""
    return Text("\n").join(Text.from_ansi(line) for line in text.split("\n"))


def say(text: str) -> None:
    """A sentence for the person, without breaks of our own."""
    terminal.print(styled(text), soft_wrap=True)


def say_error(text: str) -> None:
    """The same beside what is asked for."""
    errors.print(styled(text), soft_wrap=True)


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
        say(f"{title}: {empty}")


def clock_time(ns: int) -> str:
    """A venue time for people, UTC."""
    return datetime.fromtimestamp(ns / NANOS, UTC).strftime("%m-%d %H:%M:%S") if ns else "-"


def usd(amount: Decimal) -> str:
    return f"{'-' if amount < 0 else ''}${abs(amount):,.2f}"


def signed(amount: Decimal) -> str:
    """A result, with its sign and colour."""
    colour = GREEN if amount > 0 else RED if amount < 0 else ""
    return f"{colour}{amount:+,.2f}{END}"


def disputed(amount: Decimal) -> str:
    """A further clause where some result is in doubt, nothing otherwise."""
    return f", {RED}disputed {amount:+,.2f}{END}" if amount else ""


def plain(amount: Decimal) -> str:
    """Without trailing zeros and never as an exponent."""
    return f"{amount.normalize():f}"


def _shown(value: object) -> Text:
    return styled(plain(value) if isinstance(value, Decimal) else str(value))
