"""The alerter: reads every stream, decides, records, delivers."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import psycopg

from pmarb import logs
from pmarb.bus.port import Bus, BusUnavailable, Consumer, Delivery, Policy
from pmarb.clock import Clock
from pmarb.db import views
from pmarb.domain.messages import Alert, AlertKind, Priority, Resume, Stream
from pmarb.domain.values import NANOS
from pmarb.runtime import Backoff, Heartbeat, every, member_name
from pmarb.waiting import until_set
from services.alerter import digest
from services.alerter.channels import Channel
from services.alerter.courier import Courier
from services.alerter.decide import STOPPED, alert_for
from services.alerter.lead import Lead
from services.alerter.quiet import Dedupe, SilenceWatch, StormBrake, silence_alert
from services.alerter.record import HELD, NOBODY, Record
from services.alerter.settings import AlerterSettings

log = logs.get(__name__)

# A bad producer is when alerts matter most: the alerter goes on where others stop
POLICY = Policy(max_dead_in_a_row=1_000_000)
LOOK_EVERY = 2.0  # Seconds, real
READ_EVERY = 0.25
"""Seconds, real. Whoever waits for each message takes a core just when an order needs it; a person can wait so long."""
LAST_CHANCE = 5.0  # Seconds for what is queued at the end
OWED_NS = 3600 * NANOS


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What the service is made of."""

    bus: Bus
    clock: Clock
    record: Record
    lead: Lead
    heartbeat: Heartbeat
    channels: tuple[Channel, ...]


