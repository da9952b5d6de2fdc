"""The sandbox under load, and whether its market is as hard as the real one: orders, fan-out, markouts."""

import asyncio
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from io import StringIO
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import httpx
import websockets
import zstandard

from bench.measure import Measured
from services.sandbox.accounts import Account
from services.sandbox.auth import ApiKey
from services.sandbox.clock import MS_NS, SECOND_NS
from services.sandbox.markets import Market
from services.sandbox.scenario import SCENARIOS
from services.sandbox.world import RunSettings, World
from tests.sandbox_orders import call, signed_order

ANCHOR_NS = 1_795_000_000 * SECOND_NS
ORDERS, ORDERS_PROMISED = 1500, 500
SIGNERS, LANES = 60, 16
CONNECTIONS, FRAMES_S, FRAMES_PROMISED = 20, 4.0, 20_000
OFFERED = 1300
TOKENS = ["111" + "7" * 70, "222" + "7" * 70]
DELAYS_S = (0.0, 0.1, 0.25, 0.4, 0.5, 0.6, 1.0, 2.0)
HOURS, MARK_AFTER_S, EDGE = 3.0, 5, 0.05
# What an outsider's model is off by at even odds in mid-window, for want of the oracle's basis (quant.md 12).
MODEL_ERROR = 0.037


def run() -> list[Measured]:
    logging.disable(logging.WARNING)
    with redirect_stderr(StringIO()):
        orders, posted = asyncio.run(order_rate()), asyncio.run(http_order_rate())
        fanned = asyncio.run(fan_out())
        curve = markouts()
    return [
        rate("signed orders verified and matched", orders, "promised", ORDERS_PROMISED),
        rate("the same over HTTP on 16 connections", posted, "promised", ORDERS_PROMISED),
        rate("book messages to 20 connections", fanned, "promised", FRAMES_PROMISED),
        *curve,
    ]


def rate(name: str, found: float, baseline_name: str, baseline: float) -> Measured:
    return Measured(name=name, unit="/s", median=found, p99=found, baseline_name=baseline_name, baseline=baseline)


# --- orders ----------------------------------------------------------------------------------------------------------


async def order_rate() -> float:
    """Orders a second through the gateway: signature, rules, match, records; one maker and one taker by turns."""
    settings = RunSettings(
        seed=4, scenario=SCENARIOS["instant"], speed=1.0, anchor_ns=time.time_ns(), bankroll_usd=1_000_000
    )
    world = World(settings)
    world.settlement.step(world.clock.now_ns())
    market = next(each for each in world.markets.live() if "btc-updown-15m" in each.slug)
    accounts = [world.open_account(signature_type=0, index=10 + n) for n in range(2)]
    entries = [(account, world.keys.of_address(account.address)[0]) for account in accounts]
    payloads = [(*entries[n % 2], _payload(*entries[n % 2], market, n)) for n in range(ORDERS)]
    start = time.perf_counter()
    for account, key, payload in payloads:
        await world.gateway.place(payload, account=account, key=key)
    took = time.perf_counter() - start
    if len(accounts[0].trades) != ORDERS // 2:
        raise RuntimeError("not every pair of orders was matched")
    return ORDERS / took


def _payload(account: Account, key: ApiKey, market: Market, number: int) -> dict[str, Any]:
    entry = {"address": account.address, "private_key": account.private_key, "api_key": key.key}
    outcome = number % 2
    kind = "FAK" if outcome else "GTC"
    return signed_order(entry, market.tokens[outcome], price=500_000, shares=10_000_000, order_type=kind, salt=number)


