"""Session keys: signers besides the owner that may trade for a deposit wallet, for a time (venue.md 2.3)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.sandbox.accounts import Account
from services.sandbox.clock import SECOND_NS, VenueClock, wall_seconds
from services.sandbox.journal import Journal

TRADING = frozenset({"ALL", "CLOB"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """What a signer may do for an account; `until_s` is 0 before the chain has confirmed it."""

    signer: str
    owner: Account
    scopes: tuple[str, ...]
    until_s: int = 0


class Sessions:
    """Grants by signer. A grant is proposed with its scopes, then confirmed on chain with its end."""

    def __init__(self, clock: VenueClock, journal: Journal) -> None:
        self._clock = clock
        self._journal = journal
        self._grants: dict[str, Session] = {}

    def propose(self, session: Session) -> None:
        self._grants[session.signer.lower()] = session
        self._journal.write("session", wallet=session.owner.wallet, signer=session.signer, scopes=list(session.scopes))

    def confirm(self, owner: Account, signer: str, *, until_s: int) -> None:
        """Ignores a signer that nobody has proposed: the venue trades with registered ones alone."""
        if self.knows(owner, signer):
            self._grants[signer.lower()] = replace(self._grants[signer.lower()], until_s=until_s)
            self._journal.write("session_confirmed", wallet=owner.wallet, signer=signer, until_s=until_s)

    def knows(self, owner: Account, signer: str) -> bool:
        """Was this signer ever proposed for this account, and not revoked?"""
        known = self._grants.get(signer.lower())
        return known is not None and known.owner is owner

    def revoke(self, owner: Account, signer: str) -> None:
        if self.knows(owner, signer):
            del self._grants[signer.lower()]
            self._journal.write("session_revoked", wallet=owner.wallet, signer=signer)

    def of(self, owner: Account) -> list[Session]:
        return [session for session in self._grants.values() if session.owner is owner and self._active(session)]

    def trades_for(self, signer: str) -> Account | None:
        """The account whose wallet this signer may trade with now."""
        session = self._grants.get(signer.lower())
        if session is None or not self._active(session) or TRADING.isdisjoint(session.scopes):
            return None
        return session.owner

    def _active(self, session: Session) -> bool:
        return session.until_s > max(self._clock.now_ns() / SECOND_NS, wall_seconds())
