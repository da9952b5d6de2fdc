"""What is sent never exceeds what was approved, and no order of events moves money twice or loses any."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pmarb.domain.book import Book, Level, walk
from pmarb.domain.edge import net_edge
from pmarb.domain.fees import FeeSchedule
from pmarb.domain.ledger import Account, Ledger, reserve
from pmarb.domain.messages import Approval, ApprovedLeg
from pmarb.domain.orders import (
    Accepted,
    Ended,
    FillStatus,
    Order,
    OrderEvent,
    OrderState,
    OrderType,
    OutcomeUnknown,
    ProvenAbsent,
    Refused,
    Trade,
    Traded,
    fold,
)
from pmarb.domain.sizing import reserve_for_spend
from pmarb.domain.values import CENT, NANOS, ZERO, Side
from pmarb.venue.account import traded
from pmarb.venue.port import Intent, Sightings, VenueOrder
from pmarb.venue.userstream import _ended
from services.executor.decide import ABSENT_AFTER, Skip, SkipReason, VenueView, bookings, exact_step, plan, resolve
from tests.builders import NOW, a_leg, an_approval

SENT = NOW + 101 * NANOS
TICKS = st.sampled_from([Decimal("0.1"), Decimal("0.01"), Decimal("0.005"), Decimal("0.0025"), Decimal("0.001")])
SHARES = st.decimals("0.01", "400", places=2)


@st.composite
def prices(draw: st.DrawFn, tick: Decimal) -> Decimal:
    return draw(st.integers(1, int(1 / tick) - 1)) * tick


@st.composite
def books(draw: st.DrawFn, tick: Decimal) -> Book:
    asks = sorted(draw(st.sets(prices(tick), min_size=1, max_size=6)))
    levels = tuple(Level(price, draw(SHARES)) for price in asks)
    bid = asks[0] - tick
    bids = (Level(bid, draw(SHARES)),) if bid > 0 else ()
    return Book(token="1001", bids=bids, asks=levels, ts_event=SENT, ts_init=SENT, tick=tick)


@st.composite
def approved(draw: st.DrawFn) -> tuple[Approval, ApprovedLeg, Book]:
    tick = draw(TICKS)
    limit = draw(prices(tick))
    shares = draw(SHARES)
    usd = draw(st.decimals("0.01", "20", places=2))
    rate = draw(st.sampled_from([Decimal(0), Decimal("0.05"), Decimal("0.07")]))
    leg = ApprovedLeg(
        leg=a_leg(limit=limit, tick=tick, fee_rate=rate), shares=shares, limit=limit, usd=usd, reserved=usd * 2
    )
    fair = draw(st.decimals("0.01", "0.99", places=3))
    return an_approval(legs=(leg,), fair=fair, threshold=Decimal("0.02")), leg, draw(books(tick))


@given(approved())
def test_an_intent_never_exceeds_its_approval(case: tuple[Approval, ApprovedLeg, Book]) -> None:
    approval, leg, book = case
    intent = plan(approval, leg, book, now=SENT)
    if isinstance(intent, Skip):
        return
    assert intent.usd <= leg.usd
    assert intent.shares <= leg.shares
    assert book.asks[0].price <= intent.limit <= leg.limit
    assert intent.shares >= 5
    assert intent.usd >= 1


@given(approved())
def test_the_implied_price_is_the_limit_exactly(case: tuple[Approval, ApprovedLeg, Book]) -> None:
    approval, leg, book = case
    intent = plan(approval, leg, book, now=SENT)
    if isinstance(intent, Skip):
        return
    assert intent.usd % CENT == 0
    assert intent.shares % CENT == 0
    assert intent.shares * intent.limit == intent.usd
    assert intent.limit % book.tick == 0


@given(approved())
def test_what_is_sent_still_pays_at_the_walked_price(case: tuple[Approval, ApprovedLeg, Book]) -> None:
    approval, leg, book = case
    intent = plan(approval, leg, book, now=SENT)
    if isinstance(intent, Skip):
        return
    fees = FeeSchedule(leg.leg.fee_rate)
    take = walk(book.asks, side=Side.BUY, fees=fees, shares=intent.shares, limit=intent.limit)
    assert take is not None
    assert take.shares == intent.shares, "more was asked for than is displayed"
    assert net_edge(side=Side.BUY, fair=approval.fair, price=take.vwap, fees=fees) >= approval.threshold - Decimal(
        "1e-25"
    )


@given(prices(Decimal("0.0001")))
def test_every_multiple_of_the_exact_step_costs_whole_cents(price: Decimal) -> None:
    for multiple in (1, 2, 7):
        assert exact_step(price) * multiple * price % CENT == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"now": NOW + 104 * NANOS}, SkipReason.EXPIRED),
        ({"book": None}, SkipReason.NO_FRESH_BOOK),
        ({"age": 3 * NANOS}, SkipReason.NO_FRESH_BOOK),
        ({"ask": "0.51"}, SkipReason.PRICE_MOVED),
        ({"fair": "0.52"}, SkipReason.EDGE_GONE),
        ({"size": "4"}, SkipReason.BELOW_MINIMUM),
        ({"side": Side.SELL}, SkipReason.UNSUPPORTED),
    ],
)
def test_every_doubt_is_a_skip_with_its_reason(change: dict[str, object], reason: SkipReason) -> None:
    leg = an_approval().legs[0]
    leg = replace(leg, leg=replace(leg.leg, side=change.get("side", Side.BUY)))  # type: ignore[arg-type]
    approval = an_approval(legs=(leg,), fair=Decimal(str(change.get("fair", "0.62"))))
    ask = Level(Decimal(str(change.get("ask", "0.50"))), Decimal(str(change.get("size", "40"))))
    seen = SENT - int(str(change.get("age", 0)))
    book = Book(token="1001", bids=(), asks=(ask,), ts_event=seen, ts_init=seen)
    answer = plan(approval, leg, None if "book" in change else book, now=int(str(change.get("now", SENT))))
    assert isinstance(answer, Skip)
    assert answer.reason is reason


def test_a_good_approval_becomes_its_order() -> None:
    approval = an_approval()
    book = Book(token="1001", bids=(), asks=(Level(Decimal("0.50"), Decimal(40)),), ts_event=SENT, ts_init=SENT)
    assert plan(approval, approval.legs[0], book, now=SENT) == Intent(
        market="0xmarket", token="1001", side=Side.BUY, order_type=OrderType.FAK,
        limit=Decimal("0.50"), usd=Decimal("3.00"), shares=Decimal(6),
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------------------- resolve


def an_order(**changes: object) -> Order:
    order = Order(
        order_hash="0xorder", opportunity_id="opp-1", leg=0, market="0xmarket", token="1001", side=Side.BUY,
        order_type=OrderType.FAK, limit_price=Decimal("0.50"), shares=Decimal(6), usd=Decimal("3.00"),
        reserved=reserve_for_spend(
            usd=Decimal(3), limit=Decimal("0.5"), tick=Decimal("0.01"), fees=FeeSchedule(Decimal("0.07"))
        ),
        expires_at=NOW + 103 * NANOS,
    )  # fmt: skip
    return replace(order, **changes)  # type: ignore[arg-type]


def a_trade(number: int, *, shares: str = "2", usd: str = "1", status: FillStatus = FillStatus.PROVISIONAL) -> Trade:
    return traded(
        trade_id=f"t{number}", shares=Decimal(shares), usd=Decimal(usd), fees=FeeSchedule(Decimal("0.07")),
        status=status, ts_event=SENT + number,
    )  # fmt: skip


def a_view(*, after: int, listed: OrderState | None = None, trades: tuple[Trade, ...] = ()) -> VenueView:
    order = VenueOrder(
        order_hash="0xorder", market="0xmarket", token="1001", side=Side.BUY, price=Decimal("0.5"),
        shares=Decimal(6), matched=ZERO, state=listed or OrderState.LIVE,
    )  # fmt: skip
    return VenueView(
        started_at=SENT + after,
        open_orders={"0xorder": order} if listed else {},
        trades={"0xorder": trades} if trades else {},
    )


@given(st.sampled_from(OrderState), st.integers(0, ABSENT_AFTER - 1))
def test_absence_proves_nothing_before_the_deadline(state: OrderState, after: int) -> None:
    assert resolve(an_order(state=state), a_view(after=after), sent_at=SENT) == ()


@pytest.mark.parametrize("state", [OrderState.SUBMITTING, OrderState.UNKNOWN])
def test_an_order_nobody_knows_after_the_deadline_was_never_there(state: OrderState) -> None:
    assert resolve(an_order(state=state), a_view(after=ABSENT_AFTER), sent_at=SENT) == (ProvenAbsent(),)


@pytest.mark.parametrize("state", [OrderState.LIVE, OrderState.DELAYED])
def test_an_accepted_order_that_is_gone_without_a_trade_was_cancelled(state: OrderState) -> None:
    (event,) = resolve(an_order(state=state), a_view(after=ABSENT_AFTER), sent_at=SENT)
    assert isinstance(event, Ended)


def test_what_the_user_stream_saw_end_is_over_at_once_and_what_it_saw_was_there() -> None:
    unknown, sightings = an_order(state=OrderState.UNKNOWN), Sightings()
    sightings.note("0xorder", ended="")
    assert resolve(unknown, a_view(after=0), sent_at=SENT, sightings=sightings) == ()
    (gone,) = resolve(unknown, a_view(after=ABSENT_AFTER), sent_at=SENT, sightings=sightings)
    assert isinstance(gone, Ended), "it was there, so it is not absent"
    sightings.note("0xorder", ended="CANCELED_NOT_ENOUGH_BALANCE")
    (ended,) = resolve(unknown, a_view(after=0), sent_at=SENT, sightings=sightings)
    assert ended == Ended(state=OrderState.CANCELLED, detail="the venue said CANCELED_NOT_ENOUGH_BALANCE")
    matched = a_view(after=0, trades=(a_trade(1),))
    assert resolve(unknown, matched, sent_at=SENT, sightings=sightings) == (Traded(trade=a_trade(1)),)
    submitting = an_order(state=OrderState.SUBMITTING)
    assert resolve(submitting, a_view(after=0), sent_at=SENT, sightings=sightings) == (), "its reply is on the way"


@pytest.mark.parametrize(
    ("event", "ended"),
    [
        ({"status": "LIVE", "size_matched": "0"}, ""),
        ({"status": "CANCELED", "size_matched": "0"}, "CANCELED"),
        (
            {"status": "CANCELED_order couldn't be fully filled", "size_matched": ""},
            "CANCELED_ORDER COULDN'T BE FULLY FILLED",
        ),
        ({"status": "CANCELED", "size_matched": "10"}, ""),
        ({"status": "CANCELED", "size_matched": "0", "associate_trades": ["t"]}, ""),
        ({"status": "INVALID", "size_matched": "0.0"}, "INVALID"),
    ],
)
def test_an_end_without_a_match_is_read_by_its_prefix(event: dict[str, object], ended: str) -> None:
    assert _ended(event) == ended


def test_a_listed_order_is_accepted_and_a_trade_says_more() -> None:
    unknown = an_order(state=OrderState.UNKNOWN)
    assert resolve(unknown, a_view(after=0, listed=OrderState.DELAYED), sent_at=SENT) == (
        Accepted(state=OrderState.DELAYED),
    )
    trade = a_trade(1)
    view = a_view(after=ABSENT_AFTER, listed=OrderState.LIVE, trades=(trade,))
    assert resolve(unknown, view, sent_at=SENT) == (Traded(trade=trade),)


@given(st.sampled_from([s for s in OrderState if s.terminal or s is OrderState.MATCHED]))
def test_a_final_order_stays_as_it_is_without_news(state: OrderState) -> None:
    assert resolve(an_order(state=state), a_view(after=2 * ABSENT_AFTER), sent_at=SENT) == ()


# --------------------------------------------------------------------------------------------------- events to money

TRADES = st.builds(
    a_trade,
    st.integers(1, 3),
    shares=st.sampled_from(["1.5", "2.000001", "0.333333"]),
    usd=st.sampled_from(["0.25", "0.3", "0.1"]),
    status=st.sampled_from(FillStatus),
)
EVENTS: st.SearchStrategy[OrderEvent] = st.one_of(
    st.builds(Accepted, state=st.sampled_from([OrderState.LIVE, OrderState.DELAYED, OrderState.MATCHED])),
    st.just(Refused(reason="no")),
    st.just(OutcomeUnknown(detail="time-out")),
    st.just(ProvenAbsent()),
    st.just(Ended(state=OrderState.CANCELLED)),
    st.builds(Traded, trade=TRADES),
)


def lived(events: list[OrderEvent]) -> tuple[Order, Ledger]:
    """An order and its money after these events, booked as the service books them."""
    order, money = an_order(), Ledger()
    money.post(reserve(order_hash=order.order_hash, amount=order.reserved, ts_event=SENT))
    for event in events:
        after = fold(order, event)
        money.post_all(bookings(order, after, released="release:0xorder" in money.seen, now=SENT))
        assert money.total == 0
        order = after
    return order, money


@given(st.lists(EVENTS, max_size=10))
def test_money_sums_to_zero_and_an_ended_order_reserves_nothing(events: list[OrderEvent]) -> None:
    order, money = lived(events)
    kept = money.balances[Account.RESERVED]
    if order.state.terminal:
        assert kept == 0
    if "release:0xorder" in money.seen:
        assert kept == 0
    paid = sum((t.notional + t.fee for t in order.trades if t.status is not FillStatus.FAILED), ZERO)
    assert money.balances[Account.CASH] + kept == -paid
    confirmed = sum((t.notional for t in order.trades if t.status is FillStatus.CONFIRMED), ZERO)
    assert money.balances[Account.CONFIRMED] == confirmed


@given(st.lists(EVENTS, max_size=8), st.data())
def test_an_event_seen_again_at_once_changes_nothing(events: list[OrderEvent], data: st.DataObject) -> None:
    assume(events)
    at = data.draw(st.integers(0, len(events) - 1))
    doubled = [*events[: at + 1], *events[at:]]
    assert lived(doubled)[1].balances == lived(events)[1].balances
    assert lived(doubled)[0] == lived(events)[0]


def test_the_rest_of_a_resting_order_holds_its_money_until_it_is_over() -> None:
    order, money = an_order(order_type=OrderType.GTC, state=OrderState.LIVE), Ledger()
    money.post(reserve(order_hash=order.order_hash, amount=order.reserved, ts_event=SENT))

    def live(order: Order, event: OrderEvent) -> Order:
        after = fold(order, event)
        money.post_all(bookings(order, after, released="release:0xorder" in money.seen, now=SENT))
        return after

    order = live(order, Traded(trade=a_trade(1, status=FillStatus.CONFIRMED)))
    assert order.state is OrderState.LIVE
    assert money.balances[Account.RESERVED] == order.reserved - order.spent
    known = a_view(after=ABSENT_AFTER, listed=OrderState.LIVE, trades=order.trades)
    assert resolve(order, known, sent_at=SENT) == (Traded(trade=order.trades[0]),)
    gone = a_view(after=ABSENT_AFTER, trades=order.trades)
    *_, ended = resolve(order, gone, sent_at=SENT)
    order = live(order, ended)
    assert order.state is OrderState.FILLED
    assert money.balances[Account.RESERVED] == 0


def test_a_resting_order_that_filled_is_filled() -> None:
    order = an_order(order_type=OrderType.GTC, state=OrderState.LIVE)
    for number in (1, 2, 3):
        order = fold(order, Traded(trade=a_trade(number, status=FillStatus.CONFIRMED)))
    assert order.filled_shares == 6
    assert order.state is OrderState.FILLED


@given(st.permutations([1, 2, 3]), st.permutations([1, 2, 3]))
def test_trades_may_arrive_in_any_order(first: list[int], second: list[int]) -> None:
    def events(matched: list[int], final: list[int]) -> list[OrderEvent]:
        told: list[OrderEvent] = [Traded(trade=a_trade(n)) for n in matched]
        return told + [
            Traded(trade=a_trade(n, status=FillStatus.FAILED if n == 2 else FillStatus.CONFIRMED)) for n in final
        ]

    order, money = lived(events(first, second))
    reference, same = lived(events([1, 2, 3], [1, 2, 3]))
    assert order == reference
    assert money.balances == same.balances
    assert order.state is OrderState.FILLED
