"""`make bench`: what is promised or costly, each beside a baseline measured in the same run."""

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict

from bench import latency, latest, rules, sandbox, scale, servers, tapes
from bench.measure import Measured
from pmarb.embedded import ephemeral


def with_servers() -> list[Measured]:
    with ephemeral() as endpoints:
        return servers.measure(endpoints)


PARTS: dict[str, Callable[[], list[Measured]]] = {
    "rules": rules.run,
    "tapes": tapes.run,
    "servers": with_servers,
    "latency": latency.run,
    "sandbox": sandbox.run,
    "scale": scale.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="which parts (default: all)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args()
    rows = [row for name in options.parts or PARTS for row in PARTS[name]()]
    latest.write(rows, machine())
    if options.json:
        print(json.dumps({"machine": machine(), "rows": [asdict(row) | {"ratio": row.ratio} for row in rows]}))
        return
    print(f"{machine()}\n")
    print(f"{'what':40} {'median':>9} {'p99':>9}     {'ratio':>6}  to")
    for row in rows:
        print(
            f"{row.name:40} {row.median:9.1f} {row.p99:9.1f} {row.unit}  {row.ratio:5.2f}x  "
            f"{row.baseline_name} ({row.baseline:.1f} {row.unit})"
        )


def machine() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}"


if __name__ == "__main__":
    main()