class Alerter:
    """See the module."""

    def __init__(self, settings: AlerterSettings, tools: Tools) -> None:
        self._settings = settings
        self._tools = tools
        self._clock = tools.clock
        self._courier = Courier(tools.channels, tools.record, on_failing=self._channel_failing)
        self._dedupe = Dedupe(int(settings.alert_quiet_seconds * NANOS))
        self._storm = StormBrake(settings.alert_burst)
        self._watch = SilenceWatch(int(settings.silent_after_seconds * NANOS))
        self._dead: dict[str, int] = {}
        self._hour = self._day = 0

    async def run(self, stop: asyncio.Event) -> None:
        try:
            await self._become_active(stop)
            if not stop.is_set():
                await self._resume()
                await self._work(stop)
        finally:
            await self._tools.lead.close()
            await self._tools.record.close()
            await self._tools.bus.close()

    async def _work(self, stop: asyncio.Event) -> None:
        consumer = self._tools.bus.consumer(group="alerter", name=member_name(), streams=tuple(Stream), policy=POLICY)
        delivering = asyncio.create_task(self._courier.run())
        looking = asyncio.create_task(every(LOOK_EVERY, self._look_around, stop))
        reading = asyncio.create_task(self._read(consumer, stop))
        try:
            await _first_to_fail(delivering, looking, reading, until=stop)
            await asyncio.gather(looking, reading)
            await self._courier.drain(LAST_CHANCE)
        finally:
            for task in (delivering, looking, reading):
                task.cancel()
            await asyncio.gather(delivering, looking, reading, return_exceptions=True)

    async def _become_active(self, stop: asyncio.Event) -> None:
        backoff, waiting = Backoff("postgres"), False
        while not stop.is_set():
            await self._tools.heartbeat.beat()
            try:
                if await self._tools.lead.take():
                    backoff.recovered()
                    log.info("alerter_active", channels=[channel.name for channel in self._tools.channels])
                    return
            except psycopg.OperationalError as error:
                await backoff.wait(error)
                continue
            if not waiting:
                log.info("alerter_standing_by")
            waiting = True
            await until_set(stop, within=1.0)

    async def _resume(self) -> None:
        """Remember what went out and send what is owed."""
        now, real = self._clock.now(), self._clock.real()
        self._hour, self._day = now // digest.HOUR_NS, now // views.DAY_NS - 2  # Yesterday's summary may be owed
        self._watch.expect((*self._settings.expected, "redis", "postgres"), now=real)
        quiet = int(self._settings.alert_quiet_seconds * NANOS)
        self._dedupe.remember(await self._tools.record.recent_keys(since=now - quiet), now=real)
        if self._tools.channels:
            for row, alert in await self._tools.record.owed(since=now - OWED_NS):
                self._courier.send(row, alert)

    async def _read(self, consumer: Consumer, stop: asyncio.Event) -> None:
        backoff = Backoff("redis")
        while not stop.is_set():
            await self._tools.heartbeat.beat()
            try:
                deliveries = await consumer.poll(block_ms=1)
                for delivery in deliveries:
                    await self._handle(delivery)
                await consumer.ack(*deliveries)
                backoff.recovered()
            except BusUnavailable as error:
                await backoff.wait(error)
                continue
            if len(deliveries) < POLICY.batch:
                await asyncio.sleep(READ_EVERY)

    async def _handle(self, delivery: Delivery) -> None:
        if isinstance(delivery.message, Resume):
            self._dedupe.forget(STOPPED)
        now = self._clock.now()
        alert = alert_for(delivery.message, large_loss_usd=self._settings.large_loss_usd, now=now)
        if alert is None or (delivery.deliveries > 1 and await self._tools.record.knows(alert.dedupe_key)):
            return
        await self._raise(alert)

    async def _raise(self, alert: Alert, *, but: Channel | None = None) -> None:
        real = self._clock.real()
        if not self._dedupe.admit(alert.dedupe_key, now=real):
            return
        passes = self._storm.admit(alert, now=real)
        log.info("alert_raised", kind=alert.kind, priority=alert.priority, title=alert.title, body=alert.body)
        if not passes or not self._tools.channels:
            await self._tools.record.write(alert, NOBODY if passes else HELD)
            return
        self._courier.send(await self._tools.record.write(alert, ""), alert, but=but)

    async def _channel_failing(self, channel: Channel, why: str) -> None:
        now = self._clock.now()
        body = f"{why}. Trading goes on; alerts for this channel are kept and tried again."
        alert = Alert(
            kind=AlertKind.CHANNEL_FAILED,
            priority=Priority.HIGH,
            dedupe_key=f"channel:{channel.name}",
            title=f"Alert channel {channel.name} is failing",
            body=body,
            ts_event=now,
            ts_init=now,
        )
        await self._raise(alert, but=channel)

    async def _look_around(self) -> None:
        """Everything that no message brings: silence, dead letters, the hour, the day, the end of a storm."""
        real, now = self._clock.real(), self._clock.now()
        await self._listen_for("redis", self._listen_to_services)
        await self._listen_for("postgres", self._look_at_ledger)
        for service, seconds in self._watch.silent(now=real):
            await self._raise(silence_alert(service, seconds, venue_now=now))
        held = self._storm.digest(now=real, venue_now=now)
        if held is not None:
            await self._raise(held)

    async def _listen_for(self, server: str, look: Callable[[], Awaitable[None]]) -> None:
        try:
            await look()
        except (BusUnavailable, psycopg.OperationalError) as error:
            log.debug("server_unavailable", server=server, error=str(error))
        else:
            self._heard(server)

    def _heard(self, service: str) -> None:
        if self._watch.heard(service, now=self._clock.real()):
            log.info("service_returned", name=service)

    async def _listen_to_services(self) -> None:
        for service in self._settings.expected:
            if await self._tools.bus.members(service):
                self._heard(service)
        for stream, length in (await self._tools.bus.lengths()).items():
            if stream.endswith(".dead") and length > self._dead.get(stream, 0):
                await self._dead_letters(stream, length)

    async def _dead_letters(self, stream: str, length: int) -> None:
        self._dead[stream] = length
        now = self._clock.now()
        alert = Alert(
            kind=AlertKind.DEAD_LETTER,
            priority=Priority.HIGH,
            dedupe_key=f"dead_letter:{stream}:{length}",
            title=f"{length} dead letters in {stream}",
            body="Entries that nobody could read or handle were set aside. The services' logs say why.",
            ts_event=now,
            ts_init=now,
        )
        if not await self._tools.record.knows(alert.dedupe_key):
            await self._raise(alert)

    async def _look_at_ledger(self) -> None:
        await self._tools.lead.keep()
        now = self._clock.now()
        hour, day = now // digest.HOUR_NS, now // views.DAY_NS
        if hour == self._hour and day == self._day + 1:
            return
        for alert in await asyncio.to_thread(self._regular, hour - 1, day - 1):
            if not await self._tools.record.knows(alert.dedupe_key):
                await self._raise(alert)
        self._hour, self._day = hour, day - 1

    def _regular(self, hour: int, day: int) -> list[Alert]:
        """The alerts of the periods that ended since the last look."""
        now = self._clock.now()
        with views.connect(self._settings.dsn) as connection:
            counted = [digest.opportunity_count(connection, hour, now=now)] if hour >= self._hour else []
            summary = digest.daily_summary(connection, day, now=now) if day > self._day else None
        return counted + ([summary] if summary else [])


async def _first_to_fail(*tasks: asyncio.Task[None], until: asyncio.Event) -> None:
    """Return when told to stop; raise what a task raises before that."""
    stopping = asyncio.create_task(until.wait())
    done, _ = await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    for task in done:
        task.result()
