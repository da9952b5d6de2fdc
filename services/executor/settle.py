"""The end of a position: its market resolves, the shares become a claim, the claim is redeemed and paid.

Somebody else may redeem for us, and a redemption may pay nothing: only a payment that the venue lists ends a claim.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from pmarb import logs
from pmarb.db.foreign import Movement
from pmarb.db.ledger import Claim, Holding
from pmarb.domain import ledger
from pmarb.domain.ledger import equity
from pmarb.domain.messages import Alert, AlertKind, Priority, Settlement
from pmarb.domain.values import MICRO, NANOS, ZERO, round_down
from pmarb.venue.port import CannotRedeem, Redemption, VenueUnavailable
from services.executor.inspection import Inspection
from services.executor.relay import Relay
from services.executor.shop import Shop

log = logs.get(__name__)

WAIT_FOR_OTHERS: Final = 30 * NANOS
"""Venue time after a resolution in which the venue's own redeemer may pay; after that we ask ourselves."""

TRY_AGAIN: Final = 60 * NANOS  # Venue time
LOOK_BACK: Final = 3600 * NANOS  # Venue time: how far payments for others' shares are looked for
OVERDUE: Final = 300 * NANOS
"""Venue time after a resolution at which an unpaid claim is a person's business."""

BATCH: Final = 10
"""Markets in one transaction."""


