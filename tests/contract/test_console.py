"""The console over HTTP, as its own process: views, health, control, a clean end."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest

from pmarb import codec
from pmarb.bus.streams import RedisBus
from pmarb.db import views
from pmarb.domain.messages import Halt, Kill, Resume, Stream
from pmarb.domain.scanners import ScannerReport
from tests.ledgers import with_a_trade
from tests.starting import finished

TOKEN = "a-long-enough-token"


@contextlib.contextmanager
def console(redis_url: str, database_url: str, **environment: str) -> Iterator[tuple[httpx.Client, Any]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {"REDIS_URL": redis_url, "DATABASE_URL": database_url, "CONSOLE_PORT": str(port), "MEMBER": "console"}
    process = subprocess.Popen(
        [sys.executable, "-m", "services.console"],
        env=os.environ | settings | {"HEARTBEAT_FILE": os.devnull} | environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
        try:
            _wait(client)
            yield client, process
        finally:
            process.terminate()
            process.wait(20)


def _wait(client: httpx.Client) -> None:
    for _ in range(200):
        try:
            client.get("/live")
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the console did not start")


def test_every_view_answers_with_exact_amounts(redis_url: str, database_url: str) -> None:
    with_a_trade(database_url)
    with console(redis_url, database_url) as (client, process):
        pnl = client.get("/pnl").json()
        assert (pnl["confirmed"], pnl["fees"]) == ("2.895", "0.105")
        assert client.get("/status").json()["balances"]["cash"] == "302.895"
        assert client.get("/positions").json() == []
        assert {order["state"] for order in client.get("/orders").json()} == {"FILLED", "REJECTED"}
        assert client.get("/rejections").json() == [{"name": "duplicate", "count": 1}]
        assert len(client.get("/opportunities?limit=2").json()) == 2
        steps = [step["name"] for step in client.get("/trace/opp-1").json()["steps"]]
        assert steps[:4] == ["tick received", "opportunity found", "approved by risk", "order written"]
        assert steps[-2:] == ["market resolved", "redeemed"]
        assert client.get("/trace/nonsense").status_code == 404
        assert client.get("/receipts").json() == client.get("/alerts").json() == []
        assert "<h1>" in client.get("/").text
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


async def test_the_status_holds_what_scanners_say_of_themselves(
    redis_bus: RedisBus, redis_url: str, database_url: str
) -> None:
    report = ScannerReport(cpu_share=0.2, lag_ms=3.0, frames_per_s=9.0, markets=8, reference_error_median_bps=0.1)
    await redis_bus.beat(service="scanner", member="one", ttl_ms=60_000, says=codec.encode_value(report))
    with console(redis_url, database_url) as (client, _):
        found = client.get("/status").json()["scanners"]
    assert (found["alive"], found["needed"]) == (1, 1)
    assert found["members"]["one"]["reference_error_median_bps"] == 0.1


async def test_health_is_503_until_every_service_is_alive(
    redis_bus: RedisBus, redis_url: str, database_url: str
) -> None:
    with console(redis_url, database_url, HEALTH_SERVICES="risk,executor") as (client, _):
        assert client.get("/health").status_code == 503
        for service in ("risk", "executor"):
            await redis_bus.beat(service=service, member="m", ttl_ms=5000)
        answer = client.get("/health")
        assert (answer.status_code, answer.json()["trading"]) == (200, "ACTIVE")


def test_without_postgres_it_says_so_instead_of_crashing(redis_url: str) -> None:
    with console(redis_url, "postgresql://nobody@127.0.0.1:1/none") as (client, _):
        assert client.get("/positions").status_code == 503
        assert "PostgreSQL" in client.get("/positions").json()["error"]
        assert client.get("/health").json()["postgres"] == "does not answer"


@pytest.mark.parametrize("path", ["/halt", "/kill", "/resume"])
def test_control_needs_a_token_to_exist_and_to_match(redis_url: str, database_url: str, path: str) -> None:
    body = {"reason": "a test"}
    with console(redis_url, database_url) as (client, _):
        answer = client.post(path, json=body, headers={"Authorization": "Bearer x"})
        assert (answer.status_code, "CONSOLE_TOKEN" in answer.text) == (403, True)
    with console(redis_url, database_url, CONSOLE_TOKEN=TOKEN) as (client, _):
        assert client.post(path, json=body).status_code == 401
        assert client.post(path, json=body, headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert client.post(path, json={}, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 422


async def test_halt_and_resume_change_the_truth_and_tell_the_services(
    redis_bus: RedisBus, redis_url: str, database_url: str
) -> None:
    header = {"Authorization": f"Bearer {TOKEN}"}
    with console(redis_url, database_url, CONSOLE_TOKEN=TOKEN) as (client, _):
        assert client.post("/halt", json={"reason": "looks odd"}, headers=header).json() == {"state": "HALTED"}
        assert client.get("/status").json()["state"]["why"] == "looks odd"
        assert client.post("/resume", json={"reason": "was nothing"}, headers=header).json() == {"state": "ACTIVE"}
    messages = await redis_bus.tail(Stream.CONTROL, since_ns=0)
    assert [type(message) for message in messages] == [Halt, Resume]


def test_a_halt_does_not_weaken_a_kill(redis_url: str, database_url: str) -> None:
    with psycopg.connect(database_url) as writer:
        writer.execute("UPDATE trading_state SET state = 'KILLED'")
    with console(redis_url, database_url, CONSOLE_TOKEN=TOKEN) as (client, _):
        answer = client.post("/halt", json={"reason": "again"}, headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.json()["state"] == "KILLED"
    with views.connect(database_url) as ledger:
        assert views.state(ledger).state == "KILLED"


async def test_the_kill_button_latches_and_brings_the_proof(
    redis_bus: RedisBus, redis_url: str, database_url: str
) -> None:
    header = {"Authorization": f"Bearer {TOKEN}"}
    with console(redis_url, database_url, CONSOLE_TOKEN=TOKEN) as (client, _):
        killing = asyncio.create_task(
            asyncio.to_thread(client.post, "/kill", json={"reason": "the button"}, headers=header, timeout=30)
        )
        while not await redis_bus.tail(Stream.CONTROL, since_ns=0):  # noqa: ASYNC110 - another process publishes
            await asyncio.sleep(0.05)
        with psycopg.connect(database_url) as writer:  # As an executor does
            writer.execute(
                "INSERT INTO receipts (who, why, open_before, cancelled, open_after, started_real, verified_real, "
                """ts_event) VALUES ('state', 'killed', '["0x1"]', '{"0x1": "cancelled"}', '[]', %s, %s, 0)""",
                (time.time_ns(), time.time_ns()),
            )
        answer = (await killing).json()
        assert answer["state"] == "KILLED"
        assert answer["note"].startswith("KILLED. 1 orders cancelled, none open afterwards (receipt ")
        assert client.get("/status").json()["state"]["why"] == "the button"
        assert 'id="kill"' in client.get("/").text
    assert [type(message) for message in await redis_bus.tail(Stream.CONTROL, since_ns=0)] == [Kill]


def test_a_foreign_host_name_is_refused(redis_url: str, database_url: str) -> None:
    with console(redis_url, database_url) as (client, _):
        assert client.get("/pnl", headers={"Host": "evil.example"}).status_code == 400


def test_a_taken_port_is_named(redis_url: str, database_url: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        environment = {
            "CONSOLE_PORT": str(taken.getsockname()[1]),
            "REDIS_URL": redis_url,
            "DATABASE_URL": database_url,
        }
        done = finished("services.console", env=os.environ | environment, timeout=30)
    assert done.returncode == 2
    assert "CONSOLE_PORT was" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_page_shows_values_as_text_only() -> None:
    from services.console.app import PAGE, SCRIPT

    assert "innerHTML" not in SCRIPT
    assert json.dumps(PAGE)
