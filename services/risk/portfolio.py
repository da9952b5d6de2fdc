"""What the wallet is exposed to, folded from messages. Nothing here decides; nothing here reads a clock.

An approval holds its reservation until its orders are known or it has expired; an open order holds its own; a trade
that has not failed holds what it cost until its market settles or its shares are merged into dollars (`commitments`).
Messages may come twice or out of order.
"""

from collections import defaultdict, deque
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from pmarb.domain.messages import (
    Approval,
    Fill,
    Halt,
    Kill,
    Marks,
    Merge,
    OrderUpdate,
    Resume,
    Settlement,
    TradingState,
)
from pmarb.domain.orders import FillStatus, OrderState
from pmarb.domain.sizing import Record
from pmarb.domain.values import NANOS, ONE, ZERO, Side
from services.risk.commitments import Commitment, Exposed, exposed, places
from services.risk.marks import Mark, gain, holdings, known_gain

DAY = 86_400 * NANOS
REMEMBERED = 3600 * NANOS
"""How long after its end a market in which nothing is held is kept in mind."""

EVERYDAY: Final = ("no_match: ", "paused: ")
"""How the cause of a refusal begins that says nothing against us: we came too late, or the venue took no orders."""

COUNTED: Final = 200
"""Answers and outcomes kept in mind, at least as many as any window of the limits."""

MARKS_KEPT: Final = 60 * NANOS
"""How long the bid of a token that is not held is kept: its fill may be heard of later."""

DAYS_KEPT: Final = 7
"""Days whose fees and trades are kept, should a clock be set back."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A position that ended: what a share cost with its fee, and what it paid."""

    cost: Decimal
    paid: Decimal