class Settler:
    """Settles, redeems and books what was paid. Idempotent: every step may run again."""

    def __init__(self, shop: Shop, inspection: Inspection, relay: Relay) -> None:
        self._shop = shop
        self._inspection = inspection
        self._relay = relay
        self._tried: dict[str, int] = {}
        self._alone: set[str] = set()

    async def settle(self) -> None:
        """Positions whose market has resolved become claims, or nothing; what is being merged waits for its end."""
        now = self._shop.clock.now()
        due = [held for held in await self._shop.ledger.holdings() if held.expiry <= now and not held.pending]
        merging = {ask.market for ask in await self._shop.merges.open()} if due else set()
        due = [held for held in due if held.market not in merging]
        if not due:
            return
        markets = sorted({held.market for held in due})
        payouts: dict[str, tuple[Decimal, int]] = {}
        for resolution in await self._shop.venue.resolutions(markets):
            payouts |= {token: (price, resolution.closed_at) for token, price in resolution.payouts.items()}
        for held in due:
            if held.token in payouts:
                await self._settle_one(held, *payouts[held.token])

    async def redeem(self) -> None:
        """Book what was paid, ask for what nobody asked for, and tell of what is overdue."""
        claims = await self._shop.ledger.claims()
        strangers = {token for token, shares in (await self._shop.foreign.shares()).items() if shares > ZERO}
        if not claims and not strangers:
            return
        since = min((claim.resolved_at for claim in claims), default=self._shop.clock.now())
        paid: dict[str, list[Redemption]] = {}
        for row in await self._shop.venue.redemptions(since_ns=since - (LOOK_BACK if strangers else 0)):
            paid.setdefault(row.token, []).append(row)
        await self._note_strangers(strangers & set(paid), paid)
        for claim in claims:
            if claim.token in paid:
                await self._book(claim, paid[claim.token])
        left = await self._shop.ledger.claims()
        await self._tell_overdue(left)
        self._ask(left)

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
            if held.shares > ZERO:  # Of what was merged altogether only the outcome is worth knowing
                await self._shop.publish(settlement)

    async def _book(self, claim: Claim, rows: Sequence[Redemption]) -> None:
        """Book what was really paid, up to the claim; what is missing stays a claim, what is more is not ours."""
        total = sum((row.usd for row in rows), ZERO)
        at = max(row.ts_event for row in rows)
        ours = min(total, claim.payout)
        if ours > claim.paid:
            ref = claim.token if claim.paid == ZERO else f"{claim.token}:{ours.normalize():f}"
            entry = ledger.redeemed(ref=ref, payout=ours - claim.paid, ts_event=at)
            await self._shop.ledger.redeem(claim.token, entry)
            log.info("redeemed", token=claim.token[:12], usd=str(ours - claim.paid))
        if total > claim.payout:
            shares = sum((row.shares for row in rows), ZERO) * (total - claim.payout) / total
            await self._inspection.foreign(
                [_foreign(claim.market, claim.token, shares=shares, usd=total - claim.payout, at=at)]
            )
        if total < claim.payout:
            await self._dispute(claim, f"a redemption paid ${total:f} of ${claim.payout:f}")

    async def _note_strangers(self, tokens: set[str], paid: Mapping[str, Sequence[Redemption]]) -> None:
        """Payments for tokens in which we never had an order."""
        tokens -= await self._shop.orders.tokens(sorted(tokens))
        await self._inspection.foreign(
            _foreign(
                paid[token][0].market,
                token,
                shares=sum((row.shares for row in paid[token]), ZERO),
                usd=sum((row.usd for row in paid[token]), ZERO),
                at=paid[token][0].ts_event,
            )
            for token in tokens
        )

    async def _dispute(self, claim: Claim, why: str) -> None:
        if await self._shop.ledger.dispute(claim.token, why):
            log.error("redemption_differs", token=claim.token[:12], expected=str(claim.payout), why=why)
            await self._shop.publish(self._alert(claim, f"{why}; the rest stays claimed and is asked for again"))

    async def _tell_overdue(self, claims: Sequence[Claim]) -> None:
        now = self._shop.clock.now()
        for claim in claims:
            if now - claim.resolved_at > OVERDUE:
                await self._dispute(claim, f"${claim.payout - claim.paid:f} not paid long after the market resolved")

    def _alert(self, claim: Claim, body: str) -> Alert:
        now = self._shop.clock.now()
        return Alert(
            kind=AlertKind.UNPAID,
            priority=Priority.HIGH,
            dedupe_key=f"unpaid:{claim.token}",
            title="Winnings not paid",
            body=f"Market {claim.market}: {body}",
            ts_event=now,
            ts_init=now,
        )

    def _ask(self, claims: Sequence[Claim]) -> None:
        """Redeem what nobody has, one transaction at a time, beside the reconciling."""
        now = self._shop.clock.now()
        if not self._relay.free(now):
            return
        due = sorted(
            {
                claim.market
                for claim in claims
                if now - claim.resolved_at >= WAIT_FOR_OTHERS and now - self._tried.get(claim.market, 0) >= TRY_AGAIN
            }
        )
        if due:
            batch = [market for market in due if market in self._alone][:1] or due[:BATCH]
            self._tried |= dict.fromkeys(batch, now)
            due_claims = [claim for claim in claims if claim.market in batch]
            self._relay.send(self._redeem_markets(batch, due_claims), now=now)

    async def _redeem_markets(self, markets: Sequence[str], claims: Sequence[Claim]) -> None:
        """Success is that the shares are gone; what was paid for them is read from the venue's list of payments."""
        try:
            transaction = await self._shop.venue.redeem(markets)
            for claim in claims:
                if await self._shop.venue.shares(claim.token) > ZERO:
                    await self._dispute(
                        claim, "the redemption went through but paid nothing, the shares are still there"
                    )
        except CannotRedeem as error:
            self._alone |= set(markets)  # One that reverts must not hold up the others
            log.error("redemption_refused", markets=len(markets), why=str(error))
        except VenueUnavailable as error:
            log.warning("redemption_unknown", markets=len(markets), why=str(error))
        else:
            self._alone -= set(markets)
            log.info("redemption_sent", markets=len(markets), transaction=transaction)


def _foreign(market: str, token: str, *, shares: Decimal, usd: Decimal, at: int) -> Movement:
    """A payment for shares that were not ours."""
    return Movement(
        movement_id=f"redemption:{token}",
        kind="redemption",
        order_hash="",
        market=market,
        token=token,
        outcome="",
        shares=-shares,
        usd=usd,
        ts_event=at,
    )
