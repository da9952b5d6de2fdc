"""The slow half: what became of every order, how every market ended, what was paid. One executor at a time does it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from typing import Final

from pmarb import logs
from pmarb.db.ledger import Claim, Holding
from pmarb.db.orders import Stored
from pmarb.db.pool import Connection, Unavailable
from pmarb.db.state import try_lead
from pmarb.domain import ledger
from pmarb.domain.ledger import equity
from pmarb.domain.messages import Settlement
from pmarb.domain.orders import OrderState, Trade, Traded
from pmarb.domain.values import MICRO, NANOS, ZERO, round_down
from pmarb.runtime import Backoff
from pmarb.venue.port import Redemption, VenueTrade, VenueUnavailable
from services.executor import reports
from services.executor.decide import VenueView, resolve
from services.executor.shop import Shop

log = logs.get(__name__)

EVERY: Final = 2.0  # Seconds, venue time
LEAST_PAUSE: Final = 0.25
"""Seconds (real) between rounds, however often it is woken: a round parses every recent trade in the loop that also
carries approvals to the wire."""
LOOK_BACK: Final = 60 * NANOS
"""Trades are asked for from so long before the oldest open order (venue time): clocks differ."""

REPEATED: Final = 300 * NANOS
"""Orders that changed so shortly before a start are told again: their messages may have died with the process."""

Connect = Callable[[], Awaitable[Connection]]


class Reconciler:
    """Settles orders, trades, markets and redemptions against the venue. Idempotent: every step may run again."""

    def __init__(self, shop: Shop, connect: Connect) -> None:
        self._shop = shop
        self._connect = connect
        self._lead: Connection | None = None
        self._woken = asyncio.Event()
        self._foreign: set[str] = set()

    def wake(self) -> None:
        """Something of ours changed at the venue: do not wait for the next round."""
        self._woken.set()

    async def start(self) -> None:
        """The first round, before anything new is sent, however long it takes; then tell again what may be unheard."""
        backoff = Backoff("venue")
        while True:
            try:
                await self._round_if_leading()
                break
            except (VenueUnavailable, Unavailable) as error:
                await backoff.wait(error)
        backoff.recovered()
        now = self._shop.clock.now()
        for stored in await self._shop.orders.changed_since(now - REPEATED):
            await self._shop.publish(*reports.standing(stored, now=now))

    async def run(self, done: asyncio.Event) -> None:
        """Rounds until `done`."""
        backoff = Backoff("venue")
        while not done.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), max(self._shop.clock.in_real(EVERY), LEAST_PAUSE))
            self._woken.clear()
            try:
                await self._round_if_leading()
                backoff.recovered()
                await asyncio.sleep(LEAST_PAUSE)
            except (VenueUnavailable, Unavailable) as error:
                await backoff.wait(error)

    async def close(self) -> None:
        if self._lead is not None:
            await self._lead.close()

    async def _round_if_leading(self) -> None:
        if await self._leads():
            await self.round()

    async def _leads(self) -> bool:
        if self._lead is None or self._lead.closed:
            self._lead = await self._connect()
        return await try_lead(self._lead)

    async def round(self) -> None:
        """Ask the venue once and take over what it says.

        Raises:
            VenueUnavailable: it does not answer: nothing was learnt, and every reservation stands.
        """
        await self._book_capital()
        await self._orders()
        await self._settle()
        await self._redeem()

    async def _book_capital(self) -> None:
        if await self._shop.ledger.empty():
            cash = await self._shop.venue.cash()
            entry = ledger.deposit(ref="initial", amount=cash, ts_event=self._shop.clock.now())
            if await self._shop.ledger.post(entry):
                log.info("capital_booked", usd=str(cash))

    async def _orders(self) -> None:
        stored = await self._shop.orders.open()
        now = self._shop.clock.now()
        since = min((each.context.created_at for each in stored), default=now) - LOOK_BACK
        view, trades = await self._view(since)
        ours = {each.order.order_hash: each for each in stored}
        unknown = [order_hash for order_hash in {*view.open_orders, *view.trades} if order_hash not in ours]
        ours |= await self._shop.orders.by_hash(unknown)
        self._name_foreign(view, trades, ours)
        for each in ours.values():
            await self._resolve(each, view)

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
            for event in resolve(order, view, sent_at=stored.context.created_at)
            if not (isinstance(event, Traded) and known.get(event.trade.trade_id) is event.trade.status)
        ]
        if events:
            await self._shop.publish(*await self._shop.record(order.order_hash, events))
        elif order.state is OrderState.MATCHED and not order.trades and not view.trades.get(order.order_hash):
            log.debug("matched_without_trade", order_hash=order.order_hash)

    def _name_foreign(self, view: VenueView, trades: Sequence[VenueTrade], ours: Mapping[str, Stored]) -> None:
        """Orders and trades of this wallet that we did not make: said once, never adopted."""
        for order_hash in {*view.open_orders, *(trade.order_hash for trade in trades)} - set(ours) - self._foreign:
            self._foreign.add(order_hash)
            log.warning("foreign_order_seen", order_hash=order_hash)

    async def _settle(self) -> None:
        now = self._shop.clock.now()
        due = [held for held in await self._shop.ledger.holdings() if held.expiry <= now and not held.pending]
        if not due:
            return
        markets = sorted({held.market for held in due})
        payouts: dict[str, tuple[Decimal, int]] = {}
        for resolution in await self._shop.venue.resolutions(markets):
            payouts |= {token: (price, resolution.closed_at) for token, price in resolution.payouts.items()}
        for held in due:
            if held.token in payouts:
                await self._settle_one(held, *payouts[held.token])

    async def _settle_one(self, held: Holding, price: Decimal, closed_at: int) -> None:
        payout = round_down(held.shares * price, MICRO)
        settlement = Settlement(
            token=held.token,
            market=held.market,
            slug=held.slug,
            outcome=held.outcome,
            won=price == 1,
            shares=held.shares,
            cost=held.cost,
            fees=held.fees,
            payout=payout,
            pnl=payout - held.cost - held.fees,
            equity=equity(await self._shop.ledger.balances()) + payout - held.cost,
            ts_event=closed_at,
            ts_init=self._shop.clock.now(),
        )
        entry = ledger.resolved(token=held.token, cost=held.cost, payout=payout, ts_event=closed_at)
        if await self._shop.ledger.settle(settlement, entry):
            log.info("settled", slug=held.slug, outcome=held.outcome, payout=str(payout), pnl=str(settlement.pnl))
            await self._shop.publish(settlement)

    async def _redeem(self) -> None:
        claims = await self._shop.ledger.claims()
        if not claims:
            return
        since = min(claim.resolved_at for claim in claims)
        paid: dict[str, list[Redemption]] = {}
        for row in await self._shop.venue.redemptions(since_ns=since):
            paid.setdefault(row.token, []).append(row)
        for claim in claims:
            if claim.token in paid:
                await self._redeem_one(claim, paid[claim.token])

    async def _redeem_one(self, claim: Claim, rows: Sequence[Redemption]) -> None:
        """Book what was really paid; where that is not what we expected, the rest stays visible in `redeemable`."""
        usd = sum((row.usd for row in rows), ZERO)
        if usd != claim.payout:
            log.error("redemption_differs", token=claim.token[:12], expected=str(claim.payout), paid=str(usd))
        entry = ledger.redeemed(token=claim.token, payout=usd, ts_event=max(row.ts_event for row in rows))
        await self._shop.ledger.redeem(claim.token, entry)
        log.info("redeemed", token=claim.token[:12], usd=str(usd))