async def http_order_rate() -> float:
    """Orders a second that a real server authenticates, verifies and matches; sixty signers, each within its bucket."""
    with sandbox("--scenario", "instant", "--bankroll", "100000") as ready:
        host, port = ready["clob"].removeprefix("http://").split(":")
        async with httpx.AsyncClient(base_url=ready["clob"], timeout=30) as http:
            second = (await http.get("/time")).json()
            slug = f"btc-updown-15m-{second // 900 * 900 + 900}"
            tokens = json.loads((await http.get(f"/gamma/markets/slug/{slug}")).json()["clobTokenIds"])
            signers = [
                (await http.post("/sandbox/accounts", json={"signature_type": 0})).json() for _ in range(SIGNERS)
            ]
        requests = [_request(signers[n % SIGNERS], tokens[n % 2], n) for n in range(ORDERS)]
        lanes = [requests[lane::LANES] for lane in range(LANES)]
        start = time.perf_counter()
        matched = sum(await asyncio.gather(*(_send(host, int(port), lane) for lane in lanes)))
        took = time.perf_counter() - start
    if matched < ORDERS // 2:
        raise RuntimeError(f"only {matched} of {ORDERS} orders were matched")
    return ORDERS / took


def _request(signer: dict[str, Any], token: str, number: int) -> bytes:
    """A FAK that meets the house: everything that one order costs, except for the client's part."""
    payload = signed_order(signer, token, price=990_000, shares=2_000_000, salt=number)
    made = call(signer, "POST", "/order", payload)
    head = "".join(f"{name}: {value}\r\n" for name, value in made["headers"].items())
    body: bytes = made["content"].encode()
    return f"POST /order HTTP/1.1\r\nhost: bench\r\n{head}content-length: {len(body)}\r\n\r\n".encode() + body


async def _send(host: str, port: int, requests: list[bytes]) -> int:
    """One connection, one request after the other; returns how many orders were matched."""
    reader, writer = await asyncio.open_connection(host, port)
    matched = 0
    for request in requests:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        matched += b'"matched"' in await reader.readexactly(length)
    writer.close()
    return matched


@contextmanager
def sandbox(*options: str) -> Iterator[Any]:
    """A sandbox process; yields its ready line."""
    command = [sys.executable, "-m", "services.sandbox", "--port", "0", "--json", *options]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONPATH": "libs:."},
        cwd=Path(__file__).parents[1],
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(timeout=15)


# --- streams ---------------------------------------------------------------------------------------------------------


async def fan_out() -> float:
    """Messages a second that twenty clients of a real server receive while a tape changes a book ever so often."""
    with tempfile.TemporaryDirectory() as folder:
        tape = _busy_tape(Path(folder) / "busy.tape.jsonl.zst")
        with sandbox("--tape", str(tape), "--scenario", "instant") as ready:
            counts = await asyncio.gather(*(_listen(ready["ws_market"]) for _ in range(CONNECTIONS)))
    return sum(counts) / FRAMES_S


