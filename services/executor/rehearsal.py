"""Keeps the hot path warm: now and then an order is signed and written as a real one would be, and taken back.

Orders are seconds or hours apart. A first one finds cold caches, cold pages and statements not planned yet, and takes
two to three times as long as the next. A rehearsal costs two milliseconds and also proves, before it matters, that the
signer and the database would do their part, and that a connection to the venue is open. Its order is for cents at the
lowest tick, is never given to anything that sends, and its row is rolled back.
"""

import asyncio
from decimal import Decimal
from typing import Final

from pmarb import logs
from pmarb.clock import Clock
from pmarb.db.orders import Context, Orders
from pmarb.db.pool import Unavailable
from pmarb.domain.fees import FREE
from pmarb.domain.market import MarketInfo
from pmarb.domain.orders import Order, OrderType
from pmarb.domain.values import MIN_ORDER_SHARES, Side
from pmarb.venue.port import Intent, TradingVenue, VenueUnavailable
from pmarb.waiting import until_set
from services.executor.books import LiveBooks

log = logs.get(__name__)

EVERY: Final = 0.5  # Seconds, real


class Rehearsal:
    """A follower of the executor."""

    def __init__(self, venue: TradingVenue, orders: Orders, books: LiveBooks, clock: Clock) -> None:
        self._venue = venue
        self._orders = orders
        self._books = books
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            market = self._books.followed()
            if market is not None:
                await self._once(market)
            await until_set(stop, within=EVERY)

    async def _once(self, market: MarketInfo) -> None:
        await self._venue.ready()
        try:
            draft = await self._venue.draft(cheapest(market))
            self._venue.seal(draft)
            await self._orders.rehearse(*_row(draft.order_hash, draft.intent, now=self._clock.now()))
        except (ValueError, VenueUnavailable, Unavailable) as error:
            log.warning("rehearsal_failed", slug=market.slug, error=str(error) or type(error).__name__)


def cheapest(market: MarketInfo) -> Intent:
    """The least that can be signed: the fewest shares at the lowest price whose cost is whole cents."""
    limit = Decimal("0.01")
    return Intent(
        market=market.condition_id,
        token=market.tokens[0],
        side=Side.BUY,
        order_type=OrderType.FAK,
        limit=limit,
        usd=MIN_ORDER_SHARES * limit,
        shares=MIN_ORDER_SHARES,
    )


def _row(order_hash: str, intent: Intent, *, now: int) -> tuple[Order, Context]:
    order = Order(
        order_hash=f"rehearsal-{order_hash}",
        opportunity_id=f"rehearsal-{order_hash}",
        leg=0,
        market=intent.market,
        token=intent.token,
        side=intent.side,
        order_type=intent.order_type,
        limit_price=intent.limit,
        shares=intent.shares,
        usd=intent.usd,
        reserved=intent.usd,
        expires_at=now,
    )
    context = Context(
        slug="rehearsal",
        event="rehearsal",
        underlying="none",
        family="none",
        outcome="none",
        fees=FREE,
        fair=intent.limit,
        expiry=now,
        created_at=now,
    )
    return order, context
