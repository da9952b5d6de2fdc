"""Waiting for what has no event of its own: patient, since a test that succeeds never waits in vain."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import pytest

PATIENCE_S: Final = 90.0
"""How long a machine with other things to do may take for anything."""


async def until(true: Callable[[], object]) -> Any:
    """The first true answer; asks every twentieth of a second, and every fifth what takes long."""
    begun = time.monotonic()
    while (waited := time.monotonic() - begun) < PATIENCE_S:
        found = true()
        if found:
            return found
        await asyncio.sleep(min(0.05 + waited / 20, 0.2))
    pytest.fail(f"it did not happen within {PATIENCE_S:.0f} s")
