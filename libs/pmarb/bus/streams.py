"""The bus on Redis streams (or Valkey)."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from redis.exceptions import RedisError, ResponseError

from pmarb import codec
from pmarb.bus.connection import connect, translated
from pmarb.bus.consumer import StreamConsumer, addition
from pmarb.bus.port import Consumer, DeadLetter, Policy
from pmarb.bus.transport import Transport
from pmarb.domain.messages import Message, Stream

_MILLION: Final = 1_000_000


class RedisBus:
    """A connection pool to one Redis. See `pmarb.bus.port.Bus` for what each method promises."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._redis = connect(url)
        self._transport = Transport(url)
        self._consumers: list[StreamConsumer] = []

    async def publish(self, *messages: Message) -> None:
        async with translated(self._redis):
            if len(messages) == 1:  # A transaction of one costs two commands more
                await self._transport.call(*addition(messages[0]))
            elif messages:
                await self._transport.transaction([addition(message) for message in messages])

    def launch(self, message: Message) -> asyncio.Future[None]:
        return asyncio.ensure_future(self._appended(self._transport.launch(*addition(message))))

    def consumer(
        self,
        *,
        group: str,
        name: str,
        streams: Sequence[Stream],
        policy: Policy = Policy(),  # noqa: B008 - frozen
        on_dead: Callable[[DeadLetter], None] = lambda _: None,
    ) -> Consumer:
        consumer = StreamConsumer(
            connect(self._url),
            Transport(self._url),
            Transport(self._url),
            group=group,
            name=name,
            streams=streams,
            policy=policy,
            on_dead=on_dead,
        )
        self._consumers.append(consumer)
        return consumer

    async def tail(self, stream: Stream, *, since_ns: int) -> Sequence[Message]:
        async with translated(self._redis):
            entries = await self._redis.xrange(stream, min=str(since_ns // _MILLION), max="+")
        messages = []
        for _, fields in entries:
            with contextlib.suppress(codec.Undecodable):
                messages.append(codec.decode(fields))
        return messages

    async def trim(self, stream: Stream, *, keep_ms: int) -> int:
        async with translated(self._redis):
            seconds, micros = await self._redis.time()
            oldest_kept = (seconds * 1000 + micros // 1000 - keep_ms, 0)
            for group in await self._groups(stream):
                oldest_kept = min(oldest_kept, await self._oldest_needed(stream, group))
            limit = f"{max(oldest_kept[0], 0)}-{oldest_kept[1]}"
            return int(await self._redis.xtrim(stream, minid=limit, approximate=True))

    async def lengths(self) -> dict[str, int]:
        names = [name for stream in Stream for name in (str(stream), f"{stream}.dead")]
        async with translated(self._redis), self._redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.xlen(name)
            return dict(zip(names, await pipe.execute(), strict=True))

    async def beat(self, *, service: str, member: str, ttl_ms: int, says: bytes = b"") -> None:
        async with translated(self._redis):
            await self._redis.set(f"alive:{service}:{member}", says, px=ttl_ms)

    async def members(self, service: str) -> list[str]:
        prefix = f"alive:{service}:"
        async with translated(self._redis):
            keys = [key async for key in self._redis.scan_iter(match=f"{prefix}*", count=100)]
        return sorted(key.decode().removeprefix(prefix) for key in keys)

    async def said(self, service: str) -> dict[str, bytes]:
        members = await self.members(service)
        async with translated(self._redis):
            values = await self._redis.mget([f"alive:{service}:{member}" for member in members]) if members else []
        return {member: value for member, value in zip(members, values, strict=True) if value is not None}

    async def ping(self) -> None:
        """Raises BusUnavailable while Redis is away."""
        async with translated(self._redis):
            await self._redis.ping()

    async def close(self) -> None:
        for consumer in self._consumers:
            await consumer.close()
        await self._transport.close()
        with contextlib.suppress(RedisError, OSError):
            await self._redis.aclose()

    async def _groups(self, stream: Stream) -> list[dict[str, Any]]:
        try:
            return list(await self._redis.xinfo_groups(stream))
        except ResponseError as error:
            if "no such key" in str(error):
                return []
            raise

    async def _oldest_needed(self, stream: Stream, group: dict[str, Any]) -> tuple[int, int]:
        """The first entry the group has not acknowledged, or the last one it was given."""
        pending = await self._redis.xpending(stream, group["name"])
        first = pending["min"] if pending["pending"] else group["last-delivered-id"]
        millis, _, sequence = first.decode().partition("-")
        return int(millis), int(sequence or 0)

    async def _appended(self, reply: Awaitable[Any]) -> None:
        async with translated(self._redis):
            await reply
