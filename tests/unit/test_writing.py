"""An order may leave only once it is written, in time, and while nothing has stopped trading."""

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest

from pmarb.clock import ManualClock
from pmarb.db.orders import Context, Gate
from pmarb.db.pool import Unavailable
from pmarb.domain.orders import Order
from services.executor.decide import SkipReason
from services.executor.posting import STALLED_AFTER, Writing
from services.executor.shop import Shop
from tests.builders import NOW

ANY_ORDER, ANY_CONTEXT = cast(Order, None), cast(Context, None)


class Ledger:
    """Writes an order when `answer` is known."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[Gate] = asyncio.get_running_loop().create_future()

    async def insert(self, _order: Order, _context: Context) -> Gate:
        return await self.answer


def shop(ledger: Ledger, clock: ManualClock) -> Shop:
    return cast(Shop, SimpleNamespace(orders=ledger, clock=clock, braked=asyncio.Event()))


async def test_an_order_leaves_once_it_is_written() -> None:
    ledger = Ledger()
    with Writing(shop(ledger, ManualClock(NOW)), ANY_ORDER, ANY_CONTEXT) as writing:
        asked = asyncio.create_task(writing.may_leave())
        await asyncio.sleep(0.01)
        assert not asked.done()
        ledger.answer.set_result(Gate.INSERTED)
        assert await asked
        assert await writing.gate() is Gate.INSERTED


@pytest.mark.parametrize("gate", [Gate.DUPLICATE, Gate.HALTED, Gate.LOCKED])
async def test_what_is_not_written_does_not_leave(gate: Gate) -> None:
    ledger = Ledger()
    ledger.answer.set_result(gate)
    with Writing(shop(ledger, ManualClock(NOW)), ANY_ORDER, ANY_CONTEXT) as writing:
        assert not await writing.may_leave()
        assert await writing.gate() is gate


async def test_where_nobody_knows_whether_it_is_written_it_does_not_leave() -> None:
    ledger = Ledger()
    ledger.answer.set_exception(Unavailable("the server went away"))
    with Writing(shop(ledger, ManualClock(NOW)), ANY_ORDER, ANY_CONTEXT) as writing:
        assert not await writing.may_leave()
        assert await writing.gate() is None
        assert writing.lost == "the server went away"


async def test_a_stop_after_the_writing_holds_it_back() -> None:
    ledger = Ledger()
    here = shop(ledger, ManualClock(NOW))
    with Writing(here, ANY_ORDER, ANY_CONTEXT) as writing:
        asked = asyncio.create_task(writing.may_leave())
        await asyncio.sleep(0)
        here.braked.set()
        ledger.answer.set_result(Gate.INSERTED)
        assert not await asked
        assert writing.withheld.reason is SkipReason.HALTED


@pytest.mark.parametrize(("waited", "leaves"), [(STALLED_AFTER, True), (STALLED_AFTER + 1, False)])
async def test_what_came_too_late_to_the_door_stays(waited: int, leaves: bool) -> None:
    ledger, clock = Ledger(), ManualClock(NOW)
    with Writing(shop(ledger, clock), ANY_ORDER, ANY_CONTEXT) as writing:
        ledger.answer.set_result(Gate.INSERTED)
        await clock.sleep(waited / 1e9)
        assert await writing.may_leave() is leaves
        assert writing.withheld.reason is (SkipReason.HALTED if leaves else SkipReason.STALLED)


async def test_who_stops_waiting_takes_nothing_from_the_next() -> None:
    ledger = Ledger()
    with Writing(shop(ledger, ManualClock(NOW)), ANY_ORDER, ANY_CONTEXT) as writing:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await writing.may_leave()
        ledger.answer.set_result(Gate.INSERTED)
        assert await writing.gate() is Gate.INSERTED


async def test_what_is_given_up_is_no_longer_waited_for() -> None:
    ledger = Ledger()
    giving_up = asyncio.create_task(_wait_for_ever(ledger))
    await asyncio.sleep(0.01)
    giving_up.cancel()
    await asyncio.wait({giving_up})
    await asyncio.sleep(0)
    assert ledger.answer.cancelled()


async def _wait_for_ever(ledger: Ledger) -> None:
    with Writing(shop(ledger, ManualClock(NOW)), ANY_ORDER, ANY_CONTEXT) as writing:
        await writing.may_leave()
