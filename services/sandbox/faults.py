"""Faults on request: each kind waits for its moment and fires `count` times."""

from __future__ import annotations

from enum import StrEnum

from services.sandbox.clock import SECOND_NS, VenueClock

HELD_REPLY_REAL_S = 30.0


class Fault(StrEnum):
    """What can be made to go wrong. `ws_freeze` counts venue seconds, the others requests or trades."""

    TIMEOUT_AFTER_ACCEPT = "timeout_after_accept"
    ERROR_500_BEFORE = "error_500_before"
    ERROR_500_AFTER = "error_500_after"
    LOST_REPLY = "lost_reply"
    GHOST_FILL = "ghost_fill"
    RESTART_425 = "restart_425"
    WS_FREEZE = "ws_freeze"


class Faults:
    """Armed faults. `take` consumes one shot."""

    def __init__(self, clock: VenueClock) -> None:
        self._clock = clock
        self._armed: dict[Fault, int] = {}
        self._frozen_until_ns = 0

    def arm(self, fault: Fault, *, count: int, seconds: float) -> None:
        if fault is Fault.WS_FREEZE:
            self._frozen_until_ns = self._clock.now_ns() + int(seconds * SECOND_NS)
        else:
            self._armed[fault] = self._armed.get(fault, 0) + count

    def clear(self) -> None:
        self._armed.clear()
        self._frozen_until_ns = 0

    def take(self, fault: Fault) -> bool:
        left = self._armed.get(fault, 0)
        if left <= 0:
            return False
        self._armed[fault] = left - 1
        return True

    def frozen(self) -> bool:
        return self._clock.now_ns() < self._frozen_until_ns

    def armed(self) -> dict[str, int]:
        return {str(fault): count for fault, count in self._armed.items() if count}
