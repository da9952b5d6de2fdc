"""One order, from what was planned to what is known of it: draft, sign, write, send, write. In this order, always.

The client prepares what it will send while the ledger writes; the order itself leaves only when it is written.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final, Self

from pmarb import logs
from pmarb.db.orders import Context, Gate, Stored
from pmarb.db.pool import Unavailable
from pmarb.domain.fees import FeeSchedule
from pmarb.domain.messages import Approval, ApprovedLeg
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
from services.executor.decide import Skip, SkipReason, fees_of
from services.executor.pause import Pause
from services.executor.shop import Shop, Told, log_told, persistently

log = logs.get(__name__)

STALLED_AFTER: Final = 2 * NANOS
"""Between writing and leaving only a connection is waited for; after a longer gap (real) the reconciler of another
process may have judged the order already."""

PAUSED: Final = "paused: "
"""Prefix of the refusal of an order that came while the venue takes none."""


class Outcome(StrEnum):
    """What is known of an order right after it was sent, or was not."""

    MATCHED = "matched"
    MISSED = "missed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """What to tell of an order, and what it brought: `paid` dollars for `shares`, the fee included, rounded up."""

    told: Told
    outcome: Outcome
    shares: Decimal = ZERO
    paid: Decimal = ZERO
    cause: str = ""


class Writing:
    """An order on its way into the ledger, and with it the last word on whether it may leave."""

    def __init__(self, shop: Shop, order: Order, context: Context) -> None:
        self._shop = shop
        self._began = shop.clock.real()
        self._answer = asyncio.ensure_future(shop.orders.insert(order, context))
        self.withheld = Skip(reason=SkipReason.HALTED)
        self.lost = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._answer.cancel()  # Done by now, unless all of this was cancelled

    async def gate(self) -> Gate | None:
        """What the ledger decided; None if it cannot be asked, and then nobody knows."""
        try:
            return await asyncio.shield(self._answer)  # Who waits may have to stop waiting; then it is asked again
        except Unavailable as error:
            self.lost = str(error)
            return None

    async def may_leave(self) -> bool:
        """Whether it is written, in time, and nothing has stopped trading meanwhile."""
        if await self.gate() is not Gate.INSERTED:
            return False
        if self._shop.clock.real() - self._began > STALLED_AFTER:
            self.withheld = Skip(reason=SkipReason.STALLED)
            return False
        return not self._shop.braked.is_set()  # It was written before the stop; the receipt must stay true


class Posting:
    """Sends orders. An (opportunity, leg) is sent at most once, whatever is asked again."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._pause = Pause()

    def paused(self) -> Skip | None:
        """Why the venue takes no orders now."""
        why = self._pause.closed(self._shop.clock.now())
        return Skip(reason=SkipReason.VENUE_PAUSED, detail=why) if why else None

    async def place(
        self, approval: Approval, number: int, leg: ApprovedLeg, intent: Intent, *, tick: Decimal
    ) -> Placed:
        """Send it as the order `number` of the approval."""
        draft = await self._draft(intent)
        if isinstance(draft, Skip):
            return await self.skip(approval, number, leg, draft)
        order, context = self._row(approval, number, leg, draft, tick=tick)
        result: PostResult | None = None
        with Writing(self._shop, order, context) as writing:  # On its way to the database while this process signs
            signed = self._seal(draft)
            if isinstance(signed, Signed):
                result = await self._shop.venue.post(signed, permit=writing.may_leave)
            gate = await writing.gate()
        if gate is None:
            log.error("database_unavailable", opportunity_id=approval.opportunity_id, error=writing.lost)
            skip = Skip(reason=SkipReason.HALTED, detail="database=unavailable")
            told = [reports.skipped(approval, number, leg, skip, now=self._shop.clock.now())]
            return Placed(told=told, outcome=Outcome.MISSED, cause=skip.cause)
        if gate is not Gate.INSERTED:
            detail = "gate=locked" if gate is Gate.LOCKED else ""
            return await self.skip(approval, number, leg, Skip(reason=SkipReason.HALTED, detail=detail))
        if isinstance(signed, Skip):
            return await self._unsent(draft, signed)
        if result is None:
            return await self._unsent(draft, writing.withheld)
        return await self._learnt(draft, result, fees=context.fees)

    async def skip(self, approval: Approval, number: int, leg: ApprovedLeg, skip: Skip) -> Placed:
        """Say that nothing was sent; but if something was, before, say how it stands: its reservation still counts."""
        now = self._shop.clock.now()
        known: Stored | None = await persistently(
            "postgres", Unavailable, lambda: self._shop.orders.find(approval.opportunity_id, number)
        )
        if known is not None:
            return Placed(told=reports.standing(known, now=now), outcome=Outcome.UNKNOWN, cause="sent before")
        update = reports.skipped(approval, number, leg, skip, now=now)
        log_told(update)
        return Placed(told=[update], outcome=Outcome.MISSED, cause=skip.cause)

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

    async def _unsent(self, draft: Draft, skip: Skip) -> Placed:
        """It is written down but nothing left: its row says so and its reservation goes back."""
        refused = Refused(reason=skip.cause)
        told = await self._shop.record_surely(draft.order_hash, (refused,), sent_real=0, answered_real=0)
        return Placed(told=told, outcome=Outcome.MISSED, cause=skip.cause)

    async def _learnt(self, draft: Draft, result: PostResult, *, fees: FeeSchedule) -> Placed:
        clock = self._shop.clock
        alert = self._pause.learn(result, now=clock.now())
        events = events_of(result, fees=fees, now=clock.now())
        told = await self._shop.record_surely(
            draft.order_hash, events, sent_real=result.sent_real, answered_real=clock.real()
        )
        if alert is not None:
            await self._shop.publish(alert)
        return placed_of(result, told, fees=fees)

    def _row(
        self, approval: Approval, number: int, leg: ApprovedLeg, draft: Draft, *, tick: Decimal
    ) -> tuple[Order, Context]:
        intent, fees = draft.intent, fees_of(leg)
        order = Order(
            order_hash=draft.order_hash,
            opportunity_id=approval.opportunity_id,
            leg=number,
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
            slug=leg.leg.slug or approval.slug,
            event=leg.leg.event or approval.event,
            underlying=approval.underlying,
            family=leg.leg.family or approval.family,
            outcome=leg.leg.outcome,
            fees=fees,
            fair=_fair(approval, leg),
            expiry=leg.leg.expiry or approval.expiry,
            created_at=self._shop.clock.now(),
            tick_real=approval.tick_real,
            judged_real=approval.judged_real,
        )
        return order, context


def _fair(approval: Approval, leg: ApprovedLeg) -> Decimal:
    """What a share of this leg by itself is worth; where no model says, what it was offered for."""
    if len(approval.legs) == 1:
        return approval.fair
    return leg.leg.price if leg.leg.fair is None else leg.leg.fair


def placed_of(result: PostResult, told: Told, *, fees: FeeSchedule) -> Placed:
    """What a reply says the order brought. Held by the venue, or matched in amounts it does not give: not known yet."""
    match result:
        case PostRefused(reason=reason) | PostPaused(reason=reason):
            return Placed(told=told, outcome=Outcome.MISSED, cause=reason)
        case PostAccepted(shares=shares, usd=usd) if shares > ZERO and usd > ZERO:
            paid = usd + fees.reserved(shares=shares, price=usd / shares)
            return Placed(told=told, outcome=Outcome.MATCHED, shares=shares, paid=paid)
        case PostAccepted(state=state):
            return Placed(told=told, outcome=Outcome.UNKNOWN, cause=str(state))
        case PostIndeterminate(detail=detail):
            return Placed(told=told, outcome=Outcome.UNKNOWN, cause=detail)


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
