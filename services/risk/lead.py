"""Of several risk services one is active: a lock in PostgreSQL says which."""

import asyncio
import contextlib
from typing import Final

import psycopg

from pmarb import logs
from pmarb.bus.port import Bus, BusUnavailable
from pmarb.db import pool
from pmarb.db.pool import Connection
from pmarb.runtime import Backoff, Heartbeat, member_name
from pmarb.waiting import until_set
from services.risk.settings import TAKE_OVER_AFTER

log = logs.get(__name__)

LOCK: Final = 7002


async def lead(connection: Connection, bus: Bus, heartbeat: Heartbeat, stop: asyncio.Event) -> bool:
    """Wait for the lock; it is ours as long as `connection` lives. False when told to stop before.

    Whoever had it before us may not have noticed that it lost it: wait until it denies all.
    """
    waiting = False
    while not stop.is_set():
        cursor = await connection.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,))
        row = await cursor.fetchone()
        if row is not None and row[0]:
            if await _others(bus):
                log.info("taking_over", waits_s=TAKE_OVER_AFTER)
                await until_set(stop, within=TAKE_OVER_AFTER)
            return not stop.is_set()
        if not waiting:
            log.info("standing_by", reason="another risk service is active")
        waiting = True
        await heartbeat.beat()
        await until_set(stop, within=1.0)
    return False


async def connect(dsn: str, stop_backoff: Backoff) -> Connection:
    """A connection of its own, tried until the database answers."""
    while True:
        try:
            connection = await pool.connect(dsn)
        except psycopg.OperationalError as error:
            await stop_backoff.wait(error)
        else:
            stop_backoff.recovered()
            return connection


async def _others(bus: Bus) -> bool:
    """Whether another risk process showed a sign of life; without Redis nobody can approve anything."""
    with contextlib.suppress(BusUnavailable):
        return any(member != member_name() for member in await bus.members("risk"))
    return False
