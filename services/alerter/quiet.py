"""What keeps alerts few: the same one once, a storm as one line, a silent service reported once. Times are real."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from pmarb.domain.messages import Alert, AlertKind, Priority
from pmarb.domain.values import NANOS

MINUTE = 60 * NANOS
_RANK = {Priority.CRITICAL: 0, Priority.HIGH: 1, Priority.NORMAL: 2, Priority.LOW: 3}


@dataclass(slots=True)
class Dedupe:
    """Lets the first alert of a key through and no other for `quiet_ns`."""

    quiet_ns: int
    _last: dict[str, int] = field(default_factory=dict)

    def admit(self, key: str, *, now: int) -> bool:
        last = self._last.get(key)
        if last is not None and now - last < self.quiet_ns:
            return False
        self._last = {k: at for k, at in self._last.items() if now - at < self.quiet_ns}
        self._last[key] = now
        return True

    def remember(self, keys: Iterable[str], *, now: int) -> None:
        """These went out before a restart."""
        self._last.update(dict.fromkeys(keys, now))

    def forget(self, prefix: str) -> None:
        """The cause of these is gone: the next one is news again."""
        self._last = {key: at for key, at in self._last.items() if not key.startswith(prefix)}


@dataclass(slots=True)
class StormBrake:
    """At most `burst` alerts a minute; what is held back is summed up once the minute is over. Critical ones pass."""

    burst: int
    _since: int = 0
    _passed: int = 0
    _held: Counter[AlertKind] = field(default_factory=Counter)
    _worst: Priority = Priority.LOW

    def admit(self, alert: Alert, *, now: int) -> bool:
        if alert.priority is Priority.CRITICAL:
            return True
        if now - self._since >= MINUTE and not self._held:
            self._since, self._passed = now, 0
        if self._passed < self.burst:
            self._passed += 1
            return True
        self._held[alert.kind] += 1
        self._worst = min(self._worst, alert.priority, key=_RANK.__getitem__)
        return False

    def digest(self, *, now: int, venue_now: int) -> Alert | None:
        """What was held back in the minute that ended, if anything was."""
        if not self._held or now - self._since < MINUTE:
            return None
        counts = ", ".join(f"{kind} {count}" for kind, count in self._held.most_common())
        total, kind, worst = self._held.total(), self._held.most_common(1)[0][0], self._worst
        self._held, self._worst, self._since, self._passed = Counter(), Priority.LOW, now, 0
        return Alert(
            kind=kind,
            priority=worst,
            dedupe_key=f"digest:{now}",
            title=f"{total} more alerts in a minute",
            body=f"Held back: {counts}. All of them: pm-arb alerts list",
            ts_event=venue_now,
            ts_init=venue_now,
        )


@dataclass(slots=True)
class SilenceWatch:
    """Knows when each service was last heard of; a silence is news once, until the service returns."""

    silent_after_ns: int
    _seen: dict[str, int] = field(default_factory=dict)
    _reported: set[str] = field(default_factory=set)

    def expect(self, services: Iterable[str], *, now: int) -> None:
        """Start the wait: a service that never comes is silent too."""
        for service in services:
            self._seen.setdefault(service, now)

    def heard(self, service: str, *, now: int) -> bool:
        """Whether its return ends a silence that was reported."""
        self._seen[service] = now
        returned = service in self._reported
        self._reported.discard(service)
        return returned

    def silent(self, *, now: int) -> list[tuple[str, int]]:
        """Services newly silent, with the seconds since they were heard."""
        found = [
            (service, (now - seen) // NANOS)
            for service, seen in self._seen.items()
            if now - seen > self.silent_after_ns and service not in self._reported
        ]
        self._reported.update(service for service, _ in found)
        return found


def silence_alert(service: str, seconds: int, *, venue_now: int) -> Alert:
    return Alert(
        kind=AlertKind.SERVICE_SILENT,
        priority=Priority.CRITICAL,
        dedupe_key=f"silent:{service}:{venue_now}",
        title=f"{service} is silent",
        body=f"No sign of life from {service} for {seconds} s. Look at its log; orders it left open are still open.",
        ts_event=venue_now,
        ts_init=venue_now,
    )
