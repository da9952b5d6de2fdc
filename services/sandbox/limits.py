"""Per-signer token buckets and order heartbeats (venue.md 8.2 and 3.8). Both run in venue time."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from services.sandbox.clock import SECOND_NS, VenueClock
from services.sandbox.refusals import Refusal

TIER = "Standard"
HEARTBEAT_TIMEOUT_S = 10
HEARTBEAT_CHECK_S = 5


@dataclass(slots=True)
class Bucket:
    """`rate` tokens a second up to `burst`."""

    rate: float
    burst: float
    tokens: float
    at_ns: int

    def refill(self, now_ns: int) -> None:
        self.tokens = min(self.burst, self.tokens + (now_ns - self.at_ns) / SECOND_NS * self.rate)
        self.at_ns = now_ns


class RateLimiter:
    """Orders 40 a second (burst 60), cancels 80 a second (burst 120) for each signer; a batch needs all its tokens."""

    def __init__(self, clock: VenueClock) -> None:
        self._clock = clock
        self._buckets: dict[tuple[str, str], Bucket] = {}

    def spend_order(self, signer: str, cost: int = 1) -> dict[str, str]:
        return self._spend("order", signer, cost, rate=40, burst=60)

    def spend_cancel(self, signer: str, cost: int = 1) -> dict[str, str]:
        return self._spend("cancel", signer, cost, rate=80, burst=120)

    def _spend(self, kind: str, signer: str, cost: int, *, rate: float, burst: float) -> dict[str, str]:
        """Reply headers after spending. Raises Refusal 429 when the bucket holds too little."""
        now_ns = self._clock.now_ns()
        bucket = self._buckets.setdefault((kind, signer.lower()), Bucket(rate, burst, burst, now_ns))
        bucket.refill(now_ns)
        short = cost - bucket.tokens
        wait_s = max(0.0, short / rate)
        if short <= 0:
            bucket.tokens -= cost
        headers = {
            "Poly-RateLimit-Remaining": str(int(bucket.tokens)),
            "Poly-RateLimit-Reset": str(int(now_ns / SECOND_NS + wait_s) + 1),
            "Poly-RateLimit-Tier": TIER,
        }
        if short > 0:
            raise Refusal("Too Many Requests", status=429, headers={**headers, "Retry-After": str(int(wait_s) + 1)})
        return headers


@dataclass(slots=True)
class Heart:
    """The chain of one API key: the id that the next beat must carry, and when the last one came."""

    id: str
    at_ns: int


class Heartbeats:
    """Armed by the first call; a key that then stays silent for ten seconds loses its resting orders.

    Cannot be disarmed.
    """

    def __init__(self, clock: VenueClock) -> None:
        self._clock = clock
        self._hearts: dict[str, Heart] = {}
        self._serial = 0

    def beat(self, api_key: str, heartbeat_id: str) -> tuple[bool, str]:
        """(accepted, id to send next)."""
        heart = self._hearts.get(api_key)
        if heart is not None and heartbeat_id != heart.id:
            return False, heart.id
        if heart is None and heartbeat_id:
            return False, ""
        self._serial += 1
        fresh = hashlib.sha256(f"{api_key}:{self._serial}".encode()).hexdigest()[:32]
        self._hearts[api_key] = Heart(id=fresh, at_ns=self._clock.now_ns())
        return True, fresh

    def silent(self, now_ns: int) -> list[str]:
        """Armed keys without a beat for ten seconds."""
        limit = HEARTBEAT_TIMEOUT_S * SECOND_NS
        return [key for key, heart in self._hearts.items() if now_ns - heart.at_ns >= limit]
