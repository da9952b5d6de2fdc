"""Questions that a doctor or an audit asks, and what the executor's doctor leaves on the bus of the wallet.

Only the executor's packages can log in; others read what they left.
"""

from dataclasses import dataclass
from typing import Final

WALLET: Final = "wallet"
"""Under this name a look at the wallet is left on the bus, without any key."""
KEPT_S: Final = 3600
"""Seconds (real) for which a look counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One question and its answer; `fix` is what to do where something is wrong or could be better."""

    name: str
    ok: bool
    detail: str
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletLook:
    """What was asked of the wallet, at which venue, and when on the real clock, nanoseconds."""

    venue: str
    at_real: int
    checks: tuple[Check, ...]
