"""The alerter against real Redis, Postgres and a real HTTP receiver."""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis.asyncio as redis

from pmarb.bus.streams import RedisBus
from pmarb.clock import ScaledClock
from pmarb.db import delivered, views
from pmarb.domain.messages import Kill
from pmarb.runtime import Heartbeat
from services.alerter.channels import channels
from services.alerter.lead import Lead
from services.alerter.record import Record
from services.alerter.service import Alerter, Tools
from services.alerter.settings import AlerterSettings
from tests.builders import NOW, a_settlement
from tests.waiting import until

# Apprise loads every plug-in it has at first use, and some import what newer Pythons drop
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@dataclass(slots=True)
class Receiver:
    """What arrived; answers 500 while `broken`."""

    url: str = ""
    broken: bool = False
    titles: list[str] = field(default_factory=list)


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if not receiver.broken:
                receiver.titles.append(body["title"])
            self.send_response(500 if receiver.broken else 200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.url = f"json://127.0.0.1:{server.server_address[1]}/secretpath"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield receiver
        finally:
            server.shutdown()


class Running:
    def __init__(self, redis_url: str, database_url: str, folder: Path, urls: str) -> None:
        self.settings = AlerterSettings(
            redis_url=redis_url,
            database_url=database_url,  # type: ignore[arg-type]
            apprise_urls=urls,  # type: ignore[arg-type]
            watched_services="risk",
            silent_after_seconds=0.5,
            alert_quiet_seconds=60,
        )
        bus = RedisBus(redis_url)
        tools = Tools(
            bus=bus,
            clock=ScaledClock(),
            record=Record(database_url),
            lead=Lead(database_url),
            heartbeat=Heartbeat(bus=bus, service="alerter", path=folder / "heartbeat"),
            channels=channels(self.settings.urls),
        )
        self.alerter = Alerter(self.settings, tools)
        self.alerter._courier._pauses = (0.05, 0.2)
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(self.alerter.run(self.stop))

    async def end(self) -> None:
        self.stop.set()
        await self.task


@pytest.fixture
async def start(redis_url: str, database_url: str, tmp_path: Path) -> AsyncIterator[Any]:
    started: list[Running] = []

    def make(*urls: str) -> Running:
        started.append(Running(redis_url, database_url, tmp_path, ",".join(urls)))
        return started[-1]

    yield make
    for running in started:
        running.stop.set()
        await asyncio.gather(running.task, return_exceptions=True)


def rows(database_url: str) -> list[delivered.Delivery]:
    with views.connect(database_url) as ledger:
        return list(delivered.deliveries(ledger, limit=100))


KILL = Kill(who="operator", why="drill", ts_event=NOW, ts_init=NOW)


async def test_a_kill_reaches_the_channel_once_and_is_recorded(
    start: Any, redis_bus: RedisBus, database_url: str
) -> None:
    with receiving() as receiver:
        start(receiver.url)
        await redis_bus.publish(KILL, KILL, a_settlement())
        await until(lambda: len([t for t in receiver.titles if t != "risk is silent"]) == 2)
        await asyncio.sleep(0.3)
        assert sorted(t for t in receiver.titles if "silent" not in t)[1] == "Trading KILLED"
        await until(lambda: all(row.delivered for row in rows(database_url)))
        assert not any("secretpath" in row.error for row in rows(database_url))


async def test_a_broken_channel_is_retried_and_reported_on_the_other(
    start: Any, redis_bus: RedisBus, database_url: str
) -> None:
    with receiving() as broken, receiving() as working:
        broken.broken = True
        start(broken.url, working.url)
        await redis_bus.publish(KILL)
        await until(lambda: "Trading KILLED" in working.titles)
        await until(lambda: "Alert channel json#1 is failing" in working.titles)
        broken.broken = False
        await until(lambda: "Trading KILLED" in broken.titles)
        assert not any("failing" in title for title in broken.titles)
        await until(lambda: all(row.error == "" for row in rows(database_url) if row.kind == "trading_stopped"))


async def test_a_failing_channel_does_not_stop_the_reading(start: Any, redis_bus: RedisBus, database_url: str) -> None:
    with receiving() as broken:
        broken.broken = True
        start(broken.url)
        await redis_bus.publish(*[a_settlement(token=str(number)) for number in range(10)])
        await until(lambda: len([row for row in rows(database_url) if row.kind == "trade"]) == 10)
        assert not any(row.delivered for row in rows(database_url))


async def test_what_is_owed_is_sent_after_a_restart_and_nothing_twice(
    start: Any, redis_bus: RedisBus, database_url: str
) -> None:
    with receiving() as receiver:
        receiver.broken = True
        first = start(receiver.url)
        now = first.alerter._clock.now()
        await redis_bus.publish(Kill(who="operator", why="drill", ts_event=now, ts_init=now))
        await until(lambda: any(row.error.startswith("retrying") for row in rows(database_url)))
        first.task.cancel()
        await asyncio.gather(first.task, return_exceptions=True)
        receiver.broken = False
        start(receiver.url)
        await until(lambda: "Trading KILLED" in receiver.titles)
        await asyncio.sleep(0.3)
        assert receiver.titles.count("Trading KILLED") == 1


async def test_a_silent_service_is_critical(start: Any, database_url: str) -> None:
    start()
    await until(lambda: any(row.title == "risk is silent" for row in rows(database_url)))
    row = next(row for row in rows(database_url) if row.title == "risk is silent")
    assert row.priority == "critical"
    assert row.error == "not sent: APPRISE_URLS is empty"


async def test_dead_letters_are_alerts(start: Any, redis_bus: RedisBus, redis_url: str, database_url: str) -> None:
    start()
    async with redis.from_url(redis_url) as client:
        await client.xadd("orders", {"type": "Nonsense", "body": "{"})
    await until(lambda: any(row.kind == "dead_letter" for row in rows(database_url)))


async def test_the_second_alerter_stands_by_until_the_first_has_gone(
    start: Any, redis_bus: RedisBus, database_url: str
) -> None:
    with receiving() as receiver:
        first, second = start(receiver.url), start(receiver.url)
        await redis_bus.publish(KILL)
        await until(lambda: "Trading KILLED" in receiver.titles)
        await first.end()
        await redis_bus.publish(a_settlement())
        await until(lambda: any(title.startswith("Settled") for title in receiver.titles))
        assert receiver.titles.count("Trading KILLED") == 1
        assert not second.task.done()


def test_the_daily_summary_and_the_hourly_count_speak_of_their_period(database_url: str) -> None:
    from services.alerter import digest

    day = NOW // views.DAY_NS
    with psycopg.connect(database_url, autocommit=True) as writer:
        writer.execute(
            "INSERT INTO settlements (token, market, slug, outcome, won, shares, cost, fees, payout, pnl, resolved_at)"
            " VALUES ('1', 'm', 's', 'Up', true, 6, 3, 0.105, 6, 2.895, %s)",
            (NOW,),
        )
        writer.execute(
            "INSERT INTO verdicts (opportunity_id, verdict, reason, detail, slug, opportunity, judged_at)"
            " VALUES ('o', 'denied', 'duplicate', '', 's', '{}', %s)",
            (NOW,),
        )
    with views.connect(database_url) as ledger:
        summary = digest.daily_summary(ledger, day, now=NOW)
        assert summary is not None
        assert "+2.9" in summary.title or "+2.89" in summary.title
        assert "1 settled (1 won)" in summary.body
        assert digest.daily_summary(ledger, day + 5, now=NOW) is None
        assert digest.opportunity_count(ledger, NOW // digest.HOUR_NS, now=NOW).title == "1 opportunities in an hour"
