"""`make chaos`: crashes and faults under load, and after each epoch the books against the venue's own truth.

Ends with a table of trouble and invariant and one JSON line. Exit code 0 only if every invariant held.
"""

import argparse
import asyncio
import contextlib
import json
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg
from redis.exceptions import RedisError

from pmarb.bus.port import BusUnavailable
from pmarb.bus.streams import RedisBus
from pmarb.db import control
from pmarb.domain.messages import Approval
from tests.chaos.drill import Drill, Hand, kill_once
from tests.chaos.plans import ALWAYS, Epoch, epochs, fates
from tests.chaos.verdict import INVARIANTS, Verdict, judged
from tests.chaos.world import EXECUTORS, World, world
from tests.executors import rows

TROUBLED_FOR: Final = 10.0  # Seconds of an epoch in which everything goes wrong
FROZEN_FOR: Final = 7.0  # Seconds: longer than anybody here waits for an answer
DRILLS: Final = 5  # Kills of an epoch
AGREE_WITHIN: Final = 60.0  # Seconds after the trouble: settlements and reconciliation are under way all the time
PACE: Final = 0.05  # Seconds between two approvals


@dataclass(slots=True)
class Row:
    """What one trouble did, over all its epochs."""

    epochs: int = 0
    faults: int = 0
    crashes: int = 0
    orders: int = 0
    broken: Counter[str] = field(default_factory=Counter)
    drills: list[Drill] = field(default_factory=list)


