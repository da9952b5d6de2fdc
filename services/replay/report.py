"""What a replay found, tape by tape."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from pmarb.domain.evidence import Evidence, joined
from pmarb.domain.trading import Mode, filled_as
from pmarb.domain.values import ZERO


@dataclass(slots=True, kw_only=True)
class Agreement:
    """Our reading of the settlement rule against what the venue recorded.

    `computed` are windows with the oracle's ticks at both ends: nothing that the venue told of a price enters them.
    """

    known: int = 0
    computed: int = 0
    agreed: int = 0
    strike_errors_bps: list[float] = field(default_factory=list)
    forecasts: int = 0
    squared_error: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        errors = sorted(self.strike_errors_bps)
        return {
            "known": self.known,
            "computed": self.computed,
            "agreed": self.agreed,
            "agreed_share": round(self.agreed / self.computed, 5) if self.computed else None,
            "strike_error_bps_median": round(errors[len(errors) // 2], 3) if errors else None,
            "strike_error_bps_max": round(errors[-1], 3) if errors else None,
            "mid_window_forecasts": self.forecasts,
            "mid_window_brier": round(self.squared_error / self.forecasts, 4) if self.forecasts else None,
        }


@dataclass(slots=True, kw_only=True)
class TapeReport:
    """One tape. `unpriced` counts markets by what kept them from a decision, `sets` the approved sets by how they ended
    (complete, held, exited, nothing, not_begun); `lacks` is what it never had."""

    name: str
    events: int = 0
    markets: int = 0
    priced: int = 0
    malformed: int = 0
    looks: int = 0
    opportunities: int = 0
    rejections: Counter[str] = field(default_factory=Counter)
    skips: Counter[str] = field(default_factory=Counter)
    plan_skips: Counter[str] = field(default_factory=Counter)
    orders: int = 0
    fills: int = 0
    settled: int = 0
    unsettled: int = 0
    sets: Counter[str] = field(default_factory=Counter)
    fees: Decimal = ZERO
    pnl: Decimal = ZERO
    unpriced: Counter[str] = field(default_factory=Counter)
    families: dict[str, Counter[str]] = field(default_factory=dict)
    lacks: list[str] = field(default_factory=list)
    settlement: Agreement = field(default_factory=Agreement)
    decision_hash: str = ""
    evidence: Evidence = field(default_factory=Evidence)

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "events": self.events,
            "markets": self.markets,
            "priced": self.priced,
            "unpriced": dict(self.unpriced.most_common()),
            "families": {name: dict(found.most_common()) for name, found in sorted(self.families.items())},
            "lacks": self.lacks,
            "malformed": self.malformed,
            "looks": self.looks,
            "skips": dict(self.skips.most_common()),
            "opportunities": self.opportunities,
            "rejections": dict(self.rejections.most_common()),
            "plan_skips": dict(self.plan_skips.most_common()),
            "orders": self.orders,
            "fills": self.fills,
            "settled": self.settled,
            "unsettled": self.unsettled,
            "sets": dict(self.sets.most_common()),
            "fees": str(self.fees),
            "pnl": str(self.pnl),
            "fills_by": by_mode(self.evidence),
            "samples": len(self.evidence.samples),
            "settlement": self.settlement.as_dict(),
            "decision_hash": self.decision_hash,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All tapes. `decision_hash` covers every decision in order and nothing that depends on the machine's speed."""

    tapes: tuple[TapeReport, ...]
    seconds: float

    @property
    def decision_hash(self) -> str:
        return hashlib.sha256("".join(tape.decision_hash for tape in self.tapes).encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        events = sum(tape.events for tape in self.tapes)
        return {
            "events": events,
            "events_per_s": round(events / self.seconds) if self.seconds > 0 else 0,
            "opportunities": sum(tape.opportunities for tape in self.tapes),
            "orders": sum(tape.orders for tape in self.tapes),
            "fills": sum(tape.fills for tape in self.tapes),
            "settled": sum(tape.settled for tape in self.tapes),
            "fees": str(sum((tape.fees for tape in self.tapes), ZERO)),
            "pnl": str(sum((tape.pnl for tape in self.tapes), ZERO)),
            "fills_by": by_mode(joined(tuple(tape.evidence for tape in self.tapes))),
            "settlement": settled(self.tapes),
            "decision_hash": self.decision_hash,
            "tapes": [tape.as_dict() for tape in self.tapes],
        }


def settled(tapes: Sequence[TapeReport]) -> dict[str, Any]:
    """Of windows with the oracle's ticks at both ends, how many we decide as the venue did."""
    computed = sum(tape.settlement.computed for tape in tapes)
    agreed = sum(tape.settlement.agreed for tape in tapes)
    share = round(agreed / computed, 5) if computed else None
    return {"computed": computed, "agreed": agreed, "agreed_share": share}


def by_mode(evidence: Evidence) -> dict[str, Any]:
    """The three fills of every order whose market was decided, and the gap in P&L between the outer two."""
    modes = {name: filled_as(evidence.bets, name) for name in ("optimistic", "filled", "pessimistic")}
    gap = modes["optimistic"].pnl - modes["pessimistic"].pnl
    return {**{name: _mode(mode) for name, mode in modes.items()}, "gap": str(gap)}


def _mode(mode: Mode) -> dict[str, Any]:
    per_share = None if mode.per_share is None else round(mode.per_share, 6)
    return {"fills": mode.fills, "shares": str(mode.shares), "pnl": str(mode.pnl), "per_share": per_share}
