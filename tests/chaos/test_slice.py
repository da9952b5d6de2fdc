"""Two minutes of `make chaos`: crashes and faults under load, and every invariant held."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.starting import ROOT

SEED = os.environ.get("CHAOS_SEED", "1")
SECONDS = 100

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(420)]


@pytest.mark.long
def test_a_slice_of_chaos_breaks_no_invariant(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.chaos", "--seed", SEED, "--seconds", str(SECONDS), "--logs", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400)
    said = f"seed {SEED}\n{done.stdout}\n{done.stderr}"
    assert done.stdout.strip(), said
    result = json.loads(done.stdout.splitlines()[-1])
    broken = {name: result[name] for name in ("doubles", "lost_fills", "wrong_positions", "unbalanced", "unresolved")}
    assert not any(broken.values()), said
    assert done.returncode == 0, said
    assert result["faults"] > 30, said
    assert result["kills"] > 5, said
