"""The same seed and the same requests at the same venue times: the same books, fills and ids, on any host."""

import asyncio
from typing import Any

import pytest

from services.sandbox.api_control import account_entry
from services.sandbox.clock import MS_NS, SECOND_NS
from services.sandbox.gateway import reply
from services.sandbox.messages import book_summary
from services.sandbox.refusals import Refusal
from services.sandbox.scenario import SCENARIOS
from services.sandbox.world import RunSettings, World
from tests.sandbox_orders import signed_order

ANCHOR_NS = 1_795_000_000 * SECOND_NS
SECONDS = 40
# (venue milliseconds after the start, window ahead, outcome, price in cents, shares, order type)
SCRIPT = [
    (1_010, 0, 0, 99, 6, "FAK"),
    (1_020, 0, 1, 99, 6, "FAK"),
    (3_333, 1, 0, 45, 10, "GTC"),
    (3_334, 1, 1, 56, 20, "GTC"),
    (9_999, 1, 0, 60, 12, "FOK"),
    (17_100, 2, 0, 55, 7, "FAK"),
    (30_001, 1, 1, 52, 8, "FAK"),
]


class Host:
    """A machine whose clock moves in leaps of `leap_ms`: a slow one leaps far."""

    def __init__(self, *, seed: int, leap_ms: int) -> None:
        settings = RunSettings(
            seed=seed, scenario=SCENARIOS["efficient"], speed=1.0, anchor_ns=ANCHOR_NS, bankroll_usd=300
        )
        self.now_ns = ANCHOR_NS
        self.leap_ns = leap_ms * MS_NS
        self.world = World(settings)
        self.world.clock.flow_ns = lambda: self.now_ns  # type: ignore[method-assign]
        self.replies: list[Any] = []
        self.pending: list[asyncio.Task[None]] = []

    async def run(self) -> dict[str, Any]:
        self.world.start()
        await self.world.stop()
        self.pending = [asyncio.create_task(self.place(number, line)) for number, line in enumerate(SCRIPT)]
        await asyncio.sleep(0)
        end_ns = ANCHOR_NS + SECONDS * SECOND_NS
        while self.now_ns < end_ns:
            self.now_ns = min(end_ns, self.now_ns + self.leap_ns)
            await self.world.agenda.catch_up()
            for _ in range(5):
                await asyncio.sleep(0)
            await self.world.agenda.catch_up()
        await asyncio.gather(*self.pending)
        return self.state()

    async def place(self, number: int, line: tuple[int, int, int, int, int, str]) -> None:
        at_ms, ahead, outcome, cents, shares, order_type = line
        await self.world.agenda.reach(ANCHOR_NS + at_ms * MS_NS)
        entry = account_entry(self.world, self.world.seeded[1])
        market = sorted((m for m in self.world.markets.live() if "btc-updown-5m" in m.slug), key=lambda m: m.start)[
            ahead
        ]
        payload = signed_order(
            entry,
            market.tokens[outcome],
            price=cents * 10_000,
            shares=shares * 1_000_000,
            order_type=order_type,
            salt=number,
        )
        key = self.world.keys.of_address(entry["address"])[0]
        try:
            placed = await self.world.gateway.place(payload, account=self.world.seeded[1], key=key)
        except Refusal as refusal:
            self.replies.append((number, refusal.status, refusal.text))
        else:
            self.replies.append((number, reply(placed)))

    def state(self) -> dict[str, Any]:
        account = self.world.seeded[1]
        return {
            "replies": sorted(self.replies, key=lambda entry: entry[0]),
            "books": {m.slug: book_summary(m, 0, stamp_ms=m.changed_ns // MS_NS) for m in self.world.markets.live()},
            "trades": [(t.id, t.matched_ns, t.shares, t.fee, t.status, t.transaction) for t in account.trades],
            "cash": account.cash,
            "counts": {m.slug: (m.trades, m.volume) for m in self.world.markets.live()},
        }


@pytest.fixture(scope="module")
def quick() -> dict[str, Any]:
    return asyncio.run(Host(seed=3, leap_ms=50).run())


async def test_a_run_repeats_itself(quick):
    assert len(quick["replies"]) == len(SCRIPT)
    assert len(quick["trades"]) >= 3
    assert await Host(seed=3, leap_ms=50).run() == quick


@pytest.mark.parametrize("leap_ms", [7, 333, 2500])
async def test_the_speed_of_the_host_changes_nothing(quick, leap_ms):
    assert await Host(seed=3, leap_ms=leap_ms).run() == quick


async def test_another_seed_is_another_world(quick):
    other = await Host(seed=4, leap_ms=50).run()
    assert other["books"].keys() == quick["books"].keys()
    assert other["books"] != quick["books"]
    assert other["replies"] != quick["replies"]
