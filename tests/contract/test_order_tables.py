"""The order gate and the ledger on a real PostgreSQL."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal

import psycopg
import pytest

from pmarb.db.control import halt, kill, resume
from pmarb.db.ledger import LedgerBook
from pmarb.db.orders import Context, Gate, Orders
from pmarb.db.pool import Pool, Unavailable, open_pool
from pmarb.db.receipts import Receipt, Receipts
from pmarb.db.state import StateRow, try_lead
from pmarb.domain import ledger
from pmarb.domain.fees import FeeSchedule
from pmarb.domain.ledger import Account
from pmarb.domain.messages import TradingState
from pmarb.domain.orders import FillStatus, Order, OrderEvent, OrderState, OrderType, Refused, Traded, fold
from pmarb.domain.values import NANOS, Side
from pmarb.venue.account import traded
from services.executor.decide import bookings
from tests.builders import NOW, a_settlement
from tests.executors import rows

FEES = FeeSchedule(Decimal("0.07"))
CONTEXT = Context(
    slug="btc-updown-5m-1790000000", event="e", underlying="btc", family="5m", outcome="Up", fees=FEES,
    fair=Decimal("0.6"), expiry=NOW + 300 * NANOS, created_at=NOW, tick_real=1, judged_real=2,
)  # fmt: skip


def an_order(number: int = 1, **changes: object) -> Order:
    order = Order(
        order_hash=f"0x{number}", opportunity_id=f"opp-{number}", leg=0, market="0xmarket", token="1001",
        side=Side.BUY, order_type=OrderType.FAK, limit_price=Decimal("0.50"), shares=Decimal(6), usd=Decimal("3.00"),
        reserved=Decimal("3.21"), expires_at=NOW,
    )  # fmt: skip
    return replace(order, **changes)  # type: ignore[arg-type]


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(database_url, size=4)
    yield pool
    await pool.close()


async def happens(orders: Orders, order_hash: str, *events: OrderEvent) -> Order:
    def change(order: Order, released: bool) -> tuple[Order, tuple[ledger.Entry, ...]]:
        after = order
        for event in events:
            after = fold(after, event)
        return after, bookings(order, after, released=released, now=NOW)

    found = await orders.change(order_hash, change, now=NOW + 1)
    assert found is not None
    return found[1]


async def test_while_reducing_only_the_other_outcome_of_what_is_held_passes(pool: Pool, database_url: str) -> None:
    orders = Orders(pool)
    assert await orders.insert(an_order(), CONTEXT) is Gate.INSERTED
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO trades VALUES ('t1', '0x1', 6, 0.5, 0.1, 'provisional', 1, 1)")
        connection.execute("UPDATE trading_state SET state = 'REDUCING', clears_at = %s", (NOW + 10**12,))
    assert await orders.insert(an_order(2), CONTEXT) is Gate.HALTED
    assert await orders.insert(an_order(3, market="0xother", token="7"), CONTEXT) is Gate.HALTED
    assert await orders.insert(an_order(4, token="1002", shares=Decimal("6.01")), CONTEXT) is Gate.HALTED
    assert await orders.insert(an_order(5, token="1002"), CONTEXT) is Gate.INSERTED


async def test_an_order_is_written_with_its_reservation_in_one_step(pool: Pool) -> None:
    orders, book = Orders(pool), LedgerBook(pool)
    assert await orders.insert(an_order(), CONTEXT) is Gate.INSERTED
    balances = await book.balances()
    assert balances[Account.RESERVED] == Decimal("3.21") == -balances[Account.CASH]
    (stored,) = await orders.open()
    assert stored.order == an_order()
    assert stored.context == CONTEXT


async def test_a_leg_is_written_once_and_reserved_once(pool: Pool) -> None:
    orders = Orders(pool)
    await orders.insert(an_order(), CONTEXT)
    again = an_order(order_hash="0xother")
    assert await orders.insert(again, CONTEXT) is Gate.DUPLICATE
    assert (await LedgerBook(pool).balances())[Account.RESERVED] == Decimal("3.21")
    found = await orders.find("opp-1", 0)
    assert found is not None
    assert found.order.order_hash == "0x1"


async def test_ten_at_once_write_it_once(pool: Pool) -> None:
    orders = Orders(pool)
    tries = [orders.insert(an_order(order_hash=f"0x{n}", opportunity_id="same"), CONTEXT) for n in range(10)]
    assert sorted(await asyncio.gather(*tries)) == [Gate.DUPLICATE] * 9 + [Gate.INSERTED]


@pytest.mark.parametrize("stop", [halt, kill])
async def test_nothing_is_written_while_trading_is_stopped(pool: Pool, database_url: str, stop) -> None:
    stop(database_url, who="test", why="stop", now=NOW)
    assert await Orders(pool).insert(an_order(), CONTEXT) is Gate.HALTED
    assert await Orders(pool).open() == []
    assert await LedgerBook(pool).empty()
    resume(database_url, who="test", why="go on", now=NOW)
    assert await Orders(pool).insert(an_order(), CONTEXT) is Gate.INSERTED


async def test_a_day_stop_ends_by_itself_and_a_kill_does_not(pool: Pool, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE trading_state SET state = 'HALTED', clears_at = %s", (NOW + 5,))
        assert await Orders(pool).insert(an_order(), CONTEXT) is Gate.HALTED
        later = replace(CONTEXT, created_at=NOW + 5)
        assert await Orders(pool).insert(an_order(), later) is Gate.INSERTED
        connection.execute("UPDATE trading_state SET state = 'KILLED', clears_at = 1")
        assert await Orders(pool).insert(an_order(2), later) is Gate.HALTED


async def test_real_money_needs_the_very_opening_that_was_proven(pool: Pool, database_url: str) -> None:
    def say(word: str) -> None:
        with psycopg.connect(database_url) as writer:
            writer.execute(
                "INSERT INTO gate_log (opened, who, why, criteria, at_real) VALUES (%s, 'me', 'me', '[]', 1)", (word,)
            )

    assert await Orders(pool, opening=0).insert(an_order(), CONTEXT) is Gate.LOCKED
    assert await Orders(pool, opening=1).insert(an_order(), CONTEXT) is Gate.LOCKED, "nobody opened anything"
    say("true")
    assert await Orders(pool, opening=0).insert(an_order(), CONTEXT) is Gate.LOCKED
    proven = Orders(pool, opening=1)
    assert await proven.insert(an_order(), CONTEXT) is Gate.INSERTED
    say("false")
    assert await proven.insert(an_order(2), CONTEXT) is Gate.LOCKED
    say("true")
    assert await proven.insert(an_order(2), CONTEXT) is Gate.LOCKED, "another opening, not proven"
    halt(database_url, who="test", why="stop", now=NOW)
    assert await Orders(pool).insert(an_order(2), CONTEXT) is Gate.HALTED
    resume(database_url, who="test", why="go on", now=NOW)
    assert await Orders(pool).insert(an_order(2), CONTEXT) is Gate.INSERTED, "where there is no real money, no gate"


async def test_an_insert_waits_for_a_kill_that_is_being_written(pool: Pool, database_url: str) -> None:
    orders = Orders(pool)
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE trading_state SET state = 'KILLED'")
        waiting = asyncio.create_task(orders.insert(an_order(), CONTEXT))
        await asyncio.sleep(0.2)
        assert not waiting.done(), "the insert passed a kill that was not committed yet"
        connection.commit()
    assert await waiting is Gate.HALTED


async def test_what_was_let_through_before_a_kill_is_there_when_it_returns(pool: Pool) -> None:
    orders, state = Orders(pool), StateRow(pool)
    inserts = [asyncio.create_task(orders.insert(an_order(n), CONTEXT)) for n in range(1, 40)]
    await asyncio.sleep(0)
    assert await state.kill(who="test", why="now", said_at=NOW, now=NOW)
    seen = len(await orders.open())
    passed = [gate for gate in await asyncio.gather(*inserts) if gate is Gate.INSERTED]
    assert len(passed) == seen, "an order was written after the kill had returned"
    assert await state.read() is TradingState.KILLED
    assert not await state.kill(who="test", why="again", said_at=NOW, now=NOW)


async def test_a_kill_said_before_a_resume_changes_nothing(pool: Pool, database_url: str) -> None:
    resume(database_url, who="person", why="checked", now=NOW)
    assert not await StateRow(pool).kill(who="old", why="message", said_at=NOW - 1, now=NOW + 1)
    assert await StateRow(pool).read() is TradingState.ACTIVE


async def test_a_life_is_folded_and_booked_and_its_repetition_moves_nothing(pool: Pool) -> None:
    orders, book = Orders(pool), LedgerBook(pool)
    await orders.insert(an_order(), CONTEXT)
    trade = traded(
        trade_id="t1", shares=Decimal("6.151898"), usd=Decimal("2.99"), fees=FEES,
        status=FillStatus.PROVISIONAL, ts_event=NOW,
    )  # fmt: skip
    sure = replace(trade, status=FillStatus.CONFIRMED)
    assert (await happens(orders, "0x1", Traded(trade=trade))).state is OrderState.MATCHED
    for _ in range(3):
        assert (await happens(orders, "0x1", Traded(trade=sure), Traded(trade=trade))).state is OrderState.FILLED
    balances = await book.balances()
    assert sum(balances.values()) == 0
    assert balances[Account.CASH] == -(Decimal("2.99") + trade.fee)
    assert balances[Account.CONFIRMED] == Decimal("2.99")
    assert balances[Account.RESERVED] == balances[Account.PROVISIONAL] == 0
    (held,) = await book.holdings()
    assert (held.shares, held.cost, held.fees, held.pending) == (trade.shares, Decimal("2.99"), trade.fee, 0)


async def test_a_refused_order_gives_its_reservation_back(pool: Pool) -> None:
    orders = Orders(pool)
    await orders.insert(an_order(), CONTEXT)
    await happens(orders, "0x1", Refused(reason="no_match: nothing there"))
    balances = await LedgerBook(pool).balances()
    assert balances[Account.RESERVED] == balances[Account.CASH] == 0
    assert await orders.open() == []


async def test_two_who_fold_the_same_order_take_turns(pool: Pool) -> None:
    orders = Orders(pool)
    await orders.insert(an_order(), CONTEXT)
    trades = [
        traded(trade_id=f"t{n}", shares=Decimal(1), usd=Decimal("0.5"), fees=FEES, status=FillStatus.CONFIRMED,
               ts_event=NOW + n)
        for n in range(4)
    ]  # fmt: skip
    await asyncio.gather(*(happens(orders, "0x1", Traded(trade=trade)) for trade in trades))
    balances = await LedgerBook(pool).balances()
    assert balances[Account.CONFIRMED] == 2
    assert sum(balances.values()) == 0
    assert balances[Account.RESERVED] == 0


async def test_the_database_itself_refuses_an_unbalanced_entry(pool: Pool, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO entries (entry_id, kind, ref, ts_event) VALUES ('x', 'deposit', 'x', 1)")
        connection.execute("INSERT INTO postings VALUES ('x', 'cash', 1), ('x', 'capital', -2)")
        with pytest.raises(psycopg.errors.CheckViolation, match="sums to"):
            connection.commit()


async def test_a_token_is_settled_once_and_paid_once(pool: Pool) -> None:
    book = LedgerBook(pool)
    settlement = a_settlement()
    entry = ledger.resolved(token="1001", cost=Decimal(3), payout=Decimal(6), ts_event=NOW)
    assert await book.settle(settlement, entry)
    assert not await book.settle(settlement, entry)
    (claim,) = await book.claims()
    assert claim.payout == 6
    for _ in range(2):
        await book.redeem("1001", ledger.redeemed(ref="1001", payout=Decimal(6), ts_event=NOW))
    balances = await book.balances()
    assert balances[Account.CASH] == 6
    assert balances[Account.REDEEMABLE] == sum(balances.values()) == 0
    assert await book.claims() == []


async def test_one_leads_at_a_time(pool: Pool) -> None:
    async with pool.connection() as one, pool.connection() as other:
        assert await try_lead(one)
        assert await try_lead(one), "the leader asks every round"
        assert not await try_lead(other)


async def test_a_receipt_is_kept(pool: Pool, database_url: str) -> None:
    await Receipts(pool).add(
        Receipt(
            who="a",
            why="b",
            open_before=["0x1"],
            cancelled={"0x1": "cancelled"},
            open_after=[],
            unverified="",
            started_real=1,
            verified_real=2_000_001,
            ts_event=3,
        )
    )
    assert rows(database_url, "SELECT who, open_before, cancelled, verified_real FROM receipts") == [
        ("a", ["0x1"], {"0x1": "cancelled"}, 2_000_001)
    ]


async def test_the_gate_comes_back_after_its_session_was_ended(pool: Pool) -> None:
    orders = Orders(pool)
    await orders.insert(an_order(1), CONTEXT)
    async with pool.connection() as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%%gate AS MATERIALIZED%%' "
            "AND pid <> pg_backend_pid()"
        )
    with contextlib.suppress(Unavailable):  # Whether the loss was noticed before or by this one
        await orders.insert(an_order(2), CONTEXT)
    assert await orders.insert(an_order(2), CONTEXT) in (Gate.INSERTED, Gate.DUPLICATE)
    assert [stored.order.order_hash for stored in await orders.open()] == ["0x1", "0x2"]


async def test_a_rehearsal_leaves_nothing_behind(pool: Pool) -> None:
    orders = Orders(pool)
    await orders.rehearse(an_order(), CONTEXT)
    assert await orders.open() == []
    assert await orders.insert(an_order(), CONTEXT) is Gate.INSERTED


async def test_what_the_database_refuses_is_raised_as_what_it_is(pool: Pool) -> None:
    orders = Orders(pool)
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        await orders.insert(an_order(leg="first"), CONTEXT)
    assert await orders.insert(an_order(), CONTEXT) is Gate.INSERTED


async def test_an_insert_given_up_half_way_is_not_taken_for_the_next(pool: Pool) -> None:
    orders = Orders(pool)
    await orders.insert(an_order(1), CONTEXT)
    given_up = asyncio.ensure_future(orders.insert(an_order(2), CONTEXT))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait([given_up])
    assert await orders.insert(an_order(1, order_hash="0xother"), CONTEXT) is Gate.DUPLICATE
