"""What scanners say of themselves, and how many of them the load they see needs."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

TARGET_SHARE: Final = 0.7
"""The share of a core that a scanner should use: bursts are five times the mean."""
SLOW_MS: Final = 250.0
"""A loop this late works on prices that its own rules call nearly old."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannerReport:
    """One scanner's last ten seconds: CPU time over real time, the worst lateness of its loop, frames and markets; and
    how far its prices to beat were from the venue's, of the last 500 that could be compared (basis points)."""

    cpu_share: float
    lag_ms: float
    frames_per_s: float
    markets: int
    references_checked: int = 0
    reference_error_median_bps: float = 0.0
    reference_error_max_bps: float = 0.0
    references_far_off: int = 0


def scanners_needed(reports: Collection[ScannerReport]) -> int:
    """How many scanners share the present load with each under its target; one more than there are if any is late.

    Found from the load as it is: scanners that are saturated hide part of theirs, so ask again after adding some. What
    each does for itself, listening to prices, does not get less by sharing and is counted as if it did.
    """
    if not reports:
        return 0
    by_share = math.ceil(sum(report.cpu_share for report in reports) / TARGET_SHARE)
    late = any(report.lag_ms > SLOW_MS for report in reports)
    return max(1, by_share, len(reports) + 1 if late else 0)
