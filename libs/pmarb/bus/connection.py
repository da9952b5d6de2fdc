"""A connection to Redis under options that are safe for us.

redis-py's own retries write a message twice when a reply is lost, and its default time-out never lets a long
BLOCK return: both are off here, and a lost connection is told to the caller as `BusUnavailable`.
"""

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

_REPLY_WITHIN: Final = 5.0  # Seconds; above the longest BLOCK that `poll` is asked for
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
        socket_timeout=_REPLY_WITHIN,
        socket_connect_timeout=_CONNECT_WITHIN,
        health_check_interval=0,
        **({} if url.startswith("unix:") else {"socket_keepalive": True}),
    )


@contextlib.asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Turn "Redis is away, starting or full" into BusUnavailable; every other Redis error is a defect and stays one."""
    try:
        yield
    except (RedisConnectionError, RedisTimeoutError, OSError) as error:
        raise BusUnavailable(str(error)) from error
    except ResponseError as error:
        if str(error).startswith(_NOT_NOW):
            raise BusUnavailable(str(error)) from error
        raise
