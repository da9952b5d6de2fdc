"""The venue as the executor sees it: one interface, implemented by `trading` (the official SDK) and `paper`.

An answer is one of the four types of `PostResult`; there is no fifth, and no exception means "not placed".
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from pmarb.domain.orders import OrderState, OrderType, Trade
from pmarb.domain.values import Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """An order to be signed. A BUY spends up to `usd` at up to `limit`; `shares` is what that buys at the limit."""

    market: str
    token: str
    side: Side
    order_type: OrderType
    limit: Decimal
    usd: Decimal
    shares: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An order about to be signed, whose hash is known; `payload` belongs to the implementation."""

    order_hash: str
    intent: Intent
    payload: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A signed order. `order_hash` is its EIP-712 hash, the venue's id; `payload` belongs to the implementation."""

    order_hash: str
    intent: Intent
    payload: object


@dataclass(frozen=True, slots=True, kw_only=True)
class PostAccepted:
    """The venue took it: `state` is LIVE, DELAYED or MATCHED; amounts as the reply gives them, 0 if it does not."""

    state: OrderState
    shares: Decimal
    usd: Decimal
    trade_ids: tuple[str, ...]
    sent_real: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PostRefused:
    """The venue proved it did not take it. `reason` is its own text."""

    reason: str
    sent_real: int
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PostIndeterminate:
    """Time-out, reset, 5xx, odd body: placed or not, nobody told us."""

    detail: str
    sent_real: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PostPaused:
    """Not taken because the venue takes no such orders now: restarting, post-only, cancel-only, disabled, not reached.
    Nothing is wrong with the order; `retry_after_s` is the venue's own advice (its seconds), 0 without any."""

    reason: str
    sent_real: int
    retry_after_s: float = 0.0


PostResult = PostAccepted | PostRefused | PostPaused | PostIndeterminate

Permit = Callable[[], Awaitable[bool]]
"""Asked once, when nothing but the order itself is left to send: it leaves only if the answer is True."""


async def granted() -> bool:
    """The permit of an order that waits for nothing."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueOrder:
    """An open order as the venue lists it; `state` is LIVE, or DELAYED while the venue holds it."""

    order_hash: str
    market: str
    token: str
    side: Side
    price: Decimal
    shares: Decimal
    matched: Decimal
    state: OrderState = OrderState.LIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueTrade:
    """A trade of this wallet as the venue reports it, with its taker order."""

    order_hash: str
    market: str
    token: str
    outcome: str
    side: Side
    trade: Trade


@dataclass(frozen=True, slots=True, kw_only=True)
class VenuePosition:
    """Shares of one outcome in the wallet; `redeemable` once the market has resolved."""

    market: str
    token: str
    outcome: str
    shares: Decimal
    redeemable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """How a market ended: what a share of each token pays. Empty `payouts`: not resolved yet."""

    market: str
    payouts: dict[str, Decimal]
    closed_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Redemption:
    """Shares of `token` that the venue has paid out."""

    market: str
    token: str
    shares: Decimal
    usd: Decimal
    ts_event: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueMerge:
    """As many `pairs` of both outcomes that the venue turned into `usd`; `merge_id` names it for good."""

    merge_id: str
    market: str
    pairs: Decimal
    usd: Decimal
    ts_event: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryFees:
    """Shares of a token held and all fees the venue charged for them."""

    shares: Decimal
    fees: Decimal


class Sightings:
    """Orders seen on the user stream since it was opened: the last `KEPT`, and how those ended that matched nothing."""

    KEPT = 2_000

    def __init__(self) -> None:
        self._ends: dict[str, str] = {}

    def note(self, order_hash: str, *, ended: str) -> None:
        """`ended` is the venue's word, "" while the order lives or after it matched."""
        self._ends[order_hash] = ended or self._ends.pop(order_hash, "")
        while len(self._ends) > self.KEPT:
            del self._ends[next(iter(self._ends))]

    def seen(self, order_hash: str) -> bool:
        return order_hash in self._ends

    def end(self, order_hash: str) -> str:
        """How it ended without a match, "" where that was not seen."""
        return self._ends.get(order_hash, "")


