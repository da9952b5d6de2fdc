"""The audit is a second reader: it finds a ledger that is wrong in any of many ways, and passes one that is right."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from pmarb.clock import ManualClock
from pmarb.db import views
from pmarb.db.foreign import ForeignMovements
from pmarb.db.ledger import LedgerBook
from pmarb.db.merges import MergeBook
from pmarb.db.orders import Context, Orders
from pmarb.db.pool import open_pool
from pmarb.db.receipts import Receipts
from pmarb.db.sets import SetBook
from pmarb.db.state import StateRow
from pmarb.domain import ledger
from pmarb.domain.fees import FeeSchedule
from pmarb.domain.messages import Merge, MergedPart, Settlement
from pmarb.domain.orders import FillStatus, Order, OrderEvent, OrderType, OutcomeUnknown, Refused, Trade, Traded
from pmarb.domain.values import Side
from services.cli.audit import ledger_view
from services.cli.books import consistent
from services.cli.compare import Audit, LedgerView, VenueView, agree, audit
from services.executor.shop import Shop
from tests.builders import NOW
from tests.conftest import _database, _run_sql

FEES = FeeSchedule(Decimal("0.07"))


def an_order(name: str, token: str) -> tuple[Order, Context]:
    order = Order(
        order_hash=f"0x{name}", opportunity_id=name, leg=0, market=f"m{token}", token=token, side=Side.BUY,
        order_type=OrderType.FAK, limit_price=Decimal("0.5"), shares=Decimal(6), usd=Decimal(3),
        reserved=Decimal("3.105"), expires_at=NOW,
    )  # fmt: skip
    context = Context(
        slug=f"s{token}", event="e", underlying="BTC", family="5m", outcome="Up", fees=FEES, fair=Decimal("0.6"),
        expiry=NOW, created_at=NOW,
    )  # fmt: skip
    return order, context


def a_trade(name: str, status: FillStatus) -> Traded:
    return Traded(
        trade=Trade(
            trade_id=f"t{name}",
            shares=Decimal(6),
            price=Decimal("0.5"),
            fee=Decimal("0.105"),
            status=status,
            ts_event=NOW,
        )
    )


STORY: dict[str, tuple[str, tuple[OrderEvent, ...]]] = {
    "won": ("1", (a_trade("won", FillStatus.PROVISIONAL), a_trade("won", FillStatus.CONFIRMED))),
    "lost": ("2", (a_trade("lost", FillStatus.CONFIRMED),)),
    "held": ("3", (a_trade("held", FillStatus.CONFIRMED),)),
    "fresh": ("4", (a_trade("fresh", FillStatus.PROVISIONAL),)),
    "ghost": ("5", (a_trade("ghost", FillStatus.PROVISIONAL), a_trade("ghost", FillStatus.FAILED))),
    "missed": ("6", (Refused(reason="no_match: nothing"),)),
    "unknown": ("7", (OutcomeUnknown(detail="time-out"),)),
    "paired": ("81", (a_trade("paired", FillStatus.CONFIRMED),)),
    "twin": ("82", (a_trade("twin", FillStatus.CONFIRMED),)),
}
"""Orders by name: their token and what happened to each."""

MERGED = Merge(
    merge_id="m1", market="m81", slug="s81", payout=Decimal(4), pnl=Decimal("-0.14"), equity=Decimal(0), ts_event=NOW,
    ts_init=NOW, parts=tuple(
        MergedPart(
            token=token, outcome="Up", shares=Decimal(4), cost=Decimal(2), fees=Decimal("0.07"), payout=Decimal(2)
        )
        for token in ("81", "82")
    ),
)  # fmt: skip
"""Four of the six pairs of `paired` and `twin`."""


@pytest.fixture
async def told(database_url: str) -> AsyncIterator[str]:
    """A ledger with every kind of life in it, written by the code that trades."""
    pool = await open_pool(database_url, size=2)
    book, orders = LedgerBook(pool), Orders(pool)
    shop = Shop(
        bus=None, clock=ManualClock(NOW), venue=None, orders=orders, ledger=book,  # type: ignore[arg-type]
        merges=MergeBook(pool), sets=SetBook(pool),
        foreign=ForeignMovements(pool), state=StateRow(pool), receipts=Receipts(pool),
    )  # fmt: skip
    await book.post(ledger.deposit(ref="initial", amount=Decimal(300), ts_event=NOW))
    for name, (token, events) in STORY.items():
        await orders.insert(*an_order(name, token))
        await shop.record(f"0x{name}", events)
    for token, payout in (("1", 6), ("2", 0)):
        await _settle(book, token, Decimal(payout))
    await MergeBook(pool).book(
        MERGED, ledger.merged(merge_id="m1", cost=Decimal(4), payout=Decimal(4), ts_event=NOW), ask=None, now=NOW
    )
    await book.redeem("1", ledger.redeemed(ref="1", payout=Decimal(6), ts_event=NOW))
    yield database_url
    await pool.close()


async def _settle(book: LedgerBook, token: str, payout: Decimal) -> None:
    cost, fees = Decimal(3), Decimal("0.105")
    settlement = Settlement(
        token=token, market=f"m{token}", slug=f"s{token}", outcome="Up", won=payout > 0, shares=Decimal(6), cost=cost,
        fees=fees, payout=payout, pnl=payout - cost - fees, equity=Decimal(0), ts_event=NOW, ts_init=NOW,
    )  # fmt: skip
    await book.settle(settlement, ledger.resolved(token=token, cost=cost, payout=payout, ts_event=NOW))


def mirrored(ours: LedgerView) -> VenueView:
    """A venue that says exactly this."""
    cash = ours.balances[ledger.Account.CASH] + ours.balances[ledger.Account.RESERVED]
    return VenueView(
        cash=cash, deposits=-ours.balances[ledger.Account.CAPITAL], fees=ours.balances[ledger.Account.FEES],
        order_ids=ours.order_hashes, open_orders=ours.open_orders, trades=ours.trades, positions=ours.positions,
        listed=ours.positions,
    )  # fmt: skip


def examined(database_url: str, venue: VenueView | None = None) -> tuple[Audit, VenueView]:
    with views.connect(database_url) as connection:
        ours = ledger_view(connection)
        truth = venue or mirrored(ours)
        return audit([*agree(ours, truth), *consistent(connection)]), truth


CORRUPTIONS = {
    "a posting changed": (
        "UPDATE postings SET amount = amount + 1 WHERE entry_id = 'deposit:initial' AND account = 'cash'",
        "sum_is_zero",
    ),
    "an entry removed": ("DELETE FROM postings WHERE entry_id = 'confirm:theld'", "accounts_explained"),
    "an entry booked twice": (
        (
            "INSERT INTO entries (entry_id, kind, ref, ts_event) VALUES ('redeem:1:again', 'redeem', '1:again', 0);"
            "INSERT INTO postings VALUES ('redeem:1:again', 'cash', 6), ('redeem:1:again', 'redeemable', -6)"
        ),
        "cash",
    ),
    "an empty entry": (
        "INSERT INTO entries (entry_id, kind, ref, ts_event) VALUES ('x', 'fail', 'x', 0)",
        "entries_complete",
    ),
    "a trade forgotten": ("DELETE FROM trades WHERE trade_id = 'theld'", "trades"),
    "a trade made larger": ("UPDATE trades SET shares = 7 WHERE trade_id = 'theld'", "positions"),
    "a ghost believed": ("UPDATE trades SET status = 'confirmed' WHERE trade_id = 'tghost'", "trades_booked"),
    "an order forgotten": ("DELETE FROM orders WHERE order_hash = '0xunknown'", "orders_known"),
    "a reservation lost": ("UPDATE postings SET amount = 0 WHERE entry_id = 'reserve:0xunknown'", "orders_reserved"),
    "an unknown order called refused": (
        "UPDATE orders SET state = 'REJECTED' WHERE order_hash = '0xunknown'",
        "orders_released",
    ),
    "a fill called cancelled": ("UPDATE orders SET state = 'CANCELLED' WHERE order_hash = '0xheld'", "order_states"),
    "a fee improved": ("UPDATE trades SET fee = 0 WHERE trade_id = 'theld'", "accounts_explained"),
    "a loss improved": ("UPDATE settlements SET pnl = 0 WHERE token = '2'", "settlements_add_up"),
    "a merge made dear": ("UPDATE merges SET cost = 3, pnl = -1.07 WHERE token = '81'", "merges_add_up"),
    "a merge forgotten": ("DELETE FROM merges", "positions"),
    "more merged than was bought": ("UPDATE merges SET shares = 7, payout = 3.5", "merges_add_up"),
    "a win settled twice": ("UPDATE settlements SET redeemed_at = 0 WHERE token = '1'", "positions"),
    "an order doubled": (
        (
            "ALTER TABLE orders DROP CONSTRAINT one_post_a_leg;"
            "UPDATE orders SET opportunity_id = 'held' WHERE order_hash = '0xfresh'"
        ),
        "one_order_a_leg",
    ),
    "a deposit invented": (
        (
            "INSERT INTO entries (entry_id, kind, ref, ts_event) VALUES ('deposit:x', 'deposit', 'x', 0);"
            "INSERT INTO postings VALUES ('deposit:x', 'cash', 50), ('deposit:x', 'capital', -50)"
        ),
        "capital",
    ),
}
"""What was done to the copy, and the check that must see it."""


async def test_a_right_ledger_has_nothing_to_say(told: str) -> None:
    result, _ = examined(told)
    assert [check for check in result.checks if not check.ok] == []


async def test_it_finds_each_of_many_corruptions(told: str) -> None:
    _, truth = examined(told)
    missed: dict[str, Any] = {}
    for what, (statement, name) in CORRUPTIONS.items():
        copy = f"c{uuid.uuid4().hex}"
        _copied(told, copy)
        url = _database(told, copy)
        with psycopg.connect(url) as vandal:
            vandal.execute("SET session_replication_role = replica")  # No trigger of ours stands in the way
            vandal.execute(statement.encode())
        result, _ = examined(url, truth)
        failed = {check.name for check in result.checks if not check.ok}
        if name not in failed:
            missed[what] = failed
        _run_sql(told, f"DROP DATABASE {copy} WITH (FORCE)")
    assert missed == {}
    assert len(CORRUPTIONS) >= 10


def _copied(url: str, name: str) -> None:
    """A copy of the database, whose other users are asked to leave."""
    source = url.rpartition("/")[2].partition("?")[0]
    server = _database(url, "postgres")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (source,))
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {source}".encode())


async def test_the_database_itself_refuses_what_it_can(told: str) -> None:
    with psycopg.connect(told, autocommit=True) as writer:
        for statement in (
            "UPDATE postings SET amount = amount * 2",
            "DELETE FROM entries",
            "UPDATE merges SET cost = 0",
            "DELETE FROM merge_log; TRUNCATE merge_log",
            "TRUNCATE postings, entries",
            "INSERT INTO entries (entry_id, kind, ref, ts_event) VALUES ('x', 'fail', 'x', 0)",
            "INSERT INTO postings VALUES ('deposit:initial', 'fees', 1)",
        ):
            with pytest.raises(psycopg.errors.IntegrityError):
                writer.execute(statement.encode())
    assert examined(told)[0].ok


async def test_what_is_foreign_is_named_and_not_counted_against_us(told: str) -> None:
    with psycopg.connect(told) as writer:
        writer.execute(
            "INSERT INTO foreign_movements "
            "VALUES ('trade:other:0xother', 'trade', '0xother', 'm9', '9', 'Up', 5, -2, 0, 0)"
        )
    with views.connect(told) as connection:
        ours = ledger_view(connection)
    bare = replace(ours, foreign=())
    truth = replace(
        mirrored(bare),
        cash=mirrored(bare).cash - 2,
        order_ids=ours.order_hashes | {"0xother"},
        positions={**ours.positions, "9": Decimal(5)},
        listed={**ours.positions, "9": Decimal(5)},
    )
    assert audit(agree(ours, truth)).ok
    assert not audit(agree(bare, truth)).ok
    (said,) = [check for check in agree(ours, truth) if check.name == "foreign"]
    assert "1 movements are not ours: trade +5 9 $-2" in said.detail
