"""Faults on request: what can be asked for, what is armed, and when it strikes.

A fault is one JSON object, the same in `POST /sandbox/faults` and in a scenario file. Armed ones wait for their moment
(a request, a trade, a frame); the others change the state of the venue at once (see `mischief`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from fnmatch import fnmatchcase
from random import Random
from typing import Any, Protocol

from services.sandbox.accounts import Account
from services.sandbox.clock import SECOND_NS, VenueClock

HELD_REPLY_REAL_S = 30.0
FREEZE_S = 5.0
CHANNELS = ("market", "user", "rtds", "spot", "bolt", "all")


class Fault(StrEnum):
    """Every kind; docs/sandbox.md says what each does."""

    TIMEOUT_AFTER_ACCEPT = "timeout_after_accept"
    ERROR_500_BEFORE = "error_500_before"
    ERROR_500_AFTER = "error_500_after"
    LOST_REPLY = "lost_reply"
    SUCCESS_WITH_ERROR = "success_with_error"
    FAK_400_WITH_ID = "fak_400_with_id"
    RATE_LIMITED = "rate_limited"
    ALLOWANCE_REFUSED = "allowance_refused"
    RESTART_425 = "restart_425"
    GHOST_FILL = "ghost_fill"
    MARKET_CLOSED_MID_ORDER = "market_closed_mid_order"
    REDEMPTION_EMPTY = "redemption_empty"
    WS_FREEZE = "ws_freeze"
    FRAME_MISSING = "frame_missing"
    FRAME_REPEATED = "frame_repeated"
    FRAME_REORDERED = "frame_reordered"
    ENGINE_RESTART = "engine_restart"
    CANCEL_ONLY = "cancel_only"
    TRADING_DISABLED = "trading_disabled"
    CLOSED_ONLY = "closed_only"
    CLOCK_SKEW = "clock_skew"
    MARKET_CHANGED = "market_changed"
    BOOK_EMPTIED = "book_emptied"
    BOOK_CROSSED = "book_crossed"
    RESOLUTION_DISPUTED = "resolution_disputed"
    RESOLUTION_SPLIT = "resolution_split"


HOW_OFTEN = frozenset({"count", "rate", "seconds", "account"})
FRAMES = frozenset({"count", "rate", "seconds", "account", "channel", "match"})
CHOICES: dict[Fault, frozenset[str]] = {
    Fault.GHOST_FILL: HOW_OFTEN | {"market", "side"},
    Fault.MARKET_CLOSED_MID_ORDER: HOW_OFTEN | {"market"},
    Fault.REDEMPTION_EMPTY: HOW_OFTEN | {"market"},
    Fault.WS_FREEZE: FRAMES,
    Fault.FRAME_MISSING: FRAMES,
    Fault.FRAME_REPEATED: FRAMES,
    Fault.FRAME_REORDERED: FRAMES,
    Fault.ENGINE_RESTART: frozenset({"seconds"}),
    Fault.CANCEL_ONLY: frozenset({"seconds"}),
    Fault.TRADING_DISABLED: frozenset({"seconds"}),
    Fault.CLOSED_ONLY: frozenset({"account", "seconds"}),
    Fault.CLOCK_SKEW: frozenset({"ms", "seconds"}),
    Fault.MARKET_CHANGED: frozenset({"market", "fee_rate", "tick", "min_size", "hold_ms"}),
    Fault.BOOK_EMPTIED: frozenset({"market", "seconds"}),
    Fault.BOOK_CROSSED: frozenset({"market", "seconds", "ticks"}),
    Fault.RESOLUTION_DISPUTED: frozenset({"market", "seconds"}),
    Fault.RESOLUTION_SPLIT: frozenset({"market"}),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Spec:
    """One fault as asked for. Seconds are venue time, `market` is a slug with wildcards, `match` a part of a frame."""

    kind: Fault
    count: int | None = None
    rate: float | None = None
    seconds: float | None = None
    account: str = ""
    market: str = "*"
    side: str = ""
    channel: str = ""
    match: str = ""
    ms: float = 0.0
    ticks: int = 3
    fee_rate: str = ""
    tick: str = ""
    min_size: str = ""
    hold_ms: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Timed:
    """A fault of a scenario: `at_s` after the start, and again every `every_s` when that is not zero."""

    at_s: float
    every_s: float = 0.0
    spec: Spec


def parse_spec(body: Mapping[str, Any]) -> Spec:
    """Raises ValueError with a text that names what was wrong and what is allowed."""
    try:
        kind = Fault(str(body.get("kind")))
    except ValueError as error:
        raise ValueError(f"kind must be one of {', '.join(Fault)}") from error
    allowed = CHOICES.get(kind, HOW_OFTEN) | {"kind", "count", "seconds"}
    unknown = sorted(set(body) - allowed)
    if unknown:
        raise ValueError(f"{kind} does not know {', '.join(unknown)}; allowed: {', '.join(sorted(allowed))}")
    values: dict[str, Any] = {"kind": kind}
    for field in fields(Spec):
        if field.name in body and field.name != "kind":
            values[field.name] = _typed(field.name, body[field.name])
    if values.get("channel", "all") not in CHANNELS:
        raise ValueError(f"channel must be one of {', '.join(CHANNELS)}")
    if not 0 <= values.get("rate", 0.0) <= 1:
        raise ValueError("rate must lie between 0 and 1")
    return Spec(**values)


def parse_timed(body: Mapping[str, Any]) -> Timed:
    """A fault with `at_s` and perhaps `every_s`. Raises ValueError."""
    rest = {name: value for name, value in body.items() if name not in ("at_s", "every_s")}
    at_s, every_s = float(body.get("at_s", 0)), float(body.get("every_s", 0))
    if at_s < 0 or every_s < 0:
        raise ValueError("at_s and every_s must not be negative")
    return Timed(at_s=at_s, every_s=every_s, spec=parse_spec(rest))


def _typed(name: str, value: object) -> Any:
    try:
        if name in ("count", "ticks"):
            return int(str(value))
        if name in ("rate", "seconds", "ms", "hold_ms"):
            return float(str(value))
    except ValueError as error:
        raise ValueError(f"{name} must be a number") from error
    return str(value)


@dataclass(slots=True, eq=False)
class Armed:
    """A fault that waits; `left` None is without limit, `until_ns` 0 without end."""

    spec: Spec
    left: int | None
    until_ns: int


class Listener(Protocol):
    """What a fault needs to know of a connection."""

    account: Account | None
    kept: str | None


class Faults:
    """Armed faults. `take` uses up one shot of the first that fits, `active` none."""

    def __init__(self, clock: VenueClock, *, seed: int = 0) -> None:
        self._clock = clock
        self._armed: list[Armed] = []
        self._rng = Random(f"{seed}:faults")
        self.struck: dict[str, int] = {}

    def arm(self, spec: Spec) -> None:
        seconds, left = spec.seconds, spec.count
        if spec.kind is Fault.WS_FREEZE:
            # Frozen for a time, not for a number of frames.
            seconds, left = FREEZE_S if seconds is None else seconds, None
        elif left is None and spec.rate is None and seconds is None:
            left = 1
        until_ns = 0 if seconds is None else self._clock.now_ns() + int(seconds * SECOND_NS)
        self._armed.append(Armed(spec, left, until_ns))

    def clear(self) -> None:
        self._armed.clear()

    def any(self) -> bool:
        return bool(self._armed)

    def take(
        self,
        kind: Fault,
        *,
        account: Account | None = None,
        market: str = "",
        side: str = "",
        channel: str = "",
        text: str = "",
    ) -> bool:
        """Does a fault of this kind strike now?"""
        if not self._armed:
            return False
        for armed in self._waiting(kind):
            spec = armed.spec
            if not (_concerns(spec, account, market, side) and _carries(spec, channel, text)):
                continue
            if spec.rate is not None and self._rng.random() >= spec.rate:
                continue
            if armed.left is not None:
                armed.left -= 1
            self.struck[str(kind)] = self.struck.get(str(kind), 0) + 1
            return True
        return False

    def active(self, kind: Fault, *, account: Account | None = None) -> bool:
        return any(_concerns(armed.spec, account, "", "") for armed in self._waiting(kind))

    def carry(self, channel: str, client: Listener, text: str) -> Sequence[str]:
        """The frames that reach a client instead of one; pongs never come this way."""
        if not self._armed and client.kept is None:
            return (text,)
        about = {"account": client.account, "channel": channel, "text": text}
        if self.take(Fault.WS_FREEZE, **about) or self.take(Fault.FRAME_MISSING, **about):  # type: ignore[arg-type]
            return ()
        frames = [text, text] if self.take(Fault.FRAME_REPEATED, **about) else [text]  # type: ignore[arg-type]
        if client.kept is not None:
            frames.append(client.kept)
            client.kept = None
        elif self.take(Fault.FRAME_REORDERED, **about):  # type: ignore[arg-type]
            client.kept = frames.pop()
        return frames

    def armed(self) -> dict[str, int]:
        """Shots left by kind; -1 where there is no limit."""
        shots: dict[str, int] = {}
        for kind in Fault:
            waiting = self._waiting(kind)
            if waiting:
                lefts = [armed.left for armed in waiting]
                shots[str(kind)] = -1 if None in lefts else sum(left or 0 for left in lefts)
        return shots

    def _waiting(self, kind: Fault) -> list[Armed]:
        now_ns = self._clock.now_ns()
        gone = [one for one in self._armed if one.left == 0 or (one.until_ns and now_ns >= one.until_ns)]
        if gone:
            self._armed = [one for one in self._armed if one not in gone]
        return [one for one in self._armed if one.spec.kind is kind]


def _concerns(spec: Spec, account: Account | None, market: str, side: str) -> bool:
    if spec.account and (
        account is None or spec.account.lower() not in (account.address.lower(), account.wallet.lower())
    ):
        return False
    return (not market or fnmatchcase(market, spec.market)) and (not spec.side or spec.side.upper() == side)


def _carries(spec: Spec, channel: str, text: str) -> bool:
    if not channel:
        return True
    wanted = spec.channel or ("market" if spec.kind is Fault.WS_FREEZE else "all")
    return wanted in ("all", channel) and (not spec.match or spec.match in text)
