"""The parts that wait for a server: a hop over the bus, and the one durable write of the hot path."""

import asyncio
import uuid
from decimal import Decimal

import psycopg

from bench.measure import Measured, compared, timed_async
from pmarb.bus.connection import connect
from pmarb.bus.port import Delivery
from pmarb.bus.streams import RedisBus
from pmarb.db.migrate import upgrade
from pmarb.db.orders import Context, Orders
from pmarb.db.pool import open_pool
from pmarb.domain.fees import FeeSchedule
from pmarb.domain.messages import Stream
from pmarb.domain.orders import Order, OrderType
from pmarb.domain.values import Side
from pmarb.embedded import Endpoints
from tests.builders import an_approval, an_opportunity

ROUNDS = 1000


async def run(endpoints: Endpoints) -> list[Measured]:
    return [await hop(endpoints.redis_url), await gate(endpoints.database_url)]


async def hop(url: str) -> Measured:
    """Opportunity in, approval out: read, decode, forward in one transaction; beside the same four commands bare."""
    bus, bare = RedisBus(url), connect(url)
    consumer = bus.consumer(group="bench", name="a", streams=[Stream.OPPORTUNITIES])
    opportunity, approval = an_opportunity(), an_approval()
    await consumer.poll(block_ms=1)
    await bare.xgroup_create("bare", "bench", id="0", mkstream=True)

    async def ours() -> None:
        await bus.publish(opportunity)
        found: list[Delivery] = []
        while not found:
            found = list(await consumer.poll(block_ms=100))
        await consumer.forward(found[0], approval)

    async def theirs() -> None:
        await bare.xadd("bare", {"body": "x" * 900})
        ((_, entries),) = await bare.xreadgroup("bench", "a", {"bare": ">"}, count=1, block=100)
        async with bare.pipeline(transaction=True) as pipe:
            pipe.xadd("bare.out", {"body": "x" * 700})
            pipe.xack("bare", "bench", entries[0][0])
            await pipe.execute()

    baseline = await timed_async(theirs, rounds=ROUNDS)
    times = await timed_async(ours, rounds=ROUNDS)
    await bus.close()
    await bare.aclose()
    return compared("opportunity to approval over the bus", times, "the same commands on redis-py", baseline)


async def gate(url: str) -> Measured:
    """The gated insert with its reservation; beside a plain insert of the same row width, both committed."""
    upgrade(url)
    pool = await open_pool(url, size=2)
    orders = Orders(pool)
    context = Context(
        slug="btc-updown-5m-1790000000",
        event="btc-updown-5m-1790000000",
        underlying="btc",
        family="5m",
        outcome="Up",
        fees=FeeSchedule(Decimal("0.07")),
        fair=Decimal("0.6"),
        expiry=0,
        created_at=1,
    )
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as plain:
        await plain.execute("CREATE TABLE plain (id text PRIMARY KEY, body text)")

        async def theirs() -> None:
            await plain.execute("INSERT INTO plain VALUES (%s, %s)", (uuid.uuid4().hex, "x" * 300))

        async def ours() -> None:
            await orders.insert(_order(), context)

        baseline = await timed_async(theirs, rounds=ROUNDS)
        times = await timed_async(ours, rounds=ROUNDS)
    orders.close()
    await pool.close()
    return compared("gated insert of an order", times, "plain insert", baseline)


def _order() -> Order:
    name = uuid.uuid4().hex
    return Order(
        order_hash=name,
        opportunity_id=name,
        leg=0,
        market="0xmarket",
        token="1001",
        side=Side.BUY,
        order_type=OrderType.FAK,
        limit_price=Decimal("0.50"),
        shares=Decimal(6),
        usd=Decimal(3),
        reserved=Decimal("3.21"),
        expires_at=0,
    )


def measure(endpoints: Endpoints) -> list[Measured]:
    return asyncio.run(run(endpoints))
