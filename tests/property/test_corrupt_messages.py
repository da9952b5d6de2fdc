"""Whatever is decoded can be worked with: a message that is wrong in some fields is denied or skipped, never a crash.

A crash would be repeated at every delivery until the message is dead; until then nothing else is judged.
"""

import dataclasses
import enum
from decimal import Decimal
from types import NoneType
from typing import Any, Final, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmarb import codec
from pmarb.domain.book import Book, Level
from pmarb.domain.limits import Sizing
from pmarb.domain.messages import (
    STREAM_OF,
    Alert,
    AlertKind,
    Approval,
    Fill,
    Halt,
    Kill,
    Merge,
    MergedPart,
    Message,
    Opportunity,
    OrderUpdate,
    Priority,
    Resume,
    Settlement,
)
from pmarb.domain.orders import FillStatus, OrderState
from pmarb.domain.scans import Marks
from pmarb.domain.values import ZERO
from pmarb.venue.port import Intent
from services.alerter.decide import alert_for
from services.executor.decide import Skip, plan
from services.executor.sets import sequence
from services.risk.breakers import tripped
from services.risk.decide import weigh
from services.risk.portfolio import Portfolio
from tests.builders import NOW, a_leg, a_set, a_settlement, an_approval, an_opportunity, fill_of, order_of
from tests.judging import AT, LIMITS, a_portfolio

PART: Final = MergedPart(
    token="1001", outcome="Up", shares=Decimal(3), cost=Decimal(1), fees=ZERO, payout=Decimal("1.5")
)
SOUND: Final[dict[type, Any]] = {
    type(value): value
    for value in (
        a_leg(),
        an_approval().legs[0],
        PART,
        an_opportunity(),
        an_approval(),
        order_of(an_approval(), OrderState.MATCHED),
        fill_of(an_approval(), FillStatus.PROVISIONAL),
        a_settlement(),
        Merge(
            merge_id="m",
            market="0xmarket",
            slug="s",
            parts=(PART, dataclasses.replace(PART, token="1002")),
            payout=Decimal(3),
            pnl=Decimal(1),
            equity=Decimal(300),
            ts_event=NOW,
            ts_init=NOW,
        ),
        Marks(bids={"1001": Decimal("0.4")}, ts_event=NOW, ts_init=NOW),
    )
}
PLAIN: Final[dict[Any, st.SearchStrategy[Any]]] = {
    Decimal: st.one_of(
        st.sampled_from([Decimal(n) for n in ("0", "1", "-1", "0.5", "40", "0.07", "9E+15", "1E-60", "0E+60", "NaN")]),
        st.decimals(-1000, 1000, allow_nan=False),
    ),
    int: st.one_of(st.sampled_from([0, 1, -1, NOW, AT, 2**63 - 1, -(2**63), 2**64 - 1]), st.integers(0, 10)),
    str: st.sampled_from(["", "btc", "5m", "1001", "0xmarket", "\0", "é"]),
    bool: st.booleans(),
    Level: st.deferred(lambda: st.builds(Level, PLAIN[Decimal], PLAIN[Decimal])),
}


def anything(kind: Any) -> st.SearchStrategy[Any]:
    """Values of that type, sensible or not."""
    inner = [each for each in get_args(kind) if each is not NoneType]
    if kind in PLAIN:
        return PLAIN[kind]
    if NoneType in get_args(kind):
        return st.none() | anything(inner[0])
    if get_origin(kind) is tuple:
        return st.lists(anything(inner[0]), max_size=3).map(tuple)
    if get_origin(kind) is dict:
        return st.dictionaries(anything(inner[0]), anything(inner[1]), max_size=3)
    if issubclass(kind, enum.Enum):
        return st.sampled_from(list(kind))
    return corrupt(SOUND[kind])


@st.composite
def corrupt(draw: st.DrawFn, sound: Any) -> Any:
    """A sound one, but for some of its fields."""
    hints = get_type_hints(type(sound))
    names = draw(st.lists(st.sampled_from(sorted(hints)), max_size=3, unique=True))
    changes = {name: draw(anything(hints[name])) for name in names}
    try:
        return dataclasses.replace(sound, **changes)
    except (ValueError, ArithmeticError):  # There is no such message
        return sound


