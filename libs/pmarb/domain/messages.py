"""What the services say to each other. Producers add fields and never rename them; readers ignore the unknown.

Money, prices and shares are `Decimal`; times are integer nanoseconds UTC of the venue's clock. Every record has two:
`ts_event`, when it happened, and `ts_init`, when we learnt of it. Fields that end in `_real` are on this machine's
real clock and serve only to measure latency.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from pmarb.domain.book import Level
from pmarb.domain.fees import FeeSchedule
from pmarb.domain.orders import FillStatus, OrderState
from pmarb.domain.reasons import RejectionReason as RejectionReason  # noqa: PLC0414 - part of the face of this module
from pmarb.domain.scans import CONTRACTS as CONTRACTS  # noqa: PLC0414
from pmarb.domain.scans import MarketRules as MarketRules  # noqa: PLC0414
from pmarb.domain.scans import Marks as Marks  # noqa: PLC0414
from pmarb.domain.scans import Scanned as Scanned  # noqa: PLC0414
from pmarb.domain.values import MICRO, Side


class Stream(StrEnum):
    """The Redis streams; `<stream>.dead` holds what could not be read or was delivered too often."""

    OPPORTUNITIES = "opportunities"
    APPROVALS = "approvals"
    REJECTIONS = "rejections"
    ORDERS = "orders"
    FILLS = "fills"
    CONTROL = "control"
    ALERTS = "alerts"
    SCANS = "scans"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One outcome to take, with the receipt of the book it was seen in.

    `limit` is the worst price accepted, `price` the VWAP of the walk, `shares` what was displayed up to the limit, in
    these `levels`, best first (none from an older sender).
    `fee_rate` and `fee_exponent` are the market's own schedule; `fee` the expected fee for `shares`.

    A leg of a set also says where it belongs (`slug`, `event`, `family`, `expiry`), what the best `bid` was, which
    token is the other outcome's, and what it is worth by itself: `fair` with `fair_se`, None where no model says.
    """

    market: str
    token: str
    outcome: str
    side: Side
    limit: Decimal
    price: Decimal
    shares: Decimal
    tick: Decimal
    fee: Decimal
    fee_rate: Decimal
    fee_exponent: Decimal
    book_hash: str
    book_ts_event: int
    book_ts_init: int
    levels: tuple[Level, ...] = ()
    slug: str = ""
    event: str = ""
    family: str = ""
    expiry: int = 0
    bid: Decimal = Decimal(0)
    other_token: str = ""
    other_outcome: str = ""
    fair: Decimal | None = None
    fair_se: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opportunity:
    """A mispricing whose net edge beat its threshold. `opportunity_id` is the hash of its inputs.

    `gross_edge`, `fee` and `net_edge` are dollars a share at the walked price; `threshold` is what `net_edge` beat,
    `bound_by` which of the two terms it was. `inputs` holds the numbers behind the fair value, for the receipt.
    """

    opportunity_id: str
    strategy: str
    legs: tuple[Leg, ...]
    fair: Decimal
    fair_se: Decimal
    mid: Decimal
    gross_edge: Decimal
    fee: Decimal
    net_edge: Decimal
    threshold: Decimal
    bound_by: str
    slug: str
    event: str
    underlying: str
    family: str
    opens_at: int
    expiry: int
    expires_at: int
    spot_ts_init: int
    reference_ts_init: int
    ts_event: int
    ts_init: int
    inputs: dict[str, str] = field(default_factory=dict)
    tick_real: int = 0
    found_real: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovedLeg:
    """A leg as risk sized it. `usd` is the most the match may cost without its fee, `reserved` with it.

    Raises:
        ValueError: risk would not have approved it, so it is not what risk sent.
    """

    leg: Leg
    shares: Decimal
    limit: Decimal
    usd: Decimal
    reserved: Decimal

    def __post_init__(self) -> None:
        FeeSchedule(self.leg.fee_rate, self.leg.fee_exponent)  # Raises for a fee that nobody could charge
        if not (MICRO <= self.leg.tick < 1 and 0 < self.limit < 1 and self.shares > 0 and self.usd <= self.reserved):
            raise ValueError(f"{self.shares} shares at {self.limit} for {self.usd} of {self.reserved} are no approval")


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """Risk said yes, for these sizes, until `expires_at`. `bound_by` names the limit that bound the size.

    Of a set, `fair` is what a share of all legs pays at least and `worst_loss` the bound of its loss, stated before the
    first leg is sent: all legs but the cheapest bought at their limits, none of them paying anything.
    """

    opportunity_id: str
    legs: tuple[ApprovedLeg, ...]
    reserved: Decimal
    bound_by: str
    slug: str
    event: str
    underlying: str
    family: str
    expiry: int
    expires_at: int
    fair: Decimal
    threshold: Decimal
    ts_event: int
    ts_init: int
    tick_real: int = 0
    judged_real: int = 0
    strategy: str = ""
    worst_loss: Decimal = Decimal(0)

    def __post_init__(self) -> None:
        if not self.legs:
            raise ValueError("an approval had no legs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Risk denied it: nothing left the building. `detail` is `key=value` pairs a person can check."""

    opportunity_id: str
    reason: RejectionReason
    detail: str
    slug: str
    ts_event: int
    ts_init: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderUpdate:
    """What became of an order. A skipped approval has no `order_hash` and the state CANCELLED.

    `rejected` by the venue is not `denied` by risk: the state is REJECTED and `cause` is the venue's text.
    """

    opportunity_id: str
    leg: int
    order_hash: str
    state: OrderState
    cause: str
    slug: str
    market: str
    token: str
    outcome: str
    side: Side
    price: Decimal
    shares: Decimal
    reserved: Decimal
    filled: Decimal
    ts_event: int
    ts_init: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """A trade of ours at its current standing; sent again whenever the standing changes."""

    trade_id: str
    order_hash: str
    opportunity_id: str
    slug: str
    market: str
    token: str
    outcome: str
    side: Side
    shares: Decimal
    price: Decimal
    fee: Decimal
    status: FillStatus
    ts_event: int
    ts_init: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """A position came to its end: `payout` dollars for `shares`; `pnl` is after the fees of its trades."""

    token: str
    market: str
    slug: str
    outcome: str
    won: bool
    shares: Decimal
    cost: Decimal
    fees: Decimal
    payout: Decimal
    pnl: Decimal
    equity: Decimal
    ts_event: int
    ts_init: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedPart:
    """One outcome's side of a merge: what its shares had cost; `payout` is its half of a dollar a pair."""

    token: str
    outcome: str
    shares: Decimal
    cost: Decimal
    fees: Decimal
    payout: Decimal

    @property
    def pnl(self) -> Decimal:
        return self.payout - self.cost - self.fees


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """As many shares of both outcomes became a dollar a pair; `pnl` is after the fees of their trades."""

    merge_id: str
    market: str
    slug: str
    parts: tuple[MergedPart, ...]
    payout: Decimal
    pnl: Decimal
    equity: Decimal
    ts_event: int
    ts_init: int


class TradingState(StrEnum):
    """What may be done at all. KILLED is latched; only `pm-arb resume --reason` ends it."""

    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    HALTED = "HALTED"
    KILLED = "KILLED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Halt:
    """Stop opening. `clears_at` is the time a day stop ends by itself, 0 for one that needs a person."""

    who: str
    why: str
    clears_at: int
    ts_event: int
    ts_init: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    who: str
    why: str
    ts_event: int
    ts_init: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """Stop, cancel all, verify zero, latch."""

    who: str
    why: str
    ts_event: int
    ts_init: int


class AlertKind(StrEnum):
    """What a person is told of, and the alerter's own trouble."""

    SERVICE_SILENT = "service_silent"
    TRADING_STOPPED = "trading_stopped"
    LARGE_LOSS = "large_loss"
    ORDER_REJECTED = "order_rejected"
    TRADE = "trade"
    DAILY_SUMMARY = "daily_summary"
    OPPORTUNITY_COUNT = "opportunity_count"
    MISMATCH = "mismatch"
    VENUE_PAUSED = "venue_paused"
    RULES_CHANGED = "rules_changed"
    LIMITS_CHANGED = "limits_changed"
    GATE_CLOSED = "gate_closed"
    SCANNERS_SHORT = "scanners_short"
    LEG_MISSED = "leg_missed"
    UNPAID = "unpaid"
    DEAD_LETTER = "dead_letter"
    CHANNEL_FAILED = "channel_failed"
    TEST = "test"


class Priority(StrEnum):
    CRITICAL = "critical"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Something a person should know. Alerts of one `dedupe_key` within the quiet time are sent once."""

    kind: AlertKind
    priority: Priority
    dedupe_key: str
    title: str
    body: str
    ts_event: int
    ts_init: int


Message = (
    Opportunity
    | Approval
    | Rejection
    | OrderUpdate
    | Fill
    | Settlement
    | Merge
    | Halt
    | Resume
    | Kill
    | Alert
    | MarketRules
    | Marks
    | Scanned
)

STREAM_OF: dict[type, Stream] = {
    Opportunity: Stream.OPPORTUNITIES,
    Approval: Stream.APPROVALS,
    Rejection: Stream.REJECTIONS,
    OrderUpdate: Stream.ORDERS,
    Fill: Stream.FILLS,
    Settlement: Stream.FILLS,
    Merge: Stream.FILLS,
    Halt: Stream.CONTROL,
    Resume: Stream.CONTROL,
    Kill: Stream.CONTROL,
    Alert: Stream.ALERTS,
    MarketRules: Stream.SCANS,
    Marks: Stream.SCANS,
    Scanned: Stream.SCANS,
}
