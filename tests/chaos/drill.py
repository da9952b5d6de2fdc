"""The kill switch under load: how long from the word to a verified zero, and whether anything was taken afterwards."""

import asyncio
import contextlib
import time
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import psycopg
from pydantic import SecretStr

from pmarb.bus.port import BusUnavailable
from pmarb.bus.streams import RedisBus
from pmarb.db import control, views
from pmarb.domain.messages import Kill, Resume
from pmarb.domain.orders import OrderType
from pmarb.domain.values import Side
from pmarb.venue import sdk
from pmarb.venue.port import Intent, VenueUnavailable
from pmarb.venue.trading import SdkVenue, Wallet
from tests.chaos.world import World
from tests.executors import rows

RECEIPT_WITHIN: Final = 30.0  # Seconds
WATCHED_AFTER: Final = 0.3  # Seconds in which nothing may be taken any more, with approvals still coming


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """`took_ms` is until the venue listed no open order; None where no receipt could say so. `unverified` is what the
    receipt could not vouch for: orders whose outcome nobody knew yet, by their hash."""

    took_ms: float | None
    wrong: tuple[str, ...]
    unverified: str = ""


class Hand:
    """Somebody else who trades in the same wallet: it leaves orders that rest, for the kill to cancel."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._venue: SdkVenue | None = None
        self.placed: set[str] = set()

    async def rest(self, count: int) -> None:
        """Leave some orders that nobody will match: low, and in windows that open later."""
        venue = await self._connected()
        for market in (await asyncio.to_thread(self._world.ground.coming_markets))[:count]:
            intent = Intent(
                market=market.condition_id, token=market.tokens[0], side=Side.BUY, order_type=OrderType.GTC,
                limit=Decimal("0.01"), usd=Decimal("1.00"), shares=Decimal(100),
            )  # fmt: skip
            draft = await venue.draft(intent)
            self.placed.add(draft.order_hash)
            await venue.post(venue.seal(draft))

    async def close(self) -> None:
        if self._venue is not None:
            await self._venue.close()

    async def _connected(self) -> SdkVenue:
        if self._venue is None:
            ready = self._world.ground.ready
            account = ready["accounts"][0]
            names = ("clob", "gamma", "data", "relayer", "rpc", "ws_market", "ws_user", "rtds")
            wallet = Wallet(private_key=SecretStr(account["private_key"]), funder=account["wallet"])
            urls = sdk.Urls(**{name: ready[name] for name in names})
            self._venue = await SdkVenue.connect(urls, wallet, self._world.ground.clock, answer_within=1.5)
        return self._venue


async def kill_once(world: World, bus: RedisBus, hand: Hand, *, why: str) -> Drill:
    """Leave orders open, kill, wait for the receipt, watch that nothing more is taken, and resume."""
    await _rested(hand)
    asked, now = time.time_ns(), world.ground.clock.now()
    await asyncio.to_thread(control.kill, world.dsn, who="chaos", why=why, now=now)
    await _say(bus, Kill(who="chaos", why=why, ts_event=now, ts_init=now))
    receipt = await _receipt(world, asked)
    taken = await asyncio.to_thread(_taken, world)
    await asyncio.sleep(WATCHED_AFTER)
    later = await asyncio.to_thread(_taken, world) - taken - hand.placed  # Not ours, and posted before the kill
    drill = (
        Drill(took_ms=None, wrong=("no receipt came",)) if receipt is None else _judged(world, receipt, asked, later)
    )
    now = world.ground.clock.now()
    await asyncio.to_thread(control.resume, world.dsn, who="chaos", why="the drill is over", now=now)
    await _say(bus, Resume(who="chaos", why="the drill is over", ts_event=now, ts_init=now))
    return drill


def _judged(world: World, receipt: views.Receipt | None, asked: int, later: set[str]) -> Drill:
    """`later` are orders that the venue took after the receipt: only one that it names as unknown may be among them."""
    if receipt is None:
        return Drill(took_ms=None, wrong=("no receipt came",))
    if not receipt.verified_real:
        return Drill(took_ms=None, wrong=(), unverified=receipt.unverified or "nothing was said")
    sent_after = rows(world.dsn, f"SELECT order_hash FROM orders WHERE sent_real > {receipt.verified_real}")
    wrong = [f"order {order} was taken after the kill" for order in later if order not in receipt.unverified]
    wrong += [f"order {order} was sent after the receipt" for (order,) in sent_after]
    wrong += [f"order {order} is open in a verified receipt" for order in receipt.open_after]
    took = (receipt.verified_real - asked) / 1e6
    return Drill(took_ms=took, wrong=tuple(wrong), unverified=receipt.unverified)


async def _rested(hand: Hand) -> None:
    with contextlib.suppress(VenueUnavailable, ValueError):
        await hand.rest(2)


async def _receipt(world: World, asked: int) -> views.Receipt | None:
    """The first receipt of this kill that is clean, or the last one that is not."""
    deadline = time.monotonic() + RECEIPT_WITHIN
    found: views.Receipt | None = None
    while time.monotonic() < deadline:
        receipts = await asyncio.to_thread(_receipts, world.dsn, asked)
        for receipt in receipts:
            found = receipt
            if receipt.verified_real:
                return receipt
        await asyncio.sleep(0.02)
    return found


def _receipts(dsn: str, asked: int) -> list[views.Receipt]:
    with psycopg.connect(dsn) as connection:
        return sorted(views.receipts(connection, limit=5, since_real=asked), key=lambda receipt: receipt.started_real)


def _taken(world: World) -> set[str]:
    """Orders the venue has taken, ever."""
    return set(world.ground.truth()["post_count_by_order_id"])


async def _say(bus: RedisBus, message: Kill | Resume) -> None:
    try:
        await bus.publish(message)
    except BusUnavailable:
        return  # The row in the database is what holds
