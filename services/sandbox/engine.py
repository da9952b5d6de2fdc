"""State of the matching engine as clients meet it: running, restarting, post-only, cancel-only, off (venue.md 3.8)."""

from __future__ import annotations

from enum import StrEnum

from services.sandbox.clock import SECOND_NS, VenueClock
from services.sandbox.refusals import CANCEL_ONLY, DISABLED, POST_ONLY, RESTARTING, Refusal

POST_ONLY_S = 120.0


class Mode(StrEnum):
    """What the engine accepts; `restart` is followed by two minutes of `post_only`."""

    RUNNING = "running"
    RESTART = "restart"
    POST_ONLY = "post_only"
    CANCEL_ONLY = "cancel_only"
    DISABLED = "disabled"


class Engine:
    """A plan of modes, each until a venue time; the last of them is `running`."""

    def __init__(self, clock: VenueClock) -> None:
        self._clock = clock
        self._plan: list[tuple[int, Mode]] = []
        self._changes = 0

    def enter(self, mode: Mode, *, seconds: float) -> int:
        """Change the mode for venue `seconds`; whatever was planned before is dropped. Returns what `leave` takes."""
        self._changes += 1
        until_ns = self._clock.now_ns() + int(seconds * SECOND_NS)
        self._plan = [] if mode is Mode.RUNNING else [(until_ns, mode)]
        if mode is Mode.RESTART:
            self._plan.append((until_ns + int(POST_ONLY_S * SECOND_NS), Mode.POST_ONLY))
        return self._changes

    def leave(self, change: int) -> None:
        """Run again, unless the mode has been changed since."""
        if change == self._changes:
            self.enter(Mode.RUNNING, seconds=0)

    def mode(self) -> Mode:
        return self._current()[0]

    def admit_orders(self, *, post_only: bool) -> None:
        """Raises Refusal unless the engine takes new orders now; `post_only` says that all of them are."""
        mode, left_s = self._current()
        wait = {"Retry-After": str(max(1, int(left_s + 0.999)))}
        if mode is Mode.RESTART:
            raise Refusal(RESTARTING, status=425, headers=wait)
        if mode is Mode.POST_ONLY and not post_only:
            raise Refusal(POST_ONLY, status=503, code="post_only_mode", headers=wait)
        if mode in (Mode.CANCEL_ONLY, Mode.DISABLED):
            raise Refusal(CANCEL_ONLY if mode is Mode.CANCEL_ONLY else DISABLED, status=503)

    def admit_cancels(self) -> None:
        """Raises Refusal while cancels are refused as well."""
        mode, left_s = self._current()
        if mode is Mode.RESTART:
            raise Refusal(RESTARTING, status=425, headers={"Retry-After": str(max(1, int(left_s + 0.999)))})
        if mode is Mode.DISABLED:
            raise Refusal(DISABLED, status=503)

    def _current(self) -> tuple[Mode, float]:
        now_ns = self._clock.now_ns()
        while self._plan and now_ns >= self._plan[0][0]:
            self._plan.pop(0)
        if not self._plan:
            return Mode.RUNNING, 0.0
        until_ns, mode = self._plan[0]
        return mode, (until_ns - now_ns) / SECOND_NS
