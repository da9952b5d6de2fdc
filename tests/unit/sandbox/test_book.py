"""The mirrored book: conservation, no crossing, both views the same."""

from hypothesis import given, settings
from hypothesis import strategies as st

from services.sandbox.accounts import Account
from services.sandbox.book import Book, BookOrder, Side
from services.sandbox.families import WINDOWS
from services.sandbox.markets import make_market
from services.sandbox.money import MICRO
from services.sandbox.trades import apply_moves, moves_of, undo_moves

steps = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(0, 1),
        st.sampled_from([Side.BUY, Side.SELL]),
        st.integers(1, 99),
        st.integers(1, 5000),
        st.booleans(),
    ),
    max_size=60,
)


def run(actions):
    """Match every action as the exchange would; parties that sell are given the shares first."""
    market = make_market(terms=WINDOWS[0].terms(1_795_000_200), seed=1, now_ns=0)
    parties = [Account(address=f"0x{n}", wallet=f"0x{n}", signature_type=0) for n in range(4)]
    given_pairs = 10**12
    for party in parties:
        party.cash = 10**12
        for token in market.tokens:
            party.holding(token).shares = given_pairs
    market.collateral = 4 * given_pairs
    for number, (who, outcome, side, cents, hundredths, in_dollars) in enumerate(actions):
        order = BookOrder(
            id=str(number),
            account=parties[who],
            outcome=outcome,
            side=side,
            price=cents * 10_000,
            size=hundredths * 10_000,
            budget=hundredths * 5_000 if in_dollars and side is Side.BUY else 0,
        )
        fills = market.book.plan(order)
        if fills:
            apply_moves(market, moves_of(market, order, fills, fee=0), now_ns=1)
            market.book.apply(fills)
        order.remaining -= sum(fill.shares for fill in fills)
        if not order.budget and order.remaining >= 10_000:
            market.book.add(order)
    return market, parties


@settings(max_examples=150, deadline=None)
@given(steps)
def test_cash_and_shares_are_conserved_whatever_is_traded(actions):
    market, parties = run(actions)
    assert sum(party.cash for party in parties) + market.collateral == 8 * 10**12
    for token in market.tokens:
        assert sum(party.shares(token) for party in parties) == market.collateral


@settings(max_examples=150, deadline=None)
@given(steps)
def test_the_book_is_never_crossed_and_its_totals_are_those_of_its_orders(actions):
    book = run(actions)[0].book
    bid, ask = book.best_bid(), book.best_ask()
    assert bid is None or ask is None or bid < ask
    for levels in (book.bids, book.asks):
        for level in levels.values():
            assert level.total == sum(order.remaining for order in level.orders.values()) > 0


@settings(max_examples=100, deadline=None)
@given(steps)
def test_both_outcomes_show_the_same_book(actions):
    book = run(actions)[0].book
    for side in Side:
        mirrored = [(MICRO - price, size) for price, size in reversed(book.sizes(outcome=1, side=side.opposite))]
        assert book.sizes(outcome=0, side=side) == mirrored


@settings(max_examples=100, deadline=None)
@given(steps)
def test_a_buy_in_dollars_never_spends_more_than_its_budget(actions):
    market, parties = run(actions)
    taker = BookOrder(id="t", account=parties[0], outcome=1, side=Side.BUY, price=990_000, size=10**9, budget=7_770_000)
    assert sum(fill.dollars for fill in market.book.plan(taker)) <= taker.budget


@settings(max_examples=50, deadline=None)
@given(steps)
def test_undoing_a_match_restores_cash_shares_and_collateral(actions):
    market, parties = run(actions)
    before = [(p.cash, *(p.shares(token) for token in market.tokens)) for p in parties], market.collateral
    taker = BookOrder(id="t", account=parties[0], outcome=0, side=Side.BUY, price=990_000, size=50 * MICRO)
    fills = market.book.plan(taker)
    moves = moves_of(market, taker, fills, fee=1234)
    apply_moves(market, moves, now_ns=2)
    undo_moves(market, moves)
    assert ([(p.cash, *(p.shares(token) for token in market.tokens)) for p in parties], market.collateral) == before


def test_priority_is_price_then_arrival():
    book = Book()
    maker = Account(address="0x1", wallet="0x1", signature_type=0)
    for name, cents in (("late", 51), ("first", 50), ("second", 50)):
        order = BookOrder(id=name, account=maker, outcome=0, side=Side.SELL, price=cents * 10_000, size=5 * MICRO)
        book.add(order)
    taker = BookOrder(id="t", account=maker, outcome=0, side=Side.BUY, price=600_000, size=12 * MICRO)
    assert [(fill.maker.id, fill.shares) for fill in book.plan(taker)] == [
        ("first", 5 * MICRO),
        ("second", 5 * MICRO),
        ("late", 2 * MICRO),
    ]
