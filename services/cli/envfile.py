"""The file `.env` in which settings are kept, and what stands in it that nobody reads."""

import os
import re
from pathlib import Path
from typing import Final

from dotenv import dotenv_values

PLACE: Final = Path(".env")
EXAMPLE: Final = ".env.example"
"""Lists every setting, commented out or not; it lies beside `.env`."""
OTHERS: Final = ("COMPOSE_", "DOCKER_", "BUILDKIT_", "PYTHON")
"""Docker and Python read names like these."""


def dotenv(place: Path = PLACE) -> dict[str, str]:
    """The settings of a `.env` file that the environment does not set itself."""
    return {name: value for name, value in dotenv_values(place).items() if value is not None and name not in os.environ}


def unread(place: Path = PLACE) -> list[str]:
    """Names in `.env` that are no setting; none where there is no list of settings beside it."""
    try:
        example = place.with_name(EXAMPLE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    known = set(re.findall(r"^#?([A-Z][A-Z0-9_]*)=", example, re.MULTILINE))
    known |= {f"{name}_FILE" for name in known}
    return [name for name in dotenv_values(place) if name not in known and not name.startswith(OTHERS)]
