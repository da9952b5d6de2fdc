"""A connection to Redis under options that are safe for us.

redis-py's own retries write a message twice when a reply is lost, and its time-outs are `asyncio.wait_for`, which on
Python 3.11 swallows a cancellation that comes as its work ends: a service whose other half had died judged on for ever.
Both are off here, and a lost or silent connection is told to the caller as `BusUnavailable`.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from pmarb.bus.port import BusUnavailable

_DONE_WITHIN: Final = 5.0  # Seconds, beyond what a blocking read was told to wait
_CONNECT_WITHIN: Final = 2.0
_NOT_NOW: Final = ("LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "MISCONF", "OOM")
"""What it answers while it starts, and while its disk or its memory is full."""


def connect(url: str) -> Any:
    """A client that never retries by itself and answers in lists of bytes (RESP2).

    Untyped: redis-py annotates every reply as the union of all protocols' shapes, and we pin one.
    """
    return redis.Redis.from_url(
        url,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        socket_timeout=None,
        socket_connect_timeout=_CONNECT_WITHIN,
        health_check_interval=0,
        **({} if url.startswith("unix:") else {"socket_keepalive": True}),
    )


@contextlib.asynccontextmanager
async def translated(client: Any, *, block_ms: int = 0) -> AsyncIterator[None]:
    """Turn "Redis is away, silent, starting or full" into BusUnavailable; every other error is a defect and stays one.

    All that is done inside must be done within five seconds and `block_ms`.
    """
    try:
        try:
            async with asyncio.timeout(_DONE_WITHIN + block_ms / 1000):
                yield
        except TimeoutError:  # A connection that was cut off while it signed in must not be taken for a ready one
            await client.connection_pool.disconnect(inuse_connections=False)
            raise
    except (RedisConnectionError, RedisTimeoutError, OSError) as error:
        raise BusUnavailable(str(error) or "no answer in time") from error
    except ResponseError as error:
        if str(error).startswith(_NOT_NOW):
            raise BusUnavailable(str(error)) from error
        raise
