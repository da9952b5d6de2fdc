"""What goes wrong, and when: a list of epochs drawn from a seed. Pure."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.chaos.dying_executor import POINTS

Fault = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One row of the table: faults of the venue, or something that happens to our own side."""

    name: str
    faults: tuple[Fault, ...] = ()
    happening: str = ""
    """What the runner does on top: a key of its own table."""


def _armed(kind: str, rate: float = 0.5, **more: Any) -> Trouble:
    return Trouble(name=kind, faults=({"kind": kind, "rate": rate, **more},))


def _standing(kind: str, **more: Any) -> Trouble:
    return Trouble(name=kind, faults=({"kind": kind, **more},))


VENUE: Final = (
    _armed("ghost_fill", side="BUY"),
    _armed("error_500_before"),
    _armed("error_500_after"),
    _armed("lost_reply"),
    Trouble(
        name="timeout_after_accept",
        faults=({"kind": "timeout_after_accept", "rate": 0.2, "delay_ms": 8000},),
    ),
    Trouble(name="late_accept", faults=({"kind": "late_accept", "rate": 0.15, "delay_ms": 4000},)),
    _armed("rate_limited"),
    _armed("restart_425"),
    _armed("success_with_error"),
    _armed("fak_400_with_id"),
    _armed("order_refused"),
    _armed("allowance_refused"),
    _armed("market_closed_mid_order", rate=0.05),
    Trouble(
        name="user stream: missing, repeated and out of order",
        faults=tuple(
            {"kind": kind, "rate": 0.3, "channel": "user"}
            for kind in ("frame_missing", "frame_repeated", "frame_reordered")
        ),
    ),
    Trouble(
        name="market stream: missing, repeated and out of order",
        faults=tuple(
            {"kind": kind, "rate": 0.1, "channel": "market"}
            for kind in ("frame_missing", "frame_repeated", "frame_reordered")
        ),
    ),
    Trouble(
        name="every stream frozen",
        faults=(
            {"kind": "ws_freeze", "seconds": 40, "channel": "market"},
            {"kind": "ws_freeze", "seconds": 40, "channel": "user"},
        ),
    ),
    _standing("engine_restart", seconds=40),
    _standing("cancel_only", seconds=40),
    _standing("trading_disabled", seconds=40),
    _standing("closed_only", seconds=40),
    _standing("clock_skew", ms=3000, seconds=60),
    Trouble(name="fee changed", faults=({"kind": "market_changed", "market": "*", "fee_rate": 0.1, "seconds": 60},)),
    Trouble(name="hold changed", faults=({"kind": "market_changed", "market": "*", "hold_ms": 1000, "seconds": 60},)),
    Trouble(name="tick changed", faults=({"kind": "market_changed", "market": "*", "tick": 0.001, "seconds": 60},)),
    Trouble(name="book_emptied", faults=({"kind": "book_emptied", "market": "*", "seconds": 20},)),
    Trouble(name="book_crossed", faults=({"kind": "book_crossed", "market": "*", "seconds": 20},)),
    _armed("redemption_empty"),
    _armed("settlement_retried"),
    Trouble(name="streams cut, resting orders gone", happening="drops"),
    Trouble(name="resolution_disputed", faults=({"kind": "resolution_disputed", "market": "*", "seconds": 60},)),
    Trouble(name="resolution_split", faults=({"kind": "resolution_split", "market": "*"},)),
)
OURS: Final = (
    Trouble(name="Redis killed", happening="redis"),
    Trouble(name="Redis killed, last second lost", happening="redis_loses"),
    Trouble(name="PostgreSQL killed", happening="postgres"),
    Trouble(name="Redis frozen", happening="redis_frozen"),
    Trouble(name="PostgreSQL frozen", happening="postgres_frozen"),
    Trouble(name="disk full", happening="disk"),
    Trouble(name="every service killed", happening="services"),
)
ALWAYS: Final[tuple[Fault, ...]] = tuple(
    {"kind": kind, "rate": 0.12} for kind in ("ghost_fill", "lost_reply", "error_500_after")
)
"""What no trouble is without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """Some seconds of one trouble under load, while executors die at points of their own."""

    number: int
    trouble: Trouble
    seed: int


def epochs(seed: int) -> Iterator[Epoch]:
    """Without end. Each trouble once before any comes again, ours and the venue's by turns."""
    dice = random.Random(seed)
    number = 0
    while True:
        venue, ours = list(VENUE), list(OURS)
        dice.shuffle(venue)
        dice.shuffle(ours)
        every = max(1, len(venue) // len(ours))
        while venue or ours:
            if (ours and number % every == every - 1) or not venue:
                trouble = ours.pop()
            else:
                trouble = venue.pop()
            yield Epoch(number=number, trouble=trouble, seed=dice.randrange(2**31))
            number += 1


def fates(dice: random.Random) -> Iterator[str]:
    """Where an executor's lives end, as `CHAOS_DIE_AT` wants it. Every point before any again."""
    while True:
        points = list(POINTS)
        dice.shuffle(points)
        for point in points:
            most = 1 if point.endswith("settle") else 5
            yield f"{point}:{dice.randint(1, most)}"
