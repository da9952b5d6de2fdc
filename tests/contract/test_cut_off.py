"""A session whose client is gone without a word: no close and no reset arrive, as beyond a network that failed."""

import asyncio
import os
import socket
import time

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pmarb.db import pool
from tests.waiting import PATIENCE_S

REPAIR = 19
"""TCP_REPAIR of Linux: a connection that is closed in this mode says nothing."""


def vanish(connection: pool.Connection) -> None:
    found = socket.socket(fileno=os.dup(connection.fileno()))
    try:
        found.setsockopt(socket.IPPROTO_TCP, REPAIR, 1)
    except OSError as error:
        pytest.skip(f"only who may administer the network can let a connection vanish: {error}")
    finally:
        found.close()
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, connection.fileno())
    os.close(nothing)


async def test_a_lock_of_whoever_the_network_cut_off_is_free_within_half_a_minute(database_url: str) -> None:
    """By the system's own settings the server would ask whether anybody is there after two hours."""
    lock = "SELECT pg_try_advisory_lock(7002)"
    gone = await pool.connect(make_conninfo(database_url, host="127.0.0.1"))
    assert await (await gone.execute(lock)).fetchone() == (True,)
    await asyncio.sleep(0.5)  # Else the server still waits to hear that its answer arrived, and repeats it
    vanish(gone)
    begun = time.monotonic()
    with psycopg.connect(database_url, autocommit=True) as successor:
        while successor.execute(lock).fetchone() == (False,):
            assert time.monotonic() - begun < PATIENCE_S
            await asyncio.sleep(0.5)
    assert time.monotonic() - begun > 5, "the connection did not vanish, it was closed"
    await gone.close()
