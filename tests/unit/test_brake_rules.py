"""The way from "stop" to a receipt, with a venue that holds orders, hides, and comes back."""

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from pmarb.db.receipts import Receipt
from pmarb.domain.messages import TradingState
from pmarb.domain.orders import OrderState
from pmarb.domain.values import NANOS, Side
from pmarb.venue.port import VenueOrder, VenueUnavailable
from services.executor.brake import Brake
from services.executor.flatten import CANCELLED, LEFT_ALONE, flatten


class Hurried:
    """A clock on which every look takes a second."""

    def __init__(self) -> None:
        self.seconds = 0

    def now(self) -> int:
        return self.seconds * NANOS

    def real(self) -> int:
        self.seconds += 1
        return self.seconds * NANOS


def an_open_order(order_hash: str, state: OrderState = OrderState.LIVE) -> VenueOrder:
    return VenueOrder(
        order_hash=order_hash, market="m", token="1", side=Side.BUY, price=Decimal("0.5"), shares=Decimal(5),
        matched=Decimal(0), state=state,
    )  # fmt: skip


@dataclass
class Venue:
    """Unreachable for `away` questions; a held order ignores cancels and is gone after `held_for` of them."""

    orders: list[VenueOrder] = field(default_factory=list)
    away: int = 0
    held_for: int = 2
    cancels: int = 0

    async def open_orders(self) -> list[VenueOrder]:
        if self.away > 0:
            self.away -= 1
            raise VenueUnavailable("no route")
        return list(self.orders)

    async def cancel_all(self) -> dict[str, str]:
        self.cancels += 1
        held = [order for order in self.orders if order.state is OrderState.DELAYED and self.cancels < self.held_for]
        self.orders = held
        return {order.order_hash: "it is held" for order in held}


async def flat(venue: Venue, **options: Any) -> Receipt:
    return await flatten(venue, Hurried(), who="w", why="y", **options)  # type: ignore[arg-type]


async def test_what_rests_is_cancelled_and_what_is_held_is_waited_for() -> None:
    receipt = await flat(Venue([an_open_order("0x1"), an_open_order("0x2", OrderState.DELAYED)]))
    assert receipt.open_before == ["0x1", "0x2"]
    assert receipt.cancelled == {"0x1": CANCELLED, "0x2": LEFT_ALONE}
    assert (receipt.open_after, receipt.unverified) == ([], "")
    assert receipt.verified_ms is not None


async def test_a_venue_that_does_not_answer_verifies_nothing_and_is_named() -> None:
    receipt = await flat(Venue([an_open_order("0x1")], away=99), give_up=5)
    assert (receipt.verified_real, receipt.verified_ms) == (0, None)
    assert receipt.unverified == "venue unavailable: no route"


async def test_a_list_read_while_an_order_travels_proves_nothing() -> None:
    venue, answers = Venue(), [["0x1"], []]

    async def travelling() -> list[str]:
        found = answers.pop(0)
        if not answers:
            venue.orders = []
        else:
            venue.orders = [an_open_order("0x1")]  # It arrives right after the list was asked for
        return found

    receipt = await flat(venue, unanswered=travelling, give_up=50)
    assert receipt.open_before == ["0x1"]
    assert receipt.open_after == []
    assert answers == []


class State:
    """What a person wrote: one state after another, each with its number."""

    def __init__(self, *states: TradingState) -> None:
        self.states = list(states)
        self.kills = 0

    async def look(self) -> tuple[TradingState, int]:
        number = len(self.states)
        return (self.states.pop(0) if len(self.states) > 1 else self.states[0]), number


async def receipts_of(venue: Venue, *states: TradingState, enough: int, unknown: str = "") -> list[Receipt]:
    """The first receipts that are written; the outcome of the order `unknown` stays so."""
    written: list[Receipt] = []
    done = asyncio.Event()

    async def add(receipt: Receipt) -> None:
        written.append(receipt)
        if len(written) == enough:
            done.set()

    async def none(_since: int = 0) -> list[Any]:
        return []

    async def still_open() -> list[Any]:
        order = SimpleNamespace(order_hash=unknown, state=OrderState.UNKNOWN)
        return [SimpleNamespace(order=order)] if unknown else []

    shop: Any = SimpleNamespace(
        venue=venue, clock=Hurried(), state=State(*states), orders=SimpleNamespace(open=still_open, changed_since=none),
        receipts=SimpleNamespace(add=add), braked=asyncio.Event(),
    )  # fmt: skip
    await asyncio.wait_for(Brake(shop, kill_file=None).watch(done), 10)
    return written


async def test_while_the_venue_is_away_it_keeps_trying_and_says_so_each_time() -> None:
    venue = Venue([an_open_order("0x1")], away=25)
    first, *_, last = await receipts_of(venue, TradingState.KILLED, enough=3)
    assert "venue unavailable" in first.unverified
    assert (last.open_before, last.open_after, last.unverified) == (["0x1"], [], "")
    assert last.verified_real > 0


async def test_every_kill_has_its_receipt_though_the_resume_between_was_not_seen() -> None:
    written = await receipts_of(Venue(), TradingState.KILLED, TradingState.KILLED, enough=2)
    assert [receipt.unverified for receipt in written] == ["", ""]


async def test_a_second_kill_does_not_wait_for_what_the_first_left_in_doubt() -> None:
    written = await receipts_of(Venue(), TradingState.KILLED, TradingState.KILLED, enough=2, unknown="0x7")
    assert [receipt.unverified for receipt in written] == ["outcome not known yet: 0x7"] * 2
    assert all(receipt.verified_real for receipt in written)
