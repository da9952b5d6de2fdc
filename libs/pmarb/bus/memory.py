"""The bus in memory: the twin of `streams`, for simulations and replays in one process.

A `MemoryBroker` is the server: it outlives the buses and consumers that connect to it, so that a test can kill one
and start another. It passes the same contract suite as Redis.
"""

import asyncio
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pmarb import codec
from pmarb.bus.port import Consumer, DeadLetter, Delivery, Policy, TooManyDead
from pmarb.domain.messages import Message, Stream
from pmarb.waiting import until_set

Fields = Mapping[bytes, bytes]


@dataclass(slots=True)
class _Pending:
    consumer: str
    deliveries: int
    since: float


@dataclass(slots=True)
class _Group:
    next_index: int = 0
    pending: dict[int, _Pending] = field(default_factory=dict)


@dataclass(slots=True)
class _Log:
    entries: dict[int, tuple[int, Fields]] = field(default_factory=dict)
    groups: dict[str, _Group] = field(default_factory=dict)
    last: int = 0


class MemoryBroker:
    """What Redis would hold."""

    def __init__(self) -> None:
        self.logs: dict[str, _Log] = defaultdict(_Log)
        self.alive: dict[tuple[str, str], float] = {}
        self.said: dict[tuple[str, str], bytes] = {}
        self.arrived = asyncio.Event()
        self._ids = itertools.count(1)

    def append(self, stream: str, fields: Fields) -> int:
        """Add raw fields, readable or not; their entry id."""
        log = self.logs[stream]
        log.last = next(self._ids)
        log.entries[log.last] = (time.time_ns(), dict(fields))
        self.arrived.set()
        return log.last


class MemoryBus:
    """See `pmarb.bus.port.Bus`."""

    def __init__(self, broker: MemoryBroker | None = None) -> None:
        self.broker = broker or MemoryBroker()

    async def publish(self, *messages: Message) -> None:
        for message in messages:
            self.broker.append(codec.stream_of(message), codec.encode(message))

    def launch(self, message: Message) -> asyncio.Future[None]:
        self.broker.append(codec.stream_of(message), codec.encode(message))
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def consumer(
        self,
        *,
        group: str,
        name: str,
        streams: Sequence[Stream],
        policy: Policy = Policy(),  # noqa: B008 - frozen
        on_dead: Callable[[DeadLetter], None] = lambda _: None,
    ) -> Consumer:
        return MemoryConsumer(self.broker, group=group, name=name, streams=streams, policy=policy, on_dead=on_dead)

    async def tail(self, stream: Stream, *, since_ns: int) -> Sequence[Message]:
        messages = []
        for added, fields in self.broker.logs[stream].entries.values():
            if added >= since_ns:
                try:
                    messages.append(codec.decode(fields))
                except codec.Undecodable:
                    continue
        return messages

    async def trim(self, stream: Stream, *, keep_ms: int) -> int:
        log = self.broker.logs[stream]
        before = time.time_ns() - keep_ms * 1_000_000
        needed = min((min(g.pending, default=g.next_index) for g in log.groups.values()), default=log.last + 1)
        gone = [index for index, (added, _) in log.entries.items() if added < before and index < needed]
        for index in gone:
            del log.entries[index]
        return len(gone)

    async def lengths(self) -> dict[str, int]:
        names = [name for stream in Stream for name in (str(stream), f"{stream}.dead")]
        return {name: len(self.broker.logs[name].entries) for name in names}

    async def beat(self, *, service: str, member: str, ttl_ms: int, says: bytes = b"") -> None:
        self.broker.alive[service, member] = time.monotonic() + ttl_ms / 1000
        self.broker.said[service, member] = says

    async def members(self, service: str) -> list[str]:
        now = time.monotonic()
        return sorted(m for (s, m), until in self.broker.alive.items() if s == service and until > now)

    async def said(self, service: str) -> dict[str, bytes]:
        return {member: self.broker.said[service, member] for member in await self.members(service)}

    async def ping(self) -> None:
        return None

    async def close(self) -> None:
        return None


