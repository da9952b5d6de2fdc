"""Waiting that a cancellation always ends.

`asyncio.wait_for` of Python 3.11 swallows a cancellation that comes just as what it waits for ends: the task goes on as
if nobody had told it to stop. `asyncio.timeout` does not.
"""

import asyncio
from collections.abc import Collection
from typing import Any


async def until_set(event: asyncio.Event, *, within: float) -> bool:
    """Whether `event` was set within so many seconds (real)."""
    try:
        async with asyncio.timeout(within):
            return await event.wait()
    except TimeoutError:
        return False


async def end(tasks: Collection[asyncio.Task[Any]], *, within: float) -> int:
    """Wait so many seconds (real) for tasks, then cancel the late ones. How many were; what they raise stays theirs."""
    if not tasks:
        return 0
    _, late = await asyncio.wait(tasks, timeout=within)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=within)
    return len(late)
