"""What can go wrong on request: the kinds, and one fault as it is asked for.

A fault is one JSON object, the same in `POST /sandbox/faults` and in a scenario file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

CHANNELS = ("market", "user", "rtds", "spot", "coinbase", "bolt", "sports", "all")
CALLS = ("order", "cancel", "heartbeat", "other", "all")
SIDES = ("", "BUY", "SELL")


class Fault(StrEnum):
    """Every kind; docs/sandbox.md says what each does."""

    TIMEOUT_AFTER_ACCEPT = "timeout_after_accept"
    LATE_ACCEPT = "late_accept"
    ERROR_500_BEFORE = "error_500_before"
    ERROR_500_AFTER = "error_500_after"
    LOST_REPLY = "lost_reply"
    SUCCESS_WITH_ERROR = "success_with_error"
    FAK_400_WITH_ID = "fak_400_with_id"
    ORDER_REFUSED = "order_refused"
    RATE_LIMITED = "rate_limited"
    ALLOWANCE_REFUSED = "allowance_refused"
    CONTRACT_MOVED = "contract_moved"
    RESTART_425 = "restart_425"
    GHOST_FILL = "ghost_fill"
    SETTLEMENT_RETRIED = "settlement_retried"
    MARKET_CLOSED_MID_ORDER = "market_closed_mid_order"
    REDEMPTION_EMPTY = "redemption_empty"
    MERGE_EMPTY = "merge_empty"
    WS_FREEZE = "ws_freeze"
    WS_DROPPED = "ws_dropped"
    FRAME_MISSING = "frame_missing"
    FRAME_REPEATED = "frame_repeated"
    FRAME_REORDERED = "frame_reordered"
    FRAME_HALVED = "frame_halved"
    ENGINE_RESTART = "engine_restart"
    CANCEL_ONLY = "cancel_only"
    TRADING_DISABLED = "trading_disabled"
    ORDERS_DROPPED = "orders_dropped"
    CLOSED_ONLY = "closed_only"
    CLOCK_SKEW = "clock_skew"
    MARKET_CHANGED = "market_changed"
    BOOK_EMPTIED = "book_emptied"
    BOOK_CROSSED = "book_crossed"
    MARKET_MISPRICED = "market_mispriced"
    RESOLUTION_DISPUTED = "resolution_disputed"
    RESOLUTION_SPLIT = "resolution_split"


HOW_OFTEN = frozenset({"count", "rate", "after", "seconds", "account"})
CALL = HOW_OFTEN | {"call", "path"}
FRAMES = HOW_OFTEN | {"channel", "match"}
# Faults that wait for their moment: a call, a trade, a frame.
WAITING: dict[Fault, frozenset[str]] = {
    Fault.TIMEOUT_AFTER_ACCEPT: CALL | {"delay_ms"},
    Fault.LATE_ACCEPT: CALL | {"delay_ms"},
    Fault.ERROR_500_BEFORE: CALL,
    Fault.ERROR_500_AFTER: CALL,
    Fault.LOST_REPLY: CALL,
    Fault.RATE_LIMITED: CALL,
    Fault.RESTART_425: CALL,
    Fault.SUCCESS_WITH_ERROR: HOW_OFTEN,
    Fault.FAK_400_WITH_ID: HOW_OFTEN,
    Fault.ORDER_REFUSED: HOW_OFTEN | {"text"},
    Fault.ALLOWANCE_REFUSED: HOW_OFTEN,
    Fault.CONTRACT_MOVED: HOW_OFTEN,
    Fault.GHOST_FILL: HOW_OFTEN | {"market", "side"},
    Fault.SETTLEMENT_RETRIED: HOW_OFTEN | {"market", "side"},
    Fault.MARKET_CLOSED_MID_ORDER: HOW_OFTEN | {"market"},
    Fault.REDEMPTION_EMPTY: HOW_OFTEN | {"market"},
    Fault.MERGE_EMPTY: HOW_OFTEN | {"market"},
    Fault.WS_FREEZE: FRAMES,
    Fault.FRAME_MISSING: FRAMES,
    Fault.FRAME_REPEATED: FRAMES,
    Fault.FRAME_REORDERED: FRAMES,
    Fault.FRAME_HALVED: FRAMES,
}
# Faults that change the state of the venue at once, until they end or are cleared.
STANDING: dict[Fault, frozenset[str]] = {
    Fault.ENGINE_RESTART: frozenset({"seconds"}),
    Fault.CANCEL_ONLY: frozenset({"seconds"}),
    Fault.TRADING_DISABLED: frozenset({"seconds"}),
    Fault.ORDERS_DROPPED: frozenset({"account", "market"}),
    Fault.WS_DROPPED: frozenset({"account", "channel"}),
    Fault.CLOSED_ONLY: frozenset({"account", "seconds"}),
    Fault.CLOCK_SKEW: frozenset({"ms", "seconds"}),
    Fault.MARKET_CHANGED: frozenset({"market", "fee_rate", "tick", "min_size", "hold_ms", "text", "seconds"}),
    Fault.BOOK_EMPTIED: frozenset({"market", "seconds"}),
    Fault.BOOK_CROSSED: frozenset({"market", "seconds", "ticks"}),
    Fault.MARKET_MISPRICED: frozenset({"market", "seconds", "by"}),
    Fault.RESOLUTION_DISPUTED: frozenset({"market", "seconds"}),
    Fault.RESOLUTION_SPLIT: frozenset({"market"}),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Spec:
    """One fault as asked for. Seconds are venue time; `market` is a slug and `path` that of a call, with wildcards;
    `match` is a part of a frame; the first `after` moments that fit pass unharmed."""

    kind: Fault
    count: int | None = None
    rate: float | None = None
    after: int = 0
    seconds: float | None = None
    account: str = ""
    call: str = ""
    path: str = "*"
    delay_ms: float | None = None
    text: str = ""
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
    by: float = 0.0

    def stated(self) -> dict[str, Any]:
        """What was asked for, without the fields left at their defaults."""
        usual = asdict(Spec(kind=self.kind)) | {"kind": None}
        return {name: value for name, value in asdict(self).items() if value != usual[name]}


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
    allowed = WAITING.get(kind) or STANDING[kind]
    # A standing fault happens once; saying so is no mistake.
    once = {"count"} if body.get("count") == 1 else set()
    unknown = sorted(set(body) - allowed - once - {"kind"})
    if unknown:
        raise ValueError(f"{kind} does not know {', '.join(unknown)}; allowed: {', '.join(sorted(allowed | {'kind'}))}")
    values = {
        field.name: _typed(field.name, body[field.name])
        for field in fields(Spec)
        if field.name in body and field.name != "kind"
    }
    _require_sense(values)
    return Spec(kind=kind, **values)


def parse_timed(body: Mapping[str, Any]) -> Timed:
    """A fault with `at_s` and perhaps `every_s`. Raises ValueError."""
    rest = {name: value for name, value in body.items() if name not in ("at_s", "every_s")}
    at_s, every_s = float(body.get("at_s", 0)), float(body.get("every_s", 0))
    if at_s < 0 or every_s < 0:
        raise ValueError("at_s and every_s must not be negative")
    return Timed(at_s=at_s, every_s=every_s, spec=parse_spec(rest))


def _require_sense(values: Mapping[str, Any]) -> None:
    for name, known in (("channel", CHANNELS), ("call", CALLS), ("side", SIDES)):
        if values.get(name, known[-1]) not in known:
            raise ValueError(f"{name} must be one of {', '.join(filter(None, known))}")
    if not 0 <= values.get("rate", 0.0) <= 1:
        raise ValueError("rate must lie between 0 and 1")
    if not -1 < values.get("by", 0.0) < 1:
        raise ValueError("by must lie between -1 and 1")
    for name in ("count", "after", "seconds", "delay_ms", "hold_ms"):
        if values.get(name, 0) < 0:
            raise ValueError(f"{name} must not be negative")


def _typed(name: str, value: object) -> Any:
    try:
        if name in ("count", "after", "ticks"):
            return int(str(value))
        if name in ("rate", "seconds", "ms", "hold_ms", "delay_ms", "by"):
            return float(str(value))
    except ValueError as error:
        raise ValueError(f"{name} must be a number") from error
    return str(value).upper() if name == "side" else str(value)
