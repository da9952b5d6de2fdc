"""Delivery. Every channel has its own queue, so that a failing one holds up neither the others nor the trading."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from pmarb import logs
from pmarb.domain.messages import Alert, Priority
from services.alerter.channels import Channel, ChannelFailed
from services.alerter.record import GAVE_UP, RETRYING, Record

log = logs.get(__name__)

FAILING_AFTER = 3  # Tries in a row
LONGEST_QUEUE = 500
PATIENCE = {Priority.CRITICAL: 3600.0, Priority.HIGH: 3600.0, Priority.NORMAL: 900.0, Priority.LOW: 900.0}  # Seconds


@dataclass(slots=True, eq=False)
class Parcel:
    """An alert on its way. `given_up` counts the channels that will not get it."""

    row: int | None
    alert: Alert
    since: float
    delivered: bool = False
    errors: dict[str, str] = field(default_factory=dict)


class Courier:
    """Sends alerts to every channel, again and again with growing pauses while a channel fails.

    `on_failing(name, why)` is called once when a channel starts to fail, and must not raise.
    """

    def __init__(
        self,
        channels: tuple[Channel, ...],
        record: Record,
        *,
        on_failing: Callable[[Channel, str], Awaitable[None]],
        first_pause: float = 1.0,
        longest_pause: float = 60.0,
    ) -> None:
        self._record = record
        self._on_failing = on_failing
        self._pauses = (first_pause, longest_pause)
        self._queues: dict[Channel, asyncio.Queue[Parcel]] = {
            channel: asyncio.Queue(LONGEST_QUEUE) for channel in channels
        }

    def send(self, row: int | None, alert: Alert, *, but: Channel | None = None) -> None:
        """Queue the alert for every channel `but` one. A full queue drops it, and says so."""
        parcel = Parcel(row, alert, since=asyncio.get_running_loop().time())
        for channel, queue in self._queues.items():
            if channel is but:
                continue
            try:
                queue.put_nowait(parcel)
            except asyncio.QueueFull:
                log.error("alert_dropped", channel=channel.name, title=alert.title, queued=LONGEST_QUEUE)

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for channel, queue in self._queues.items():
                tasks.create_task(self._serve(channel, queue))

    async def drain(self, seconds: float) -> None:
        """Give what is queued a last chance."""
        joins = [asyncio.ensure_future(queue.join()) for queue in self._queues.values()]
        if joins:
            _, late = await asyncio.wait(joins, timeout=seconds)
            for task in late:
                task.cancel()

    async def _serve(self, channel: Channel, queue: asyncio.Queue[Parcel]) -> None:
        failures = 0
        while True:
            parcel = await queue.get()
            failures = await self._deliver(channel, parcel, failures)
            queue.task_done()

    async def _deliver(self, channel: Channel, parcel: Parcel, failures: int) -> int:
        """Failures in a row once the parcel was delivered or given up."""
        while True:
            try:
                await asyncio.to_thread(channel.send, parcel.alert)
            except ChannelFailed as error:
                failures += 1
                if await self._failed(channel, parcel, failures, str(error)):
                    return failures
            else:
                await self._succeeded(channel, parcel, failures)
                return 0

    async def _failed(self, channel: Channel, parcel: Parcel, failures: int, why: str) -> bool:
        """Whether to give the parcel up; otherwise the pause is over and it is time to try again."""
        if failures == FAILING_AFTER:
            log.error("channel_failing", channel=channel.name, tries=failures, error=why)
            await self._on_failing(channel, why)
        give_up = asyncio.get_running_loop().time() - parcel.since > PATIENCE[parcel.alert.priority]
        parcel.errors[channel.name] = f"{GAVE_UP if give_up else RETRYING}{channel.name}: {why}"
        await self._note(parcel)
        if not give_up:
            first, longest = self._pauses
            await asyncio.sleep(min(first * 2 ** min(failures - 1, 16), longest))
        return give_up

    async def _succeeded(self, channel: Channel, parcel: Parcel, failures: int) -> None:
        parcel.delivered = True
        parcel.errors.pop(channel.name, None)
        if failures >= FAILING_AFTER:
            log.info("channel_recovered", channel=channel.name, tries=failures + 1)
        log.info("alert_delivered", channel=channel.name, title=parcel.alert.title)
        await self._note(parcel)

    async def _note(self, parcel: Parcel) -> None:
        error = "; ".join(sorted(parcel.errors.values(), reverse=True))
        await self._record.update(parcel.row, delivered=parcel.delivered, error=error)
