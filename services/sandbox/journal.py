"""What a run has done, on disk: a line for each change, written before anybody is told of it.

A line is a JSON array of the facts that belong together; a fact is an object with its kind under `is`. A line is handed
to the operating system in one piece, so `kill -9` loses nothing that a client could have heard of. It is not synced to
the disk: a power cut may lose the last lines.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import orjson

from services.sandbox.eventlog import log_event

Fact = Mapping[str, Any]
FILE = "journal.jsonl"


class JournalError(Exception):
    """A state that cannot be gone on with; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the file, counted from 1, and its facts."""

    line: int
    facts: tuple[Fact, ...]


class Journal:
    """Where facts go; this one forgets them, as a run without a state does."""

    past: tuple[Entry, ...] = ()

    def begin(self, *facts: Fact) -> None:
        """Take facts from now on; the given ones are the first of this life."""

    def write(self, kind: str, /, **values: object) -> None:
        """Note one fact. It must be called before the event loop can tell anybody."""

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is written inside becomes one line: all of it survives or nothing. Nothing inside may wait."""
        yield


class FileJournal(Journal):
    """The journal of a folder. One process at a time holds it.

    Raises:
        JournalError: the folder cannot be used, another process has it, or a line before the last is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise JournalError(f"SANDBOX_STATE: {error}; name a folder that this user may write") from error
        self._lock()
        self.past = self._read()
        self._begun = False
        self._depth = 0
        self._gathered: list[Fact] = []

    def begin(self, *facts: Fact) -> None:
        self._begun = True
        self._append(facts)

    def write(self, kind: str, /, **values: object) -> None:
        if not self._begun:
            return
        self._gathered.append({"is": kind, **values})
        if not self._depth:
            self._flush()

    @contextmanager
    def together(self) -> Iterator[None]:
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                self._flush()

    def close(self) -> None:
        """Let another process have the folder."""
        os.close(self._file)

    def _flush(self) -> None:
        facts, self._gathered = self._gathered, []
        if facts:
            self._append(facts)

    def _append(self, facts: list[Fact] | tuple[Fact, ...]) -> None:
        line = orjson.dumps(facts) + b"\n"
        try:
            written = os.write(self._file, line)
        except OSError as error:
            self._die(str(error))
        if written != len(line):
            self._die("the disk took only a part of a line")

    def _die(self, reason: str) -> NoReturn:
        """End at once, as by a crash: nobody must hear of what was not written down."""
        log_event("journal_failed", level="error", path=self.path, error=reason, next="make room, then start again")
        os._exit(1)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise JournalError(
                f"SANDBOX_STATE: another sandbox works with {self.path}; stop it, or name another folder"
            ) from error

    def _read(self) -> tuple[Entry, ...]:
        """All whole lines; what a crash left of the last one is cut off."""
        raw = self.path.read_bytes()
        whole = raw[: raw.rfind(b"\n") + 1]
        if len(whole) < len(raw):
            log_event("journal_cut", level="warning", path=self.path, dropped_bytes=len(raw) - len(whole))
            os.truncate(self._file, len(whole))
        return tuple(self._entry(number, line) for number, line in enumerate(whole.splitlines(), start=1))

    def _entry(self, number: int, line: bytes) -> Entry:
        try:
            facts = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise self.damaged(number, str(error)) from error
        if not isinstance(facts, list) or not all(isinstance(fact, dict) and "is" in fact for fact in facts):
            raise self.damaged(number, "it is no list of facts")
        return Entry(number, tuple(facts))

    def damaged(self, line: int, reason: str) -> JournalError:
        return JournalError(
            f"line {line} of {self.path} is damaged ({reason}); put the file back as it was, "
            "or delete it to begin a new run"
        )