class VenueUnavailable(ConnectionError):
    """A read failed: the venue is away or limits us. Nothing was learnt; ask again later."""


class CannotRedeem(RuntimeError):
    """The redemption was not made, and asking again at once would not help: no key for the relayer, or it reverted."""


class CannotMerge(RuntimeError):
    """The merge was not made: too few shares, no key for the relayer, or it reverted."""


class WrongHeartbeat(ValueError):
    """The venue expected another heartbeat id, `expected`; the deadline was not moved."""

    def __init__(self, expected: str) -> None:
        super().__init__(f"the venue expected {expected}")
        self.expected = expected


class TradingVenue(Protocol):
    """A wallet at the venue. Reads raise VenueUnavailable; `post` never raises for what the venue does."""

    async def prepare(self, tokens: Sequence[str]) -> None:
        """Fetch what signing for these tokens needs (tick, neg-risk) so that the hot path asks nothing."""

    async def ready(self) -> None:
        """Have open, if that can be, what the next order will leave on. Never raises for what the venue does."""

    async def draft(self, intent: Intent) -> Draft:
        """Everything but the signature, so that the order can be written down before, or while, it is signed.

        Raises:
            ValueError: the intent cannot be expressed (off tick, too small).
            VenueUnavailable: what drafting needs to know could not be read.
        """

    def seal(self, draft: Draft) -> Signed:
        """Sign the draft; nothing is sent.

        Raises:
            ValueError: this signer cannot sign it.
        """

    async def post(self, signed: Signed, *, permit: Permit = granted) -> PostResult | None:
        """Send it once. Never resent by itself; None where the permit was refused, and then nothing left.

        `sent_real` of the answer is when the order left, 0 if the venue could not be reached and it did not."""

    async def cancel_all(self) -> dict[str, str]:
        """Cancel every open order of this wallet; hash -> reason for those that were not cancelled."""

    async def open_orders(self) -> Sequence[VenueOrder]: ...

    async def trades(self, *, since_ns: int) -> Sequence[VenueTrade]:
        """Trades of this wallet that matched since then, at their present standing."""

    async def positions(self) -> Sequence[VenuePosition]:
        """Shares held. A zero is a hint, never proof of flat (field.md 3.1)."""

    async def cash(self) -> Decimal:
        """Free and reserved pUSD in the wallet, from the chain's view (orders do not lower it)."""

    async def resolutions(self, markets: Sequence[str]) -> Sequence[Resolution]: ...

    async def redemptions(self, *, since_ns: int) -> Sequence[Redemption]: ...

    async def shares(self, token: str) -> Decimal:
        """Shares of one token in the wallet, from the CLOB's look at the chain: what `positions` only hints at."""

    async def entry_fees(self) -> dict[str, EntryFees]:
        """What the venue charged, by token of the positions that are open."""

    async def redeem(self, markets: Sequence[str]) -> str:
        """Ask for the payout of resolved markets in one transaction and wait for it; its hash, "" where none is needed.

        Raises:
            CannotRedeem: it was not made.
            VenueUnavailable: whether it was made is not known.
        """

    async def merge(self, pairs: Mapping[str, Decimal]) -> str:
        """Turn so many pairs of each market, by id, into a dollar a pair, in one transaction, and wait; its hash.

        Raises:
            CannotMerge: nothing was merged.
            VenueUnavailable: whether it was made is not known.
        """

    async def merges(self, *, since_ns: int) -> Sequence[VenueMerge]:
        """Merges of this wallet since then, whoever asked for them."""

    async def heartbeat(self, heartbeat_id: str) -> str:
        """Tell the venue that we live; the id for the next time. Silence for 10 of its seconds cancels every order.

        Raises:
            WrongHeartbeat: `heartbeat_id` was not the one it expected.
            VenueUnavailable: nothing is known; the deadline may not have moved.
        """

    async def close(self) -> None: ...