class MemoryConsumer:
    """See `pmarb.bus.port.Consumer`."""

    def __init__(
        self,
        broker: MemoryBroker,
        *,
        group: str,
        name: str,
        streams: Sequence[Stream],
        policy: Policy,
        on_dead: Callable[[DeadLetter], None],
    ) -> None:
        self._broker = broker
        self._group = group
        self._name = name
        self._streams = tuple(streams)
        self._policy = policy
        self._on_dead = on_dead
        self._drained: dict[Stream, int] = dict.fromkeys(self._streams, 0)
        self._draining = True
        self._dead_in_a_row = 0

    async def poll(self, *, block_ms: int = 1000) -> Sequence[Delivery]:
        await asyncio.sleep(0)
        if self._draining:
            own = self._again(self._own_pending)
            self._draining = bool(own)
            return self._decoded(own)
        found = self._again(self._abandoned) or self._new()
        if not found and block_ms:
            self._broker.arrived.clear()
            if not await until_set(self._broker.arrived, within=block_ms / 1000):
                return ()
            found = self._new()
        return self._decoded(found)

    async def ack(self, *deliveries: Delivery) -> None:
        for delivery in deliveries:
            self._group_of(delivery.stream).pending.pop(int(delivery.entry_id), None)

    async def forward(self, delivery: Delivery, *messages: Message) -> None:
        for message in messages:
            self._broker.append(codec.stream_of(message), codec.encode(message))
        await self.ack(delivery)

    async def close(self) -> None:
        return None

    def _group_of(self, stream: Stream) -> _Group:
        return self._broker.logs[stream].groups.setdefault(self._group, _Group())

    def _again(self, which: Callable[[Stream, _Group], list[int]]) -> list[tuple[Stream, int, int]]:
        """Entries given out before that are ours to take (again); each counts as one delivery more."""
        found = []
        for stream in self._streams:
            group = self._group_of(stream)
            for index in which(stream, group)[: self._policy.batch]:
                pending = group.pending[index]
                pending.consumer = self._name
                pending.deliveries += 1
                pending.since = time.monotonic()
                self._drained[stream] = max(self._drained[stream], index)
                found.append((stream, index, pending.deliveries))
        return found

    def _own_pending(self, stream: Stream, group: _Group) -> list[int]:
        return [i for i, p in group.pending.items() if p.consumer == self._name and i > self._drained[stream]]

    def _abandoned(self, _stream: Stream, group: _Group) -> list[int]:
        idle_since = time.monotonic() - self._policy.abandoned_ms / 1000
        return [i for i, p in group.pending.items() if p.since <= idle_since]

    def _new(self) -> list[tuple[Stream, int, int]]:
        found = []
        for stream in self._streams:
            log, group = self._broker.logs[stream], self._group_of(stream)
            for index in [i for i in log.entries if i >= group.next_index][: self._policy.batch]:
                group.pending[index] = _Pending(self._name, 1, time.monotonic())
                group.next_index = index + 1
                found.append((stream, index, 1))
        return found

    def _decoded(self, found: Sequence[tuple[Stream, int, int]]) -> list[Delivery]:
        good = []
        for stream, index, deliveries in found:
            _, fields = self._broker.logs[stream].entries.get(index, (0, {}))
            try:
                if not fields:
                    raise codec.Undecodable("trimmed while pending")
                if deliveries > self._policy.max_deliveries:
                    raise codec.Undecodable(f"delivered {deliveries} times without success")
                message = codec.decode(fields)
            except codec.Undecodable as error:
                self._bury(stream, index, fields, str(error))
                continue
            self._dead_in_a_row = 0
            good.append(Delivery(stream=stream, entry_id=str(index), message=message, deliveries=deliveries))
        return good

    def _bury(self, stream: Stream, index: int, fields: Fields, reason: str) -> None:
        self._broker.append(f"{stream}.dead", {**fields, b"dead.reason": reason.encode()})
        self._group_of(stream).pending.pop(index, None)
        self._on_dead(DeadLetter(stream=stream, entry_id=str(index), reason=reason))
        self._dead_in_a_row += 1
        if self._dead_in_a_row > self._policy.max_dead_in_a_row:
            raise TooManyDead(f"{self._dead_in_a_row} unreadable entries in a row on {stream}; the last: {reason}")
