"""A compose project under test: its commands, its ledger, its bus, and how to crash a part of it."""

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
KILLER_IMAGE = "python:3.12-slim"  # The base of every image: it is there already


class Stack:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)

    def run(self, *command: str, check: bool = True, timeout: float = 900) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            check=check,
            timeout=timeout,
        )

    def compose(self, *arguments: str, check: bool = True) -> str:
        return self.run("docker", "compose", "--ansi", "never", *arguments, check=check).stdout

    def run_by_hand(self, service: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command that a person runs beside the stack."""
        return self.run("docker", "compose", "--ansi", "never", "run", "--rm", "-T", service, *arguments, check=False)

    def by_hand(self, service: str, *arguments: str, code: int = 0) -> str:
        """What it says.

        Raises:
            AssertionError: it ended with another code.
        """
        done = self.run_by_hand(service, *arguments)
        assert done.returncode == code, (
            f"{service} {' '.join(arguments)} exited {done.returncode}: {(done.stdout + done.stderr).strip()[-800:]}"
        )
        return done.stdout

    def sql(self, query: str) -> list[list[str]]:
        """Rows of text."""
        psql = ("psql", "-U", "pmarb", "-d", "pmarb", "-h", "127.0.0.1", "-AtF", "\t", "-c", query)
        answer = self.compose("exec", "-T", "-e", "PGPASSWORD=pmarb", "postgres", *psql)
        return [line.split("\t") for line in answer.splitlines()]

    def number(self, query: str) -> int:
        return int(self.sql(query)[0][0])

    def redis(self, *command: str) -> list[str]:
        return self.compose("exec", "-T", "redis", "redis-cli", *command).splitlines()

    def messages(self, stream: str) -> list[dict[str, Any]]:
        """The bodies of all messages on a stream."""
        return [json.loads(line) for line in self.redis("XRANGE", stream, "-", "+") if line.startswith("{")]

    def trades_at_the_venue(self) -> set[str]:
        """Ids of every trade of the account that the executor trades for."""
        ready = json.loads(self._ask_sandbox("ready"))
        truth = json.loads(self._ask_sandbox(f"accounts/{ready['accounts'][0]['address']}"))
        return {trade["id"] for trade in truth["trades"]}

    def _ask_sandbox(self, path: str) -> str:
        asking = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:8900/sandbox/{path}').read().decode())"
        return self.compose("exec", "-T", "sandbox", "python", "-c", asking)

    def logs(self, service: str) -> list[str]:
        return self.compose("logs", "--no-log-prefix", "--no-color", service).splitlines()

    def containers(self, service: str) -> list[str]:
        return self.compose("ps", "--all", "--quiet", service).split()

    def inspect(self, container: str, template: str) -> str:
        return self.run("docker", "inspect", "--format", template, container).stdout.strip()

    def crash(self, container: str) -> None:
        """kill -9 of the process on the host: `docker kill` would count as a stop and not be restarted."""
        pid = self.inspect(container, "{{.State.Pid}}")
        self.run("docker", "run", "--rm", "--pid=host", "--network=none", KILLER_IMAGE, "sh", "-c", f"kill -9 {pid}")

    def healthy(self, container: str) -> bool:
        return self.inspect(container, "{{.State.Running}} {{.State.Health.Status}}") == "true healthy"

    def show_logs(self) -> None:
        print(self.compose("ps", "--all", check=False))
        print(self.compose("logs", "--no-color", "--tail", "30", check=False), flush=True)


def eventually(what: Callable[[], bool], *, within: float, saying: str) -> float:
    """Seconds until `what` held.

    Raises:
        AssertionError: it did not in time.
    """
    begun = time.monotonic()
    while time.monotonic() - begun < within:
        if what():
            return time.monotonic() - begun
        time.sleep(0.5)
    raise AssertionError(f"{saying}: not within {within:.0f} s")
