"""Pairs of YES and NO are a dollar: they are merged through the relayer, and booked from the venue's own record.

Written down before it is asked for, so that no crash asks twice; booked only when the venue lists the merge, the shares
are gone and cash has come: how much lacks is for the inspection to say, which halts. What others merge of ours is found
in the same list.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from pmarb import logs
from pmarb.db.merges import Ask, Step
from pmarb.domain import ledger
from pmarb.domain.ledger import Account, equity
from pmarb.domain.messages import Alert, AlertKind, Merge, Priority
from pmarb.domain.values import NANOS, ZERO
from pmarb.venue.port import CannotMerge, VenueMerge, VenueUnavailable
from services.executor import pairs
from services.executor.inspection import Inspection
from services.executor.mismatch import SHARES_TOLERANCE, USD_TOLERANCE, cash_range
from services.executor.pairs import Pair
from services.executor.relay import Relay
from services.executor.shop import Shop

log = logs.get(__name__)

TRY_AGAIN: Final = 60 * NANOS  # Venue time after the last step of a market
LOST_AFTER: Final = 600 * NANOS
"""Venue time after which what was asked for will not come any more: the relayer's transactions carry a deadline, and
the client waits for two hundred seconds."""

BATCH: Final = 10  # Markets in one transaction


class Merger:
    """Books merges, ends what came to nothing, asks for what is due. Idempotent: every step may run again."""

    def __init__(self, shop: Shop, inspection: Inspection, relay: Relay) -> None:
        self._shop = shop
        self._inspection = inspection
        self._relay = relay
        self._alone: set[str] = set()
        self._told: set[str] = set()

    async def merge(self) -> None:
        """One look. Whoever settles does it afterwards: what was merged is not there to be redeemed."""
        held = pairs.pairs(await self._shop.ledger.holdings())
        foreign = await self._shop.foreign.by_market()
        asks = await self._shop.merges.open()
        asked = {ask.market for ask in asks}
        watched = {market: pair for market, pair in held.items() if market in asked or pairs.both_sides(pair, foreign)}
        if not watched:
            return
        await self._book_new(watched, foreign, asks)
        await self._end_lost(await self._shop.merges.open(), foreign)
        await self._ask()

    async def _book_new(
        self, watched: Mapping[str, Pair], foreign: Mapping[str, Mapping[str, Decimal]], asks: Sequence[Ask]
    ) -> None:
        since = min(pair.opened_at for pair in watched.values()) - pairs.CLOCKS
        rows = [row for row in await self._shop.venue.merges(since_ns=since) if row.market in watched]
        booked = await self._shop.merges.booked([row.merge_id for row in rows])
        known = await self._shop.foreign.known([f"merge:{row.merge_id}:" for row in rows])
        for row in rows:
            tokens = sorted({each.token for each in watched[row.market].held} | set(foreign.get(row.market, {})))
            if row.merge_id in booked:  # The rest of it may have died with the process
                await self._inspection.foreign(pairs.others(row, booked[row.merge_id], tokens))
            elif f"merge:{row.merge_id}:" not in known:
                await self._book_one(row, foreign.get(row.market, {}), asks, tokens)

    async def _book_one(
        self, row: VenueMerge, foreign: Mapping[str, Decimal], asks: Sequence[Ask], tokens: Sequence[str]
    ) -> None:
        pair = pairs.pairs(await self._shop.ledger.holdings())[row.market]  # As the merge before it left them
        ask = pairs.answered(row, asks)
        ours = pairs.ours_of(row, pair, foreign, asked=ask is not None)
        if ours > ZERO:
            if why := await self._not_paid(row, pair, foreign):
                await self._tell(row.market, f"a merge of {row.pairs:f} pairs is listed, but {why}")
                return
            await self._book(row, pair, ours, ask)
        await self._inspection.foreign(pairs.others(row, ours, tokens))

    async def _not_paid(self, row: VenueMerge, pair: Pair, foreign: Mapping[str, Decimal]) -> str:
        """What the balances say against the merge, "" when nothing."""
        if abs(row.usd - row.pairs) > USD_TOLERANCE:
            return f"it paid ${row.usd:f}"
        for held in pair.held:
            most = held.shares + max(foreign.get(held.token, ZERO), ZERO) - row.pairs + SHARES_TOLERANCE
            if held.pending == 0 and (left := await self._shop.venue.shares(held.token)) > most:
                return f"{left:f} shares of {held.outcome} are still there"
        still_open = [each.order for each in await self._shop.orders.open()]
        balances = await self._shop.ledger.balances()
        before = cash_range(
            cash=balances[Account.CASH],
            reserved=balances[Account.RESERVED],
            foreign=await self._shop.foreign.usd(),
            open_orders=still_open,
        )
        cash = await self._shop.venue.cash()
        if cash <= before.low + USD_TOLERANCE:  # A smaller gap is not the merge's: the inspection says it and halts
            return f"the wallet holds ${cash:f}, not ${before.low + row.usd:f}"
        return ""

    async def _book(self, row: VenueMerge, pair: Pair, ours: Decimal, ask: Ask | None) -> None:
        found = pairs.parts(pair, ours)
        cost = sum((part.cost for part in found), ZERO)
        now = self._shop.clock.now()
        merge = Merge(
            merge_id=row.merge_id,
            market=row.market,
            slug=pair.held[0].slug,
            parts=found,
            payout=ours,
            pnl=sum((part.pnl for part in found), ZERO),
            equity=equity(await self._shop.ledger.balances()) + ours - cost,
            ts_event=row.ts_event,
            ts_init=now,
        )
        entry = ledger.merged(merge_id=row.merge_id, cost=cost, payout=ours, ts_event=row.ts_event)
        if await self._shop.merges.book(merge, entry, ask=ask, now=now):
            log.info("merged", slug=merge.slug, pairs=str(ours), pnl=str(merge.pnl), asked=ask is not None)
            await self._shop.publish(merge)

    async def _end_lost(self, asks: Sequence[Ask], foreign: Mapping[str, Mapping[str, Decimal]]) -> None:
        """Give up what was asked for long ago and is still not in the venue's list: its market must be settled."""
        now = self._shop.clock.now()
        for ask in asks:
            if now - ask.asked_at < LOST_AFTER:
                continue
            pair = pairs.pairs(await self._shop.ledger.holdings()).get(ask.market)
            there = pair is None or await self._all_there(pair, foreign.get(ask.market, {}))
            await self._shop.merges.end(ask, Step.LOST, f"listed nowhere, shares there: {there}", now=now)
            log.warning("merge_lost", market=ask.market, pairs=str(ask.pairs), shares_there=there)
            if not there:
                await self._tell(ask.market, f"a merge of {ask.pairs:f} pairs was asked for and is listed nowhere")

    async def _all_there(self, pair: Pair, foreign: Mapping[str, Decimal]) -> bool:
        """Whether the wallet holds all that is in the ledger: what lacks was perhaps merged already."""
        for held in pair.held:
            wanted = held.shares + max(foreign.get(held.token, ZERO), ZERO)
            if await self._shop.venue.shares(held.token) < wanted - SHARES_TOLERANCE:
                return False
        return True

    async def _ask(self) -> None:
        """Merge what is due, one transaction at a time, beside the reconciling: first the row, then the request."""
        now = self._shop.clock.now()
        if not self._relay.free(now):
            return
        last = await self._shop.merges.last_steps()
        under_way = {ask.market for ask in await self._shop.merges.open()}
        foreign = await self._shop.foreign.by_market()
        due = {
            market: pair
            for market, pair in pairs.pairs(await self._shop.ledger.holdings()).items()
            if pair.ready(now) and market not in under_way and now - last.get(market, 0) >= TRY_AGAIN
        }
        if due:  # After a merge the venue's record of fees speaks of the rest only
            unseen = await self._inspection.fees(now)
            due = {m: pair for m, pair in due.items() if not any(held.token in unseen for held in pair.held)}
        chosen = [market for market in due if market in self._alone][:1] or list(due)[:BATCH]
        batch = {m: due[m].count for m in chosen if await self._all_there(due[m], foreign.get(m, {}))}
        if batch:
            await self._shop.merges.ask(batch, now=now)
            self._relay.send(self._send(batch, now, due, foreign), now=now)

    async def _send(
        self,
        batch: Mapping[str, Decimal],
        now: int,
        due: Mapping[str, Pair],
        foreign: Mapping[str, Mapping[str, Decimal]],
    ) -> None:
        """Ask the relayer. Unknown stays open: the venue's record, or time, will tell."""
        asks = [Ask(market=market, pairs=count, asked_at=now) for market, count in batch.items()]
        log.info("merge_asked", markets=len(batch), pairs=str(sum(batch.values())))
        try:
            transaction = await self._shop.venue.merge(batch)
            unpaid = [a for a in asks if await self._all_there(due[a.market], foreign.get(a.market, {}))]
        except CannotMerge as error:
            self._alone |= set(batch)  # One that reverts must not hold up the others
            log.error("merge_refused", markets=len(batch), why=str(error))
            for ask in asks:
                await self._shop.merges.end(ask, Step.REFUSED, str(error), now=self._shop.clock.now())
            return
        except VenueUnavailable as error:
            log.warning("merge_unknown", markets=len(batch), why=str(error))
            return
        self._alone -= set(batch)
        log.info("merge_sent", markets=len(batch), transaction=transaction)
        for ask in unpaid:
            why = f"a merge of {ask.pairs:f} pairs went through but paid nothing, the shares are still there"
            await self._shop.merges.end(ask, Step.UNPAID, why, now=self._shop.clock.now())
            await self._tell(ask.market, f"{why}; it is asked for again")

    async def _tell(self, market: str, body: str) -> None:
        """Once for each thing that is wrong."""
        if (market + body) in self._told:
            return
        self._told.add(market + body)
        log.error("merge_differs", market=market, why=body)
        now = self._shop.clock.now()
        await self._shop.publish(
            Alert(
                kind=AlertKind.UNPAID,
                priority=Priority.HIGH,
                dedupe_key=f"merge:{market}",
                title="A merge was not paid",
                body=f"Market {market}: {body}",
                ts_event=now,
                ts_init=now,
            )
        )
