"""The slow half: what became of every order, how every market ended, what was paid. One executor at a time does it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from pmarb import logs
from pmarb.db.foreign import Movement
from pmarb.db.orders import Stored
from pmarb.db.pool import Connection, Unavailable
from pmarb.db.state import try_lead
from pmarb.domain import ledger
from pmarb.domain.orders import FillStatus, Trade, Traded
from pmarb.domain.values import NANOS, ZERO, Side
from pmarb.runtime import Backoff
from pmarb.venue.port import Sightings, VenueOrder, VenueTrade, VenueUnavailable
from pmarb.waiting import until_set
from services.executor import reports
from services.executor.decide import VenueView, resolve
from services.executor.endings import SetEnder
from services.executor.inspection import Inspection
from services.executor.merge import Merger
from services.executor.relay import Relay
from services.executor.settle import Settler
from services.executor.shop import Shop

log = logs.get(__name__)

EVERY: Final = 2.0  # Seconds, venue time
LEAST_PAUSE: Final = 0.25
"""Seconds (real) between rounds, however often it is woken: a round parses every recent trade in the loop that also
carries approvals to the wire."""
LOOK_BACK: Final = 60 * NANOS
"""Trades are asked for from so long before the oldest open order and the last look (venue time): clocks differ."""

REPEATED: Final = 300 * NANOS
"""Orders that changed so shortly before a start are told again: their messages may have died with the process."""

Connect = Callable[[], Awaitable[Connection]]


class Reconciler:
    """Settles orders, sets, trades, merges, markets and redemptions with the venue. Each step may run again."""

    def __init__(self, shop: Shop, connect: Connect, sightings: Sightings, sets: SetEnder) -> None:
        self._shop = shop
        self._sets = sets
        self._sightings = sightings
        self._connect = connect
        self._lead: Connection | None = None
        self._woken = asyncio.Event()
        self._venue_away, self._ledger_away = Backoff("venue"), Backoff("postgres")
        self._foreign: set[str] = set()
        self._looked = 0
        self.leading = False
        self.inspection = Inspection(shop)
        self._relay = Relay()
        self._merger = Merger(shop, self.inspection, self._relay)
        self._settler = Settler(shop, self.inspection, self._relay)

    def wake(self) -> None:
        """Something of ours changed at the venue: do not wait for the next round."""
        self._woken.set()

    async def start(self) -> None:
        """The first round, before anything new is sent, however long it takes; then tell again what may be unheard."""
        while not await self._tried():
            pass  # It has waited
        now = self._shop.clock.now()
        for stored in await self._shop.orders.changed_since(now - REPEATED):
            await self._shop.publish(*reports.standing(stored, now=now))

    async def run(self, done: asyncio.Event) -> None:
        """Rounds until `done`."""
        while not done.is_set():
            await until_set(self._woken, within=max(self._shop.clock.in_real(EVERY), LEAST_PAUSE))
            self._woken.clear()
            if await self._tried():
                await asyncio.sleep(LEAST_PAUSE)

    async def close(self) -> None:
        await self._relay.close()
        if self._lead is not None:
            await self._lead.close()

    async def _tried(self) -> bool:
        """A round, if it is ours to make; False, after a pause, where the venue or the ledger did not answer."""
        try:
            if await self._leads():
                await self.round()
        except VenueUnavailable as error:
            await self._venue_away.wait(error)
            return False
        except Unavailable as error:
            await self._ledger_away.wait(error)
            return False
        self._venue_away.recovered()
        self._ledger_away.recovered()
        return True

    async def _leads(self) -> bool:
        self.leading = False
        if self._lead is None or self._lead.closed:
            self._lead = await self._connect()
        self.leading = await try_lead(self._lead)
        return self.leading

    async def round(self) -> None:
        """Ask the venue once and take over what it says.

        Raises:
            VenueUnavailable: it does not answer: nothing was learnt, and every reservation stands.
        """
        await self._book_capital()
        view = await self._orders()
        await self._sets.look()
        await self._merger.merge()
        await self._settler.settle()
        await self._settler.redeem()
        await self.inspection.look(view.open_orders.keys())

    async def _book_capital(self) -> None:
        if await self._shop.ledger.empty():
            cash = await self._shop.venue.cash()
            entry = ledger.deposit(ref="initial", amount=cash, ts_event=self._shop.clock.now())
            if await self._shop.ledger.post(entry):
                log.info("capital_booked", usd=str(cash))
                self._looked = self._shop.clock.now()  # What was traded before is part of that capital

    async def _orders(self) -> VenueView:
        """Take over what became of every order that holds funds or that the venue shows; what the venue said."""
        stored = await self._shop.orders.open()
        now = self._shop.clock.now()
        looked = self._looked or await self._shop.orders.last_change() or now
        since = min((each.context.created_at for each in stored), default=now)
        view, trades = await self._view(min(since, looked) - LOOK_BACK)
        ours = {each.order.order_hash: each for each in stored}
        unknown = [order_hash for order_hash in {*view.open_orders, *view.trades} if order_hash not in ours]
        ours |= await self._shop.orders.by_hash(unknown)
        await self._tell_foreign(view, trades, ours)
        for each in ours.values():
            await self._resolve(each, view)
        self._looked = view.started_at
        return view

    async def _view(self, since: int) -> tuple[VenueView, Sequence[VenueTrade]]:
        """Open orders before trades: an order that matches in between is then missing from neither."""
        started = self._shop.clock.now()
        listed = await self._shop.venue.open_orders()
        trades = await self._shop.venue.trades(since_ns=since)
        by_order: dict[str, tuple[Trade, ...]] = {}
        for each in trades:
            by_order[each.order_hash] = (*by_order.get(each.order_hash, ()), each.trade)
        view = VenueView(started_at=started, open_orders={o.order_hash: o for o in listed}, trades=by_order)
        return view, trades

    async def _resolve(self, stored: Stored, view: VenueView) -> None:
        order = stored.order
        known = {trade.trade_id: trade.status for trade in order.trades}
        events = [
            event
            for event in resolve(order, view, sent_at=stored.context.created_at, sightings=self._sightings)
            if not (isinstance(event, Traded) and known.get(event.trade.trade_id) is event.trade.status)
        ]
        if events:
            await self._shop.publish(*await self._shop.record(order.order_hash, events))

    async def _tell_foreign(self, view: VenueView, trades: Sequence[VenueTrade], ours: Mapping[str, Stored]) -> None:
        """Orders and trades of this wallet that we did not make: told apart, written down, never adopted."""
        await self.inspection.foreign(_movement(trade) for trade in trades if trade.order_hash not in ours)
        resting = {h: order for h, order in view.open_orders.items() if h not in ours and h not in self._foreign}
        self._foreign |= set(resting)
        for order in resting.values():
            log.warning("foreign_order_seen", order_hash=order.order_hash, **_words(order))


def _words(order: VenueOrder) -> dict[str, str]:
    return {"side": order.side.value, "shares": str(order.shares), "price": str(order.price)}


def _movement(each: VenueTrade) -> Movement:
    """What a trade did to the wallet; one that failed did nothing."""
    trade, sign = each.trade, 1 if each.side is Side.BUY else -1
    failed = trade.status is FillStatus.FAILED
    return Movement(
        movement_id=f"trade:{trade.trade_id}:{each.order_hash}",
        kind="trade",
        order_hash=each.order_hash,
        market=each.market,
        token=each.token,
        outcome=each.outcome,
        shares=ZERO if failed else sign * trade.shares,
        usd=ZERO if failed else -sign * trade.notional - trade.fee,
        ts_event=trade.ts_event,
    )
