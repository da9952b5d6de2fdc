"""From a received tick to the signed order, through the three real services, beside the floor of this machine."""

import asyncio
import shutil
import tempfile
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, LiteralString

import psycopg
from coincurve import PrivateKey

from bench.measure import Measured, compared
from pmarb.bus.transport import Transport
from pmarb.venue import eip712
from services.cli.children import Program
from services.cli.stack import Plan, Stack

SECONDS: Final = 45.0
FLOOR_ROUNDS: Final = 60
PACE: Final = 0.25  # Seconds between two, about as often as the services send here: after a rest everything is slower

STEPS: Final[dict[str, LiteralString]] = {
    "tick received to opportunity found": "(v.opportunity->>'found_real')::bigint - o.tick_real",
    "found to approved": "o.judged_real - (v.opportunity->>'found_real')::bigint",
    "approved to signed and sent": "o.sent_real - o.judged_real",
    "tick to wire": "o.sent_real - o.tick_real",
}


class LenientStack(Stack):
    """The whole system, but for a risk service whose limits do not get in the way."""

    def _service(self, name: str) -> Program:
        program = super()._service(name)
        return replace(program, arguments=("-m", "bench.lenient_risk")) if name == "risk" else program


def run() -> list[Measured]:
    folder = Path(tempfile.mkdtemp(prefix="pm-arb-bench-"))
    folder.chmod(0o711)
    try:
        steps, floor = asyncio.run(_measure(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    base = "two raw hops, an insert, a signature"
    return [compared(name, times, base, floor, unit="ms") for name, times in steps.items()]


async def _measure(folder: Path) -> tuple[dict[str, list[float]], list[float]]:
    stack = LenientStack(_plan(folder), lambda _name, _line: None)
    try:
        await stack.start()
        await asyncio.sleep(SECONDS)
        steps = _steps(stack.environment["DATABASE_URL"])
        for name in ("scanner", "risk", "executor"):
            await stack.stop_one(name)
        return steps, await _floor(stack.environment["REDIS_URL"], stack.environment["DATABASE_URL"])
    finally:
        await stack.stop()


def _plan(folder: Path) -> Plan:
    return Plan(
        command="bench",
        data_dir=folder / "data",
        scratch=folder,
        scenario="slow_makers",
        seed=1,
        speed=10,
        console_port=0,
        environment={
            "VENUE": "sandbox",
            "EXECUTION": "live",
            "LOG_FORMAT": "json",
            "BANKROLL_USD": "100000",
            "MAX_ORDER_USD": "3",
            "K_SE": "1",
        },
    )


def _steps(dsn: str) -> dict[str, list[float]]:
    """Seconds of each step of every order that was sent."""
    query: LiteralString = "FROM orders o JOIN verdicts v USING (opportunity_id) WHERE o.sent_real > 0"
    with psycopg.connect(dsn) as ledger:
        return {
            name: [float(row[0]) for row in ledger.execute(f"SELECT ({step}) / 1e9 {query}")]
            for name, step in STEPS.items()
        }


async def _floor(redis_url: str, dsn: str) -> list[float]:
    """The least that such a path can take here: no decisions, no messages to read, nothing but the four costs."""
    first, second, third = (Transport(redis_url) for _ in range(3))
    for stream in ("floor.a", "floor.b"):
        await first.call("XGROUP", "CREATE", stream, "floor", "0", "MKSTREAM")
    key, order, domain = PrivateKey(), _an_order(), eip712.domain_separator(exchange="0x" + "11" * 20, version="2")
    times = []
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True, prepare_threshold=0) as plain:
        await plain.execute("CREATE TABLE floor (id text PRIMARY KEY, body text)")
        for _ in range(FLOOR_ROUNDS):
            await asyncio.sleep(PACE)
            start = time.perf_counter()
            await _hop(first, second, "floor.a")
            await _hop(second, third, "floor.b")
            await plain.execute("INSERT INTO floor VALUES (%s, %s)", (uuid.uuid4().hex, "x" * 600))
            eip712.signature(key, order, domain=domain, contents=eip712.contents_hash(order))
            times.append(time.perf_counter() - start)
    for transport in (first, second, third):
        await transport.close()
    return times


async def _hop(writer: Transport, reader: Transport, stream: str) -> None:
    """From an XADD to the reader that waits for it."""
    waiting = asyncio.ensure_future(
        reader.call("XREADGROUP", "GROUP", "floor", "a", "BLOCK", 1000, "STREAMS", stream, ">", block_ms=1000)
    )
    await asyncio.sleep(0)
    await writer.call("XADD", stream, "*", "body", "x" * 900)
    await waiting


def _an_order() -> Any:
    class Order:
        salt, maker, signer, token_id = 1, "0x" + "22" * 20, "0x" + "22" * 20, "12345"
        maker_amount, taker_amount, side, signature_type = 3_000_000, 6_000_000, "BUY", 3
        timestamp, metadata, builder = 1, "0x" + "00" * 32, "0x" + "00" * 32

    return Order()
