"""The only JSON of messages. On the wire an entry has two fields: `type`, the message's class name, and `body`.

Decimals and times survive exactly; unknown fields are ignored, so an older reader understands a newer producer.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import is_dataclass
from decimal import Decimal
from operator import attrgetter
from types import NoneType
from typing import Any, Final, TypeVar, cast, get_args, get_origin, get_type_hints

import msgspec

from pmarb.domain.messages import STREAM_OF, Message, Stream

Value = TypeVar("Value")

TYPE: Final = b"type"
BODY: Final = b"body"


class Undecodable(ValueError):
    """An entry that is not a message: it goes to the dead letters, with this reason."""


Check = Callable[[Any], None]

LARGEST: Final = 15
SMALLEST: Final = -24
"""Powers of ten. A number beyond them is corrupt: remainders and roundings of it would raise."""

_NUL: Final = rb"\u0000"  # A character that PostgreSQL keeps nowhere


def checked(kind: Any) -> Check:
    """What raises Undecodable for a value of that type with a number in it that is none; made once for each type."""
    return _check_of(kind) or (lambda _: None)


def _check_of(kind: Any) -> Check | None:
    """None where no number can be. Of a union one member besides None may hold numbers, of a mapping the values."""
    if kind in _REFUSED:
        return _REFUSED[kind]
    if is_dataclass(kind) or hasattr(kind, "_fields"):
        return _of_fields(kind)
    within = next(filter(None, map(_check_of, get_args(kind))), None)
    if within is None:
        return None
    if NoneType in get_args(kind):
        return lambda value: None if value is None else within(value)
    if get_origin(kind) is dict:
        return lambda value: _each(within, value.values())
    return lambda value: _each(within, value)


def _of_fields(kind: Any) -> Check | None:
    checks = {name: check for name, hint in get_type_hints(kind).items() if (check := _check_of(hint))}
    alike = [(check, [name for name in checks if checks[name] is check]) for check in dict.fromkeys(checks.values())]
    parts = [(check, attrgetter(*names, names[0])) for check, names in alike]  # Of one name alone it makes no tuple

    def check_all(value: Any) -> None:
        for check, of in parts:
            _each(check, of(value))

    return check_all if parts else None


def _each(check: Check, values: Iterable[Any]) -> None:
    for value in values:
        check(value)


def _refuse_unsound(number: Decimal) -> None:
    if not number.is_finite() or (number and not SMALLEST <= number.adjusted() <= LARGEST):
        raise Undecodable(f"a number was {number}")


def _refuse_long(number: int) -> None:
    if not -(1 << 63) <= number < 1 << 63:  # The database keeps no others
        raise Undecodable(f"a number was {number}")


_REFUSED: Final[dict[Any, Check]] = {Decimal: _refuse_unsound, int: _refuse_long}


_TYPES: Final = {cls.__name__.encode(): cls for cls in STREAM_OF}
_DECODERS: Final[dict[bytes, msgspec.json.Decoder[Any]]] = {
    name: msgspec.json.Decoder(cls) for name, cls in _TYPES.items()
}
_CHECKS: Final = {name: checked(cls) for name, cls in _TYPES.items()}
_ENCODER: Final = msgspec.json.Encoder(decimal_format="string")


def stream_of(message: Message) -> Stream:
    """The stream a message belongs to."""
    return STREAM_OF[type(message)]


def encode(message: Message) -> dict[bytes, bytes]:
    """The fields of a stream entry."""
    return {TYPE: type(message).__name__.encode(), BODY: _ENCODER.encode(message)}


def decode(fields: Mapping[bytes, bytes]) -> Message:
    """The message in a stream entry.

    Raises:
        Undecodable: for a missing field, an unknown type, or a body that is not that type. A number with which nothing
            can be reckoned is refused too, wherever it stands: corrupt numbers are worse than none.
    """
    name = fields.get(TYPE)
    body = fields.get(BODY)
    if name is None or body is None:
        raise Undecodable(f"fields were {sorted(k.decode(errors='replace') for k in fields)}; type and body needed")
    decoder = _DECODERS.get(name)
    if decoder is None:
        raise Undecodable(f"message type was {name.decode(errors='replace')!r}")
    if _NUL in body:
        raise Undecodable(f"{name.decode()}: a text had a NUL in it")
    try:
        message = decoder.decode(body)
    except (msgspec.DecodeError, ValueError, ArithmeticError) as error:
        raise Undecodable(f"{name.decode()}: {str(error) or type(error).__name__}") from error
    _CHECKS[name](message)
    return cast(Message, message)


def encode_value(value: object) -> bytes:
    """JSON of plain values and dataclasses, decimals as strings: for views and `--json`."""
    return _ENCODER.encode(value)


def decode_value(raw: bytes, cls: type[Value]) -> Value:
    """One of those back.

    Raises:
        Undecodable: it is not that.
    """
    try:
        return msgspec.json.decode(raw, type=cls)
    except (msgspec.DecodeError, ValueError) as error:
        raise Undecodable(f"{cls.__name__}: {error}") from None
