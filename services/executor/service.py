"""The executor: approvals in, orders out, and the truth about them written down before anybody hears of it."""

import asyncio
from typing import Final, Protocol

from pmarb import logs
from pmarb.bus.port import BusUnavailable, Consumer, DeadLetter, Delivery
from pmarb.db.pool import Pool
from pmarb.domain.messages import Approval, Halt, Kill, Resume, Stream
from pmarb.runtime import Backoff, Heartbeat, member_name, until_stopped
from pmarb.waiting import end
from services.executor.brake import Brake
from services.executor.hotpath import HotPath
from services.executor.reconcile import Reconciler
from services.executor.shop import Shop, persistently

log = logs.get(__name__)

IN_FLIGHT: Final = 16
"""Posts awaited at once; more approvals wait on the bus."""

POLL_MS: Final = 200

LANDED_WITHIN: Final = 2.0
"""Seconds (real) that a stop waits for orders on their way. They are in the table: the next start asks about them."""

ENDED_WITHIN: Final = 5.0
"""Seconds (real) that everything else has to end after the receipt. What nobody could be told the next start tells."""


class Follower(Protocol):
    """Something that keeps up with the venue beside the trading: books, the user stream."""

    async def run(self, stop: asyncio.Event) -> None: ...


class Executor:
    """See the module. `run` returns after the drain: posts answered, orders cancelled, receipt written."""

    def __init__(
        self,
        *,
        shop: Shop,
        hot_path: HotPath,
        reconciler: Reconciler,
        brake: Brake,
        followers: tuple[Follower, ...],
        heartbeat: Heartbeat,
        pool: Pool,
    ) -> None:
        self._shop = shop
        self._hot_path = hot_path
        self._reconciler = reconciler
        self._brake = brake
        self._followers = followers
        self._heartbeat = heartbeat
        self._pool = pool
        self._slots = asyncio.Semaphore(IN_FLIGHT)
        self._flight: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        try:
            await self._work(stop)
        finally:
            await self._pool.close()  # One of its workers that is connecting would shrug off the end of the process

    async def _work(self, stop: asyncio.Event) -> None:
        done = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            beside = [group.create_task(follower.run(done)) for follower in self._followers]
            beside.append(group.create_task(self._brake.watch(done)))  # A kill does not wait until the books are read
            beside.append(group.create_task(self._control(done)))
            if await until_stopped(self._reconciler.start(), stop):  # Else a server is away: what rests is cancelled
                beside.append(group.create_task(self._reconciler.run(done)))
                await until_stopped(self._approvals(), stop)  # Wherever it is: Redis may be frozen
                await self._land()
            await self._brake.flat(who="signal", why="the process was told to stop")
            done.set()
            self._reconciler.wake()
            self._brake.wake()
            await end(beside, within=ENDED_WITHIN)
        await self._reconciler.close()

    async def _approvals(self) -> None:
        consumer = self._shop.bus.consumer(
            group="executor", name=member_name(), streams=(Stream.APPROVALS,), on_dead=_log_dead
        )
        backoff = Backoff("redis")
        while True:
            await self._heartbeat.beat()
            try:
                deliveries = await consumer.poll(block_ms=POLL_MS)
                backoff.recovered()
            except BusUnavailable as error:
                await backoff.wait(error)
                continue
            for delivery in deliveries:
                await self._slots.acquire()
                task = asyncio.create_task(self._handle(consumer, delivery))
                self._flight.add(task)
                task.add_done_callback(self._landed)
            await asyncio.sleep(0)  # They come first: only then is more asked for
            self._raise_failed()

    async def _land(self) -> None:
        """Let what is on its way arrive, but not for ever: what was answered cannot be told while Redis is away."""
        late = await end(self._flight, within=LANDED_WITHIN)
        if late:
            log.warning("stopped_in_flight", approvals=late, next="the next start asks what became of them")
        self._raise_failed()

    async def _handle(self, consumer: Consumer, delivery: Delivery) -> None:
        if not isinstance(delivery.message, Approval):
            log.warning("unexpected_message", stream=delivery.stream, type=type(delivery.message).__name__)
            await consumer.ack(delivery)
            return
        told = await self._hot_path.carry_out(delivery.message)
        await persistently("redis", BusUnavailable, lambda: consumer.forward(delivery, *told))
        self._reconciler.wake()

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._slots.release()
        if task.cancelled() or task.exception() is None:
            self._flight.discard(task)

    def _raise_failed(self) -> None:
        for task in self._flight:
            if task.done() and not task.cancelled():
                task.result()

    async def _control(self, done: asyncio.Event) -> None:
        """Messages only wake; the row in Postgres is what holds, and a message older than it changes nothing."""
        consumer = self._shop.bus.consumer(
            group=f"executor.{member_name()}", name=member_name(), streams=(Stream.CONTROL,), on_dead=_log_dead
        )
        backoff = Backoff("redis")
        while not done.is_set():
            try:
                for delivery in await consumer.poll(block_ms=POLL_MS):
                    await self._obey(delivery)
                    await consumer.ack(delivery)
                backoff.recovered()
            except BusUnavailable as error:
                await backoff.wait(error)

    async def _obey(self, delivery: Delivery) -> None:
        message = delivery.message
        match message:
            case Kill(who=who, why=why, ts_event=said_at):
                await self._brake.latch(who=who, why=why, said_at=said_at)
            case Halt():
                self._brake.wake()
            case Resume(who=who, why=why):
                log.info("resumed", who=who, why=why)
            case _:
                log.warning("unexpected_message", stream=delivery.stream, type=type(message).__name__)


def _log_dead(letter: DeadLetter) -> None:
    log.error("dead_letter", stream=letter.stream, entry_id=letter.entry_id, reason=letter.reason)
