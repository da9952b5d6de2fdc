"""The whole system in one command, as a stranger runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from pmarb.db import views
from services.cli import runfile
from tests import sandboxes

pytestmark = pytest.mark.timeout(300)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "services.cli", *arguments]


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("REDIS_URL", "DATABASE_URL")}


@contextmanager
def started(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        command(*arguments), cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(90)


def wait_for_services(folder: Path) -> dict[str, Any]:
    """The status once everything of the stack in this folder is alive and the executor has seen the wallet."""
    error = "the executor never saw the wallet"
    for _ in range(300):
        done = subprocess.run(
            command("status", "--json"), cwd=folder, env=environment(), capture_output=True, text=True, timeout=60
        )
        if done.returncode == 0:
            status = json.loads(done.stdout)
            if all(status["services"].values()) and Decimal(status["equity"]) > 0:
                return dict(status)
        error = done.stderr or error
        time.sleep(0.2)
    raise AssertionError(error)


def wait_for_a_fill(folder: Path, *, seconds: float) -> None:
    """Until the ledger knows a trade that the venue has yet to confirm; chance may give none, which is no failure."""
    deadline = time.monotonic() + seconds
    with views.connect(json.loads((folder / runfile.PLACE).read_text())["environment"]["DATABASE_URL"]) as ledger:
        while not views.fills(ledger) and time.monotonic() < deadline:
            time.sleep(0.02)


@pytest.mark.long
def test_a_demo_ends_with_a_report_and_a_clean_audit(tmp_path: Path) -> None:
    options = ("--seconds", "20", "--speed", "20", "--seed", "3", "--settle-within", "60", "--json")
    done = subprocess.run(
        command("demo", *options), cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr + (tmp_path / ".pm-arb/demo.log").read_text()[-4000:]
    report = json.loads(done.stdout)
    assert report["audit"]["ok"]
    assert report["opportunities"] == report["approvals"] + sum(report["rejections"].values())
    assert report["receipt"]["open_after"] == []
    assert report["receipt"]["verified_real"] > 0
    assert report["rss_mb"] is None or report["rss_mb"] < 1000
    assert report["restarts"] == {}
    assert not (tmp_path / runfile.PLACE).exists()


@pytest.mark.long
def test_ctrl_c_right_after_a_fill_stops_early_and_still_audits(tmp_path: Path) -> None:
    with started(tmp_path, "demo", "--seconds", "600", "--json") as process:
        wait_for_services(tmp_path)
        wait_for_a_fill(tmp_path, seconds=120)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=90)
        assert process.returncode == 0, out + err
        assert json.loads(out)["seconds"] < 600


@pytest.mark.long
def test_up_can_be_looked_at_killed_and_stopped_in_order(tmp_path: Path) -> None:
    with started(tmp_path, "up", "--console-port", "0") as process:
        assert wait_for_services(tmp_path)["trading"]["state"] == "ACTIVE"
        killed = subprocess.run(
            command("kill", "--json"), cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60
        )
        assert killed.returncode == 0, killed.stderr
        assert json.loads(killed.stdout)["receipt"]["open_after"] == []
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=90)
        assert process.returncode == 0, out[-3000:] + err
        ended = [line.split()[0] for line in out.splitlines() if "stopped with code 0" in line]
        assert ended == ["scanner", "risk", "executor", "alerter", "console", "sandbox"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
def test_no_child_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    with started(tmp_path, "up", "--console-port", "0") as process:
        wait_for_services(tmp_path)
        children = descendants(process.pid)
        assert len(children) >= 6
        process.kill()
        for _ in range(400):
            if not [pid for pid in children if running(pid)]:
                return
            time.sleep(0.1)
    pytest.fail(f"still running: {[Path(f'/proc/{pid}/cmdline').read_text() for pid in children if running(pid)]}")


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="it looks for the sandbox in /proc")
def test_a_killed_sandbox_comes_back_with_its_accounts_and_lost_servers_end_everything_in_order(tmp_path: Path) -> None:
    with started(tmp_path, "up", "--console-port", "0") as process:
        wait_for_services(tmp_path)
        note = json.loads((tmp_path / runfile.PLACE).read_text())
        url = f"{note['environment']['SANDBOX_URL']}/sandbox/accounts"
        httpx.post(url, json={"signature_type": 3}).raise_for_status()
        before, killed = httpx.get(url).json(), child_of(process.pid, "services.sandbox")
        assert len(before) == 3
        os.kill(killed, signal.SIGKILL)
        assert sandboxes.until(lambda: answer_of(url)) == before
        assert child_of(process.pid, "services.sandbox") != killed
        os.kill(child_of(process.pid, "pmarb.embedded.supervisor"), signal.SIGKILL)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 1, out[-3000:] + err
        assert "do not come back" in err
        assert "executor stopped with code 0" in " ".join(out.split())


def child_of(process: int, name: str) -> int:
    return next(pid for pid in descendants(process) if name in Path(f"/proc/{pid}/cmdline").read_text())


def answer_of(url: str) -> Any:
    """None while nobody answers."""
    try:
        return httpx.get(url).json()
    except httpx.TransportError:
        return None


def running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def descendants(pid: int) -> list[int]:
    found = []
    for entry in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in entry.read_text().split():
            found += [int(child), *descendants(int(child))]
    return found
