"""What the wallet is exposed to, folded from messages. Nothing here decides; nothing here reads a clock.

An approval holds its reservation until its orders are known or it has expired; an open order holds its own; a trade
that has not failed holds what it cost until its market settles. Messages may come twice or out of order.
"""

from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal

from pmarb.domain.messages import Approval, Fill, Halt, Kill, OrderUpdate, Resume, Settlement, TradingState
from pmarb.domain.orders import FillStatus
from pmarb.domain.values import NANOS, ZERO

DAY = 86_400 * NANOS
REMEMBERED = 3600 * NANOS
"""How long after its end a market in which nothing is held is kept in mind."""

GRACE = 5 * NANOS
"""How long after its expiry an approval without any order still counts: the executor may be slow to say so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketRef:
    """What a market has in common with others."""

    market: str
    event: str
    underlying: str
    expiry: int


@dataclass(slots=True, kw_only=True)
class Commitment:
    """One approved opportunity and all that came of it."""

    opportunity_id: str
    where: MarketRef
    approved_at: int
    expires_at: int
    approved: dict[int, Decimal]
    orders: dict[int, OrderUpdate] = field(default_factory=dict)
    trades: dict[str, Fill] = field(default_factory=dict)
    _held: Decimal | None = None
    """The exposure while no message changes it: asked many times a judgement, on the way of an order."""

    def exposure(self, now: int) -> Decimal:
        """Dollars that could still be lost, fee included."""
        if self._held is not None:
            return self._held
        held = sum((self._of_leg(leg, reserved, now) for leg, reserved in self.approved.items()), ZERO)
        if len(self.orders) == len(self.approved):  # Before that, time changes it too
            self._held = held
        return held

    def on_order(self, update: OrderUpdate) -> None:
        """An order that ended stays as it ended."""
        before = self.orders.get(update.leg)
        if before is None or not before.state.terminal or update.state.terminal:
            self.orders[update.leg] = update
            self._held = None

    def on_fill(self, fill: Fill) -> bool:
        """Whether that was news: a trade that was confirmed or failed stays so."""
        before = self.trades.get(fill.trade_id)
        if before is not None and before.status is not FillStatus.PROVISIONAL:
            return False
        self.trades[fill.trade_id] = fill
        self._held = None
        return True

    def on_settled(self, token: str) -> None:
        """What was bought of `token` holds nothing any more."""
        for trade_id in [trade_id for trade_id, fill in self.trades.items() if fill.token == token]:
            del self.trades[trade_id]
            self._held = None

    def _of_leg(self, leg: int, reserved: Decimal, now: int) -> Decimal:
        order = self.orders.get(leg)
        if order is None:
            return reserved if now <= self.expires_at + GRACE else ZERO
        spent = sum(
            (
                fill.shares * fill.price + fill.fee
                for fill in self.trades.values()
                if fill.order_hash == order.order_hash and fill.status is not FillStatus.FAILED
            ),
            ZERO,
        )
        return spent if order.state.terminal else max(order.reserved, spent)

    def has_open_order(self, now: int) -> bool:
        if any(not order.state.terminal for order in self.orders.values()):
            return True
        return len(self.orders) < len(self.approved) and now <= self.expires_at + GRACE

    @property
    def filled(self) -> bool:
        return any(fill.status is not FillStatus.FAILED for fill in self.trades.values())


@dataclass(slots=True, kw_only=True)
class Portfolio:
    """Exposure, results and the state of trading. `capital` is what was put in; amounts in dollars."""

    capital: Decimal
    state: TradingState = TradingState.ACTIVE
    state_why: str = ""
    clears_at: int = 0
    commitments: dict[str, Commitment] = field(default_factory=dict)
    settled: set[str] = field(default_factory=set)
    realised: Decimal = ZERO
    peak: Decimal = ZERO
    day: int = 0
    day_pnl: Decimal = ZERO
    day_fees: dict[str, Decimal] = field(default_factory=dict)
    day_trades: set[str] = field(default_factory=set)
    losses_in_a_row: int = 0
    last_loss_at: int = 0
    approvals_at: deque[int] = field(default_factory=lambda: deque(maxlen=1000))

    def __post_init__(self) -> None:
        self.peak = max(self.peak, self.equity)

    @property
    def equity(self) -> Decimal:
        """Capital and results; open positions at cost until they settle."""
        return self.capital + self.realised

    @property
    def drawdown(self) -> Decimal:
        """Loss from the highest equity, as a fraction of it."""
        return (self.peak - self.equity) / self.peak if self.peak > ZERO else ZERO

    @property
    def fees_today(self) -> Decimal:
        return sum(self.day_fees.values(), ZERO)

    def at(self, now: int) -> None:
        """Let time pass: a new UTC day begins, a day stop ends. A clock that is set back forgets no loss."""
        if now // DAY > self.day:
            self.day = now // DAY
            self.day_pnl = ZERO
            self.day_fees.clear()
            self.day_trades.clear()
        if self.state is TradingState.HALTED and 0 < self.clears_at <= now:
            self.state, self.state_why, self.clears_at = TradingState.ACTIVE, "the day stop ended", 0

    def on_approval(self, approval: Approval) -> None:
        if approval.opportunity_id in self.commitments:
            return
        self.approvals_at.append(approval.ts_init)
        self.commitments[approval.opportunity_id] = Commitment(
            opportunity_id=approval.opportunity_id,
            where=MarketRef(
                market=approval.legs[0].leg.market,
                event=approval.event,
                underlying=approval.underlying,
                expiry=approval.expiry,
            ),
            approved_at=approval.ts_init,
            expires_at=approval.expires_at,
            approved={index: leg.reserved for index, leg in enumerate(approval.legs)},
        )

    def on_order(self, update: OrderUpdate) -> None:
        commitment = self.commitments.get(update.opportunity_id)
        if commitment is not None:
            commitment.on_order(update)

    def on_fill(self, fill: Fill) -> None:
        commitment = self.commitments.get(fill.opportunity_id)
        if commitment is None or fill.token in self.settled:
            return
        if commitment.on_fill(fill) and fill.ts_event // DAY == self.day:
            failed = fill.status is FillStatus.FAILED
            self.day_fees[fill.trade_id] = ZERO if failed else fill.fee
            self.day_trades.add(fill.opportunity_id)

    def on_settlement(self, settlement: Settlement) -> None:
        """A market ended: its trades hold nothing any more, and its result counts today."""
        if settlement.token in self.settled:
            return
        self.settled.add(settlement.token)
        self.realised += settlement.pnl
        self.peak = max(self.peak, self.equity)
        if settlement.ts_event // DAY == self.day:
            self.day_pnl += settlement.pnl
        if settlement.pnl < ZERO:
            self.losses_in_a_row += 1
            self.last_loss_at = settlement.ts_event
        else:
            self.losses_in_a_row = 0
        for commitment in self.commitments.values():
            commitment.on_settled(settlement.token)

    def rearm(self) -> None:
        """A person resumed: drawdown counts from here, or it would stop trading again at once."""
        self.peak = self.equity
        self.losses_in_a_row = 0

    def on_control(self, message: Halt | Resume | Kill) -> None:
        match message:
            case Kill():
                self._become(TradingState.KILLED, message.why, 0)
            case Halt(clears_at=clears_at):
                if self.state is not TradingState.KILLED:
                    self._become(TradingState.HALTED, message.why, clears_at)
            case Resume():
                self._become(TradingState.ACTIVE, message.why, 0)

    def exposure(self, now: int) -> Decimal:
        return sum((c.exposure(now) for c in self.commitments.values()), ZERO)

    def exposure_of_market(self, market: str, now: int) -> Decimal:
        return sum((c.exposure(now) for c in self.commitments.values() if c.where.market == market), ZERO)

    def exposure_of_event(self, event: str, now: int) -> Decimal:
        return sum((c.exposure(now) for c in self.commitments.values() if c.where.event == event), ZERO)

    def exposure_of_underlying(self, underlying: str, *, expiry: int, within: int, now: int) -> Decimal:
        """Markets on one price that end within `within` of each other are one bet."""
        return sum(
            (
                c.exposure(now)
                for c in self.commitments.values()
                if c.where.underlying == underlying and abs(c.where.expiry - expiry) <= within
            ),
            ZERO,
        )

    def positions(self, now: int) -> int:
        """Markets in which something is held or may come to be."""
        return len({c.where.market for c in self.commitments.values() if c.exposure(now) > ZERO})

    def open_orders(self, now: int) -> int:
        return sum(c.has_open_order(now) for c in self.commitments.values())

    def entries_of_market(self, market: str, now: int) -> int:
        return sum(c.where.market == market and (c.filled or c.exposure(now) > ZERO) for c in self.commitments.values())

    def last_approval_of_market(self, market: str) -> int:
        return max((c.approved_at for c in self.commitments.values() if c.where.market == market), default=0)

    def approvals_since(self, since: int) -> int:
        return sum(at >= since for at in self.approvals_at)

    def forget(self, now: int) -> None:
        """Drop what can no longer matter: markets over for an hour with nothing held."""
        over = [
            key
            for key, c in self.commitments.items()
            if c.where.expiry + REMEMBERED < now and c.exposure(now) == ZERO and not c.has_open_order(now)
        ]
        for key in over:
            del self.commitments[key]

    def _become(self, state: TradingState, why: str, clears_at: int) -> None:
        self.state, self.state_why, self.clears_at = state, why, clears_at
