"""Tapes of a sandbox, as `pm-arb record` makes them."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from pmarb.venue.polybolt import PriceKeys
from pmarb.venue.public import sandbox, sandbox_keys
from services.recorder.service import RecorderService
from services.recorder.spool import Spool

HEARTBEAT = "heartbeat"


def a_spool(folder: Path, *, rotate_s: float = 3600, rotate_bytes: int = 1 << 30) -> Spool:
    return Spool(folder, venue="sandbox", rotate_s=rotate_s, rotate_bytes=rotate_bytes)


async def recorded(
    ready: dict[str, Any], folder: Path, *, families: Sequence[str], seconds: float
) -> tuple[Spool, PriceKeys]:
    """So many venue seconds of all feeds of a sandbox that runs, and the credentials with which one was read."""
    async with httpx.AsyncClient(timeout=5) as http:
        root = ready["sandbox"].removesuffix("/sandbox")
        urls, clock = await sandbox(http, root)
        keys, spool = await sandbox_keys(http, root), a_spool(folder)
        recorder = RecorderService(
            urls=urls,
            clock=clock,
            http=http,
            spool=spool,
            assets=("btc", "eth"),
            families=tuple(families),
            keys=keys,
            seconds=seconds,
            heartbeat_file=folder / HEARTBEAT,
        )
        await recorder.run(asyncio.Event())
    return spool, keys
