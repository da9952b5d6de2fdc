"""One scanner process on a thousand markets at the recorded pace: the share of a core that it says it uses.

`python -m bench.scale --markets 1000 --seconds 40` prints every summary; `make bench` keeps the last ones' middle.
With `--scanners 2` they share the markets out: what each of them uses then is measured on fewer markets, since two
cores must bear the venue as well.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from queue import Empty, Queue
from typing import IO, Any, Final

import httpx

from bench.crowdbooks import ABOVE_TEXT, FRAMES_A_SECOND, NAMES, PRICES, TWAP_TEXT
from bench.measure import Measured
from pmarb.embedded import ephemeral
from pmarb.venue.rules import template

MARKETS: Final = 1000
SHARED: Final = 300
"""Markets that two scanners share."""
SECONDS: Final = 40.0
START_WITHIN: Final = 300.0
FULL: Final = 0.97
"""Of the markets, followed before anything is measured."""


def run() -> list[Measured]:
    return [*_alone(), _shared()]


def _shared() -> Measured:
    """What sharing takes off each: CPU time, so the other processes of a small machine do not count."""
    one, two = ([s["cpu_share"] for s in measured(markets=SHARED, seconds=SECONDS, scanners=n)] for n in (1, 2))
    return Measured(
        name=f"scanner core share, each of two, {SHARED} markets",
        unit="cores",
        median=statistics.median(two),
        p99=max(two),
        baseline_name="one alone",
        baseline=statistics.median(one),
    )


def _alone() -> list[Measured]:
    found = measured(markets=MARKETS, seconds=SECONDS)
    shares = [summary["cpu_share"] for summary in found]
    frames = statistics.median(summary["frames_per_s"] for summary in found)
    late = [summary["lag_ms"] for summary in found]
    return [
        Measured(
            name="scanner core share, 1000 markets",
            unit="cores",
            median=statistics.median(shares),
            p99=max(shares),
            baseline_name="one core",
            baseline=1.0,
        ),
        Measured(
            name="scanner frames, 1000 markets",
            unit="/s",
            median=frames,
            p99=frames,
            baseline_name="sent",
            baseline=found[-1]["sent_per_s"],
        ),
        Measured(
            name="scanner loop lateness, 1000 markets",
            unit="ms",
            median=statistics.median(late),
            p99=max(late),
            baseline_name="what a book may be old",
            baseline=500.0,
        ),
    ]


def measured(*, markets: int, seconds: float, scanners: int = 1) -> list[dict[str, Any]]:
    """The scanners' own summaries once they follow all markets, each with what the venue sent a second meanwhile."""
    with ephemeral() as endpoints, _crowd(markets) as url, contextlib.ExitStack() as running:
        all_lines = [
            running.enter_context(_scanner(url, endpoints.redis_url, member=f"bench-{n}")) for n in range(scanners)
        ]
        _followed(all_lines, markets)
        httpx.get(f"{url}/go", timeout=30).raise_for_status()
        _next_summaries(all_lines, START_WITHIN)  # Of both paces
        found, end = [], time.monotonic() + seconds
        before, since = _sent(url), time.monotonic()
        while time.monotonic() < end:
            summaries = _next_summaries(all_lines, seconds)
            now, at = _sent(url), time.monotonic()
            paced = {"sent_per_s": (now["sent"] - before["sent"]) / (at - since), "late_s": now["late_s"]}
            found += [summary | paced for summary in summaries]
            before, since = now, at
        return found


def _followed(all_lines: "list[Queue[str]]", markets: int) -> None:
    deadline = time.monotonic() + START_WITHIN
    while sum(summary["markets"] for summary in _next_summaries(all_lines, START_WITHIN)) < FULL * markets:
        if time.monotonic() > deadline:
            raise TimeoutError("the scanners did not find the markets; run python -m bench.scale to see their lines")


def _next_summaries(all_lines: "list[Queue[str]]", within: float) -> list[dict[str, Any]]:
    return [_next_summary(lines, within) for lines in all_lines]


def _next_summary(lines: "Queue[str]", within: float) -> dict[str, Any]:
    while True:
        try:
            line = lines.get(timeout=within)
        except Empty:
            raise TimeoutError(f"the scanner said nothing for {within:.0f} s") from None
        with contextlib.suppress(ValueError):
            found: dict[str, Any] = json.loads(line)
            if found.get("event") == "scan_summary":
                return found
            if found.get("level") in ("error", "critical"):
                sys.stderr.write(line)


def _sent(url: str) -> dict[str, float]:
    found: dict[str, float] = httpx.get(f"{url}/sent", timeout=30).json()
    return found


@contextlib.contextmanager
def _crowd(markets: int) -> Iterator[str]:
    command = [sys.executable, "-m", "bench.crowd", "--markets", str(markets)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.wait(20)


@contextlib.contextmanager
def _scanner(url: str, redis_url: str, *, member: str) -> Iterator["Queue[str]"]:
    texts = {template(ABOVE_TEXT.format(code=a.upper()), a) for a in PRICES}
    texts |= {template(TWAP_TEXT.format(name=NAMES[a]), a) for a in PRICES}
    settings = {
        "SANDBOX_URL": url,
        "REDIS_URL": redis_url,
        "ASSETS": ",".join(PRICES),
        "FAMILIES": "5m,15m,above",
        "TRUSTED_TEMPLATES": ",".join(sorted(texts)),
        "LOG_FORMAT": "json",
        "HEARTBEAT_FILE": os.devnull,
        "MEMBER": member,
        "MIN_EDGE_PCT": "50",  # As nearly always: priced, and no edge
    }
    command = [sys.executable, "-m", "services.scanner"]
    lines: Queue[str] = Queue()
    with subprocess.Popen(
        command, env=os.environ | settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        reader = threading.Thread(target=_read, args=(process.stdout, lines), daemon=True)
        reader.start()
        try:
            yield lines
        finally:
            process.terminate()
            process.wait(30)


def _read(output: IO[str], lines: "Queue[str]") -> None:
    for line in output:
        lines.put(line)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.scale", description=__doc__)
    parser.add_argument("--markets", type=int, default=MARKETS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--scanners", type=int, default=1)
    options = parser.parse_args()
    print(f"{options.markets} markets, {FRAMES_A_SECOND} frames a second each")
    keys = (
        "markets",
        "cpu_share",
        "lag_ms",
        "frames_per_s",
        "sent_per_s",
        "late_s",
        "scanners_needed",
        "disagreements",
    )
    for summary in measured(markets=options.markets, seconds=options.seconds, scanners=options.scanners):
        print({key: summary.get(key) for key in keys}, summary.get("families"))


if __name__ == "__main__":
    main()
