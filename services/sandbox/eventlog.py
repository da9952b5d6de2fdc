"""One line an event on stderr: `ts level event key=value`, values quoted when they hold spaces."""

from __future__ import annotations

import sys
from datetime import UTC, datetime


def log_event(event: str, *, level: str = "info", **values: object) -> None:
    stamp = datetime.now(tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    pairs = " ".join(f"{key}={_quoted(value)}" for key, value in values.items())
    sys.stderr.write(f"{stamp} {level} {event} {pairs}".rstrip() + "\n")
    sys.stderr.flush()


def _quoted(value: object) -> str:
    text = str(value)
    return f'"{text}"' if " " in text else text
