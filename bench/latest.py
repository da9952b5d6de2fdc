"""`bench/out/latest.json`: the last run's figures under names that stay, for whoever compares runs."""

import json
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from bench.measure import Measured

OUT: Final = Path(__file__).parent / "out" / "latest.json"
NAMES: Final = {
    "replay events": "replay_events_per_s",
    "replay events beside nautilus_trader": "replay_events_per_s_beside_nautilus_trader",
    "scanner: a tick, its market priced": "scanner_us_per_tick",
    "scanner: a market": "scanner_us_per_market",
    "book message": "book_message_us",
    "scanner core share, 1000 markets": "scanner_core_share_1000_markets",
    "scanner core share, each of two, 300 markets": "scanner_core_share_each_of_two_300_markets",
}
SPREAD: Final = {"tick to wire": "tick_to_wire"}
"""Rows of which median and tail are both promised: `<name>_p50_<unit>` and `<name>_p99_<unit>`."""


def write(rows: Iterable[Measured], machine: str) -> Path:
    """Replace the file."""
    OUT.parent.mkdir(exist_ok=True)
    found = [entry | {"machine": machine} for row in rows for entry in _entries(row)]
    OUT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return OUT


def _entries(row: Measured) -> Iterator[dict[str, Any]]:
    spread = SPREAD.get(row.name)
    if spread is not None:
        for quantile, value in (("p50", row.median), ("p99", row.p99)):
            yield _entry(f"{spread}_{quantile}_{row.unit}", value, row)
        return
    yield _entry(NAMES.get(row.name) or _plain(row), row.median, row)


def _entry(name: str, value: float, row: Measured) -> dict[str, Any]:
    baseline = row.baseline if math.isfinite(row.baseline) else None
    ratio = value / row.baseline if baseline else None
    return {
        "name": name,
        "value": round(value, 4),
        "unit": row.unit,
        "baseline": None if baseline is None else round(baseline, 4),
        "baseline_name": row.baseline_name,
        "ratio": None if ratio is None else round(ratio, 4),
    }


def _plain(row: Measured) -> str:
    """A name for a row without a promised one: its words, and its unit."""
    words = re.sub(r"\(.*?\)", "", row.name.lower())
    return "_".join(re.findall(r"[a-z0-9.]+", f"{words} {row.unit.replace('/', 'per ')}"))
