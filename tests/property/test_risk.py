"""Whatever comes, in whatever order, no cap is ever passed and a restart forgets nothing."""

from dataclasses import dataclass, field, replace
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from pmarb.db.portfolio import Snapshot, StoredOrder, StoredState
from pmarb.domain.limits import CEILING_USD, Limits, Sizing
from pmarb.domain.messages import Approval, Fill, Marks, Opportunity, OrderUpdate, Settlement, TradingState
from pmarb.domain.orders import FillStatus, OrderState
from pmarb.domain.values import NANOS, SHARE_GRID, ZERO, on_grid
from services.risk.decide import judge
from services.risk.portfolio import DAY, Portfolio
from services.risk.rebuild import rebuilt
from tests.builders import NOW, a_leg, an_opportunity, fill_of, order_of

CENTS = st.integers(6, 94).map(lambda c: Decimal(c) / 100)


@st.composite
def opportunities(draw: st.DrawFn, at: int = NOW + 100 * NANOS) -> Opportunity:
    price = draw(CENTS)
    market = draw(st.integers(0, 5))
    leg = a_leg(
        market=f"0xm{market}",
        token=f"t{market}",
        price=price,
        limit=price + draw(st.sampled_from([ZERO, Decimal("0.01")])),
        shares=Decimal(draw(st.integers(1, 400))),
        book_ts_init=at,
        book_ts_event=at,
    )
    return an_opportunity(
        opportunity_id=f"opp-{draw(st.integers(0, 10**6))}",
        legs=(leg,),
        fair=min(price + Decimal(draw(st.integers(0, 40))) / 100, Decimal("0.99")),
        mid=price - Decimal("0.005"),
        threshold=Decimal("0.02"),
        event=f"e{market}",
        underlying=draw(st.sampled_from(["btc", "eth"])),
        opens_at=at - 100 * NANOS,
        expiry=at + 200 * NANOS,
        expires_at=at + 3 * NANOS,
        spot_ts_init=at,
        reference_ts_init=at,
        ts_init=at,
    )


LIMITS = st.builds(
    Limits,
    sizing=st.sampled_from(Sizing),
    order_pct=st.sampled_from([Decimal("0.01"), Decimal("0.05")]),
    trades_per_day=st.sampled_from([3, 200]),
    daily_loss_pct=st.sampled_from([Decimal("0.005"), Decimal("0.05")]),
    losses_in_a_row=st.sampled_from([2, 6]),
    hard_cap_usd=st.sampled_from([Decimal(2), Decimal(10), Decimal(20)]),
    order_usd=st.sampled_from([Decimal(3), Decimal(5), Decimal(20)]),
    orders_per_second=st.just(10),
    entries_per_window=st.sampled_from([1, 3]),
    duplicate_cooldown=st.sampled_from([0, 30 * NANOS]),
)
ORDER_STATES = st.sampled_from(
    [OrderState.SUBMITTING, OrderState.UNKNOWN, OrderState.MATCHED, OrderState.REJECTED, OrderState.FILLED]
)


def assert_within(portfolio: Portfolio, limits: Limits, approval: Approval, now: int) -> None:
    equity, leg = portfolio.equity, approval.legs[0]
    assert leg.reserved <= min(limits.order_usd, limits.hard_cap_usd, CEILING_USD)
    assert leg.reserved <= max(limits.order_pct, limits.order_pct_to_reach_minimum) * equity
    assert leg.shares <= leg.leg.shares
    assert leg.shares >= limits.min_shares
    assert leg.usd >= limits.min_usd
    assert on_grid(leg.shares, SHARE_GRID)
    assert leg.limit <= leg.leg.limit
    assert portfolio.exposed(now).total <= limits.total_pct * equity
    assert portfolio.exposed(now).of_market(leg.leg.market) <= limits.market_pct * equity
    assert portfolio.exposed(now).of_event(approval.event) <= limits.event_pct * equity
    bet = portfolio.exposed(now).of_underlying(approval.underlying, expiry=approval.expiry, within=limits.same_expiry)
    assert bet <= limits.underlying_pct * equity
    assert len(portfolio.exposed(now).markets) <= limits.max_positions
    assert portfolio.open_orders(now) <= limits.max_open_orders


