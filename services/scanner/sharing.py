"""Who scans which market: rendezvous hashing, so that one scanner more or less moves only its own markets."""

import hashlib
from collections.abc import Collection, Iterable
from typing import Final

CLAIM_AFTER: Final = 1.5
"""Real seconds a market must be ours before we scan it: by then its former owner, who looks once a second, let go."""


def owner(key: str, members: Collection[str]) -> str | None:
    """The member with the highest hash for `key`; None without members."""
    return max(members, key=lambda member: (_weight(key, member), member), default=None)


def _weight(key: str, member: str) -> bytes:
    return hashlib.blake2b(f"{member}\x00{key}".encode(), digest_size=8).digest()


class Claims:
    """The markets that are ours, after the pause in which another scanner may still hold them. Times real, seconds."""

    def __init__(self, me: str, *, claim_after: float = CLAIM_AFTER) -> None:
        self._me = me
        self._claim_after = claim_after
        self._since: dict[str, float] = {}

    def update(self, keys: Iterable[str], members: Collection[str], *, now: float) -> set[str]:
        """What to scan now, given who is alive. We count ourselves as alive whatever the bus says."""
        alive = {*members, self._me}
        mine = {key for key in keys if owner(key, alive) == self._me}
        first = now - self._claim_after if alive == {self._me} else now  # Alone, there is nobody to wait for
        self._since = {key: min(self._since.get(key, first), first) for key in mine}
        return {key for key, since in self._since.items() if now - since >= self._claim_after}
