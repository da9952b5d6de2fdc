"""Double-entry accounts of one wallet. Every entry's postings sum to zero, so what is lost is always somewhere.

    capital     what was put in (a credit, so negative)
    cash        free pUSD
    reserved    pUSD held by orders that may still match
    provisional cost of shares matched but not confirmed by the chain
    confirmed   cost of shares confirmed
    redeemable  what resolved shares will pay
    fees        taker fees paid (a cost, so positive)
    realised    result of settled and merged shares before fees (a gain is negative, as every credit)

Positive is a debit: money or shares that we have, or a cost. Shares themselves are counted by `pmarb.db`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from pmarb.domain.orders import Trade
from pmarb.domain.values import EXACT, MICRO, ZERO, round_up


class Account(StrEnum):
    CAPITAL = "capital"
    CASH = "cash"
    RESERVED = "reserved"
    PROVISIONAL = "provisional"
    CONFIRMED = "confirmed"
    REDEEMABLE = "redeemable"
    FEES = "fees"
    REALISED = "realised"


class EntryKind(StrEnum):
    """Why money moved."""

    DEPOSIT = "deposit"
    RESERVE = "reserve"
    RELEASE = "release"
    MATCH = "match"
    CONFIRM = "confirm"
    FAIL = "fail"
    RESOLVE = "resolve"
    REDEEM = "redeem"
    FEE = "fee"
    MERGE = "merge"


class Unbalanced(ValueError):
    """Postings of one entry did not sum to zero, or there were fewer than two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    account: Account
    amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One movement of money. `entry_id` is a pure function of its cause, so that a replay posts nothing twice.

    Raises:
        Unbalanced: when the postings do not sum to zero, or are fewer than two.
    """

    entry_id: str
    kind: EntryKind
    ref: str
    postings: tuple[Posting, ...]
    ts_event: int

    def __post_init__(self) -> None:
        total = sum((p.amount for p in self.postings), ZERO)
        if total != ZERO:
            raise Unbalanced(f"entry {self.entry_id} sums to {total}")
        if len(self.postings) < 2:
            raise Unbalanced(f"entry {self.entry_id} has {len(self.postings)} postings")


def deposit(*, ref: str, amount: Decimal, ts_event: int) -> Entry:
    """Capital brought in (or taken out, when negative)."""
    return _entry(EntryKind.DEPOSIT, ref, ts_event, (Account.CASH, amount), (Account.CAPITAL, -amount))


def reserve(*, order_hash: str, amount: Decimal, ts_event: int) -> Entry:
    """An order is about to be sent: all it may cost leaves cash."""
    return _entry(EntryKind.RESERVE, order_hash, ts_event, (Account.RESERVED, amount), (Account.CASH, -amount))


def release(*, order_hash: str, amount: Decimal, ts_event: int) -> Entry:
    """An order is over: what it did not spend returns to cash."""
    return _entry(EntryKind.RELEASE, order_hash, ts_event, (Account.CASH, amount), (Account.RESERVED, -amount))


def matched(trade: Trade, *, paid_from: Account, ts_event: int) -> Entry:
    """A BUY matched: cost and fee leave `paid_from`, `reserved` while the order is open and `cash` afterwards."""
    return _entry(
        EntryKind.MATCH,
        trade.trade_id,
        ts_event,
        (Account.PROVISIONAL, trade.notional),
        (Account.FEES, trade.fee),
        (paid_from, -(trade.notional + trade.fee)),
    )


def confirmed(trade: Trade, *, ts_event: int) -> Entry:
    """The chain confirmed the trade: the position is ours."""
    return _entry(
        EntryKind.CONFIRM,
        trade.trade_id,
        ts_event,
        (Account.CONFIRMED, trade.notional),
        (Account.PROVISIONAL, -trade.notional),
    )


def failed(trade: Trade, *, ts_event: int) -> Entry:
    """The trade never settled: cost and fee come back, the position never was."""
    return _entry(
        EntryKind.FAIL,
        trade.trade_id,
        ts_event,
        (Account.CASH, trade.notional + trade.fee),
        (Account.PROVISIONAL, -trade.notional),
        (Account.FEES, -trade.fee),
    )


def resolved(*, token: str, cost: Decimal, payout: Decimal, ts_event: int) -> Entry:
    """The market of `token` resolved: confirmed cost becomes what it will pay, the difference is the result."""
    return _entry(
        EntryKind.RESOLVE,
        token,
        ts_event,
        (Account.REDEEMABLE, payout),
        (Account.REALISED, cost - payout),
        (Account.CONFIRMED, -cost),
    )


def redeemed(*, ref: str, payout: Decimal, ts_event: int) -> Entry:
    """The venue paid for resolved shares; `ref` names the payment, for there may be several for one token."""
    return _entry(EntryKind.REDEEM, ref, ts_event, (Account.CASH, payout), (Account.REDEEMABLE, -payout))


def merged(*, merge_id: str, cost: Decimal, payout: Decimal, ts_event: int) -> Entry:
    """Shares of both outcomes became a dollar a pair: their confirmed cost leaves, the difference is the result."""
    return _entry(
        EntryKind.MERGE,
        merge_id,
        ts_event,
        (Account.CASH, payout),
        (Account.REALISED, cost - payout),
        (Account.CONFIRMED, -cost),
    )


def part_of(whole: Decimal, *, taken: Decimal, held: Decimal) -> Decimal:
    """What of the cost or fees `whole` of `held` shares goes with `taken` of them, at their average.

    Rounded up to the millionth, so that no result looks better than it is; the last shares take all that is left.

    Raises:
        ValueError: when `taken` is not part of `held`.
    """
    if not ZERO < taken <= held:
        raise ValueError(f"{taken} is no part of {held} shares")
    if taken == held:
        return whole
    return min(whole, round_up(EXACT.divide(EXACT.multiply(whole, taken), held), MICRO))


def fee_corrected(*, trade_id: str, booked: Decimal, charged: Decimal, ts_event: int) -> Entry:
    """The venue charged another fee than was booked for the trade: what was charged is the truth."""
    difference = charged - booked
    ref = f"{trade_id}:{charged.normalize():f}:{ts_event}"
    return _entry(EntryKind.FEE, ref, ts_event, (Account.FEES, difference), (Account.CASH, -difference))


@dataclass(slots=True)
class Ledger:
    """Balances folded from entries; an entry seen twice changes nothing."""

    balances: dict[Account, Decimal] = field(default_factory=lambda: dict.fromkeys(Account, ZERO))
    seen: set[str] = field(default_factory=set)

    def post(self, entry: Entry) -> bool:
        """Whether the entry was new."""
        if entry.entry_id in self.seen:
            return False
        self.seen.add(entry.entry_id)
        for posting in entry.postings:
            self.balances[posting.account] += posting.amount
        return True

    def post_all(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self.post(entry)

    @property
    def total(self) -> Decimal:
        """Zero, always."""
        return sum(self.balances.values(), ZERO)


def equity(balances: Mapping[Account, Decimal]) -> Decimal:
    """What the wallet is worth at cost: cash, money held by orders, open positions at cost, winnings to redeem."""
    return sum(
        (
            balances[account]
            for account in (
                Account.CASH,
                Account.RESERVED,
                Account.PROVISIONAL,
                Account.CONFIRMED,
                Account.REDEEMABLE,
            )
        ),
        ZERO,
    )


def realised_pnl(balances: Mapping[Account, Decimal]) -> Decimal:
    """Result of settled and merged shares after every fee paid so far; a loss is negative."""
    return -balances[Account.REALISED] - balances[Account.FEES]


def _entry(kind: EntryKind, ref: str, ts_event: int, *legs: tuple[Account, Decimal]) -> Entry:
    moved = [leg for leg in legs if leg[1] != ZERO] or legs  # An entry that moves nothing still says what happened
    postings = tuple(Posting(account=account, amount=amount) for account, amount in moved)
    return Entry(entry_id=f"{kind}:{ref}", kind=kind, ref=ref, postings=postings, ts_event=ts_event)
