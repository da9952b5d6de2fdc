"""The venue's authenticated price socket: the oracle's averages that settle markets, ready-made (venue.md 6.3).

Every topic is numbered and says what it dropped, so that a loss shows at once; a subscription begins with a snapshot of
the last two minutes, which heals it. Only averages of 60 s of the oracle itself are read: `price.crypto` may come from
a provider that settles nothing.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from pmarb import logs
from pmarb.clock import Clock
from pmarb.venue.parse import ParseError, PriceTick, Raw, Source, asset_of, milliseconds, number, positive
from pmarb.venue.sockets import Socket

log = logs.get(__name__)

CHANNEL: Final = "price.crypto.twap"
WINDOW_S: Final = 60
PROVIDER: Final = "chainlink"
SILENT: Final = 2.0
PING_EVERY: Final = 20.0
REFUSED: Final = frozenset(("auth_invalid", "auth_required"))
OnTicks = Callable[[Sequence[PriceTick], int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceKeys:
    """CLOB credentials, which here only read. Never shown."""

    key: str = field(repr=False)
    secret: str = field(repr=False)
    passphrase: str = field(repr=False)

    def told_by(self, raw: bytes) -> bool:
        """Whether a frame repeats any of them."""
        return any(text.encode() in raw for text in (self.key, self.secret, self.passphrase))


class Averages(msgspec.Struct, frozen=True):
    """One numbered message about an asset: a tick, or a snapshot of many. `lost` were dropped before it."""

    asset: str
    seq: int
    lost: int
    snapshot: bool
    ticks: tuple[PriceTick, ...]


class Answer(msgspec.Struct, frozen=True):
    """What the socket answers to a request; `code` names what was wrong."""

    op: str
    code: str


class _Point(msgspec.Struct):
    timestamp: int | str = 0
    value: float | str | None = None
    full_accuracy_value: str | None = None


class _Payload(_Point):
    symbol: str = ""
    source: str = PROVIDER
    window_seconds: int = 0
    data: list[_Point] | None = None


class _Frame(msgspec.Struct):
    op: str = ""
    code: str = ""
    channel: str = ""
    seq: int = 0
    dropped: int | None = None
    snapshot: bool | None = None
    payload: _Payload | None = None


_FRAMES: Final = msgspec.json.Decoder(_Frame)


def frame(raw: Raw) -> Averages | Answer | None:
    """None for messages of other channels, windows and providers.

    Raises:
        ParseError: for anything malformed.
    """
    try:
        found = _FRAMES.decode(raw)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise ParseError(f"price frame: {error}") from None
    if found.op:
        return Answer(found.op, found.code)
    payload = found.payload
    if found.channel != CHANNEL or payload is None:
        return None
    if payload.window_seconds != WINDOW_S or payload.source != PROVIDER:
        return None
    asset = asset_of(payload.symbol)
    points: Sequence[_Point] = (payload,) if payload.data is None else payload.data
    return Averages(
        asset=asset,
        seq=found.seq,
        lost=found.dropped or 0,
        snapshot=bool(found.snapshot),
        ticks=tuple(_tick(asset, point) for point in points),
    )


def _tick(asset: str, point: _Point) -> PriceTick:
    stated = point.value if point.full_accuracy_value is None else point.full_accuracy_value
    price = positive(float(number(stated, "value")))
    return PriceTick(asset=asset, source=Source.TWAP_60, price=price, ts_event=milliseconds(point.timestamp))


def subscription(assets: Sequence[str], *, op: str = "subscribe") -> str:
    """What begins or ends the averages of these assets."""
    wanted = [{"channel": CHANNEL, "filter": {"symbol": f"{a}usd", "window_seconds": WINDOW_S}} for a in assets]
    return json.dumps({"op": op, "subscriptions": wanted})


class PolyBoltFeed:
    """Averages of several assets. `on_ticks(ticks, real)` is called from the reader; `on_raw` gets frames unread."""

    def __init__(
        self,
        *,
        url: str,
        keys: PriceKeys,
        assets: Sequence[str],
        clock: Clock,
        on_ticks: OnTicks,
        on_raw: Callable[[bytes], None] = lambda _raw: None,
    ) -> None:
        self.malformed = 0
        self.gaps = 0
        self.refused = 0
        self._keys = keys
        self._assets = tuple(assets)
        self._on_ticks = on_ticks
        self._on_raw = on_raw
        self._seq: dict[str, int] = {}
        self._done = asyncio.Event()
        self._errands = set[asyncio.Task[None]]()
        self.socket = Socket(
            name="polybolt",
            url=url,
            clock=clock,
            opening=self._opening,
            on_frame=self._on_frame,
            on_down=self._seq.clear,
            ping=json.dumps({"op": "ping"}),
            ping_every=PING_EVERY,
            silent_after=SILENT,
            is_answer=_is_pong,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Read until `stop`, or until the venue refuses the credentials: asking again would not help."""
        closing = asyncio.create_task(self._close_on(stop))
        try:
            await self.socket.run(self._done)
        finally:
            closing.cancel()

    async def _close_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._done.set()

    def _opening(self) -> list[str]:
        keys = self._keys
        auth = {"apiKey": keys.key, "secret": keys.secret, "passphrase": keys.passphrase}
        return [json.dumps({"op": "auth", "auth": auth})]

    def _on_frame(self, raw: bytes, real: int) -> None:
        self._on_raw(raw)
        try:
            found = frame(raw)
        except ParseError:
            self.malformed += 1
            return
        match found:
            case Averages():
                self._on_averages(found, real)
            case Answer():
                self._on_answer(found)
            case None:
                return

    def _on_answer(self, answer: Answer) -> None:
        if answer.op == "authed":
            self._send(subscription(self._assets))
        elif answer.code in REFUSED:
            self.refused += 1
            log.error("polybolt_refused", code=answer.code, next="check POLYBOLT_API_KEY, _SECRET and _PASSPHRASE")
            self._done.set()
        elif answer.op == "error":
            log.warning("polybolt_error", code=answer.code)

    def _on_averages(self, found: Averages, real: int) -> None:
        before = self._seq.get(found.asset)
        self._seq[found.asset] = found.seq
        self._on_ticks(found.ticks, real)
        if found.snapshot:
            return
        if found.lost or before is None or found.seq != before + 1:
            self.gaps += 1
            self._send(subscription((found.asset,), op="unsubscribe"), subscription((found.asset,)))

    def _send(self, *texts: str) -> None:
        task = asyncio.get_running_loop().create_task(self._send_all(texts))
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    async def _send_all(self, texts: Sequence[str]) -> None:
        for text in texts:
            await self.socket.send(text)


def _is_pong(raw: bytes) -> bool:
    return b'"pong"' in raw and len(raw) < 64
