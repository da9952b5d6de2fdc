"""Waiting that a cancellation always ends.

`asyncio.wait_for` of Python 3.11 swallows a cancellation that comes just as what it waits for ends: the task goes on as
if nobody had told it to stop. `asyncio.timeout` does not.
"""

import asyncio


async def until_set(event: asyncio.Event, *, within: float) -> bool:
    """Whether `event` was set within so many seconds (real)."""
    try:
        async with asyncio.timeout(within):
            return await event.wait()
    except TimeoutError:
        return False
