"""Recorded data through the rules, beside a loop that only decodes it, and what the scanner costs on the way."""

import asyncio
import gc
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from bench import nautilus
from bench.measure import Measured, compared, timed
from bench.sandbox import sandbox
from pmarb.domain.underlying import Underlying
from pmarb.domain.values import NANOS
from pmarb.venue import tape
from pmarb.venue.books import LocalBook
from pmarb.venue.parse import PriceChangeFrame, frames, plain, rtds, spot
from pmarb.venue.schedule import LISTED
from services.replay.run import replay
from services.scanner.decide import Watched, find
from tests.recordings import recorded
from tests.scanning import SHARED, START, UP_TOKEN, a_watched, an_underlying, limits, write_tape

ROUNDS: Final = 3
CALLS: Final = 4000
SPEED: Final = 30
RECORDED_S: Final = 1200
"""Venue seconds of a sandbox, recorded in forty of ours."""
FAMILIES: Final = ("5m", "15m", "4h", "1h", "daily", *LISTED)
DECODERS: Final[dict[str, Callable[[bytes], object]]] = {
    "clob.market": frames,
    "rtds": rtds,
    "spot.binance": spot,
}


def run() -> list[Measured]:
    with tempfile.TemporaryDirectory() as folder:
        paths = sorted((SHARED / "tapes").glob("*.tape.jsonl.zst")) or [_written(Path(folder))]
        rows = [_replayed("replay events", paths)]
        rows += nautilus.run(paths, rows[0])
        rows.append(_replayed("replay events of every feed", asyncio.run(_recorded(Path(folder) / "recorded"))))
    return [*rows, _tick(), _market(), _book_message()]


def _replayed(name: str, paths: list[Path]) -> Measured:
    """Events a second of one process; the baseline decodes every line and every message and does nothing with them."""
    events = sum(1 for path in paths for _ in tape.raw_lines(path))
    ours, bare = _alone(_replay, paths), _alone(_decode_only, paths)
    rate = events / ours
    return Measured(
        name=name,
        unit="/s",
        median=rate,
        p99=rate,
        baseline_name="decoded and dropped",
        baseline=events / bare,
    )


async def _recorded(folder: Path) -> list[Path]:
    """Tapes of a sandbox with all feeds and families: on the recorded ones most looks end before anything is priced."""
    with sandbox("--seed", "5", "--speed", str(SPEED), "--families", ",".join(FAMILIES)) as ready:
        spool, _ = await recorded(ready, folder, families=FAMILIES, seconds=RECORDED_S)
    return spool.tapes


def _alone(action: Callable[[list[Path]], None], paths: list[Path]) -> float:
    """Seconds of the best of some rounds, in a process of its own: whatever ran before has filled memory and caches."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return min(pool.submit(_seconds, action, paths).result() for _ in range(ROUNDS))


def _replay(paths: list[Path]) -> None:
    replay(paths)


def _decode_only(paths: list[Path]) -> None:
    gc.disable()
    try:
        for path in paths:
            for line in tape.raw_lines(path):
                DECODERS.get(line.src, plain)(line.msg)
    finally:
        gc.enable()


def _seconds(action: Callable[[list[Path]], None], paths: list[Path]) -> float:
    """Of this process's own time: nothing in here waits, and a busy machine shall not count."""
    started = time.process_time()
    action(paths)
    return time.process_time() - started


def _tick() -> Measured:
    """One spot trade: read, taken into price and volatility, and its market looked at."""
    underlying, watched, now = _scene()
    allowed = limits(min_edge=Decimal("0.6"))  # As nearly always: priced, and no edge
    seconds = _counting(now // NANOS + 1)
    raw = b'{"e":"trade","E":1790000000000,"s":"BTCUSDT","p":"84012.25","q":"0.005","T":1790000000000}'

    def tick() -> None:
        found = spot(raw)
        assert found is not None
        underlying.put_spot(next(seconds), found.price)
        find(watched, underlying, allowed, now=now, real=now)

    ours, base = timed(tick, rounds=CALLS), timed(lambda: spot(raw), rounds=CALLS)
    return compared("scanner: a tick, its market priced", ours, "decoding it", base)


def _market() -> Measured:
    """One market looked at, to its fair value and its edge."""
    underlying, watched, now = _scene()
    allowed = limits(min_edge=Decimal("0.6"))  # As nearly always: priced, and no edge
    raw = _change(1)
    ours = timed(lambda: find(watched, underlying, allowed, now=now, real=now), rounds=CALLS)
    return compared("scanner: a market", ours, "decoding a book change", timed(lambda: frames(raw), rounds=CALLS))


def _book_message() -> Measured:
    """A change of two levels: read and taken into the book."""
    book = LocalBook(UP_TOKEN)
    numbers = _counting(0)
    raws = [_change(n) for n in range(50)]

    def take() -> None:
        for frame in frames(raws[next(numbers) % 50]):
            assert isinstance(frame, PriceChangeFrame)
            book.take(frame.price_changes)
            book.changed(digest=None, ts_event=1, ts_init=1)

    base = timed(lambda: frames(raws[next(numbers) % 50]), rounds=CALLS)
    return compared("book message", timed(take, rounds=CALLS), "decoding it", base)


def _scene() -> tuple[Underlying, Watched, int]:
    now = (START + 150) * NANOS
    return an_underlying(now=now), a_watched(bid="0.49", ask="0.50", proven=now), now


def _change(number: int) -> bytes:
    change = f'{{"asset_id":"{UP_TOKEN}","side":"BUY","price":"0.{10 + number}","size":"{number % 7}.5"}}'
    return f'{{"event_type":"price_change","price_changes":[{change},{change}],"timestamp":"1"}}'.encode()


def _counting(first: int) -> Iterator[int]:
    while True:
        yield first
        first += 1


def _written(folder: Path) -> Path:
    path = folder / "made.tape.jsonl.zst"
    write_tape(path, seed=3)
    return path
