"""Tapes one after the other with one set of parameters."""

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from services.replay.marking import Marker
from services.replay.report import Report
from services.replay.tapes import TapeReplay, recordings
from services.risk.decide import Limits as RiskLimits
from services.scanner.decide import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What a replay may be asked to change. Dollars, dollars a share, standard errors, a weight in [0, 1]."""

    bankroll: Decimal = Decimal(300)
    min_edge: Decimal = Decimal("0.02")
    k_se: float = 2.0
    model_weight: float = 0.5

    def limits(self) -> Limits:
        return Limits(
            order_usd=min(self.bankroll / 100, Decimal(5)),
            min_edge=self.min_edge,
            k_se=self.k_se,
            model_weight=self.model_weight,
        )

    def risk(self) -> RiskLimits:
        return RiskLimits(min_edge=self.min_edge)


DEFAULTS = Parameters()


def replay(paths: Sequence[Path], parameters: Parameters = DEFAULTS, *, marker: Marker | None = None) -> Report:
    """Replay recordings one after the other, each with a fresh wallet; `marker` looks up marks on the way.

    Raises:
        TapeError: a file is not a tape.
    """
    started = time.perf_counter()
    collecting = gc.isenabled()
    gc.disable()  # Messages are trees: their last reader frees them, and nothing else needs walking
    try:
        tapes = tuple(
            TapeReplay(
                parts,
                limits=parameters.limits(),
                risk=parameters.risk(),
                bankroll=parameters.bankroll,
                marker=marker,
            ).run()
            for parts in recordings(paths)
        )
    finally:
        if collecting:
            gc.enable()
    return Report(tapes=tapes, seconds=time.perf_counter() - started)
