"""How much memory we and our children hold."""

import os
from collections import defaultdict
from pathlib import Path

PROC = Path("/proc")


def resident_mb() -> float | None:
    """Megabytes of this process and all its descendants, shared pages counted once. None where /proc is absent."""
    if not (PROC / "self" / "smaps_rollup").exists():
        return None
    children: dict[int, list[int]] = defaultdict(list)
    for entry in PROC.iterdir():
        parent = _parent(entry) if entry.name.isdigit() else None
        if parent is not None:
            children[parent].append(int(entry.name))
    waiting, total = [os.getpid()], 0
    while waiting:
        pid = waiting.pop()
        total += _pss_kb(pid)
        waiting += children[pid]
    return round(total / 1024, 1)


def _parent(entry: Path) -> int | None:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None


def _pss_kb(pid: int) -> int:
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
