"""What the parts of the executor share: the tables, the venue, and how an event becomes money and messages."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from pmarb import logs
from pmarb.bus.port import Bus, BusUnavailable
from pmarb.clock import Clock
from pmarb.db.foreign import ForeignMovements
from pmarb.db.ledger import LedgerBook
from pmarb.db.merges import MergeBook
from pmarb.db.orders import Orders
from pmarb.db.pool import Unavailable
from pmarb.db.receipts import Receipts
from pmarb.db.sets import SetBook
from pmarb.db.state import StateRow
from pmarb.domain.ledger import Entry
from pmarb.domain.messages import Fill, Message, OrderUpdate
from pmarb.domain.orders import Order, OrderEvent, OrderState, fold
from pmarb.runtime import Backoff
from pmarb.venue.port import TradingVenue
from services.executor import reports
from services.executor.decide import bookings

log = logs.get(__name__)

Result = TypeVar("Result")
Told = Sequence[OrderUpdate | Fill]

_EVENTS = {state: f"order_{state.value.lower()}" for state in OrderState}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """The executor's outside world. While `braked` is set nothing more is sent, though it be written already."""

    bus: Bus
    clock: Clock
    venue: TradingVenue
    orders: Orders
    ledger: LedgerBook
    merges: MergeBook
    sets: SetBook
    foreign: ForeignMovements
    state: StateRow
    receipts: Receipts
    braked: asyncio.Event = field(default_factory=asyncio.Event)

    async def record(
        self, order_hash: str, events: Sequence[OrderEvent], *, sent_real: int = 0, answered_real: int = 0
    ) -> Told:
        """Fold the events into the order's row and book what they move, in one transaction; what is new to tell."""
        now = self.clock.now()

        def change(order: Order, released: bool) -> tuple[Order, Sequence[Entry]]:
            after = order
            for event in events:
                after = fold(after, event)
            return after, bookings(order, after, released=released, now=now)

        found = await self.orders.change(order_hash, change, now=now, sent_real=sent_real, answered_real=answered_real)
        if found is None:
            return ()
        stored, after = found
        told = reports.changes(stored.order, after, stored.context, now=now)
        for message in told:
            log_told(message)
        return told

    async def publish(self, *messages: Message) -> None:
        """Publish, however long Redis is away. Readers may see a message twice."""
        if messages:
            await persistently("redis", BusUnavailable, lambda: self.bus.publish(*messages))

    async def record_surely(
        self, order_hash: str, events: Sequence[OrderEvent], *, sent_real: int, answered_real: int
    ) -> Told:
        """`record`, however long Postgres is away: what the venue answered must not be forgotten."""
        return await persistently(
            "postgres",
            Unavailable,
            lambda: self.record(order_hash, events, sent_real=sent_real, answered_real=answered_real),
        )


async def persistently(server: str, away: type[Exception], action: Callable[[], Awaitable[Result]]) -> Result:
    """Repeat `action`, which must bear repeating, while its server is away."""
    backoff = Backoff(server)
    while True:
        try:
            result = await action()
        except away as error:
            await backoff.wait(error)
        else:
            backoff.recovered()
            return result


def log_told(message: OrderUpdate | Fill) -> None:
    if isinstance(message, Fill):
        log.info(
            "fill",
            opportunity_id=message.opportunity_id,
            trade_id=message.trade_id,
            slug=message.slug,
            shares=str(message.shares),
            price=str(message.price),
            fee=str(message.fee),
            status=message.status.value,
        )
        return
    log.info(
        _EVENTS[message.state],
        opportunity_id=message.opportunity_id,
        order_hash=message.order_hash,
        slug=message.slug,
        cause=message.cause,
        filled=str(message.filled),
    )