def _busy_tape(path: Path) -> Path:
    """A market whose best ask changes its size `OFFERED` times a second."""
    first, condition = ANCHOR_NS, "0x" + "ab" * 32
    opening = {
        "id": "1",
        "conditionId": condition,
        "slug": "btc-updown-5m-1795000000",
        "outcomes": '["Up", "Down"]',
        "clobTokenIds": json.dumps(TOKENS),
        "endDate": "2027-01-01T00:00:00Z",
    }
    rows: list[dict[str, Any]] = [{"tape": 1, "first_t": first}, {"t": first, "src": "gamma", "msg": opening}]
    levels = {"bids": [{"price": "0.4", "size": "9"}], "asks": [{"price": "0.6", "size": "9"}]}
    book = {"event_type": "book", "market": condition, "asset_id": TOKENS[0], **levels}
    rows.append({"t": first, "src": "clob.market", "msg": book})
    for number in range(OFFERED * 12):
        entry = {"asset_id": TOKENS[0], "side": "SELL", "price": "0.6", "size": str(10 + number % 7)}
        frame = {"event_type": "price_change", "market": condition, "price_changes": [entry]}
        rows.append({"t": first + number * SECOND_NS // OFFERED, "src": "clob.market", "msg": frame})
    path.write_bytes(zstandard.ZstdCompressor().compress("\n".join(json.dumps(row) for row in rows).encode()))
    return path


async def _listen(url: str) -> int:
    count = 0
    async with websockets.connect(url, max_size=None, compression=None, max_queue=None) as socket:
        await socket.send(json.dumps({"assets_ids": TOKENS, "type": "market"}))
        for seconds in (1.0, FRAMES_S):  # the first round only warms up
            count = 0
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while True:
                        await socket.recv(decode=False)
                        count += 1
    return count


# --- markouts --------------------------------------------------------------------------------------------------------


class Naive:
    """Buys at once what its own model calls five cents cheap; each purchase is tried with every delay."""

    def __init__(self) -> None:
        settings = RunSettings(
            seed=4, scenario=SCENARIOS["efficient"], speed=1.0, anchor_ns=ANCHOR_NS, bankroll_usd=300
        )
        self.world, self.now_ns = World(settings), ANCHOR_NS
        self.world.clock.flow_ns = lambda: self.now_ns  # type: ignore[method-assign]
        self.arriving: dict[int, list[tuple[float, Market, int, int]]] = defaultdict(list)
        self.held: dict[int, list[tuple[float, Market, int, int]]] = defaultdict(list)
        self.quiet: dict[tuple[str, int], int] = {}
        self.markouts: dict[float, list[float]] = defaultdict(list)

    def live(self) -> None:
        for step in range(int(HOURS * 72_000)):
            self.now_ns = ANCHOR_NS + step * 50 * MS_NS
            if step % 20 == 0:
                self.world.settlement.step(self.now_ns)
            self.world.house.step(self.now_ns)
            if step % 2 == 0:
                for market in self.world.markets.live():
                    self.look(market, step)
            self.trade(step)

    def look(self, market: Market, step: int) -> None:
        if not market.start * SECOND_NS < self.now_ns < (market.end - 30) * SECOND_NS or not market.accepting:
            return
        true = self.world.house.fair(market, self.now_ns)
        error = Random(f"{market.slug}:{step // 600}").gauss(0, MODEL_ERROR) * 4 * true * (1 - true)
        for outcome, fair in ((0, true + error), (1, 1 - true - error)):
            ask = market.best(outcome)[1]
            if ask is None or not 50_000 < ask < 950_000 or net(fair, ask) < EDGE:
                continue
            if self.quiet.get((market.slug, outcome), 0) <= step:
                self.quiet[(market.slug, outcome)] = step + 100
                for delay in DELAYS_S:
                    self.arriving[step + round(delay * 20)].append((delay, market, outcome, ask))

    def trade(self, step: int) -> None:
        for delay, market, outcome, limit in self.arriving.pop(step, ()):
            ask = market.best(outcome)[1]
            if market.accepting and ask is not None and ask <= limit:
                self.held[step + MARK_AFTER_S * 20].append((delay, market, outcome, ask))
        for delay, market, outcome, paid in self.held.pop(step, ()):
            fair = self.world.house.fair(market, self.now_ns)
            self.markouts[delay].append(net(fair if outcome == 0 else 1 - fair, paid))


def net(fair: float, ask: int) -> float:
    price = ask / 1e6
    return fair - price - 0.07 * price * (1 - price)


def markouts() -> list[Measured]:
    """Mean markout after fees by total delay, beside what was measured on the venue at that delay (in cents)."""
    taker = Naive()
    taker.live()
    rows = []
    for delay in DELAYS_S:
        found = taker.markouts[delay]
        mean, error = statistics.mean(found) * 100, statistics.stdev(found) / len(found) ** 0.5 * 100
        rows.append(
            Measured(
                name=f"markout of a naive taker, {delay:g} s (+-{error:.1f})",
                unit="c",
                median=mean,
                p99=mean,
                baseline_name="published",
                baseline=published(delay),
            )
        )
    return rows


def published(delay: float) -> float:
    """Middle of the measured values (quant.md, summary 2), on a straight line between two of them."""
    points = ((0.0, 3.15), (0.1, 1.75), (0.25, 0.4), (0.5, -0.4), (1.0, -1.6), (2.0, -1.65))
    for (first, low), (last, high) in pairwise(points):
        if first <= delay <= last:
            return low + (high - low) * (delay - first) / (last - first)
    raise ValueError(f"nothing was published for a delay of {delay} s")
