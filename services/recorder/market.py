"""The market channel as it comes, over as many connections as its tokens need. No book is kept here."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Final

from pmarb.clock import Clock
from pmarb.venue.feed import SHARD
from pmarb.venue.sockets import Socket

FEATURES: Final = {"type": "market", "custom_feature_enabled": True}


class MarketChannel:
    """Tokens are watched market by market, and those of one market share a connection. `keep` gets every frame."""

    def __init__(self, *, url: str, clock: Clock, keep: Callable[[bytes], None]) -> None:
        self._url = url
        self._clock = clock
        self._keep = keep
        self._connections: list[_Connection] = []
        self._fresh = asyncio.Queue[_Connection]()

    async def run(self, stop: asyncio.Event) -> None:
        """Read until `stop`."""
        async with asyncio.TaskGroup() as group:
            starting = group.create_task(self._start(group, stop))
            await stop.wait()
            starting.cancel()

    async def _start(self, group: asyncio.TaskGroup, stop: asyncio.Event) -> None:
        while True:
            connection = await self._fresh.get()
            group.create_task(connection.socket.run(stop))

    async def watch(self, tokens: Sequence[str]) -> None:
        """Hear of these too."""
        found = next((each for each in self._connections if len(each.tokens) + len(tokens) <= SHARD), None)
        if found is None:
            found = _Connection(self._url, self._clock, self._keep)
            self._connections.append(found)
            self._fresh.put_nowait(found)
        await found.add(tokens)

    async def unwatch(self, tokens: Sequence[str]) -> None:
        """Hear no more of these."""
        for each in self._connections:
            if each.tokens.intersection(tokens):
                await each.remove(tokens)


class _Connection:
    """Reconnected, it subscribes to its tokens again, which the venue answers with their books."""

    def __init__(self, url: str, clock: Clock, keep: Callable[[bytes], None]) -> None:
        self.tokens: set[str] = set()
        self.socket = Socket(
            name="clob.market",
            url=url,
            clock=clock,
            opening=self._opening,
            on_frame=lambda raw, _real: keep(raw),
        )

    async def add(self, tokens: Sequence[str]) -> None:
        self.tokens.update(tokens)
        await self._say("subscribe", tokens)

    async def remove(self, tokens: Sequence[str]) -> None:
        self.tokens.difference_update(tokens)
        await self._say("unsubscribe", tokens)

    async def _say(self, operation: str, tokens: Sequence[str]) -> None:
        await self.socket.send(json.dumps({"operation": operation, "assets_ids": list(tokens)}))

    def _opening(self) -> list[str]:
        return [json.dumps({"assets_ids": sorted(self.tokens), **FEATURES})]