class Chaos:
    """One run."""

    def __init__(self, world: World, seed: int, seconds: float) -> None:
        self._world = world
        self._seed = seed
        self._ends = time.monotonic() + seconds
        self._bus = RedisBus(world.endpoints.redis_url)
        self._hand = Hand(world)
        self._loading = asyncio.Event()
        self._struck = 0
        self.rows: dict[str, Row] = {}
        self.halts: Counter[str] = Counter()
        self.words: list[str] = []

    async def run(self) -> None:
        load = asyncio.create_task(self._load())
        dice = random.Random(self._seed)
        lives = fates(dice)
        try:
            for keeper in self._world.keepers.values():
                if keeper.name in EXECUTORS:
                    await keeper.ready()
            for epoch in epochs(self._seed):
                if time.monotonic() > self._ends:
                    break
                if epoch.trouble.happening == "disk" and self._world.disk is None:
                    continue
                await self._epoch(epoch, lives)
                self._raise_failed(load)
        finally:
            load.cancel()
            await asyncio.wait([load])
            await self._hand.close()
            await self._bus.close()

    async def _epoch(self, epoch: Epoch, lives: Any) -> None:
        row = self.rows.setdefault(epoch.trouble.name, Row())
        dice = random.Random(epoch.seed)
        crashed, ordered = self._crashes(), self._orders()
        await self._resume()
        self._loading.set()
        await self._world.mortal(lives, dice)
        for fault in (*epoch.trouble.faults, *ALWAYS):
            await self._fault(dict(fault))
        started = time.monotonic()
        happened = await self._happen(epoch, dice)
        while time.monotonic() - started < TROUBLED_FOR:
            await asyncio.sleep(0.5)
            await self._resume()
        await self._world.immortal()
        await asyncio.gather(*(keeper.ready(within=60) for keeper in self._world.executors))
        for number in range(DRILLS):
            await self._resume()
            await asyncio.sleep(dice.uniform(0.05, 0.3))
            row.drills.append(await kill_once(self._world, self._bus, self._hand, why=f"drill {number}"))
        self._loading.clear()
        row.faults += happened + await asyncio.to_thread(self._cleared, len(epoch.trouble.faults))
        verdict = await self._agreed()
        row.epochs += 1
        row.crashes += self._crashes() - crashed
        row.orders += self._orders() - ordered
        row.broken.update(verdict.counts)
        self._note(epoch, row, verdict)

    async def _happen(self, epoch: Epoch, dice: random.Random) -> int:
        """What happens on our own side; how many times something did."""
        await asyncio.sleep(dice.uniform(1, 3))
        match epoch.trouble.happening:
            case "redis":
                await self._world.kill_redis()
                await asyncio.sleep(dice.uniform(0.5, 2))
                await self._world.kill_redis()
                return 2
            case "redis_loses":
                await self._world.redis_loses_its_last_second()
                return 1
            case "postgres":
                await self._world.kill_postgres()
                return 1
            case "redis_frozen":
                await self._world.freeze("redis", seconds=FROZEN_FOR)
                return 1
            case "postgres_frozen":
                await self._world.freeze("postgres", seconds=FROZEN_FOR)
                return 1
            case "disk":
                await self._world.fill_disk(seconds=2.5)
                return 1
            case "drops":
                for _ in range(4):
                    await self._fault({"kind": "ws_dropped"})
                    await self._fault({"kind": "orders_dropped"})
                    await asyncio.sleep(1.5)
                return 8
            case "services":
                await self._world.kill_services()
                await asyncio.sleep(dice.uniform(2, 4))
                await self._world.kill_services()
                return 0
            case _:
                return 0

    async def _load(self) -> None:
        """Approvals without end while the load is on."""
        while True:
            await self._loading.wait()
            for approval in await asyncio.to_thread(self._batch):
                with contextlib.suppress(BusUnavailable, RedisError):
                    await self._bus.publish(approval)
                await asyncio.sleep(PACE)
            await asyncio.sleep(PACE)

    def _batch(self) -> list[Approval]:
        """What the open windows offer; nothing while the sandbox is too busy to say."""
        with contextlib.suppress(httpx.TransportError):
            return list(self._world.ground.approvals(lives_s=60))
        return []

    async def _fault(self, body: dict[str, Any]) -> None:
        ground = self._world.ground
        reply = await asyncio.to_thread(ground.http.post, f"{ground.ready['sandbox']}/faults", json=body)
        reply.raise_for_status()

    def _cleared(self, asked: int) -> int:
        """End every fault; how often they struck, each at least by being there."""
        ground = self._world.ground
        url = ground.ready["sandbox"]
        before = ground.get(f"{url}/faults")["struck"]
        ground.http.request("DELETE", f"{url}/faults").raise_for_status()
        total: int = sum(before.values())
        struck, self._struck = total - self._struck, total
        return max(struck, asked)

    async def _agreed(self) -> Verdict:
        """The verdict once both sides agree, or when they had time enough to."""
        deadline = time.monotonic() + AGREE_WITHIN
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                await self._resume()
                verdict = await asyncio.to_thread(
                    judged, self._world.ground, self._world.dsn, not_ours=self._hand.placed
                )
                if verdict.clean or time.monotonic() > deadline:
                    return verdict
            await asyncio.sleep(0.25)

    async def _resume(self) -> None:
        """Trade again after a halt, as a person would; halts are counted by their reason."""
        with contextlib.suppress(psycopg.OperationalError):
            ((state, why),) = await asyncio.to_thread(rows, self._world.dsn, "SELECT state, why FROM trading_state")
            if state not in ("ACTIVE", "KILLED"):
                self.halts[why.partition(":")[0]] += 1
                now = self._world.ground.clock.now()
                await asyncio.to_thread(control.resume, self._world.dsn, who="chaos", why="go on", now=now)

    def _crashes(self) -> int:
        return sum(sum(keeper.kills.values()) for keeper in self._world.keepers.values())

    def _orders(self) -> int:
        with contextlib.suppress(psycopg.OperationalError):
            return int(rows(self._world.dsn, "SELECT count(*) FROM orders")[0][0])
        return 0

    def _note(self, epoch: Epoch, row: Row, verdict: Verdict) -> None:
        self.words += [f"epoch {epoch.number} ({epoch.trouble.name}): {word}" for word in verdict.words]
        wrong = [f"epoch {epoch.number}: {word}" for drill in row.drills[-DRILLS:] for word in drill.wrong]
        self.words += wrong
        broken = "; ".join([*verdict.words, *wrong])
        say(
            f"epoch {epoch.number:3} {epoch.trouble.name[:50]:50} faults {row.faults:4} crashes {row.crashes:3} "
            f"orders {row.orders:4} {f'BROKEN: {broken[:600]}' if broken else 'held'}"
        )

    @staticmethod
    def _raise_failed(task: asyncio.Task[None]) -> None:
        if task.done():
            task.result()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def summary(chaos: Chaos) -> dict[str, Any]:
    """The JSON line. `faults` counts every injected fault and crash, `kills` the drills of the kill switch."""
    drills = [drill for row in chaos.rows.values() for drill in row.drills]
    took = sorted(drill.took_ms for drill in drills if drill.took_ms is not None)
    broken: Counter[str] = Counter()
    for row in chaos.rows.values():
        broken.update(row.broken)
    return {
        "faults": sum(row.faults + row.crashes for row in chaos.rows.values()),
        "kills": len(drills),
        **{invariant: broken[invariant] for invariant in INVARIANTS},
        "kill_to_flat_ms": {
            "p50": round(statistics.median(took), 1) if took else None,
            "p99": round(took[min(int(len(took) * 0.99), len(took) - 1)], 1) if took else None,
        },
    }


