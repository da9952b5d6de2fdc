"""What the tests start by a fork has its own environment, output, folder and end, and has read the libraries before."""

import os
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.starting import POSING, Started, finished, from_nothing

PROGRAM = """
import os, sys, time
print(sys.argv[1:], os.environ["WHO"], os.getcwd(), "polymarket" in sys.modules, "REDIS_URL" in os.environ)
print("said", file=sys.stderr)
if "wait" in sys.argv:
    sys.stdout.flush()
    time.sleep(60)
sys.exit(3)
"""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "program.py").write_text(PROGRAM)
    return {"PYTHONPATH": str(tmp_path), "WHO": "me"}


def test_it_is_what_a_new_process_would_be_but_has_read_the_libraries(env: dict[str, str], tmp_path: Path) -> None:
    os.environ.setdefault("REDIS_URL", "not the child's")
    try:
        done = finished("program", ["a", "b"], env=env, cwd=tmp_path, timeout=60)
    finally:
        if os.environ["REDIS_URL"] == "not the child's":
            del os.environ["REDIS_URL"]
    assert done.returncode == 3
    assert done.stdout == f"['a', 'b'] me {tmp_path} True False\n"
    assert done.stderr == "said\n"
    with tempfile.TemporaryFile() as out:
        fresh = from_nothing("program", env=env, out=out, err=out)
        assert fresh.wait(60) == 3
        out.seek(0)
        assert b"False False" in out.read()


def test_it_is_signalled_and_waited_for(env: dict[str, str]) -> None:
    process = Started("program", ["wait"], env=env)
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.05)
    process.kill()
    assert process.wait(60) == -signal.SIGKILL
    assert process.returncode == -signal.SIGKILL
    process.terminate()  # Of what has ended: nothing


def test_what_takes_too_long_is_ended(env: dict[str, str]) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        finished("program", ["wait"], env=env, timeout=0.2)


def test_what_changes_the_libraries_is_not_forked_from_a_process_that_has_read_them(env: dict[str, str]) -> None:
    with pytest.raises(AssertionError):
        Started("program", env=env | {POSING: "{}"})
