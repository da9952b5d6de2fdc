"""The note that `up` and `demo` leave in `.pm-arb/run.json`, so that other terminals find what runs."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

PLACE: Final = Path(".pm-arb") / "run.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFile:
    """A running stack. The addresses hold the servers' password, so the file is for its owner only."""

    pid: int
    command: str
    environment: Mapping[str, str]
    console_url: str

    @property
    def alive(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


def write(run: RunFile, place: Path = PLACE) -> None:
    """Leave the note; a folder that cannot be written is no reason not to run."""
    try:
        place.parent.mkdir(mode=0o700, exist_ok=True)
        draft = place.with_suffix(".new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(asdict(run), file)
        draft.replace(place)
    except OSError:
        return


def read(place: Path = PLACE) -> RunFile | None:
    """The running stack, None without a note or when its process has gone."""
    try:
        run = RunFile(**json.loads(place.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return run if run.alive else None


def remove(place: Path = PLACE) -> None:
    """Take the note away, if it is ours."""
    run = read(place)
    if run is not None and run.pid == os.getpid():
        place.unlink(missing_ok=True)
