"""What was received, to disk and into tapes, in a thread: whoever hands it over never waits.

Lines go to `<name>.part.jsonl` as they come. When a part is old or large enough it becomes `<name>.tape.jsonl.zst`
(the format of `pmarb.venue.tape`), under its final name only once it is complete; a part that a crash left behind
becomes a tape at the next start. Tapes of one recording name the one they continue.
"""

import os
import queue
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BufferedWriter
from pathlib import Path
from typing import Final

import msgspec
import zstandard

from pmarb import logs
from pmarb.domain.values import NANOS
from pmarb.venue import tape

log = logs.get(__name__)

PART: Final = ".part.jsonl"
TAPE: Final = ".tape.jsonl.zst"
LEVEL: Final = 9
"""A recorder shares its machine: level 19 would shave a tenth off the size for many times the work."""
BATCH_WAIT_S: Final = 0.5
CHUNK: Final = 1 << 20

_LINE: Final = msgspec.json.Encoder()
_ONE: Final = msgspec.json.Decoder(msgspec.Raw)
_MANY: Final = msgspec.json.Decoder(list[msgspec.Raw])


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """`raw` as it came, at `t` (venue nanoseconds)."""

    t: int
    src: str
    raw: bytes


class Spool:
    """`put` from anywhere; `start` and `close` from the owner."""

    def __init__(self, folder: Path, *, venue: str, rotate_s: float, rotate_bytes: int) -> None:
        self.lines = 0
        self.undecodable = 0
        self.tapes: list[Path] = []
        self.failure: BaseException | None = None
        self._folder = folder
        self._venue = venue
        self._rotate_ns = int(rotate_s * NANOS)
        self._rotate_bytes = rotate_bytes
        self._queue: queue.SimpleQueue[Received | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        self._part: _Part | None = None
        self._before = ""
        self._last = 0

    @property
    def waiting(self) -> int:
        """Lines received and not yet written."""
        return self._queue.qsize()

    def start(self) -> None:
        """Make tapes of what a crash left, then take what comes.

        Raises:
            OSError: the folder cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        for left in sorted(self._folder.glob(f"*{PART}")):
            self._keep(left, continues="")
            log.warning("part_recovered", part=left.name)
        self._thread.start()

    def put(self, received: Received) -> None:
        """Hand it over. Never waits."""
        self._queue.put(received)

    def close(self) -> None:
        """Write what is left and finish the tape."""
        self._queue.put(None)
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        try:
            while self._take_batch():
                pass
            self._rotate()
        except OSError as error:  # A full disk: the owner ends the process, and the part stays
            self.failure = error

    def _take_batch(self) -> bool:
        """Write all that waits; False at the end."""
        going = self._write(self._queue.get())
        while going and not self._queue.empty():
            going = self._write(self._queue.get())
        if self._part is not None:
            self._part.flush()
            if self._part.size >= self._rotate_bytes or self._last - self._part.first >= self._rotate_ns:
                self._rotate()
        return going

    def _write(self, received: Received | None) -> bool:
        if received is None:
            return False
        self._last = max(self._last, received.t)  # A clock that was set back does not turn the tape back
        if self._part is None:
            self._part = _Part(self._folder / f"{self._name(self._last)}{PART}", first=self._last)
        for raw in self._messages(received.raw):
            self._part.add(_LINE.encode({"t": self._last, "src": received.src, "msg": msgspec.Raw(raw)}))
            self.lines += 1
        return True

    def _messages(self, raw: bytes) -> list[bytes]:
        """The messages of a frame, one line each; what is no JSON is kept as a note."""
        try:
            found = _MANY.decode(raw) if raw[:1] == b"[" else [_ONE.decode(raw)]
            parts = [bytes(part) for part in found]
            return [part if b"\n" not in part else _LINE.encode(msgspec.json.decode(part)) for part in parts]
        except (msgspec.DecodeError, ValueError):
            self.undecodable += 1
            return [_LINE.encode({"_undecodable": raw[:1000].decode(errors="replace")})]

    def _rotate(self) -> None:
        if self._part is not None:
            self._part.close()
            self._keep(self._part.path, continues=self._before)
            self._part = None

    def _keep(self, part: Path, *, continues: str) -> None:
        fields = {"venue": self._venue, "continues": continues, **NOTES}
        made = pack(part, part.with_name(part.name.removesuffix(PART) + TAPE), fields=fields)
        if made is not None:
            self.tapes.append(made)
            self._before = made.name.removesuffix(TAPE)
            log.info("tape_written", tape=made.name, bytes=made.stat().st_size)

    def _name(self, t: int) -> str:
        moment = datetime.fromtimestamp(t / NANOS, UTC).strftime("%Y%m%dT%H%M%S")
        return f"{self._venue}-{moment}-{t % NANOS:09d}"


NOTES: Final = {
    "sources": "recorded by pm-arb",
    "licence": "own recording of a public feed",
    "settlement": "twap60",
    "book": "l2",
    "clock": "the receiver's, when the frame left the socket",
    "notes": "everything received; prices also hold the history that answers a subscription",
}


class _Part:
    """An open part."""

    def __init__(self, path: Path, *, first: int) -> None:
        self.path = path
        self.first = first
        self.size = 0
        self._file: BufferedWriter = path.open("ab")

    def add(self, line: bytes) -> None:
        self.size += self._file.write(line + b"\n")

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


def pack(part: Path, target: Path, *, fields: dict[str, str]) -> Path | None:
    """Make the tape and delete the part; None for a part without a whole line. A torn last line is left out."""
    lines, markets, first, last, length = _survey(part)
    if not lines:
        part.unlink()
        return None
    head = {"tape": tape.VERSION, "name": target.name.removesuffix(TAPE), **fields}
    head |= {"created": datetime.fromtimestamp(last / NANOS, UTC).date().isoformat()}
    head |= {"markets": markets, "lines": lines, "first_t": first, "last_t": last}
    parameters = zstandard.ZstdCompressionParameters.from_level(LEVEL, window_log=tape.WINDOW_LOG, write_checksum=True)
    unfinished = target.with_suffix(".tmp")
    with part.open("rb") as source, unfinished.open("wb") as packed:
        with zstandard.ZstdCompressor(compression_params=parameters).stream_writer(packed, closefd=False) as writer:
            writer.write(_LINE.encode(head) + b"\n")
            while length > 0 and (chunk := source.read(min(CHUNK, length))):
                writer.write(chunk)
                length -= len(chunk)
        packed.flush()
        os.fsync(packed.fileno())
    unfinished.replace(target)
    part.unlink()
    return target


def _survey(part: Path) -> tuple[int, int, int, int, int]:
    """Whole lines, markets announced, first and last time, bytes of the whole lines."""
    lines = markets = first = last = length = 0
    decoder = msgspec.json.Decoder(tape.Line)
    with part.open("rb") as source:
        for text in source:
            try:
                line = decoder.decode(text)
            except (msgspec.DecodeError, ValueError):
                break
            lines += 1
            length += len(text)
            first, last = first or line.t, line.t
            markets += line.src == "gamma" and b'"closed":true' not in bytes(line.msg).replace(b" ", b"")
    return lines, markets, first, last, length
