"""What a look at the wallet found. Only the executor's packages can log in; others read what they left on the bus."""

from dataclasses import dataclass
from typing import Final

WALLET: Final = "wallet"
"""Under this name it is left there, without any key."""
KEPT_S: Final = 3600
"""Seconds (real) for which a look counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletCheck:
    """One question, its answer, and what to do."""

    name: str
    ok: bool
    detail: str
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletLook:
    """All of them, and when it was on the real clock, nanoseconds."""

    at_real: int
    checks: tuple[WalletCheck, ...]
