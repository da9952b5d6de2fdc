"""What the order checks believe an account owns: on the venue a cache that only a client refreshes (venue.md 7).

What is spent leaves the cache at once; what comes in (a fill, a split, a redemption) is not seen before
`GET /balance-allowance/update`. That is why selling right after buying fails. Switched on by the knob `stale_balances`.
"""

from __future__ import annotations

from services.sandbox.accounts import Account

CASH = ""


class Balances:
    """Seen balances by account and token; the empty token stands for cash."""

    def __init__(self) -> None:
        self.stale = False
        self._seen: dict[tuple[str, str], int] = {}

    def of(self, account: Account, token_id: str = CASH) -> int:
        """Balance in micro-units as the checks see it."""
        actual = account.shares(token_id) if token_id else account.cash
        if not self.stale or account.house:
            return actual
        key = (account.wallet, token_id)
        seen = self._seen.get(key)
        if seen is None:
            # Nobody has looked: the money of the faucet is known, shares are not.
            seen = 0 if token_id else account.deposits
        self._seen[key] = min(seen, actual)
        return self._seen[key]

    def note(self, account: Account, token_id: str) -> None:
        """After a move: what was spent is gone from the cache as well."""
        if self.stale and not account.house:
            self.of(account, CASH)
            self.of(account, token_id)

    def refresh(self, account: Account, token_id: str = CASH) -> None:
        self._seen[(account.wallet, token_id)] = account.shares(token_id) if token_id else account.cash