def table(chaos: Chaos) -> str:
    """Markdown: a row for each trouble, a column for each invariant."""
    names = [name.replace("_", " ") for name in INVARIANTS]
    head = [
        "trouble",
        "epochs",
        "faults",
        "crashes",
        "orders",
        *names,
        "kills",
        "flat",
        "with unknowns",
        "slowest ms",
    ]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, row in sorted(chaos.rows.items()):
        took = [drill.took_ms for drill in row.drills if drill.took_ms is not None]
        cells = [name, row.epochs, row.faults, row.crashes, row.orders, *(row.broken[i] for i in INVARIANTS)]
        unknown = sum(bool(drill.unverified) for drill in row.drills)
        cells += [len(row.drills), len(took), unknown, f"{max(took):.0f}" if took else "-"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


async def chaos(seed: int, seconds: float, logs: Path) -> Chaos:
    me = asyncio.current_task()
    assert me is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, me.cancel)  # As Ctrl-C: what runs is ended first
    async with world(seed, logs) as made:
        if made.disk is None:
            say("no file system can be mounted here: the disk is not filled in this run")
        run = Chaos(made, seed, seconds)
        await run.run()
        say("crashes by point: " + ", ".join(f"{n} {p}" for p, n in _points(made).most_common()))
        return run


def _points(made: World) -> Counter[str]:
    found: Counter[str] = Counter()
    for keeper in made.keepers.values():
        found.update(
            {f"{'executor' if keeper.name in EXECUTORS else keeper.name} {p}": n for p, n in keeper.kills.items()}
        )
        found[f"{keeper.name} ended by itself"] += keeper.crashes
    return +found


def main() -> int:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument(
        "--seed", type=int, default=int(time.time()) % 100_000, help="what goes wrong when (default: another each time)"
    )
    parser.add_argument("--seconds", type=float, default=120, help="how long (default 120; a whole run takes 900)")
    parser.add_argument("--logs", type=Path, help="a folder for the services' logs (default: a new one)")
    parser.add_argument("--table", type=Path, help="also write the table to this file")
    options = parser.parse_args()
    logs = options.logs or Path(tempfile.mkdtemp(prefix="pm-arb-chaos-logs-"))
    logs.mkdir(parents=True, exist_ok=True)
    say(f"seed {options.seed}, {options.seconds:g} s, logs in {logs}")
    try:
        found = asyncio.run(chaos(options.seed, options.seconds, logs))
    except (KeyboardInterrupt, asyncio.CancelledError):
        say("stopped: nothing was proven")
        return 130
    result = summary(found)
    print(table(found))
    for word in found.words:
        print(word)
    print("halts resumed:", dict(found.halts))
    if options.table:
        options.table.write_text(table(found) + "\n", encoding="utf-8")
    print(json.dumps(result))
    return int(bool(found.words) or result["kills"] == 0)


if __name__ == "__main__":
    sys.exit(main())
