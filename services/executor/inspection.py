"""Holds the ledger against the venue's view of the wallet, says where they differ, and halts when that lasts."""

from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from typing import Final

from pmarb import logs
from pmarb.db.foreign import Movement
from pmarb.db.ledger import BookedFee
from pmarb.domain import ledger
from pmarb.domain.ledger import Account
from pmarb.domain.messages import Alert, AlertKind, Halt, Priority
from pmarb.domain.orders import Order
from pmarb.domain.values import NANOS, ZERO
from pmarb.venue.port import VenuePosition
from services.executor.mismatch import (
    CASH,
    CASH_GRAIN,
    FEE_TOLERANCE,
    SETTLEMENT_LAG,
    SHARES_TOLERANCE,
    USD_TOLERANCE,
    HaltReason,
    Mismatch,
    Patience,
    Range,
    cash_range,
    fee_difference,
    fees_by_balance,
    order_mismatches,
    share_ranges,
)
from services.executor.shop import Shop

log = logs.get(__name__)

EVERY: Final = 5 * NANOS  # Venue time
EVERY_REAL: Final = NANOS  # Real time: each look is four requests and a handful of queries
FEES_LOOK_BACK: Final = 600 * NANOS  # Venue time


class Inspection:
    """One look at everything, now and then. `look` is called by whoever reconciles."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._patience = Patience()
        self._looked = self._looked_real = 0
        self._lacking, self._lacking_since, self._agreed_at = ZERO, 0, 0

    async def look(self, listed: Collection[str]) -> None:
        """Compare, unless that was done a moment ago. `listed` are the orders that the venue says are open.

        The venue first, the ledger after it: whatever the venue shows of us was written down before it was sent.
        """
        now, real = self._shop.clock.now(), self._shop.clock.real()
        if 0 <= now - self._looked < EVERY or 0 <= real - self._looked_real < EVERY_REAL:
            return
        positions, cash = await self._shop.venue.positions(), await self._shop.venue.cash()
        still_open = [each.order for each in await self._shop.orders.open()]
        named = [each.order for each in (await self._shop.orders.by_hash(list(listed))).values()]
        found = order_mismatches({each.order_hash: each for each in (*named, *still_open)}.values(), listed)
        found += await self._shares(positions, still_open)
        wallet = await self._wallet(still_open)
        found += _of_cash(wallet, cash)
        await self.fees(now)
        self._looked, self._looked_real = now, real
        fresh, overdue = self._patience.look(found, now=now)
        for each in fresh:
            await self._warn(each)
        if await self._settle_fees(wallet, cash, still_open, found):
            return
        if overdue:
            await self.halt(HaltReason.LEDGER_MISMATCH, "; ".join(str(each) for each in overdue))

    async def halt(self, reason: HaltReason, detail: str) -> None:
        """Stop opening until a person resumes: the row first, then the words."""
        now, why = self._shop.clock.now(), f"{reason}: {detail}"
        if await self._shop.state.halt(who="executor", why=why, now=now):
            log.error("trading_halted", reason=reason.value, detail=detail)
            await self._shop.publish(Halt(who="executor", why=why, clears_at=0, ts_event=now, ts_init=now))

    async def _settle_fees(
        self, ours: Range, cash: Decimal, still_open: Sequence[Order], found: Sequence[Mismatch]
    ) -> bool:
        """The fee of a trade is what the balance says, also where the venue shows it no more, after a merge or the end.

        While nothing is under way and all else agrees, what lacks in the wallet for as long as nothing lags are fees of
        trades since all agreed; beyond what makes our idea of them wrong, a person is asked. Whether that explained it.
        """
        now, lacking, before = self._shop.clock.now(), ours.low - cash, self._lacking
        quiet = not still_open and all(each.key == CASH for each in found)
        self._lacking = lacking if quiet and abs(lacking) > CASH_GRAIN else ZERO
        if quiet and self._lacking == ZERO:
            self._agreed_at = self._looked
        if self._lacking != before:
            self._lacking_since = now
        if self._lacking == ZERO or now - self._lacking_since < SETTLEMENT_LAG:
            return False
        since = max(now - FEES_LOOK_BACK, self._agreed_at)
        trades = await self._shop.ledger.fees_unshown(since, list(await self._shop.foreign.shares()))
        charged = fees_by_balance(trades, lacking)
        if charged is None:
            return False
        for trade in trades:
            await self._correct(trade, charged[trade.trade_id], now)
        total = sum((each.fee for each in trades), ZERO)
        if fee_difference(total, total + lacking) > FEE_TOLERANCE:
            words = (
                f"the wallet holds ${cash:f}, the ledger held ${ours}, all else agrees: booked as fees of {len(trades)}"
            )
            await self.halt(HaltReason.FEE_MISMATCH, f"{words} trades that were expected to cost ${total:f}")
        return True

    async def _wallet(self, still_open: Sequence[Order]) -> Range:
        """pUSD that the wallet should hold."""
        balances = await self._shop.ledger.balances()
        return cash_range(
            cash=balances[Account.CASH],
            reserved=balances[Account.RESERVED],
            foreign=await self._shop.foreign.usd(),
            open_orders=still_open,
        )

    async def _shares(self, positions: Iterable[VenuePosition], still_open: Sequence[Order]) -> list[Mismatch]:
        listed = {position.token: position for position in positions}
        holdings = await self._shop.ledger.holdings()
        foreign = await self._shop.foreign.shares()
        ours = share_ranges(
            confirmed={held.token: held.shares for held in holdings}, foreign=foreign, open_orders=still_open
        )
        await self._note_strangers(position for token, position in listed.items() if token not in foreign)
        return [
            mismatch
            for token, wanted in ours.items()
            if (mismatch := await self._of_token(token, wanted, listed.get(token))) is not None
        ]

    async def _of_token(self, token: str, wanted: Range, position: VenuePosition | None) -> Mismatch | None:
        """The list of positions lags and leaves out; before it counts, the balance itself is asked for."""
        hint = position.shares if position is not None else ZERO
        if wanted.holds(hint, tolerance=SHARES_TOLERANCE):
            return None
        balance = await self._shop.venue.shares(token)
        if wanted.holds(balance, tolerance=SHARES_TOLERANCE):
            return None
        return Mismatch(key=f"shares of {token}", ours=str(wanted), theirs=f"{balance:f} (listed {hint:f})")

    async def _note_strangers(self, positions: Iterable[VenuePosition]) -> None:
        """Shares of tokens in which we never had an order: somebody else's, told apart and left alone."""
        unknown = [position for position in positions if position.shares > ZERO]
        ours = await self._shop.orders.tokens([position.token for position in unknown])
        await self.foreign(
            Movement(
                movement_id=f"holding:{position.token}",
                kind="holding",
                order_hash="",
                market=position.market,
                token=position.token,
                outcome=position.outcome,
                shares=position.shares,
                usd=ZERO,
                ts_event=self._shop.clock.now(),
            )
            for position in unknown
            if position.token not in ours
        )

    async def foreign(self, movements: Iterable[Movement]) -> None:
        """Write down what others did in this wallet; said once each."""
        found = list(movements)
        for each in await self._shop.foreign.see(found, now=self._shop.clock.now()) if found else ():
            log.warning(
                "foreign_movement_seen",
                kind=each.kind,
                order_hash=each.order_hash or None,
                token=each.token[:12],
                shares=str(each.shares),
                usd=str(each.usd),
            )

    async def fees(self, now: int) -> frozenset[str]:
        """What the venue charged is the truth; we book it, and stop if our idea of the fee was wrong.

        Returns the tokens with young trades of which the venue does not show yet what it charged.
        """
        booked = await self._shop.ledger.fees_booked(now - FEES_LOOK_BACK)
        if not booked:
            return frozenset()
        held = {each.token: each.shares for each in await self._shop.ledger.holdings() if not each.pending}
        foreign = await self._shop.foreign.shares()
        unseen = set(booked) - set(foreign)
        for token, charged in (await self._shop.venue.entry_fees()).items():
            if token not in unseen or abs(charged.shares - held.get(token, ZERO)) > SHARES_TOLERANCE:
                continue
            unseen.remove(token)
            total = sum((each.fee for each in booked[token]), ZERO)
            apart = fee_difference(total, charged.fees)
            if charged.fees != total:  # Also what rounding explains: the booked fee is what the balance says
                last = booked[token][-1]
                await self._correct(last, last.fee + charged.fees - total, now)
            if apart > FEE_TOLERANCE:
                words = f"trades of {token} were booked with ${total:f} of fees, the venue charged ${charged.fees:f}"
                await self.halt(HaltReason.FEE_MISMATCH, words)
        return frozenset(unseen)

    async def _correct(self, booked: BookedFee, charged: Decimal, now: int) -> None:
        if charged < ZERO or charged == booked.fee:
            return  # Below zero: the halt says it; a person decides which trade is wrong
        entry = ledger.fee_corrected(trade_id=booked.trade_id, booked=booked.fee, charged=charged, ts_event=now)
        if await self._shop.ledger.correct_fee(booked, charged=charged, entry=entry):
            log.warning("fee_corrected", trade_id=booked.trade_id, booked=str(booked.fee), charged=str(charged))

    async def _warn(self, mismatch: Mismatch) -> None:
        log.error("mismatch", what=mismatch.key, ledger=mismatch.ours, venue=mismatch.theirs)
        now = self._shop.clock.now()
        await self._shop.publish(
            Alert(
                kind=AlertKind.MISMATCH,
                priority=Priority.HIGH,
                dedupe_key=f"mismatch:{mismatch.key}",
                title="The ledger and the venue differ",
                body=f"{mismatch}. If it lasts, trading halts.",
                ts_event=now,
                ts_init=now,
            )
        )


def _of_cash(ours: Range, theirs: Decimal) -> list[Mismatch]:
    if ours.holds(theirs, tolerance=USD_TOLERANCE):
        return []
    return [Mismatch(key=CASH, ours=f"${ours}", theirs=f"${theirs:f}")]
