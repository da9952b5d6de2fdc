"""One suite, two buses: Redis streams and the twin in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis as sync_redis
import redis.asyncio as redis

from pmarb import codec
from pmarb.bus import connection
from pmarb.bus.memory import MemoryBroker, MemoryBus
from pmarb.bus.port import Bus, BusUnavailable, DeadLetter, Policy, TooManyDead
from pmarb.bus.streams import RedisBus
from pmarb.domain.messages import Message, Opportunity, Stream
from tests.builders import an_approval, an_opportunity

QUICK = Policy(max_deliveries=3, max_dead_in_a_row=4, abandoned_ms=150)


class World:
    """A server, ways to reach it, and a hand to put rubbish into it."""

    def __init__(
        self, connect: Callable[[], Any], append: Callable[..., Any], drop: Callable[..., Any], look: Callable[[], int]
    ) -> None:
        self.connect, self.append, self.drop, self.look = connect, append, drop, look
        self.bus: Bus = connect()


@pytest.fixture(params=["memory", "redis"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "memory":
        broker = MemoryBroker()

        async def append(stream: str, fields: dict[bytes, bytes]) -> None:
            broker.append(stream, fields)

        async def drop(stream: str) -> None:
            broker.logs[stream].entries.clear()

        yield World(lambda: MemoryBus(broker), append, drop, lambda: len(broker.logs[Stream.OPPORTUNITIES].entries))
        return
    url = request.getfixturevalue("redis_url")
    client = redis.Redis.from_url(url)

    async def append_redis(stream: str, fields: dict[bytes, bytes]) -> None:
        await client.xadd(stream, fields)  # type: ignore[arg-type]

    async def drop_redis(stream: str) -> None:
        await client.xtrim(stream, maxlen=0, approximate=False)

    def look() -> int:
        with sync_redis.Redis.from_url(url) as other:
            return int(other.xlen(Stream.OPPORTUNITIES))

    world = World(lambda: RedisBus(url), append_redis, drop_redis, look)
    yield world
    await world.bus.close()
    await client.aclose()


def opportunities(count: int) -> list[Message]:
    return [an_opportunity(opportunity_id=f"opp-{n}") for n in range(count)]


def ids(deliveries: Any) -> list[str]:
    return [d.message.opportunity_id for d in deliveries]


def member(world: World, name: str = "a", **options: Any) -> Any:
    return world.bus.consumer(group="risk", name=name, streams=[Stream.OPPORTUNITIES], **{"policy": QUICK, **options})


async def first(consumer: Any, tries: int = 20) -> Any:
    for _ in range(tries):
        found = await consumer.poll(block_ms=50)
        if found:
            return found
    return ()


async def test_a_group_reads_what_was_published_before_it_existed(world: World) -> None:
    await world.bus.publish(*opportunities(3))
    assert ids(await first(member(world))) == ["opp-0", "opp-1", "opp-2"]


async def test_a_message_survives_the_wire_exactly(world: World) -> None:
    await world.bus.publish(an_opportunity())
    (delivery,) = await first(member(world))
    assert delivery.message == an_opportunity()
    assert delivery.deliveries == 1


async def test_a_restarted_member_gets_its_unacknowledged_entries_first(world: World) -> None:
    await world.bus.publish(*opportunities(3))
    crashed = member(world)
    taken = await first(crashed)
    await crashed.ack(taken[0])
    await world.bus.publish(an_opportunity(opportunity_id="later"))
    restarted = member(world)
    again = await first(restarted)
    assert ids(again) == ["opp-1", "opp-2"]
    assert {d.deliveries for d in again} == {2}
    await restarted.ack(*again)
    assert ids(await first(restarted)) == ["later"]


async def test_what_a_dead_member_held_is_taken_over(world: World) -> None:
    await world.bus.publish(*opportunities(2))
    await first(member(world, "dead"))
    heir = member(world, "heir")
    assert not await heir.poll(block_ms=20)
    await asyncio.sleep(0.2)
    assert ids(await first(heir)) == ["opp-0", "opp-1"]


async def test_members_of_a_group_share_and_groups_do_not(world: World) -> None:
    await world.bus.publish(*opportunities(2))
    mine = await first(member(world, "a"))
    await member(world, "a").ack(*mine)
    assert not await member(world, "b").poll(block_ms=20)
    other = world.bus.consumer(group="alerter", name="a", streams=[Stream.OPPORTUNITIES], policy=QUICK)
    assert len(await first(other)) == 2


async def test_undecodable_entries_are_dead_lettered_and_the_rest_goes_on(world: World) -> None:
    dead: list[DeadLetter] = []
    good = codec.encode(an_opportunity())
    await world.append("opportunities", {b"type": b"Opportunity", b"body": b"not json"})
    await world.append("opportunities", {b"surprise": b"1"})
    await world.append("opportunities", {b"type": b"Opportunity", b"body": good[b"body"].replace(b"0.62", b"NaN")})
    await world.bus.publish(an_opportunity())
    consumer = member(world, on_dead=dead.append)
    assert ids(await first(consumer)) == ["opp-1"]
    assert len(dead) == 3
    assert (await world.bus.lengths())["opportunities.dead"] == 3
    assert ids(await first(member(world))) == ["opp-1"], "dead letters were acknowledged, the good one was not"


async def test_an_entry_delivered_too_often_is_dead(world: World) -> None:
    await world.bus.publish(an_opportunity())
    dead: list[DeadLetter] = []
    for _ in range(QUICK.max_deliveries):
        assert ids(await first(member(world))) == ["opp-1"]
    assert await first(member(world, on_dead=dead.append), tries=2) == ()
    assert "4 times" in dead[0].reason


async def test_an_entry_trimmed_while_pending_is_dead_and_no_crash(world: World) -> None:
    await world.bus.publish(*opportunities(2))
    await first(member(world))
    await world.drop("opportunities")
    dead: list[DeadLetter] = []
    assert await first(member(world, on_dead=dead.append), tries=2) == ()
    assert len(dead) == 2


async def test_nothing_but_rubbish_stops_the_consumer(world: World) -> None:
    for _ in range(QUICK.max_dead_in_a_row + 1):
        await world.append("opportunities", {b"type": b"Nonsense", b"body": b"{}"})
    with pytest.raises(TooManyDead):
        await first(member(world))


async def test_forward_publishes_and_acknowledges_in_one_step(world: World) -> None:
    await world.bus.publish(an_opportunity())
    consumer = member(world)
    (delivery,) = await first(consumer)
    await consumer.forward(delivery, an_approval())
    executor = world.bus.consumer(group="executor", name="a", streams=[Stream.APPROVALS], policy=QUICK)
    assert [d.message for d in await first(executor)] == [an_approval()]
    assert await first(member(world), tries=2) == ()


async def test_what_is_launched_leaves_before_the_call_returns(world: World) -> None:
    await world.bus.publish(an_opportunity(opportunity_id="first"))  # The connection stands
    arrivals = [world.bus.launch(an_opportunity(opportunity_id=f"opp-{n}")) for n in range(2)]
    assert world.look() == 3, "our own loop has not turned since"
    await asyncio.gather(*arrivals)
    assert ids(await first(member(world))) == ["first", "opp-0", "opp-1"]


async def test_trim_keeps_what_a_group_has_not_acknowledged(world: World) -> None:
    await world.bus.publish(*opportunities(300))
    consumer = member(world, policy=Policy(batch=250))
    taken = await first(consumer)
    await consumer.ack(*taken[:200])
    await asyncio.sleep(0.01)
    await world.bus.trim(Stream.OPPORTUNITIES, keep_ms=0)
    left = (await world.bus.lengths())["opportunities"]
    assert 100 <= left < 300
    assert ids(await first(member(world, policy=Policy(batch=250)))) == [f"opp-{n}" for n in range(200, 250)]


async def test_tail_gives_the_recent_past_and_passes_over_rubbish(world: World) -> None:
    await world.append("opportunities", {b"rubbish": b"1"})
    await world.bus.publish(*opportunities(2))
    assert [
        m.opportunity_id for m in await world.bus.tail(Stream.OPPORTUNITIES, since_ns=0) if isinstance(m, Opportunity)
    ] == ["opp-0", "opp-1"]


async def test_members_are_those_who_beat_lately(world: World) -> None:
    await world.bus.beat(service="scanner", member="two", ttl_ms=5000)
    await world.bus.beat(service="scanner", member="one", ttl_ms=5000)
    await world.bus.beat(service="scanner", member="gone", ttl_ms=1)
    await asyncio.sleep(0.02)
    assert await world.bus.members("scanner") == ["one", "two"]


async def test_what_a_member_says_of_itself_is_heard_while_it_lives(world: World) -> None:
    await world.bus.beat(service="scanner", member="busy", ttl_ms=5000, says=b'{"cpu_share":0.5}')
    await world.bus.beat(service="scanner", member="quiet", ttl_ms=5000)
    await world.bus.beat(service="scanner", member="gone", ttl_ms=1, says=b"farewell")
    await asyncio.sleep(0.02)
    assert await world.bus.said("scanner") == {"busy": b'{"cpu_share":0.5}', "quiet": b""}
    assert await world.bus.said("risk") == {}


async def test_a_redis_that_lost_everything_gets_its_group_back(redis_url: str) -> None:
    world = World(lambda: RedisBus(redis_url), lambda *_: None, lambda *_: None, lambda: 0)
    consumer = member(world)
    assert not await consumer.poll(block_ms=10)
    async with redis.Redis.from_url(redis_url) as client:
        await client.flushall()
    await world.bus.publish(an_opportunity())
    assert ids(await first(consumer)) == ["opp-1"]
    await consumer.close()
    await world.bus.close()


async def test_an_absent_redis_is_unavailable_not_a_traceback() -> None:
    bus = RedisBus("redis://127.0.0.1:1/0")
    with pytest.raises(BusUnavailable):
        await bus.publish(an_opportunity())
    with pytest.raises(BusUnavailable):
        await bus.launch(an_opportunity())
    with pytest.raises(BusUnavailable):
        await bus.consumer(group="g", name="n", streams=[Stream.ORDERS]).poll()


async def test_a_full_redis_is_unavailable_until_there_is_room(redis_url: str) -> None:
    bus = RedisBus(redis_url)
    async with redis.from_url(redis_url) as client:
        await client.config_set("maxmemory", "1")
        try:
            with pytest.raises(BusUnavailable, match="OOM"):
                await bus.publish(an_opportunity())
        finally:
            await client.config_set("maxmemory", "0")
    await bus.publish(an_opportunity())
    await bus.close()


async def test_a_cancellation_ends_whatever_is_under_way_whenever_it_comes(world: World) -> None:
    """Nothing swallows it: of a service whose other half has died no part may go on."""
    consumer = world.bus.consumer(group="g", name="n", streams=[Stream.OPPORTUNITIES])

    async def all_day() -> None:
        while True:
            await world.bus.beat(service="s", member="m", ttl_ms=1000)
            await world.bus.publish(an_opportunity())
            for delivery in await consumer.poll(block_ms=5):
                await consumer.forward(delivery, an_approval())
            await world.bus.trim(Stream.OPPORTUNITIES, keep_ms=1000)

    deaf = []
    for turns in range(150):
        task = asyncio.create_task(all_day())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task}, timeout=0.5)
        if not task.done():
            deaf.append(turns)
        while not task.done():
            task.cancel()
            await asyncio.sleep(0.001)
    assert deaf == []


async def test_a_redis_that_stops_to_answer_is_unavailable(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_DONE_WITHIN", 0.3)
    bus = RedisBus(redis_url)
    await bus.ping()
    async with redis.from_url(redis_url) as client:
        await client.execute_command("CLIENT", "PAUSE", 1500, "ALL")
    for ask in (bus.ping, lambda: bus.beat(service="s", member="m", ttl_ms=1), lambda: bus.publish(an_opportunity())):
        with pytest.raises(BusUnavailable, match="no answer in time"):
            await ask()
    await asyncio.sleep(1.5)
    await bus.ping()
    await bus.close()
