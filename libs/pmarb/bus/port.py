"""The message bus as services see it. Two implementations pass one contract suite: `streams` (Redis) and `memory`.

Delivery is at least once. A consumer reads its own unacknowledged entries first, then those that a dead member of
its group left behind, then new ones. What cannot be decoded, or was delivered more than `Policy.max_deliveries`
times, is moved to `<stream>.dead` and acknowledged in one step, and `on_dead` hears of it.
"""

from asyncio import Future
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pmarb.domain.messages import Message, Stream


class BusUnavailable(ConnectionError):
    """Redis does not answer. Wait and try again; what was published before is kept."""


class TooManyDead(RuntimeError):
    """More undecodable entries in a row than a bad message explains: probably a bad deploy. Stop and look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How a consumer treats trouble. `abandoned_ms` is how long a dead member's entries wait to be taken over."""

    max_deliveries: int = 5
    max_dead_in_a_row: int = 20
    abandoned_ms: int = 15_000
    batch: int = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message to be handled and then acknowledged. `deliveries` counts this one."""

    stream: Stream
    entry_id: str
    message: Message
    deliveries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """What was set aside, and why."""

    stream: Stream
    entry_id: str
    reason: str


class Publisher(Protocol):
    async def publish(self, *messages: Message) -> None:
        """Append each message to its stream, in order, in one transaction.

        Raises:
            BusUnavailable: and then nobody knows whether they were appended; readers must not mind a second copy.
        """

    def launch(self, message: Message) -> Future[None]:
        """`publish` one message that must not wait for the loop's next turn: it leaves before this returns.

        What is to be awaited says whether it was appended, as `publish` does.
        """


class Consumer(Protocol):
    """One member of a group on some streams."""

    async def poll(self, *, block_ms: int = 1000) -> Sequence[Delivery]:
        """The next messages; empty after `block_ms` without any.

        Raises:
            BusUnavailable: Redis is away; poll again after a pause.
            TooManyDead: nothing readable arrives.
        """

    async def ack(self, *deliveries: Delivery) -> None:
        """These were handled."""

    async def forward(self, delivery: Delivery, *messages: Message) -> None:
        """Publish `messages` and acknowledge `delivery` in one transaction: no hop is lost or doubled inside Redis."""

    async def close(self) -> None: ...


class Bus(Publisher, Protocol):
    """A connection to the bus."""

    def consumer(
        self,
        *,
        group: str,
        name: str,
        streams: Sequence[Stream],
        policy: Policy = Policy(),
        on_dead: Callable[[DeadLetter], None] = lambda _: None,
    ) -> Consumer:
        """A member `name` of `group` on `streams`. A restarted process that keeps its name keeps its entries."""

    async def tail(self, stream: Stream, *, since_ns: int) -> Sequence[Message]:
        """What was published to `stream` since that real time, oldest first; undecodable entries are passed over."""

    async def trim(self, stream: Stream, *, keep_ms: int) -> int:
        """Drop entries older than `keep_ms` that every group has acknowledged; how many went."""

    async def lengths(self) -> dict[str, int]:
        """Entries in every stream and dead-letter stream."""

    async def beat(self, *, service: str, member: str, ttl_ms: int, says: bytes = b"") -> None:
        """Say that `member` of `service` is alive, for `ttl_ms` from now, and what it `says` of itself."""

    async def members(self, service: str) -> list[str]:
        """Who of `service` is alive, sorted."""

    async def said(self, service: str) -> dict[str, bytes]:
        """What each living member of `service` said of itself last."""

    async def ping(self) -> None:
        """Raises BusUnavailable while the server is away."""

    async def close(self) -> None: ...
