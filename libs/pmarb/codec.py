"""The only JSON of messages. On the wire an entry has two fields: `type`, the message's class name, and `body`.

Decimals and times survive exactly; unknown fields are ignored, so an older reader understands a newer producer.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeVar, cast

import msgspec

from pmarb import soundness
from pmarb.domain.messages import STREAM_OF, Message, Stream

Value = TypeVar("Value")

TYPE: Final = b"type"
BODY: Final = b"body"


class Undecodable(ValueError):
    """An entry that is not a message: it goes to the dead letters, with this reason."""


_NUL: Final = rb"\u0000"  # A character that PostgreSQL keeps nowhere

_TYPES: Final = {cls.__name__.encode(): cls for cls in STREAM_OF}
_DECODERS: Final[dict[bytes, msgspec.json.Decoder[Any]]] = {
    name: msgspec.json.Decoder(cls) for name, cls in _TYPES.items()
}
_CHECKS: Final = {name: soundness.check_of(cls) for name, cls in _TYPES.items()}
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
        _CHECKS[name](message)
    except (msgspec.DecodeError, ValueError, ArithmeticError) as error:
        raise Undecodable(f"{name.decode()}: {str(error) or type(error).__name__}") from error
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
