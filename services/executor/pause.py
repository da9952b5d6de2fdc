"""Whether the venue takes orders at all. While it does not, approvals are skipped here instead of refused there."""

from typing import Final

from pmarb import logs
from pmarb.domain.messages import Alert, AlertKind, Priority
from pmarb.domain.values import NANOS
from pmarb.venue.port import PostIndeterminate, PostPaused, PostResult

log = logs.get(__name__)

UNADVISED: Final = 5.0
"""Seconds (venue time) until the next order is tried where the venue gave no advice."""

LONGEST: Final = 120.0
"""Advice beyond this is not followed blindly: one order is tried, and is refused if it is still closed."""


class Pause:
    """Closed by a reply that says so, open again by any other; said once each way."""

    def __init__(self) -> None:
        self._until = 0
        self._why = ""

    def closed(self, now: int) -> str:
        """Why nothing may be sent at `now`, "" when an order may be tried."""
        return self._why if now < self._until else ""

    def learn(self, result: PostResult, *, now: int) -> Alert | None:
        """Take over what a reply says; the one alert of a closure that is new."""
        if isinstance(result, PostPaused):
            new, self._why = not self._why, result.reason
            self._until = now + int(min(result.retry_after_s or UNADVISED, LONGEST) * NANOS)
            return self._closed(now) if new else None
        if self._why and not isinstance(result, PostIndeterminate):
            log.info("venue_open")
            self._why = ""
        return None

    def _closed(self, now: int) -> Alert:
        log.warning("venue_paused", why=self._why, until=self._until)
        return Alert(
            kind=AlertKind.VENUE_PAUSED,
            priority=Priority.HIGH,
            dedupe_key="venue_paused",
            title="The venue takes no orders",
            body=f"{self._why}. Approvals are skipped until it opens; open orders may be gone after a restart.",
            ts_event=now,
            ts_init=now,
        )
