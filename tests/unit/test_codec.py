"""Messages on the wire: exact, tolerant of the new, strict with the corrupt, and never renamed."""

import dataclasses
import json
from dataclasses import replace
from decimal import Decimal
from typing import Final, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmarb import codec
from pmarb.domain.book import Level
from pmarb.domain.messages import STREAM_OF, Message, Opportunity
from pmarb.domain.scans import Marks
from tests.builders import a_leg, a_settlement, an_approval, an_opportunity

GOLDEN = (
    b'{"token":"1001","market":"0xmarket","slug":"btc-updown-5m-1790000000","outcome":"Up","won":true,"shares":"6",'
    b'"cost":"3.00","fees":"0.105","payout":"6","pnl":"2.895","equity":"302.895","ts_event":1790000354000000000,'
    b'"ts_init":1790000354000000000}'
)


@pytest.mark.parametrize("message", [an_opportunity(), an_approval(), a_settlement()])
def test_a_message_survives(message: Message) -> None:
    assert codec.decode(codec.encode(message)) == message


def test_a_golden_message_is_still_understood_and_still_written() -> None:
    assert codec.decode({b"type": b"Settlement", b"body": GOLDEN}) == a_settlement()
    assert codec.encode(a_settlement())[b"body"] == GOLDEN


def test_a_newer_producer_may_add_fields() -> None:
    newer = GOLDEN.replace(b'{"token"', b'{"colour":"blue","token"')
    assert codec.decode({b"type": b"Settlement", b"body": newer}) == a_settlement()


@given(st.binary(max_size=200), st.binary(max_size=40))
def test_any_bytes_are_a_message_or_undecodable(body: bytes, name: bytes) -> None:
    for kind in (name, b"Opportunity", b"Fill"):
        with pytest.raises(codec.Undecodable):
            codec.decode({b"type": kind, b"body": body})


@pytest.mark.parametrize("number", ['"NaN"', '"Infinity"', '"abc"', "null", "[]"])
def test_numbers_that_are_none_are_refused(number: str) -> None:
    fields = codec.encode(an_opportunity())
    body = json.loads(fields[b"body"])
    body["legs"][0]["price"] = json.loads(number)
    with pytest.raises(codec.Undecodable):
        codec.decode({b"type": b"Opportunity", b"body": json.dumps(body).encode()})


NUMBER: Final = Decimal("0.015625")
"""Found nowhere else in the messages below."""


@pytest.mark.parametrize(
    "message",
    [
        an_opportunity(fair_se=NUMBER),
        an_opportunity(legs=(a_leg(levels=(Level(Decimal("0.5"), NUMBER),)),)),
        an_opportunity(legs=(a_leg(), a_leg(fair=NUMBER))),
        an_approval(legs=(replace(an_approval().legs[0], leg=a_leg(tick=NUMBER)),)),
        Marks(bids={"1001": NUMBER}, ts_event=1, ts_init=1),
    ],
    ids=["field", "level", "optional", "leg of a leg", "mapping"],
)
@pytest.mark.parametrize("number", ["NaN", "sNaN", "-Infinity", "1E+16", "1E-61"])
def test_a_number_that_cannot_be_reckoned_with_is_found_wherever_it_stands(message: Message, number: str) -> None:
    fields = codec.encode(message)
    assert codec.decode(fields) == message
    corrupt = fields[b"body"].replace(str(NUMBER).encode(), number.encode())
    with pytest.raises(codec.Undecodable, match=r"a number was|are no approval|decimal"):
        codec.decode(fields | {b"body": corrupt})


@pytest.mark.parametrize("number", ["0E-40", "0E+40", "-999999999999999.5", "1E-60"])
def test_a_number_that_can_is_kept(number: str) -> None:
    message = an_opportunity(fair_se=Decimal(number))
    assert codec.decode(codec.encode(message)) == message


@pytest.mark.parametrize(
    "message", [an_opportunity(expiry=1 << 63), an_opportunity(slug="a\0b"), an_opportunity(inputs={"a": "\0"})]
)
def test_what_the_database_could_not_keep_is_refused(message: Message) -> None:
    with pytest.raises(codec.Undecodable):
        codec.decode(codec.encode(message))


def test_a_missing_field_is_named() -> None:
    with pytest.raises(codec.Undecodable, match="type"):
        codec.decode({b"body": b"{}"})
    with pytest.raises(codec.Undecodable, match="opportunity_id"):
        codec.decode({b"type": b"Opportunity", b"body": b"{}"})


def test_no_message_holds_money_in_a_float() -> None:
    for cls in STREAM_OF:
        for name, hint in get_type_hints(cls).items():
            assert hint is not float, f"{cls.__name__}.{name}"


def test_every_message_carries_two_times_and_is_frozen() -> None:
    for cls in STREAM_OF:
        names = {f.name for f in dataclasses.fields(cls)}
        assert {"ts_event", "ts_init"} <= names
    with pytest.raises(dataclasses.FrozenInstanceError):
        an_opportunity().fair = Decimal(1)  # type: ignore[misc]


def test_every_member_of_the_union_has_a_stream() -> None:
    assert set(STREAM_OF) == set(Message.__args__)
    assert codec.stream_of(an_opportunity()) == STREAM_OF[Opportunity]