@dataclass(slots=True, kw_only=True)
class Portfolio:
    """Exposure, results and the state of trading. `capital` is what was put in; amounts in dollars.

    `locked` says why real money is locked, empty where it is not; `tripwires` why a market is halted by itself, by the
    market's id; `records` are those of the strategies, `marks` the latest bids by token. `results` are dollars by UTC
    day; what is dated later than today counts today: a clock that was wrong for a while forgets no loss. `answers` and
    `outcomes` are the latest ones since a person last resumed trading.
    """

    capital: Decimal
    state: TradingState = TradingState.ACTIVE
    state_why: str = ""
    clears_at: int = 0
    locked: str = ""
    tripwires: dict[str, str] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    marks: dict[str, Mark] = field(default_factory=dict)
    commitments: dict[str, Commitment] = field(default_factory=dict)
    settled: set[str] = field(default_factory=set)
    merges: set[str] = field(default_factory=set)
    merged: defaultdict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    realised: Decimal = ZERO
    peak: Decimal = ZERO
    today: int = 0
    results: defaultdict[int, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    fees: dict[str, tuple[int, Decimal]] = field(default_factory=dict)
    entered: dict[str, int] = field(default_factory=dict)
    losses_in_a_row: int = 0
    last_loss_at: int = 0
    approvals_at: deque[int] = field(default_factory=lambda: deque(maxlen=1000))
    answers: dict[str, bool] = field(default_factory=dict)
    outcomes: deque[Outcome] = field(default_factory=lambda: deque(maxlen=COUNTED))
    resumed_at: int = 0
    rearmed_at: int = 0

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
    def day_pnl(self) -> Decimal:
        return sum((pnl for day, pnl in self.results.items() if day >= self.today), ZERO)

    def open_loss(self, *, since: int) -> Decimal:
        """What open positions lost since they were bought, 0 or less: at the bids seen since then, all without one.

        A gain that nobody has realised makes no room for further losses.
        """
        return min(gain(holdings(self.active()), self.marks, since=since), ZERO)

    @property
    def open_loss_seen(self) -> Decimal:
        """The same by the last bids seen, whenever that was."""
        return min(known_gain(holdings(self.active()), self.marks), ZERO)

    @property
    def fees_today(self) -> Decimal:
        return sum((fee for day, fee in self.fees.values() if day >= self.today), ZERO)

    def trades_today(self, now: int) -> int:
        """Opportunities that traded today or still may."""
        traded = {key for key, day in self.entered.items() if day >= self.today}
        return len(traded | {c.opportunity_id for c in self.active() if c.has_open_order(now)})

    def at(self, now: int) -> None:
        """Let time pass: a new UTC day begins, a stop with an end ends."""
        self.today = now // DAY
        if self.state in (TradingState.HALTED, TradingState.REDUCING) and 0 < self.clears_at <= now:
            self._become(TradingState.ACTIVE, "the stop ended", 0)

    def learn_capital(self, capital: Decimal) -> None:
        """Money was brought in or taken out: neither is a result, so the peak moves with it."""
        if self.capital > ZERO:
            self.peak += capital - self.capital
        self.capital = capital
        self.peak = max(self.peak, self.equity)

    def on_approval(self, approval: Approval) -> None:
        known = self.commitments.get(approval.opportunity_id)
        if known is not None:
            known.on_approval(approval)
            return
        self.approvals_at.append(approval.ts_init)
        self.commitments[approval.opportunity_id] = Commitment(
            opportunity_id=approval.opportunity_id,
            where=places(approval),
            approved_at=approval.ts_init,
            expires_at=approval.expires_at,
            approved={index: leg.reserved for index, leg in enumerate(approval.legs)},
            strategy=approval.strategy,
        )

    def on_order(self, update: OrderUpdate) -> None:
        self._count_answer(update)
        commitment = self.commitments.get(update.opportunity_id)
        if commitment is not None:
            commitment.on_order(update)

    def _count_answer(self, update: OrderUpdate) -> None:
        """Whether the venue refused it; what it did not take for other reasons, or has not answered, counts nothing."""
        unanswered = update.state in (OrderState.SUBMITTING, OrderState.UNKNOWN)
        if not update.order_hash or unanswered or update.ts_event <= self.resumed_at:
            return
        if update.cause.startswith("paused: "):
            return
        refused = update.state is OrderState.REJECTED and not update.cause.startswith(EVERYDAY)
        self.answers[update.order_hash] = refused
        if len(self.answers) > COUNTED:
            del self.answers[next(iter(self.answers))]

    def on_fill(self, fill: Fill) -> None:
        commitment = self.commitments.get(fill.opportunity_id)
        if commitment is None or fill.token in self.settled:
            return
        if commitment.on_fill(fill):
            failed = fill.status is FillStatus.FAILED
            self.fees[fill.trade_id] = (fill.ts_event // DAY, ZERO if failed else fill.fee)
            self.entered.setdefault(fill.opportunity_id, fill.ts_event // DAY)
            if fill.token in self.merged:
                self._share_out(fill.token)

    def on_marks(self, marks: Marks) -> None:
        """The latest of each token; an older message changes nothing."""
        for token, bid in marks.bids.items():
            before = self.marks.get(token)
            if before is None or before.at <= marks.ts_event:
                self.marks[token] = Mark(bid, marks.ts_event)

    def on_settlement(self, settlement: Settlement) -> None:
        """A market ended: its trades hold nothing any more, and its result counts on its day."""
        if settlement.token in self.settled:
            return
        self.settled.add(settlement.token)
        if settlement.ts_event > self.resumed_at and settlement.shares > ZERO:
            shares = settlement.shares
            cost = (settlement.cost + settlement.fees) / shares
            self.outcomes.append(Outcome(cost=cost, paid=settlement.payout / shares))
        if settlement.shares > ZERO:  # Of what was merged altogether the result is known already
            self._on_result(settlement.pnl, settlement.ts_event)
        for commitment in self.commitments.values():
            commitment.on_settled(settlement.token)

    def on_merge(self, merge: Merge) -> None:
        """Pairs became dollars: they hold nothing any more, and their result counts on its day."""
        if merge.merge_id in self.merges:
            return
        self.merges.add(merge.merge_id)
        self._on_result(merge.pnl, merge.ts_event)
        for part in merge.parts:
            self.merged[part.token] += part.shares
            self._share_out(part.token)

    def _on_result(self, pnl: Decimal, at: int) -> None:
        self.realised += pnl
        self.peak = max(self.peak, self.equity)
        self.results[at // DAY] += pnl
        if pnl < ZERO:
            self.losses_in_a_row += 1
            self.last_loss_at = max(self.last_loss_at, at)
        else:
            self.losses_in_a_row = 0

    def _share_out(self, token: str) -> None:
        """Every trade in the token gave the same part of its shares: merges take them at their average."""
        held = [c for c in self.commitments.values() if any(fill.token == token for fill in c.trades.values())]
        bought = sum((c.bought(token) for c in held), ZERO)
        left = max(ONE - self.merged[token] / bought, ZERO) if bought > ZERO else ONE
        for commitment in held:
            commitment.on_merged(token, left)

    def restart_counts(self, at: int) -> None:
        """A person resumed at `at`: what stopped trading is counted from there, a day's loss and a drawdown are not."""
        if at > self.resumed_at:
            self.answers.clear()
        self.resumed_at = at
        self.losses_in_a_row = 0
        self.outcomes.clear()

    def rearm(self, at: int) -> None:
        """A person resumed after a kill: drawdown counts from here, or it would kill again at once."""
        self.rearmed_at = at
        self.peak = self.equity

    def on_control(self, message: Halt | Resume | Kill) -> None:
        match message:
            case Kill():
                self._become(TradingState.KILLED, message.why, 0)
            case Halt(clears_at=clears_at):
                if self.state is not TradingState.KILLED:
                    self._become(TradingState.HALTED, message.why, clears_at)
            case Resume():
                self._become(TradingState.ACTIVE, message.why, 0)

    def active(self) -> list[Commitment]:
        """Those that hold something or may come to."""
        return [c for c in self.commitments.values() if c.active]

    def _in(self, market: str) -> list[Commitment]:
        """Those that have or had to do with it."""
        return [c for c in self.commitments.values() if market in c.markets]

    def exposed(self, now: int) -> Exposed:
        """What could still be lost, fees included."""
        return exposed(self.active(), now)

    def hedge(self, market: str, token: str) -> Decimal:
        """Shares of `token` that would lower what can be lost in `market`: as many as are held of its other outcome."""
        held = ZERO
        for commitment in self._in(market):
            left, fills = commitment.left, [f for f in commitment.trades.values() if f.market == market]
            held += sum((_signed(fill, token) * left.get(fill.token, ONE) for fill in fills), ZERO)
        return max(held, ZERO)

    def open_orders(self, now: int) -> int:
        return sum(c.has_open_order(now) for c in self.active())

    def entries_of_market(self, market: str, now: int) -> int:
        return sum(c.filled or c.exposure(now) > ZERO for c in self._in(market))

    def last_approval_of_market(self, market: str) -> int:
        return max((c.approved_at for c in self._in(market)), default=0)

    def approvals_since(self, since: int) -> int:
        return sum(at >= since for at in self.approvals_at)

    def refusals(self, window: int) -> tuple[int, int]:
        """(refused, answered) of the latest `window` orders."""
        latest = list(self.answers.values())[-window:]
        return sum(latest), len(latest)

    def forget(self, now: int) -> None:
        """Drop what can no longer matter: markets over for an hour with nothing held, and days gone by."""
        over = [
            key
            for key, c in self.commitments.items()
            if c.expiry + REMEMBERED < now and c.exposure(now) == ZERO and not c.has_open_order(now)
        ]
        for key in over:
            del self.commitments[key]
        held = {token for tokens in holdings(self.active()).values() for token in tokens}
        self.marks = {key: mark for key, mark in self.marks.items() if key in held or mark.at + MARKS_KEPT >= now}
        oldest = now // DAY - DAYS_KEPT
        self.fees = {key: of for key, of in self.fees.items() if of[0] >= oldest}
        self.entered = {key: day for key, day in self.entered.items() if day >= oldest}

    def _become(self, state: TradingState, why: str, clears_at: int) -> None:
        self.state, self.state_why, self.clears_at = state, why, clears_at


def _signed(fill: Fill, token: str) -> Decimal:
    """What a trade adds to the shares that buying `token` would hedge."""
    if fill.status is FillStatus.FAILED:
        return ZERO
    shares = fill.shares if fill.side is Side.BUY else -fill.shares
    return -shares if fill.token == token else shares
