"""As much of the contract call encoding as the sandbox reads: words, dynamic arrays and bytes, and RLP lists."""

from __future__ import annotations

from services.sandbox.keccak import checksum_address, keccak256

WORD = 32


class MalformedCall(ValueError):
    """Call data that does not fit its function."""


def selector(signature: str) -> bytes:
    return keccak256(signature.encode())[:4]


class Arguments:
    """Call data behind the selector. Positions count words from the start."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def word(self, position: int) -> bytes:
        return self._slice(position * WORD, WORD)

    def number(self, position: int) -> int:
        return int.from_bytes(self.word(position), "big")

    def address(self, position: int) -> str:
        return checksum_address(self.word(position)[12:])

    def numbers(self, position: int) -> list[int]:
        """A dynamic array of whole numbers whose offset stands at `position`."""
        start = self.number(position)
        if start % WORD:
            raise MalformedCall("array was not aligned")
        first = start // WORD + 1
        return [self.number(first + n) for n in range(self._count(start))]

    def blob(self, position: int) -> bytes:
        """Dynamic bytes whose offset stands at `position`."""
        start = self.number(position)
        return self._slice(start + WORD, int.from_bytes(self._slice(start, WORD), "big"))

    def tuples(self, position: int) -> list[Arguments]:
        """A dynamic array of dynamic tuples; offsets count from behind its length."""
        start = self.number(position)
        body = Arguments(self._data[start + WORD :])
        return [Arguments(body._data[body.number(n) :]) for n in range(self._count(start))]

    def _count(self, start: int) -> int:
        count = int.from_bytes(self._slice(start, WORD), "big")
        if count > len(self._data) // WORD:
            raise MalformedCall("array was longer than the call")
        return count

    def _slice(self, start: int, length: int) -> bytes:
        if start + length > len(self._data):
            raise MalformedCall("call data was too short")
        return self._data[start : start + length]


def words(*values: int) -> str:
    """Return data of a view: hex of 32-byte words."""
    return "0x" + b"".join(value.to_bytes(WORD, "big") for value in values).hex()


def rlp_items(raw: bytes) -> list[bytes]:
    """Items of one RLP list of byte strings, as a legacy transaction is written."""
    payload, is_list, end = _rlp_one(raw, 0)
    if not is_list or end != len(raw):
        raise MalformedCall("not a legacy transaction")
    items, position = [], 0
    while position < len(payload):
        item, nested, position = _rlp_one(payload, position)
        if nested:
            raise MalformedCall("unexpected nested list")
        items.append(item)
    return items


def rlp_list(items: list[bytes]) -> bytes:
    body = b"".join(item if len(item) == 1 and item[0] < 0x80 else _rlp_head(0x80, item) + item for item in items)
    return _rlp_head(0xC0, body) + body


def _rlp_head(base: int, body: bytes) -> bytes:
    if len(body) < 56:
        return bytes([base + len(body)])
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([base + 55 + len(size)]) + size


def _rlp_one(raw: bytes, start: int) -> tuple[bytes, bool, int]:
    """(payload, is a list, position behind it)."""
    if start >= len(raw):
        raise MalformedCall("transaction was cut short")
    head = raw[start]
    if head < 0x80:
        return raw[start : start + 1], False, start + 1
    base = 0xC0 if head >= 0xC0 else 0x80
    length, first = head - base, start + 1
    if length > 55:
        size = length - 55
        length, first = int.from_bytes(raw[first : first + size], "big"), first + size
    if first + length > len(raw):
        raise MalformedCall("transaction was cut short")
    return raw[first : first + length], base == 0xC0, first + length
