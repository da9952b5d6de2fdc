"""What the feeds say goes onto tapes, whole and in order, and a replay reads them as one."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.server import ServerConnection, serve

from pmarb.clock import ScaledClock
from pmarb.domain.values import NANOS
from pmarb.venue import tape
from pmarb.venue.feed import SHARD
from pmarb.venue.polybolt import PriceKeys
from pmarb.venue.public import VenueUrls
from pmarb.venue.schedule import LISTED
from services.recorder.market import MarketChannel
from services.recorder.prices import PriceChannels
from services.recorder.spool import PART, Received, Spool
from services.replay.report import TapeReport
from services.replay.run import Parameters, replay
from tests.contract.test_sets_found import anchor_for_the_evening
from tests.recordings import HEARTBEAT, a_spool, recorded
from tests.starting import running_sandbox
from tests.waiting import PATIENCE_S

T = 1_795_000_000 * NANOS
SPEED = 45


def test_frames_come_back_as_they_were_received_each_on_its_line(tmp_path: Path) -> None:
    spool = a_spool(tmp_path)
    spool.start()
    spool.put(Received(t=T, src="clob.market", raw=b'[{"a":"0.10"},{"b":1}]'))
    spool.put(Received(t=T + 5, src="rtds", raw=b'{"value":\n 84000.120}'))
    spool.put(Received(t=T + 3, src="rtds", raw=b"no json"))  # The clock was set back meanwhile
    spool.close()
    (path,) = spool.tapes
    lines = list(tape.raw_lines(path))
    assert [(line.t, line.src) for line in lines] == [
        (T, "clob.market"),
        (T, "clob.market"),
        (T + 5, "rtds"),
        (T + 5, "rtds"),
    ]
    assert [bytes(line.msg) for line in lines[:2]] == [b'{"a":"0.10"}', b'{"b":1}']
    assert [entry.msg for entry in tape.lines(path)][2:] == [{"value": 84000.12}, {}]
    head = tape.header(path)
    assert (head["lines"], head["first_t"], head["last_t"], head["continues"]) == (4, T, T + 5, "")
    assert spool.undecodable == 1


@pytest.mark.parametrize("limits", [{"rotate_s": 1.0}, {"rotate_bytes": 100}])
def test_a_long_recording_is_several_tapes_that_name_each_other(tmp_path: Path, limits: dict[str, float]) -> None:
    spool = a_spool(tmp_path, **limits)  # type: ignore[arg-type]
    spool.start()
    for number in range(6):
        spool.put(Received(t=T + number * NANOS, src="rtds", raw=b'{"n": "%d", "pad": "%s"}' % (number, b"x" * 60)))
        while spool.waiting or spool.lines <= number:
            pass
    spool.close()
    assert len(spool.tapes) > 2
    heads = [tape.header(path) for path in spool.tapes]
    assert [head["continues"] for head in heads] == ["", *(head["name"] for head in heads[:-1])]
    assert [entry.msg["n"] for path in spool.tapes for entry in tape.lines(path)] == list("012345")
    assert [found.events for found in replay(spool.tapes).tapes] == [6]


def test_what_a_crash_left_behind_becomes_a_tape_without_its_torn_line(tmp_path: Path) -> None:
    part = tmp_path / f"sandbox-crashed{PART}"
    whole = b'{"t":%d,"src":"rtds","msg":{"n":1}}\n' % T
    part.write_bytes(whole + b'{"t":17950000000000')
    spool = a_spool(tmp_path)
    spool.start()
    spool.close()
    assert not part.exists()
    assert [(line.t, bytes(line.msg)) for line in tape.raw_lines(spool.tapes[0])] == [(T, b'{"n":1}')]


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110 - what is waited for knows no event
            await asyncio.sleep(0.02)


async def test_more_tokens_than_a_connection_bears_are_heard_over_another_and_again_after_a_loss() -> None:
    subscribed = list[set[str]]()
    lost = asyncio.Event()

    async def listen(connection: ServerConnection) -> None:
        tokens = set[str]()
        subscribed.append(tokens)
        async for text in connection:
            if text == "PING":
                continue
            told = json.loads(text)
            change = tokens.difference_update if told.get("operation") == "unsubscribe" else tokens.update
            change(told["assets_ids"])
            await connection.send(text)
            if lost.is_set():
                lost.clear()
                return

    kept, stop = list[bytes](), asyncio.Event()
    markets = [(f"{number}-up", f"{number}-down") for number in range(SHARD // 2 + 1)]
    async with serve(listen, "127.0.0.1", 0) as server:
        url = "ws://{}:{}".format(*next(iter(server.sockets)).getsockname()[:2])
        channel = MarketChannel(url=url, clock=ScaledClock(speed=1, anchor=0), keep=kept.append)
        running = asyncio.create_task(channel.run(stop))
        for market in markets:
            await channel.watch(market)
        await until(lambda: sorted(map(len, subscribed)) == [2, SHARD])
        (whole,) = (tokens for tokens in subscribed if len(tokens) == SHARD)
        lost.set()
        await channel.unwatch(markets[0])
        await until(lambda: len(subscribed) == 3 and len(subscribed[2]) == SHARD - 2)
        assert subscribed[2] == whole - set(markets[0])
        stop.set()
        await running
    assert kept


async def test_credentials_that_a_venue_repeats_reach_no_tape() -> None:
    """Every address is that of a server that greets and then says what it is told."""

    async def repeat(connection: ServerConnection) -> None:
        await connection.send('{"op":"hello"}')
        async for text in connection:
            await connection.send(text)

    kept, stop = list[tuple[str, bytes]](), asyncio.Event()
    keys = PriceKeys(key="the-key", secret="the-secret", passphrase="the-passphrase")
    async with serve(repeat, "127.0.0.1", 0) as server, httpx.AsyncClient() as http:
        url = "ws://{}:{}".format(*next(iter(server.sockets)).getsockname()[:2])
        urls = VenueUrls(**dict.fromkeys(VenueUrls.__slots__, url))
        channels = PriceChannels(
            urls=urls,
            clock=ScaledClock(speed=1, anchor=0),
            http=http,
            assets=("btc",),
            keys=keys,
            keep=lambda src, raw: kept.append((src, raw)),
        )
        running = [asyncio.create_task(part) for part in channels.running(stop)]
        await until(lambda: channels.withheld > 0 and {"polybolt", "rtds"} <= {src for src, _ in kept})
        stop.set()
        await asyncio.gather(*running)
    assert ("polybolt", b'{"op":"hello"}') in kept
    assert not [raw for _, raw in kept if b"the-" in raw]


async def lived(folder: Path, families: Sequence[str], *, seed: int) -> tuple[Spool, PriceKeys, TapeReport]:
    """Eleven minutes of a sandbox, and their replay."""
    options = ("--seed", str(seed), "--scenario", "slow_makers", "--families", ",".join(families))
    evening = anchor_for_the_evening(time.time_ns(), speed=SPEED)  # Around noon in New York the listed ones all end
    with running_sandbox(*options, "--speed", str(SPEED), "--anchor-ns", str(evening)) as ready:
        async with asyncio.timeout(PATIENCE_S):
            spool, keys = await recorded(ready, folder, families=families, seconds=660)
    return spool, keys, replay(spool.tapes, Parameters(model_weight=1.0)).tapes[0]


@pytest.mark.long
async def test_a_recorded_sandbox_is_replayed_and_traded(tmp_path: Path) -> None:
    families = ("5m", *LISTED)
    spool, keys, report = await lived(tmp_path / "5", families, seed=5)
    for seed in (6, 7):  # A busy machine may miss the ticks that settle a window, or a family's one moment
        if report.settlement.computed and all(report.families[family]["priced"] for family in families):
            break
        spool, keys, report = await lived(tmp_path / str(seed), families, seed=seed)
    assert (spool.tapes[0].parent / HEARTBEAT).exists()
    head = tape.header(spool.tapes[0])
    assert head["markets"] >= 4
    assert spool.undecodable == 0
    assert report.lacks == []
    assert report.malformed == 0
    assert report.priced >= 2
    assert report.settlement.agreed == report.settlement.computed > 0
    assert report.evidence.samples
    assert set(report.families) == set(families)
    assert all(report.families[family]["priced"] for family in families)
    assert sum(sum(reasons.values()) for reasons in report.families.values()) == head["markets"]
    told = Counter(line.src for line in tape.raw_lines(spool.tapes[0]) if not keys.told_by(bytes(line.msg)))
    assert sum(told.values()) == head["lines"]
    assert told["polybolt"] > 100
    assert told["spot.candles"]