@settings(max_examples=150)
@given(LIMITS, st.data())
def test_no_limit_is_ever_passed_by_any_sequence(limits: Limits, data: st.DataObject) -> None:
    now = NOW + 100 * NANOS
    portfolio = Portfolio(capital=Decimal(300), today=now // DAY)
    for _ in range(data.draw(st.integers(1, 12))):
        now += data.draw(st.sampled_from([0, NANOS // 5, NANOS, 20 * NANOS, -NANOS]))
        portfolio.at(now)
        answer = judge(data.draw(opportunities(now)), portfolio, limits, now=now)
        if not isinstance(answer, Approval):
            continue
        portfolio.on_approval(answer)
        assert_within(portfolio, limits, answer, now)
        for _ in range(data.draw(st.integers(0, 2))):
            portfolio.on_order(order_of(answer, data.draw(ORDER_STATES)))
            portfolio.on_fill(fill_of(answer, data.draw(st.sampled_from(FillStatus))))
        assert portfolio.exposed(now).total <= limits.total_pct * portfolio.equity


@dataclass
class World:
    """The truth beside the portfolio: what a ledger would hold. It shares no rule with what it checks."""

    now: int = NOW + 100 * NANOS
    approvals: dict[str, Approval] = field(default_factory=dict)
    orders: dict[str, OrderUpdate] = field(default_factory=dict)
    fills: dict[str, Fill] = field(default_factory=dict)
    settlements: list[Settlement] = field(default_factory=list)
    bids: dict[str, tuple[Decimal, int]] = field(default_factory=dict)

    def held(self, opportunity_id: str) -> Decimal:
        """What this approval may still lose."""
        order, approval = self.orders.get(opportunity_id), self.approvals[opportunity_id]
        if order is None:
            return approval.reserved if self.now <= approval.expires_at else ZERO
        fill, ended = self.fills.get(opportunity_id), {s.token for s in self.settlements}
        spent = ZERO
        if fill is not None and fill.status is not FillStatus.FAILED and fill.token not in ended:
            spent = fill.shares * fill.price + fill.fee
        return spent if order.state.terminal else max(order.reserved, spent)

    def lost_today(self) -> Decimal:
        return -sum((s.pnl for s in self.settlements if s.ts_event // DAY == self.now // DAY), ZERO)

    def unsettled(self) -> list[Fill]:
        ended = {s.token for s in self.settlements}
        return [f for f in self.fills.values() if f.status is not FillStatus.FAILED and f.token not in ended]

    def open_loss(self, limits: Limits) -> Decimal:
        """What is held is worth its bid, or nothing without a fresh one; a gain on it is none."""
        gain = ZERO
        for fill in self.unsettled():
            bid, at = self.bids.get(fill.token, (ZERO, 0))
            worth = fill.shares * bid if at >= self.now - limits.stale_mark else ZERO
            gain += worth - fill.shares * fill.price - fill.fee
        return max(-gain, ZERO)

    def mark(self, token: str, bid: Decimal) -> Marks:
        """A bid that is seen now; a clock that was ahead has the last word until then."""
        if self.now >= self.bids.get(token, (ZERO, 0))[1]:
            self.bids[token] = (bid, self.now)
        return Marks(bids={token: bid}, ts_event=self.now, ts_init=self.now)

    def equity(self) -> Decimal:
        return CAPITAL + sum((s.pnl for s in self.settlements), ZERO)

    def drawdown(self) -> Decimal:
        equity = peak = CAPITAL
        for settlement in self.settlements:
            equity += settlement.pnl
            peak = max(peak, equity)
        return 1 - equity / peak

    def restarted(self) -> Portfolio:
        """From what a crash leaves behind."""
        stored = snapshot(
            list(self.orders.values()), list(self.fills.values()), self.settlements, list(self.approvals.values())
        )
        return rebuilt(stored, self.approvals.values(), now=self.now)

    def check(self, limits: Limits, approval: Approval) -> None:
        """The approval just given, with everything before it, is within every limit."""
        equity, leg = self.equity(), approval.legs[0]
        held = {key: self.held(key) for key in self.approvals}
        assert sum(held.values()) <= limits.total_pct * equity
        for of, allowed in (
            (lambda a: a.legs[0].leg.market == leg.leg.market, limits.market_pct),
            (lambda a: a.event == approval.event, limits.event_pct),
            (
                lambda a: a.underlying == approval.underlying and abs(a.expiry - approval.expiry) <= limits.same_expiry,
                limits.underlying_pct,
            ),
        ):
            together = sum(held[key] for key, a in self.approvals.items() if of(a))
            assert together <= allowed * equity
        assert sum(self.may_match(key) for key in self.approvals) <= limits.max_open_orders
        assert len({a.legs[0].leg.market for key, a in self.approvals.items() if held[key]}) <= limits.max_positions
        assert self.lost_today() + self.open_loss(limits) < limits.daily_loss_pct * CAPITAL
        assert self.drawdown() < limits.drawdown_kill_pct
        today = [f for f in self.fills.values() if f.ts_event // DAY == self.now // DAY]
        assert len({f.opportunity_id for f in today} | {k for k in self.approvals if self.may_match(k)}) <= (
            limits.trades_per_day
        )
        sent = sorted(a.ts_init for a in self.approvals.values())
        assert sum(self.now - NANOS <= at <= self.now for at in sent) <= limits.orders_per_second

    def may_match(self, opportunity_id: str) -> bool:
        order = self.orders.get(opportunity_id)
        if order is None:
            return self.now <= self.approvals[opportunity_id].expires_at
        return not order.state.terminal


CAPITAL = Decimal(300)
BIDS = (ZERO, Decimal("0.05"), Decimal("0.5"), Decimal("0.95"))
JUMPS = st.sampled_from([0, NANOS // 5, NANOS, 20 * NANOS, 600 * NANOS, DAY, -NANOS, -600 * NANOS, -DAY])


@settings(max_examples=120)
@given(LIMITS, st.data())
def test_no_limit_is_passed_by_fills_losses_restarts_and_clocks_that_jump(limits: Limits, data: st.DataObject) -> None:
    world = World()
    portfolio = Portfolio(capital=CAPITAL, today=world.now // DAY)
    for number in range(data.draw(st.integers(1, 20))):
        world.now += data.draw(JUMPS)
        portfolio.at(world.now)
        match data.draw(st.sampled_from(["ask", "ask", "ask", "order", "fill", "mark", "settle", "restart"])):
            case "restart":
                portfolio = world.restarted()
            case "order" if world.approvals:
                update = order_of(data.draw(st.sampled_from([*world.approvals.values()])), data.draw(ORDER_STATES))
                before = world.orders.get(update.opportunity_id)
                if before is None or not before.state.terminal:
                    world.orders[update.opportunity_id] = update
                portfolio.on_order(update)
            case "fill" if world.orders:
                approval = world.approvals[data.draw(st.sampled_from([*world.orders]))]
                fill = fill_of(approval, data.draw(st.sampled_from(FillStatus)))
                before_fill = world.fills.get(fill.opportunity_id)
                if before_fill is None or before_fill.status is FillStatus.PROVISIONAL:
                    world.fills[fill.opportunity_id] = fill
                portfolio.on_fill(fill)
            case "mark":
                portfolio.on_marks(world.mark(f"t{data.draw(st.integers(0, 5))}", data.draw(st.sampled_from(BIDS))))
            case "settle" if world.unsettled():
                lost = settlement_of(data.draw(st.sampled_from(world.unsettled())))
                size = data.draw(st.sampled_from([1, 5]))  # Several orders of one token settle together
                lost = replace(lost, pnl=lost.pnl * size, ts_event=world.now, ts_init=world.now)
                world.settlements.append(lost)
                portfolio.on_settlement(lost)
            case _:
                wanted = replace(data.draw(opportunities(world.now)), opportunity_id=f"opp-{number}")
                answer = judge(wanted, portfolio, limits, now=world.now)
                if isinstance(answer, Approval):
                    portfolio.on_approval(answer)
                    world.approvals[answer.opportunity_id] = answer
                    world.check(limits, answer)


@settings(max_examples=60)
@given(st.data())
def test_a_restart_remembers_exposure_losses_and_state(data: st.DataObject) -> None:
    now = NOW + 100 * NANOS
    limits = Limits(orders_per_second=99, entries_per_window=9, duplicate_cooldown=0)
    before = Portfolio(capital=Decimal(300), today=now // DAY, state=TradingState.KILLED, state_why="drill")
    before.state = TradingState.ACTIVE
    orders: list[OrderUpdate] = []
    fills: list[Fill] = []
    approvals: list[Approval] = []
    for _ in range(data.draw(st.integers(1, 6))):
        answer = judge(data.draw(opportunities(now)), before, limits, now=now)
        if isinstance(answer, Approval):
            before.on_approval(answer)
            approvals.append(answer)
            if data.draw(st.booleans()):
                orders.append(order_of(answer, data.draw(ORDER_STATES)))
                fills.append(fill_of(answer, data.draw(st.sampled_from(FillStatus))))
                before.on_order(orders[-1])
                before.on_fill(fills[-1])
    settled = [settlement_of(fill) for fill in fills[:1]]
    for settlement in settled:
        before.on_settlement(settlement)
    after = rebuilt(snapshot(orders, fills, settled, approvals), approvals, now=now)
    assert after.exposed(now).total == before.exposed(now).total
    assert after.equity == before.equity
    assert after.day_pnl == before.day_pnl
    assert after.losses_in_a_row == before.losses_in_a_row
    assert after.open_orders(now) == before.open_orders(now)
    assert after.exposed(now).markets == before.exposed(now).markets


def settlement_of(fill: Fill) -> Settlement:
    return Settlement(
        token=fill.token,
        market=fill.market,
        slug=fill.slug,
        outcome=fill.outcome,
        won=False,
        shares=fill.shares,
        cost=fill.shares * fill.price,
        fees=fill.fee,
        payout=ZERO,
        pnl=-(fill.shares * fill.price + fill.fee),
        equity=ZERO,
        ts_event=fill.ts_event,
        ts_init=fill.ts_event,
    )


def snapshot(
    orders: list[OrderUpdate], fills: list[Fill], settled: list[Settlement], approvals: list[Approval]
) -> Snapshot:
    where = {approval.opportunity_id: approval for approval in approvals}
    return Snapshot(
        capital=Decimal(300),
        orders=tuple(
            StoredOrder(
                update=replace(order),
                event=where[order.opportunity_id].event,
                underlying=where[order.opportunity_id].underlying,
                expiry=where[order.opportunity_id].expiry,
                created_at=order.ts_event,
            )
            for order in orders
        ),
        fills=tuple(fills),
        settlements=tuple(settled),
        state=StoredState(state=TradingState.ACTIVE, who="me", why="", since=0, clears_at=0),
        resumed_at=0,
    )
