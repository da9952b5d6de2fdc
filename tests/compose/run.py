"""`make compose-test`: docker compose for real. Exit 0 if every promise holds, or if no Docker engine answers.

It works in a project of its own, with its own volumes and free ports, and removes all of it at the end.
"""

import argparse
import contextlib
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from tests.compose import checks
from tests.compose.stack import Stack


def missing_engine() -> str:
    """Why there is nothing to test with; empty if there is."""
    for command in (["docker", "version"], ["docker", "compose", "version"]):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        except FileNotFoundError:
            return "no docker command"
        except subprocess.TimeoutExpired:
            return "the Docker engine does not answer"
        if done.returncode != 0:
            return (done.stderr.strip() or f"{' '.join(command)} failed").splitlines()[-1]
    return ""


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@contextlib.contextmanager
def stack(speed: int) -> Iterator[Stack]:
    environment = os.environ | {
        "COMPOSE_PROJECT_NAME": f"pmarb-test-{secrets.token_hex(3)}",
        "COMPOSE_ENV_FILES": os.devnull,
        "SANDBOX_PUBLISHED": free_port(),
        "CONSOLE_PUBLISHED": free_port(),
        "CLOCK_SPEED": str(speed),
        "CLOCK_ANCHOR_NS": str(time.time_ns()),
    }
    made = Stack(environment)
    try:
        yield made
    finally:
        made.compose("--profile", "*", "down", "--volumes", "--rmi", "local", "--timeout", "5", check=False)


def attempt(name: str, check: Callable[[Stack], str], on: Stack) -> bool:
    """Run one check and print one line."""
    begun = time.monotonic()
    try:
        detail, passed = check(on), True
    except (AssertionError, LookupError, ValueError, subprocess.SubprocessError, OSError) as error:
        detail, passed = describe(error), False
    print(f"{'ok  ' if passed else 'FAIL'} {name} ({time.monotonic() - begun:.1f} s) {detail}", flush=True)
    return passed


def describe(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return f"{' '.join(error.cmd)} exited {error.returncode}: {str(error.stderr).strip()[-800:]}"
    return str(error) or type(error).__name__


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speed", type=int, default=5, help="how much faster the sandbox's time runs")
    parser.add_argument("--only", default="", help="names of checks, separated by commas")
    arguments = parser.parse_args()
    reason = missing_engine()
    if reason:
        print(f"SKIP: compose was not tested, {reason}")
        return 0
    wanted = set(arguments.only.split(",")) if arguments.only else set(checks.ALL)
    with stack(arguments.speed) as made:
        if not attempt("starts", checks.starts, made):
            made.show_logs()
            return 1
        results = [attempt(name, check, made) for name, check in checks.ALL.items() if name in wanted]
        if not all(results):
            made.show_logs()
        print(f"{sum(results)} of {len(results)} checks passed")
        return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
