"""Trading without a key: the same interface, filled against the live book after the delay a real order would have.

What it believes is pessimistic where the truth is unknown: it waits for the whole way to the venue and for the taker
hold, looks at the book only then, takes half of what is displayed, and pays the taker's fee. What it has done is what
the ledger database says, so that a restart forgets nothing: an order whose fill was not written never filled.
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Final, Protocol

from pmarb.clock import Clock
from pmarb.domain.book import Book, Level
from pmarb.domain.orders import FillStatus, OrderState, OrderType
from pmarb.domain.values import EXACT, MICRO, NANOS, ZERO, Side, round_down, round_up
from pmarb.venue.port import (
    Draft,
    EntryFees,
    Intent,
    Permit,
    PostAccepted,
    PostRefused,
    PostResult,
    Redemption,
    Resolution,
    Signed,
    VenueMerge,
    VenueOrder,
    VenuePosition,
    VenueTrade,
    granted,
)

ORDER_PATH_S: Final = 0.230
"""Median seconds from here to the matching engine (defaults.json, latency.order_path_ms_p50)."""

HOLD_S: Final = 0.150
"""Seconds the venue holds a marketable crypto order before it matches (venue.md 3.8)."""

DISPLAYED_SHARE: Final = Decimal("0.5")
"""What of the displayed size we may count on: others see the same book."""

CONFIRMED_AFTER: Final = 6 * NANOS
"""Venue time from a match to its confirmation by the chain."""

NO_MATCH: Final = "no_match: "
"""The same prefix as the real venue's misses."""

Look = Callable[[str], Awaitable[Book | None]]
"""The token's book as of now."""


class PaperMemory(Protocol):
    """What paper trading has done, from the ledger."""

    async def cash(self) -> Decimal | None:
        """Free and reserved pUSD; None before anything was booked."""

    async def free(self) -> Decimal:
        """pUSD that no order has reserved; below zero when more was reserved than there is."""

    async def unconfirmed(self) -> Sequence[VenueTrade]:
        """Trades that are still provisional."""

    async def positions(self) -> Sequence[VenuePosition]: ...

    async def unpaid(self) -> Sequence[Redemption]:
        """What resolved shares will pay, as redemptions at the time of their resolution."""

    async def merging(self) -> Sequence[VenueMerge]:
        """Merges asked for and not booked yet: on paper, asking is enough."""


class EndedMarkets(Protocol):
    """Where the truth about resolved markets is read: the public Gamma API."""

    async def resolutions(self, markets: Sequence[str]) -> Sequence[Resolution]: ...


class PaperVenue:
    """See `pmarb.venue.port.TradingVenue`. `capital` is what it starts with."""

    def __init__(self, *, look: Look, memory: PaperMemory, ended: EndedMarkets, clock: Clock, capital: Decimal) -> None:
        self._look = look
        self._memory = memory
        self._ended = ended
        self._clock = clock
        self._capital = capital

    async def prepare(self, tokens: Sequence[str]) -> None:
        """Nothing: there is nothing to sign."""

    async def ready(self) -> None:
        """Always: nothing leaves."""

    async def draft(self, intent: Intent) -> Draft:
        if intent.side is not Side.BUY or intent.order_type not in (OrderType.FAK, OrderType.FOK):
            raise ValueError(f"paper trades FAK and FOK BUYs, the order was {intent.order_type} {intent.side}")
        return Draft(order_hash=f"paper-{secrets.token_hex(16)}", intent=intent, payload=None)

    def seal(self, draft: Draft) -> Signed:
        return Signed(order_hash=draft.order_hash, intent=draft.intent, payload=None)

    async def post(self, signed: Signed, *, permit: Permit = granted) -> PostResult | None:
        if not await permit():
            return None
        sent = self._clock.real()
        await self._clock.sleep(ORDER_PATH_S + HOLD_S)
        if await self._memory.free() < ZERO:
            return PostRefused(reason="paper: not enough balance", sent_real=sent)
        intent = signed.intent
        book = await self._look(intent.token)
        if book is None:
            return PostRefused(reason="paper: no fresh book to fill against", sent_real=sent)
        shares, usd = fill(book.asks, usd=intent.usd, limit=intent.limit)
        if shares <= ZERO or (intent.order_type is OrderType.FOK and intent.usd - usd > MICRO):
            return PostRefused(reason=f"{NO_MATCH}no orders found to match on paper", sent_real=sent)
        trade_id = f"{signed.order_hash}-1"
        return PostAccepted(state=OrderState.MATCHED, shares=shares, usd=usd, trade_ids=(trade_id,), sent_real=sent)

    async def cancel_all(self) -> dict[str, str]:
        return {}

    async def open_orders(self) -> Sequence[VenueOrder]:
        return ()

    async def trades(self, *, since_ns: int) -> Sequence[VenueTrade]:
        """The provisional ones, confirmed once they are old enough."""
        now = self._clock.now()
        return [
            _confirmed(each) if now - each.trade.ts_event >= CONFIRMED_AFTER else each
            for each in await self._memory.unconfirmed()
            if each.trade.ts_event >= since_ns
        ]

    async def positions(self) -> Sequence[VenuePosition]:
        return await self._memory.positions()

    async def cash(self) -> Decimal:
        found = await self._memory.cash()
        return self._capital if found is None else found

    async def resolutions(self, markets: Sequence[str]) -> Sequence[Resolution]:
        return await self._ended.resolutions(markets)

    async def redemptions(self, *, since_ns: int) -> Sequence[Redemption]:
        return [row for row in await self._memory.unpaid() if row.ts_event >= since_ns]

    async def shares(self, token: str) -> Decimal:
        return sum((held.shares for held in await self._memory.positions() if held.token == token), ZERO)

    async def entry_fees(self) -> dict[str, EntryFees]:
        """None: paper is charged what was booked."""
        return {}

    async def redeem(self, markets: Sequence[str]) -> str:  # noqa: ARG002 - the port's
        """Nothing to do: a claim of paper counts as paid."""
        return ""

    async def merge(self, pairs: Mapping[str, Decimal]) -> str:  # noqa: ARG002 - the port's
        """Nothing to do: what was asked for and written down counts as merged."""
        return ""

    async def merges(self, *, since_ns: int) -> Sequence[VenueMerge]:
        return [row for row in await self._memory.merging() if row.ts_event >= since_ns]

    async def heartbeat(self, heartbeat_id: str) -> str:
        return heartbeat_id

    async def close(self) -> None:
        """Nothing is held."""


def fill(asks: Sequence[Level], *, usd: Decimal, limit: Decimal) -> tuple[Decimal, Decimal]:
    """(shares, dollars) of a BUY that spends up to `usd` at up to `limit`; a better price buys more shares."""
    shares = spent = ZERO
    for price, size in asks:
        if price > limit or price <= ZERO:
            break
        taken = round_down(min(size * DISPLAYED_SHARE, EXACT.divide(usd - spent, price)), MICRO)
        if taken <= ZERO:
            break
        shares += taken
        spent += round_up(EXACT.multiply(taken, price), MICRO)
    return shares, spent


def _confirmed(each: VenueTrade) -> VenueTrade:
    return replace(each, trade=replace(each.trade, status=FillStatus.CONFIRMED))
