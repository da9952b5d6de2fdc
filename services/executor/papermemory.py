"""What paper trading has done, read from the ledger database: the memory behind `pmarb.venue.paper`."""

from collections.abc import Sequence
from decimal import Decimal

from pmarb.db.ledger import LedgerBook
from pmarb.db.orders import Orders
from pmarb.domain.ledger import Account
from pmarb.domain.orders import FillStatus
from pmarb.venue.port import Redemption, VenuePosition, VenueTrade


class LedgerMemory:
    """See `pmarb.venue.paper.PaperMemory`."""

    def __init__(self, orders: Orders, ledger: LedgerBook) -> None:
        self._orders = orders
        self._ledger = ledger

    async def cash(self) -> Decimal | None:
        if await self._ledger.empty():
            return None
        balances = await self._ledger.balances()
        return balances[Account.CASH] + balances[Account.RESERVED]

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
        return [
            VenuePosition(
                market=held.market, token=held.token, outcome=held.outcome, shares=held.shares, redeemable=False
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
