"""From an approval to the wire: plan, sign, write, send, write, publish, acknowledge. In this order, always."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from pmarb import logs
from pmarb.db.orders import Context, Gate, Stored
from pmarb.db.pool import Unavailable
from pmarb.domain.fees import FeeSchedule
from pmarb.domain.messages import Approval, ApprovedLeg, Fill, OrderUpdate
from pmarb.domain.orders import (
    Accepted,
    FillStatus,
    Order,
    OrderEvent,
    OutcomeUnknown,
    Refused,
    Traded,
)
from pmarb.domain.sizing import reserve_for_spend
from pmarb.domain.values import NANOS, ZERO
from pmarb.venue.account import traded
from pmarb.venue.port import (
    Draft,
    Intent,
    PostAccepted,
    PostIndeterminate,
    PostPaused,
    PostRefused,
    PostResult,
    Signed,
    VenueUnavailable,
)
from services.executor import reports
from services.executor.books import BookSource
from services.executor.decide import Skip, SkipReason, fees_of, plan
from services.executor.pause import Pause
from services.executor.shop import Shop, Told, log_told, persistently

log = logs.get(__name__)

STALLED_AFTER: Final = 2 * NANOS
"""Between writing and sending nothing waits; a longer gap (real) means that this process was stopped meanwhile, and
the reconciler of another may have judged its order already."""

PAUSED: Final = "paused: "
"""Prefix of the refusal of an order that came while the venue takes none."""


class HotPath:
    """Carries out approvals. An (opportunity, leg) is sent at most once, whatever is delivered again."""

    def __init__(self, shop: Shop, books: BookSource) -> None:
        self._shop = shop
        self._books = books
        self._pause = Pause()

    async def carry_out(self, approval: Approval) -> Told:
        """Send each leg, or not; what to tell."""
        told: list[OrderUpdate | Fill] = []
        for index, leg in enumerate(approval.legs):
            told += await self._leg(approval, index, leg)
        return told

    async def _leg(self, approval: Approval, index: int, leg: ApprovedLeg) -> Told:
        paused = self._pause.closed(self._shop.clock.now())
        if paused:
            return await self._skip(approval, index, leg, Skip(reason=SkipReason.VENUE_PAUSED, detail=paused))
        book = await self._books.book(leg.leg.token)
        planned = plan(approval, leg, book, now=self._shop.clock.now())
        draft = planned if isinstance(planned, Skip) else await self._draft(planned)
        if isinstance(draft, Skip):
            return await self._skip(approval, index, leg, draft)
        order, context = self._row(approval, index, leg, draft, tick=book.tick if book else leg.leg.tick)
        written = self._shop.clock.real()
        writing = asyncio.ensure_future(self._shop.orders.insert(order, context))
        await asyncio.sleep(0)  # The statement is on its way to the database while this process signs
        signed = self._seal(draft)
        try:
            gate = await writing
        except Unavailable as error:
            log.error("database_unavailable", opportunity_id=approval.opportunity_id, error=str(error))
            return [reports.skipped(approval, index, leg, _no_database(), now=self._shop.clock.now())]
        if gate is not Gate.INSERTED:
            return await self._skip(approval, index, leg, Skip(reason=SkipReason.HALTED))
        if isinstance(signed, Skip):
            return await self._unsent(draft, signed)
        return await self._send(draft, signed, context, written)

    async def _draft(self, intent: Intent) -> Draft | Skip:
        try:
            return await self._shop.venue.draft(intent)
        except (ValueError, VenueUnavailable) as error:
            return Skip(reason=SkipReason.UNSIGNABLE, detail=str(error))

    def _seal(self, draft: Draft) -> Signed | Skip:
        try:
            return self._shop.venue.seal(draft)
        except ValueError as error:
            return Skip(reason=SkipReason.UNSIGNABLE, detail=str(error))

    async def _unsent(self, draft: Draft, skip: Skip) -> Told:
        """It is written down but nothing left: its row says so and its reservation goes back."""
        refused = Refused(reason=skip.cause)
        return await self._shop.record_surely(draft.order_hash, (refused,), sent_real=0, answered_real=0)

    async def _send(self, draft: Draft, signed: Signed, context: Context, written: int) -> Told:
        clock = self._shop.clock
        if clock.real() - written > STALLED_AFTER:
            return await self._unsent(draft, Skip(reason=SkipReason.STALLED))
        if self._shop.braked.is_set():  # It was written before the stop; the receipt must stay true
            return await self._unsent(draft, Skip(reason=SkipReason.HALTED))
        result = await self._shop.venue.post(signed)
        alert = self._pause.learn(result, now=clock.now())
        events = events_of(result, fees=context.fees, now=clock.now())
        told = await self._shop.record_surely(
            signed.order_hash, events, sent_real=result.sent_real, answered_real=clock.real()
        )
        if alert is not None:
            await self._shop.publish(alert)
        return told

    async def _skip(self, approval: Approval, index: int, leg: ApprovedLeg, skip: Skip) -> Told:
        """Say that nothing was sent; but if something was, before, say how it stands: its reservation still counts."""
        now = self._shop.clock.now()
        known: Stored | None = await persistently(
            "postgres", Unavailable, lambda: self._shop.orders.find(approval.opportunity_id, index)
        )
        if known is not None:
            return reports.standing(known, now=now)
        update = reports.skipped(approval, index, leg, skip, now=now)
        log_told(update)
        return [update]

    def _row(
        self, approval: Approval, index: int, leg: ApprovedLeg, draft: Draft, *, tick: Decimal
    ) -> tuple[Order, Context]:
        intent, fees = draft.intent, fees_of(leg)
        order = Order(
            order_hash=draft.order_hash,
            opportunity_id=approval.opportunity_id,
            leg=index,
            market=intent.market,
            token=intent.token,
            side=intent.side,
            order_type=intent.order_type,
            limit_price=intent.limit,
            shares=intent.shares,
            usd=intent.usd,
            reserved=reserve_for_spend(usd=intent.usd, limit=intent.limit, tick=tick, fees=fees),
            expires_at=approval.expires_at,
        )
        context = Context(
            slug=approval.slug,
            event=approval.event,
            underlying=approval.underlying,
            family=approval.family,
            outcome=leg.leg.outcome,
            fees=fees,
            fair=approval.fair,
            expiry=approval.expiry,
            created_at=self._shop.clock.now(),
            tick_real=approval.tick_real,
            judged_real=approval.judged_real,
        )
        return order, context


def events_of(result: PostResult, *, fees: FeeSchedule, now: int) -> Sequence[OrderEvent]:
    """What a reply teaches about the order. One trade id with amounts is a trade already; several must be asked for."""
    match result:
        case PostRefused(reason=reason):
            return (Refused(reason=reason),)
        case PostPaused(reason=reason):
            return (Refused(reason=f"{PAUSED}{reason}"),)
        case PostIndeterminate(detail=detail):
            return (OutcomeUnknown(detail=detail),)
        case PostAccepted(state=state, shares=shares, usd=usd, trade_ids=trade_ids):
            if len(trade_ids) != 1 or shares <= ZERO or usd <= ZERO:
                return (Accepted(state=state),)
            trade = traded(
                trade_id=trade_ids[0],
                shares=shares,
                usd=usd,
                fees=fees,
                status=FillStatus.PROVISIONAL,
                ts_event=now,
            )
            return (Accepted(state=state), Traded(trade=trade))


def _no_database() -> Skip:
    return Skip(reason=SkipReason.HALTED, detail="database=unavailable")
