"""The faults of a run: which wait for their moment, which stand, and how often each has struck."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from random import Random
from typing import Any, Protocol

import orjson

from services.sandbox.accounts import Account
from services.sandbox.clock import SECOND_NS, VenueClock
from services.sandbox.fault_specs import WAITING, Fault, Spec

FREEZE_S = 5.0
ENDED_KEPT = 200
# The calls that a fault concerns unless it names others.
USUAL_CALLS: dict[Fault, tuple[str, ...]] = {
    Fault.RATE_LIMITED: ("order", "cancel"),
    Fault.RESTART_425: ("order", "cancel"),
}
FRAME_KINDS = (
    Fault.WS_FREEZE,
    Fault.FRAME_MISSING,
    Fault.FRAME_REPEATED,
    Fault.FRAME_REORDERED,
    Fault.FRAME_HALVED,
)


@dataclass(slots=True, eq=False)
class Armed:
    """One fault on its way; `left` None is without limit, `until_ns` 0 without end. `undo` belongs to standing ones."""

    id: str
    spec: Spec
    left: int | None = None
    until_ns: int = 0
    passes: int = 0
    struck: int = 0
    undo: Callable[[], None] | None = None

    def over(self, now_ns: int) -> bool:
        return self.left == 0 or bool(self.until_ns and now_ns >= self.until_ns)


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """Something that a fault may strike: what is not stated fits every fault."""

    account: Account | None = None
    market: str = ""
    side: str = ""
    channel: str = ""
    frame: str = ""
    call: str = ""
    path: str = ""


class Listener(Protocol):
    """What a fault needs to know of a connection."""

    account: Account | None
    kept: str | None


class Faults:
    """`strike` uses up one shot of the first fault that fits, `active` none."""

    def __init__(self, clock: VenueClock, *, seed: int = 0) -> None:
        self._clock = clock
        self._waiting: dict[Fault, list[Armed]] = {}
        self._standing: list[Armed] = []
        self._ended: deque[Armed] = deque(maxlen=ENDED_KEPT)
        self._rng = Random(f"{seed}:faults")
        self._serial = 0
        self.struck: dict[str, int] = {}

    def arm(self, spec: Spec) -> Armed:
        """Let a fault wait for its moment."""
        seconds, left = spec.seconds, spec.count
        if spec.kind is Fault.WS_FREEZE:
            # Frozen for a time, not for a number of frames.
            seconds, left = FREEZE_S if seconds is None else seconds, None
        elif left is None and spec.rate is None and seconds is None:
            left = 1
        armed = self._make(spec, seconds)
        armed.left, armed.passes = left, spec.after
        self._waiting.setdefault(spec.kind, []).append(armed)
        return armed

    def stand(self, spec: Spec, *, undo: Callable[[], None], seconds: float | None) -> Armed:
        """Note a fault that has changed the venue, and how to put that right."""
        armed = self._make(spec, seconds)
        armed.undo, armed.struck = undo, 1
        self._standing.append(armed)
        self._count(spec.kind)
        return armed

    def end(self, armed: Armed) -> None:
        """Take a fault away and undo what it did; nothing when that has happened before."""
        if armed in self._standing:
            self._standing.remove(armed)
            self._ended.append(armed)
            if armed.undo is not None:
                armed.undo()
        elif armed in self._waiting.get(armed.spec.kind, ()):
            self._waiting[armed.spec.kind].remove(armed)
            self._ended.append(armed)

    def clear(self, which: str = "") -> int:
        """End every fault, or those of one kind, or the one of that id; returns how many."""
        chosen = [armed for armed in self.all() if which in ("", armed.id, armed.spec.kind)]
        for armed in reversed(chosen):
            self.end(armed)
        return len(chosen)

    def any(self) -> bool:
        """Does any wait for its moment?"""
        return any(self._waiting.values())

    def strike(self, kind: Fault, *moments: Moment) -> Spec | None:
        """The fault of this kind that strikes now, at any of the moments; None when none does."""
        for armed in self._of(kind) if kind in self._waiting else ():
            if not any(_fits(armed.spec, moment) for moment in moments):
                continue
            if armed.passes:
                armed.passes -= 1
                continue
            if armed.spec.rate is not None and self._rng.random() >= armed.spec.rate:
                continue
            if armed.left is not None:
                armed.left -= 1
            armed.struck += 1
            self._count(kind)
            return armed.spec
        return None

    def active(self, kind: Fault, moment: Moment) -> bool:
        return any(_fits(armed.spec, moment) for armed in self._of(kind))

    def carry(self, channel: str, client: Listener, text: str) -> Sequence[str]:
        """The frames that reach a client instead of one; pongs never come this way."""
        if client.kept is None and not any(self._waiting.get(kind) for kind in FRAME_KINDS):
            return (text,)
        moment = Moment(account=client.account, channel=channel, frame=text)
        if self.strike(Fault.WS_FREEZE, moment) or self.strike(Fault.FRAME_MISSING, moment):
            return ()
        halved = self.strike(Fault.FRAME_HALVED, moment)
        if halved is not None and not (text := without(text, halved.match)):
            return ()
        frames = [text, text] if self.strike(Fault.FRAME_REPEATED, moment) else [text]
        if client.kept is not None:
            frames.append(client.kept)
            client.kept = None
        elif self.strike(Fault.FRAME_REORDERED, moment):
            client.kept = frames.pop()
        return frames

    def all(self) -> list[Armed]:
        """Whatever waits or stands, in the order of its arrival."""
        found = [armed for kind in list(self._waiting) for armed in self._of(kind)] + self._standing
        return sorted(found, key=lambda armed: int(armed.id))

    def shots(self) -> dict[str, int]:
        """Shots left by kind of what waits; -1 where there is no limit."""
        shots: dict[str, int] = {}
        for kind in WAITING:
            lefts = [armed.left for armed in self._of(kind)]
            if lefts:
                shots[str(kind)] = -1 if None in lefts else sum(left or 0 for left in lefts)
        return shots

    def table(self) -> list[dict[str, Any]]:
        """Every fault with its id, what was asked for, how often it struck, and what is left of it."""
        now_ns = self._clock.now_ns()
        return [
            {
                "id": armed.id,
                **armed.spec.stated(),
                "standing": armed.undo is not None,
                "left": armed.left,
                "seconds_left": (armed.until_ns - now_ns) / SECOND_NS if armed.until_ns else None,
                "struck": armed.struck,
            }
            for armed in self.all()
        ]

    def ended(self) -> list[dict[str, Any]]:
        """The latest faults that are over: used up, run out or cleared, and how often they had struck."""
        return [{"id": armed.id, **armed.spec.stated(), "struck": armed.struck} for armed in self._ended]

    def _make(self, spec: Spec, seconds: float | None) -> Armed:
        self._serial += 1
        until_ns = 0 if seconds is None else self._clock.now_ns() + int(seconds * SECOND_NS)
        return Armed(id=str(self._serial), spec=spec, until_ns=until_ns)

    def _count(self, kind: Fault) -> None:
        self.struck[str(kind)] = self.struck.get(str(kind), 0) + 1

    def _of(self, kind: Fault) -> Iterable[Armed]:
        """Faults of a kind that still wait."""
        waiting = self._waiting.get(kind, [])
        now_ns = self._clock.now_ns()
        over = [armed for armed in waiting if armed.over(now_ns)]
        if over:
            waiting = self._waiting[kind] = [armed for armed in waiting if armed not in over]
            self._ended.extend(over)
        return waiting


def without(text: str, token: str) -> str:
    """A frame of the market channel without what it says of a token; empty when nothing is left."""
    message = orjson.loads(text)
    if isinstance(message, list):
        left = [part for part in message if part.get("asset_id") != token]
        return orjson.dumps(left).decode() if left else ""
    if message.get("asset_id") == token:
        return ""
    if "price_changes" not in message:
        return text
    message["price_changes"] = [part for part in message["price_changes"] if part["asset_id"] != token]
    return orjson.dumps(message).decode() if message["price_changes"] else ""


def _fits(spec: Spec, moment: Moment) -> bool:
    return (
        _concerns(spec, moment.account)
        and (not moment.market or fnmatchcase(moment.market, spec.market))
        and (not spec.side or spec.side == moment.side)
        and _carries(spec, moment)
        and _calls(spec, moment)
    )


def _concerns(spec: Spec, account: Account | None) -> bool:
    if not spec.account:
        return True
    return account is not None and spec.account.lower() in (account.address.lower(), account.wallet.lower())


def _carries(spec: Spec, moment: Moment) -> bool:
    if not moment.channel:
        return True
    wanted = spec.channel or ("market" if spec.kind is Fault.WS_FREEZE else "all")
    return wanted in ("all", moment.channel) and (not spec.match or spec.match in moment.frame)


def _calls(spec: Spec, moment: Moment) -> bool:
    if not moment.call:
        return True
    if spec.call:
        wanted: tuple[str, ...] = (spec.call,)
    else:
        wanted = USUAL_CALLS.get(spec.kind, ("order",)) if spec.path == "*" else ("all",)
    return (moment.call in wanted or "all" in wanted) and fnmatchcase(moment.path, spec.path)
