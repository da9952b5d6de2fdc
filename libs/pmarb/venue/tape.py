"""Recordings of what the venue said: zstd-compressed JSON lines, a header first, then {"t", "src", "msg"}.

Keys that begin with `_` are notes of whoever made the tape. `lines` strips them, and so does `strip` for whoever reads
`raw_lines` and decodes `msg` untyped; typed frames never name such a key.
"""

import contextlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec
import zstandard

VERSION: Final = 1
LEVEL: Final = 19
BLOCK: Final = 1 << 16
"""Bytes unpacked at once: what is read of them is still in the core's own cache."""
WINDOW_LOG: Final = 23
"""The window of every tape, 8 MB: a decoder needs no more memory than that."""


class TapeError(ValueError):
    """The file is not a tape, or breaks the format's promises."""


class Line(msgspec.Struct, frozen=True, gc=False):
    """`t` is the receive time, nanoseconds UTC; `msg` the venue's own message, not decoded."""

    t: int
    src: str
    msg: msgspec.Raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A decoded line without annotations."""

    t: int
    src: str
    msg: Any


_LINE: Final = msgspec.json.Decoder(Line)


def header(path: Path) -> dict[str, Any]:
    """Line 1.

    Raises:
        TapeError: if there is none or its version is unknown.
    """
    for block in _blocks(path):
        return _header(block.partition(b"\n")[0], path)
    raise TapeError(f"{path.name}: empty")


def raw_lines(path: Path) -> Iterator[Line]:
    """Every line after the header, in order.

    Raises:
        TapeError: for a broken line or a time that goes backwards.
    """
    blocks = _blocks(path)
    first, _, rest = next(blocks, b"").partition(b"\n")
    _header(first, path)
    last, before = 0, 1
    for block in chain((rest,), blocks):
        decoded = _decoded(block, path, before)
        for line in decoded:
            if line.t < last:
                number = next(n for n, each in enumerate(decoded, start=before + 1) if each is line)
                raise TapeError(f"{path.name}:{number}: time went back from {last} to {line.t}")
            last = line.t
            yield line
        before += len(decoded)


def _decoded(block: bytes, path: Path, before: int) -> list[Line]:
    """All lines at once, four times as quick as one by one; those before are counted to name a broken one."""
    with contextlib.suppress(msgspec.DecodeError, ValueError, RecursionError):
        return _LINE.decode_lines(block)
    found = []
    for number, text in enumerate(block.splitlines(), start=before + 1):
        try:
            found.append(_LINE.decode(text))
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise TapeError(f"{path.name}:{number}: {error}") from None
    return found


def lines(path: Path) -> Iterator[Entry]:
    """The same, decoded and without annotations."""
    for line in raw_lines(path):
        yield Entry(t=line.t, src=line.src, msg=strip(msgspec.json.decode(line.msg)))


def strip(value: Any) -> Any:
    """`value` without the keys that begin with `_`, at any depth."""
    if isinstance(value, dict):
        return {key: strip(inner) for key, inner in value.items() if not key.startswith("_")}
    return [strip(inner) for inner in value] if isinstance(value, list) else value


class TapeWriter:
    """Writes a tape. The header's `lines`, `first_t`, `last_t` are known at the end, so the body waits in memory.

    Lines must come in non-decreasing `t`.
    """

    def __init__(self, path: Path, *, fields: Mapping[str, Any], level: int = LEVEL) -> None:
        self._path = path
        self._fields = dict(fields)
        self._level = level
        self._body = io.BytesIO()
        self._encoder = msgspec.json.Encoder()
        self._lines = self._markets = self._first = self._last = 0

    def add(self, *, t: int, src: str, msg: bytes | str | Mapping[str, Any]) -> None:
        """Append a message as it came, or as a mapping."""
        if t < self._last:
            raise TapeError(f"time went back from {self._last} to {t}")
        body = msgspec.Raw(msg) if isinstance(msg, (bytes, str)) else msg
        self._body.write(self._encoder.encode({"t": t, "src": src, "msg": body}) + b"\n")
        self._lines += 1
        self._first, self._last = self._first or t, t

    def count_market(self) -> None:
        """One more market has been announced."""
        self._markets += 1

    def close(self) -> None:
        """Write the file."""
        head = {
            "tape": VERSION,
            "name": self._path.name.removesuffix(".tape.jsonl.zst"),
            **self._fields,
            "markets": self._markets,
            "lines": self._lines,
            "first_t": self._first,
            "last_t": self._last,
        }
        parameters = zstandard.ZstdCompressionParameters.from_level(
            self._level, window_log=WINDOW_LOG, write_checksum=True
        )
        packed = zstandard.ZstdCompressor(compression_params=parameters)
        self._path.write_bytes(packed.compress(self._encoder.encode(head) + b"\n" + self._body.getvalue()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _blocks(path: Path) -> Iterator[bytes]:
    """The file in pieces of whole lines, unpacked as they are needed."""
    try:
        with (
            path.open("rb") as packed,
            zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(packed) as data,
        ):
            rest = b""
            while piece := data.read(BLOCK):
                whole, newline, rest = (rest + piece).rpartition(b"\n")
                if newline:
                    yield whole + newline
            if rest:
                yield rest
    except zstandard.ZstdError as error:
        raise TapeError(f"{path.name}: {error}") from None


def _header(text: bytes, path: Path) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, ValueError):
        raise TapeError(f"{path.name}: line 1 is not a header") from None
    if not isinstance(found, dict) or found.get("tape") != VERSION:
        raise TapeError(f"{path.name}: line 1 is not a header of version {VERSION}")
    return found
