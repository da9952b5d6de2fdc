"""The one way to the relayer: one transaction at a time, for its nonces are in a row, and fewer than it takes."""

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any, Final

from pmarb.domain.values import NANOS

A_MINUTE: Final = 20
"""Transactions in any minute of the venue; the relayer takes 25 of all who use this key."""

MINUTE: Final = 60 * NANOS


class Relay:
    """Runs what talks to the relayer beside the reconciling."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._sent: deque[int] = deque(maxlen=A_MINUTE)

    def free(self, now: int) -> bool:
        """Whether something may be sent now (venue time). What broke the last one is raised here."""
        if self._task is not None:
            if not self._task.done():
                return False
            self._task.result()
        return len(self._sent) < A_MINUTE or now - self._sent[0] >= MINUTE

    def send(self, work: Coroutine[Any, Any, None], *, now: int) -> None:
        """Start it. Ask `free` first."""
        self._sent.append(now)
        self._task = asyncio.create_task(work)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
