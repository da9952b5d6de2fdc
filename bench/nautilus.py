"""The same number of events through nautilus_trader's backtest, where it is installed.

It is looked for in this environment, or in that of the interpreter that `NAUTILUS_PYTHON` names: its requirements are
none of ours. Its time leaves out the making of its events, while ours includes the decoding of the tape.
"""

import importlib.util
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from bench.measure import Measured
from pmarb.venue import tape

SCRIPT = Path(__file__).with_name("nautilus_backtest.py")
BOOKS = "clob.market"


def run(paths: list[Path], ours: Measured) -> list[Measured]:
    """One row, or none where it is not installed."""
    python = os.environ.get("NAUTILUS_PYTHON")
    if not python:
        if importlib.util.find_spec("nautilus_trader") is None:
            return []
        python = sys.executable
    sources = Counter(line.src == BOOKS for path in paths for line in tape.raw_lines(path))
    command = [python, str(SCRIPT), str(sources[True]), str(sources[False])]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return [
        Measured(
            name="replay events beside nautilus_trader",
            unit="/s",
            median=ours.median,
            p99=ours.median,
            baseline_name=f"nautilus_trader {found['version']}, prices and books as events",
            baseline=found["events"] / found["seconds"],
        )
    ]
