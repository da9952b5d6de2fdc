"""The executor: approvals in, orders out, and the truth about them written down before anybody hears of it."""

import asyncio
import contextlib
from dataclasses import replace
from typing import Final, Protocol

from pmarb import logs
from pmarb.bus.port import BusUnavailable, Consumer, DeadLetter, Delivery
from pmarb.db.pool import Unavailable
from pmarb.domain.messages import Approval, Halt, Kill, Resume, Stream, TradingState
from pmarb.domain.orders import OrderState
from pmarb.runtime import Backoff, Heartbeat, member_name
from pmarb.venue.port import VenueUnavailable
from services.executor.flatten import flatten, log_receipt
from services.executor.hotpath import HotPath
from services.executor.reconcile import Reconciler
from services.executor.shop import Shop, persistently

log = logs.get(__name__)

IN_FLIGHT: Final = 16
"""Posts awaited at once; more approvals wait on the bus."""

POLL_MS: Final = 200
WATCH_EVERY: Final = 0.5  # Seconds, real: how soon a state written by a person is noticed
STOPPING: Final = frozenset((TradingState.HALTED, TradingState.KILLED))


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
        followers: tuple[Follower, ...],
        heartbeat: Heartbeat,
    ) -> None:
        self._shop = shop
        self._hot_path = hot_path
        self._reconciler = reconciler
        self._followers = followers
        self._heartbeat = heartbeat
        self._slots = asyncio.Semaphore(IN_FLIGHT)
        self._flight: set[asyncio.Task[None]] = set()
        self._watching = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        done = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for follower in self._followers:
                group.create_task(follower.run(done))
            await self._reconciler.start()
            group.create_task(self._reconciler.run(done))
            group.create_task(self._watch_state(done))
            group.create_task(self._control(done))
            await self._approvals(stop)
            await self._flat(who="signal", why="the process was told to stop")
            done.set()
            self._reconciler.wake()
            self._watching.set()
        await self._reconciler.close()

    async def _approvals(self, stop: asyncio.Event) -> None:
        consumer = self._shop.bus.consumer(
            group="executor", name=member_name(), streams=(Stream.APPROVALS,), on_dead=_log_dead
        )
        backoff = Backoff("redis")
        while not stop.is_set():
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
            self._raise_failed()
        if self._flight:
            await asyncio.gather(*self._flight)

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
            if task.done():
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
                await persistently(
                    "postgres",
                    Unavailable,
                    lambda: self._shop.state.kill(who=who, why=why, said_at=said_at, now=self._shop.clock.now()),
                )
                self._watching.set()
            case Halt():
                self._watching.set()
            case Resume(who=who, why=why):
                log.info("resumed", who=who, why=why)
            case _:
                log.warning("unexpected_message", stream=delivery.stream, type=type(message).__name__)

    async def _watch_state(self, done: asyncio.Event) -> None:
        """Act once on every change of the trading state, whoever wrote it."""
        before = TradingState.ACTIVE
        while not done.is_set():
            state = await persistently("postgres", Unavailable, self._shop.state.read)
            if state is not before and state in STOPPING:
                await self._stopped(state)
            before = state
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._watching.wait(), WATCH_EVERY)
            self._watching.clear()

    async def _stopped(self, state: TradingState) -> None:
        log.warning("trading_stopped", state=state.value)
        if state is TradingState.KILLED:
            await self._flat(who="state", why="trading was killed")
            return
        with contextlib.suppress(VenueUnavailable):
            await self._shop.venue.cancel_all()

    async def _flat(self, *, who: str, why: str) -> None:
        """Cancel, verify, write the receipt. An order whose outcome nobody knows keeps the receipt from being clean."""
        receipt = await flatten(self._shop.venue, self._shop.clock, who=who, why=why)
        try:
            unknown = [
                each.order.order_hash
                for each in await self._shop.orders.open()
                if each.order.state in (OrderState.UNKNOWN, OrderState.SUBMITTING)
            ]
            if unknown:
                words = f"outcome not known yet: {', '.join(unknown)}"
                receipt = replace(receipt, unverified="; ".join(filter(None, (receipt.unverified, words))))
            await self._shop.receipts.add(receipt)
        except Unavailable as error:
            receipt = replace(receipt, unverified=f"{receipt.unverified}; receipt not stored: {error}".strip("; "))
        log_receipt(receipt)


def _log_dead(letter: DeadLetter) -> None:
    log.error("dead_letter", stream=letter.stream, entry_id=letter.entry_id, reason=letter.reason)
