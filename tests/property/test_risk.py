"""Whatever comes, in whatever order, no cap is ever passed and a restart forgets nothing."""

from dataclasses import replace
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from pmarb.db.portfolio import Snapshot, StoredOrder, StoredState
from pmarb.domain.messages import Approval, Fill, Opportunity, OrderUpdate, Settlement, TradingState
from pmarb.domain.orders import FillStatus, OrderState
from pmarb.domain.values import NANOS, SHARE_GRID, ZERO, Side, on_grid
from services.risk.decide import judge
from services.risk.limits import CEILING_USD, Limits, Sizing
from services.risk.portfolio import DAY, Portfolio
from services.risk.rebuild import rebuilt
from tests.builders import NOW, a_leg, an_opportunity

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
    hard_cap_usd=st.sampled_from([Decimal(2), Decimal(10), Decimal(20)]),
    order_usd=st.sampled_from([Decimal(3), Decimal(5), Decimal(20)]),
    orders_per_second=st.just(10),
    entries_per_window=st.sampled_from([1, 3]),
    duplicate_cooldown=st.sampled_from([0, 30 * NANOS]),
)
ORDER_STATES = st.sampled_from(
    [OrderState.SUBMITTING, OrderState.UNKNOWN, OrderState.MATCHED, OrderState.REJECTED, OrderState.FILLED]
)


def order_of(approval: Approval, state: OrderState) -> OrderUpdate:
    leg = approval.legs[0]
    return OrderUpdate(
        opportunity_id=approval.opportunity_id,
        leg=0,
        order_hash=f"0x{approval.opportunity_id}",
        state=state,
        cause="",
        slug=approval.slug,
        market=leg.leg.market,
        token=leg.leg.token,
        outcome="Up",
        side=Side.BUY,
        price=leg.limit,
        shares=leg.shares,
        reserved=leg.reserved,
        filled=ZERO,
        ts_event=approval.ts_init,
        ts_init=approval.ts_init,
    )


def fill_of(approval: Approval, status: FillStatus) -> Fill:
    leg = approval.legs[0]
    return Fill(
        trade_id=f"trade-{approval.opportunity_id}",
        order_hash=f"0x{approval.opportunity_id}",
        opportunity_id=approval.opportunity_id,
        slug=approval.slug,
        market=leg.leg.market,
        token=leg.leg.token,
        outcome="Up",
        side=Side.BUY,
        shares=leg.shares,
        price=leg.limit,
        fee=leg.reserved - leg.usd,
        status=status,
        ts_event=approval.ts_init,
        ts_init=approval.ts_init,
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
    assert portfolio.exposure(now) <= limits.total_pct * equity
    assert portfolio.exposure_of_market(leg.leg.market, now) <= limits.market_pct * equity
    assert portfolio.exposure_of_event(approval.event, now) <= limits.event_pct * equity
    bet = portfolio.exposure_of_underlying(
        approval.underlying, expiry=approval.expiry, within=limits.same_expiry, now=now
    )
    assert bet <= limits.underlying_pct * equity
    assert portfolio.positions(now) <= limits.max_positions
    assert portfolio.open_orders(now) <= limits.max_open_orders


@settings(max_examples=150)
@given(LIMITS, st.data())
def test_no_limit_is_ever_passed_by_any_sequence(limits: Limits, data: st.DataObject) -> None:
    now = NOW + 100 * NANOS
    portfolio = Portfolio(capital=Decimal(300), day=now // DAY)
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
        assert portfolio.exposure(now) <= limits.total_pct * portfolio.equity


@settings(max_examples=60)
@given(st.data())
def test_a_restart_remembers_exposure_losses_and_state(data: st.DataObject) -> None:
    now = NOW + 100 * NANOS
    limits = Limits(orders_per_second=99, entries_per_window=9, duplicate_cooldown=0)
    before = Portfolio(capital=Decimal(300), day=now // DAY, state=TradingState.KILLED, state_why="drill")
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
    assert after.exposure(now) == before.exposure(now)
    assert after.equity == before.equity
    assert after.day_pnl == before.day_pnl
    assert after.losses_in_a_row == before.losses_in_a_row
    assert after.open_orders(now) == before.open_orders(now)
    assert after.positions(now) == before.positions(now)


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