def decoded(message: Message) -> Message | None:
    try:
        return codec.decode(codec.encode(message))
    except codec.Undecodable:
        return None


def learn(portfolio: Portfolio, message: Message) -> None:
    match message:
        case Approval():
            portfolio.on_approval(message)
        case OrderUpdate():
            portfolio.on_order(message)
        case Fill():
            portfolio.on_fill(message)
        case Settlement():
            portfolio.on_settlement(message)
        case Merge():
            portfolio.on_merge(message)
        case Marks():
            portfolio.on_marks(message)


LEARNT: Final = st.one_of(*(corrupt(SOUND[kind]) for kind in (Approval, OrderUpdate, Fill, Settlement, Merge, Marks)))


@given(st.lists(LEARNT, max_size=8), corrupt(SOUND[Opportunity]), st.sampled_from(Sizing))
def test_risk_answers_whatever_it_was_told(told: list[Message], opportunity: Opportunity, sizing: Sizing) -> None:
    portfolio, limits = a_portfolio(), dataclasses.replace(LIMITS, sizing=sizing, orders_per_second=99)
    for message in map(decoded, told):
        if message is not None:
            learn(portfolio, message)
        portfolio.at(AT)
    tripped(portfolio, limits, now=AT)
    portfolio.forget(AT)
    for asked in filter(None, map(decoded, (opportunity, an_opportunity(), a_set()))):
        assert isinstance(asked, Opportunity)
        judgement = weigh(asked, portfolio, limits, now=AT)
        assert all(gate.detail for gate in (*judgement.asked, *judgement.rest))
        assert codec.decode(codec.encode(judgement.answer)) == judgement.answer
        if isinstance(judgement.answer, Approval):
            assert all(leg.reserved <= limits.hard_cap_usd for leg in judgement.answer.legs)


@given(corrupt(SOUND[Approval]))
def test_the_executor_plans_or_skips_whatever_was_approved(approval: Approval) -> None:
    found = decoded(approval)
    if found is None:
        return
    assert isinstance(found, Approval)
    level = Level(Decimal("0.48"), Decimal(50))
    books = [Book(token=leg.leg.token, bids=(), asks=(level,), ts_event=AT, ts_init=AT) for leg in found.legs]
    order = sequence(found, books, now=AT)
    assert isinstance(order, Skip) or sorted(order) == list(range(len(found.legs)))
    for leg, book in zip(found.legs, books, strict=True):
        planned = plan(found, leg, book, now=AT)
        if isinstance(planned, Intent):
            assert ZERO < planned.limit <= leg.limit
            assert ZERO < planned.usd <= leg.usd


ALERT: Final = Alert(
    kind=AlertKind.TRADE,
    priority=Priority.NORMAL,
    dedupe_key="trade:1",
    title="Bought",
    body="6 Up",
    ts_event=NOW,
    ts_init=NOW,
)
CONTROLS: Final = (
    Halt(who="me", why="lunch", clears_at=0, ts_event=NOW, ts_init=NOW),
    Resume(who="me", why="back", ts_event=NOW, ts_init=NOW),
    Kill(who="me", why="smoke", ts_event=NOW, ts_init=NOW),
)


@given(st.one_of(*map(corrupt, [*SOUND.values(), ALERT, *CONTROLS])))
def test_the_alerter_finds_words_for_whatever_it_hears(message: Any) -> None:
    found = decoded(message) if type(message) in STREAM_OF else None
    if found is None:
        return
    alert = alert_for(found, large_loss_usd=Decimal(20), now=AT)
    assert alert is None or codec.decode(codec.encode(alert)) == alert


def test_an_approval_without_legs_is_undecodable() -> None:
    fields = codec.encode(an_approval())
    start, end = fields[b"body"].split(b'"legs":[')[0], fields[b"body"].rsplit(b"}],", 1)[1]
    with pytest.raises(codec.Undecodable, match="no legs"):
        codec.decode(fields | {b"body": start + b'"legs":[],' + end})
