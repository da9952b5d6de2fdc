"""What the venue changed in a market's rules. Pure; the ledger keeps what was seen and who acknowledged it."""

from collections.abc import Mapping
from typing import Final

OWN: Final = frozenset(("tokens", "tick"))
"""Rules that every market of a series has for itself: near 0 and 1 the venue makes the tick finer."""


def changed(before: Mapping[str, str], now: Mapping[str, str], *, same_market: bool) -> str:
    """Old and new of each rule that is another, in words; empty if none is."""
    names = [name for name in (*before, *(n for n in now if n not in before)) if same_market or name not in OWN]
    return ", ".join(
        f"{name} {before.get(name, 'none')} -> {now.get(name, 'none')}"
        for name in names
        if before.get(name) != now.get(name)
    )
