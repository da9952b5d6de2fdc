"""One member of a consumer group on Redis streams: own pending first, then the abandoned, then the new."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from redis.exceptions import RedisError, ResponseError

from pmarb import codec
from pmarb.bus.connection import translated
from pmarb.bus.port import BusUnavailable, DeadLetter, Delivery, Policy, TooManyDead
from pmarb.bus.transport import Transport, Word
from pmarb.domain.messages import Message, Stream

Fields = Mapping[bytes, bytes]
_NEW: Final = ">"
_FIRST: Final = "0"
_GONE: Final = ("NOGROUP", "UNBLOCKED")


def addition(message: Message) -> tuple[Word, ...]:
    """The command that appends `message` to its stream."""
    fields = codec.encode(message)
    return ("XADD", codec.stream_of(message), "*", *(word for pair in fields.items() for word in pair))


def _pairs(flat: Sequence[bytes] | None) -> Fields:
    """Fields come as a flat list; an entry that was trimmed comes as nothing."""
    words = iter(flat or ())
    return dict(zip(words, words, strict=True))


class StreamConsumer:
    """See `pmarb.bus.port.Consumer`. Groups are created at `0`, and created again when Redis has lost them."""

    def __init__(
        self,
        client: Any,
        reader: Transport,
        writer: Transport,
        *,
        group: str,
        name: str,
        streams: Sequence[Stream],
        policy: Policy,
        on_dead: Callable[[DeadLetter], None],
    ) -> None:
        self._redis = client
        self._reader = reader  # A connection of its own: a blocking read holds back whatever comes after it
        self._writer = writer
        self._group = group
        self._name = name
        self._streams = tuple(streams)
        self._policy = policy
        self._on_dead = on_dead
        self._cursors: dict[Stream, str] = {}
        self._next_sweep = 0.0
        self._dead_in_a_row = 0

    async def poll(self, *, block_ms: int = 1000) -> Sequence[Delivery]:
        try:
            async with translated(self._redis, block_ms=block_ms):
                return await self._poll(block_ms)
        except BusUnavailable:
            self._cursors.clear()  # The server may have delivered into the dead connection: sweep our own entries
            raise
        except ResponseError as error:
            if str(error).startswith(_GONE):
                self._cursors.clear()
                return ()
            raise

    async def ack(self, *deliveries: Delivery) -> None:
        if not deliveries:
            return
        await self._transaction((), deliveries)

    async def forward(self, delivery: Delivery, *messages: Message) -> None:
        await self._transaction(messages, (delivery,))

    async def close(self) -> None:
        await self._reader.close()
        await self._writer.close()
        with contextlib.suppress(RedisError, OSError):
            await self._redis.aclose()

    async def _transaction(self, messages: Sequence[Message], deliveries: Sequence[Delivery]) -> None:
        commands = [addition(message) for message in messages]
        commands += [("XACK", delivery.stream, self._group, delivery.entry_id) for delivery in deliveries]
        async with translated(self._redis):
            await self._writer.transaction(commands)

    async def _poll(self, block_ms: int) -> Sequence[Delivery]:
        await self._ensure_groups()
        own = [stream for stream in self._streams if self._cursors[stream] != _NEW]
        if own:
            return await self._own_pending(own)
        now = time.monotonic()
        if now >= self._next_sweep:
            self._next_sweep = now + self._policy.abandoned_ms / 2000
            claimed = await self._abandoned()
            if claimed:
                return claimed
        return await self._new(block_ms)

    async def _ensure_groups(self) -> None:
        for stream in self._streams:
            if stream in self._cursors:
                continue
            try:
                await self._redis.xgroup_create(stream, self._group, id=_FIRST, mkstream=True)
            except ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise
            self._cursors[stream] = _FIRST

    async def _own_pending(self, streams: Sequence[Stream]) -> Sequence[Delivery]:
        found: list[Delivery] = []
        for stream in streams:
            entries = await self._read({stream: self._cursors[stream]}, block_ms=None)
            if not entries:
                self._cursors[stream] = _NEW
                continue
            self._cursors[stream] = entries[-1][1]
            counts = await self._delivery_counts(stream, [entry_id for _, entry_id, _ in entries])
            found += await self._decoded(entries, counts)
        return found

    async def _abandoned(self) -> Sequence[Delivery]:
        found: list[Delivery] = []
        for stream in self._streams:
            cursor: Any = _FIRST
            while True:
                cursor, claimed, deleted = await self._redis.xautoclaim(
                    stream,
                    self._group,
                    self._name,
                    min_idle_time=self._policy.abandoned_ms,
                    start_id=cursor,
                    count=self._policy.batch,
                )
                for entry_id in deleted:
                    self._on_dead(DeadLetter(stream=stream, entry_id=entry_id.decode(), reason="trimmed while pending"))
                entries = [(stream, entry_id.decode(), fields) for entry_id, fields in claimed]
                counts = await self._delivery_counts(stream, [entry_id for _, entry_id, _ in entries])
                found += await self._decoded(entries, counts)
                if cursor in (b"0-0", "0-0"):
                    break
        return found

    async def _new(self, block_ms: int) -> Sequence[Delivery]:
        entries = await self._read(dict.fromkeys(self._streams, _NEW), block_ms=block_ms)
        return await self._decoded(entries, {})

    async def _read(self, positions: Mapping[Stream, str], *, block_ms: int | None) -> list[tuple[Stream, str, Fields]]:
        block = () if block_ms is None else ("BLOCK", max(block_ms, 1))
        who = ("GROUP", self._group, self._name, "COUNT", self._policy.batch)
        answer = await self._reader.call(
            "XREADGROUP", *who, *block, "STREAMS", *positions, *positions.values(), block_ms=block_ms or 0
        )
        return [
            (Stream(name.decode()), entry_id.decode(), _pairs(fields))
            for name, entries in answer or ()
            for entry_id, fields in entries
        ]

    async def _delivery_counts(self, stream: Stream, ids: Sequence[str]) -> dict[str, int]:
        if not ids:
            return {}
        rows = await self._redis.xpending_range(
            stream, self._group, min=ids[0], max=ids[-1], count=len(ids) + self._policy.batch, consumername=self._name
        )
        return {row["message_id"].decode(): row["times_delivered"] for row in rows}

    async def _decoded(
        self, entries: Sequence[tuple[Stream, str, Fields | None]], counts: Mapping[str, int]
    ) -> list[Delivery]:
        good: list[Delivery] = []
        for stream, entry_id, fields in entries:
            deliveries = counts.get(entry_id, 1)
            try:
                if not fields:
                    raise codec.Undecodable("trimmed while pending")
                if deliveries > self._policy.max_deliveries:
                    raise codec.Undecodable(f"delivered {deliveries} times without success")
                message = codec.decode(fields)
            except codec.Undecodable as error:
                await self._bury(stream, entry_id, fields or {}, str(error))
                continue
            self._dead_in_a_row = 0
            good.append(Delivery(stream=stream, entry_id=entry_id, message=message, deliveries=deliveries))
        return good

    async def _bury(self, stream: Stream, entry_id: str, fields: Fields, reason: str) -> None:
        """Move the entry to the dead letters, as it came, and acknowledge it in the same step."""
        letter = {**fields, b"dead.id": entry_id, b"dead.group": self._group, b"dead.reason": reason}
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.xadd(f"{stream}.dead", letter)
            pipe.xack(stream, self._group, entry_id)
            await pipe.execute()
        self._on_dead(DeadLetter(stream=stream, entry_id=entry_id, reason=reason))
        self._dead_in_a_row += 1
        if self._dead_in_a_row > self._policy.max_dead_in_a_row:
            raise TooManyDead(f"{self._dead_in_a_row} unreadable entries in a row on {stream}; the last: {reason}")
