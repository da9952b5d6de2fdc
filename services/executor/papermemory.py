"""What paper trading has done, read from the ledger database: the memory behind `pmarb.venue.paper`."""

from collections.abc import Sequence
from decimal import Decimal

from pmarb.db.ledger import LedgerBook
from pmarb.db.merges import MergeBook
from pmarb.db.orders import Orders
from pmarb.domain.ledger import Account
from pmarb.domain.orders import FillStatus
from pmarb.domain.values import ZERO
from pmarb.venue.port import Redemption, VenueMerge, VenuePosition, VenueTrade


class LedgerMemory:
    """See `pmarb.venue.paper.PaperMemory`. A merge that was asked for has moved cash and shares already."""

    def __init__(self, orders: Orders, ledger: LedgerBook, merges: MergeBook) -> None:
        self._orders = orders
        self._ledger = ledger
        self._merges = merges

    async def cash(self) -> Decimal | None:
        if await self._ledger.empty():
            return None
        balances = await self._ledger.balances()
        merged = sum((row.usd for row in await self.merging()), ZERO)
        return balances[Account.CASH] + balances[Account.RESERVED] + merged

    async def free(self) -> Decimal:
        return (await self._ledger.balances())[Account.CASH]

    async def unconfirmed(self) -> Sequence[VenueTrade]:
        return [
            VenueTrade(
                order_hash=stored.order.order_hash,
                market=stored.order.market,
                token=stored.order.token,
                outcome=stored.context.outcome,
                side=stored.order.side,
                trade=trade,
            )
            for stored in await self._orders.open()
            for trade in stored.order.trades
            if trade.status is FillStatus.PROVISIONAL
        ]

    async def positions(self) -> Sequence[VenuePosition]:
        merged = {row.market: row.pairs for row in await self.merging()}
        return [
            VenuePosition(
                market=held.market,
                token=held.token,
                outcome=held.outcome,
                shares=held.shares - merged.get(held.market, ZERO),
                redeemable=False,
            )
            for held in await self._ledger.holdings()
        ]

    async def unpaid(self) -> Sequence[Redemption]:
        return [
            Redemption(
                market=claim.market,
                token=claim.token,
                shares=claim.payout,
                usd=claim.payout,
                ts_event=claim.resolved_at,
            )
            for claim in await self._ledger.claims()
        ]

    async def merging(self) -> Sequence[VenueMerge]:
        return [
            VenueMerge(
                merge_id=f"paper-{ask.asked_at}:{ask.market}",
                market=ask.market,
                pairs=ask.pairs,
                usd=ask.pairs,
                ts_event=ask.asked_at,
            )
            for ask in await self._merges.open()
        ]
