"""The second spot exchange: Coinbase's public feed, read to check the first and to stand in for it.

`matches` tells every trade, numbered one by one, and on subscription the last one. `heartbeat` tells once a second
which trade was the last: the same as ours proves that our price still stands though nobody trades; a later one proves
that trades were lost, however alive the connection looks. Written from the exchange's public documentation.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from pmarb import logs
from pmarb.clock import Clock
from pmarb.venue.parse import ParseError, PriceTick, Raw, Source, asset_of, number, positive
from pmarb.venue.sockets import Socket

log = logs.get(__name__)

SILENT: Final = 1.5
ASKED_TWICE: Final = 2
"""Heartbeats that name a trade we have not seen, after which the connection is made anew."""
CHANNELS: Final = ("matches", "heartbeat")
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
OnTicks = Callable[[Sequence[PriceTick], int], None]


class Refused(ParseError):
    """An error that the exchange tells, such as of a product that it does not have."""


class Beat(msgspec.Struct, frozen=True):
    """What a heartbeat says of a product. `last_trade` 0 is unknown: the feed has been seen to say so."""

    asset: str
    last_trade: int
    ts_event: int


class _Frame(msgspec.Struct):
    type: str = ""
    product_id: str = ""
    price: str | None = None
    trade_id: int = 0
    last_trade_id: int = 0
    time: str = ""
    message: str = ""
    reason: str = ""


_FRAMES: Final = msgspec.json.Decoder(_Frame)


def frame(raw: Raw) -> PriceTick | Beat | None:
    """A trade, a heartbeat, or None for what says nothing of prices.

    Raises:
        Refused: for an error that the exchange tells.
        ParseError: for anything malformed.
    """
    try:
        found = _FRAMES.decode(raw)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise ParseError(f"spot frame: {error}") from None
    match found.type:
        case "match" | "last_match":
            return PriceTick(
                asset=asset_of(found.product_id),
                source=Source.OTHER_SPOT,
                price=positive(float(number(found.price, "price"))),
                ts_event=_nanoseconds(found.time),
                trade=found.trade_id,
            )
        case "heartbeat":
            return Beat(asset_of(found.product_id), found.last_trade_id, _nanoseconds(found.time))
        case "error":
            raise Refused(f"{found.message}: {found.reason}"[:200])
        case _:
            return None


def _nanoseconds(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ParseError(f"time was {text[:40]!r}") from None
    if moment.tzinfo is None:
        raise ParseError(f"time was {text[:40]!r}, without a zone")
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000


def request(asset: str, *, kind: str = "subscribe") -> str:
    """What begins or ends the subscription of an asset: a request is refused whole for one unknown product."""
    return json.dumps({"type": kind, "product_ids": [f"{asset}-usd".upper()], "channels": CHANNELS})


class CoinbaseFeed:
    """Trades of several assets. `on_ticks(ticks, real)` is called from the reader, also when an old price is proven."""

    def __init__(self, *, url: str, assets: Sequence[str], clock: Clock, on_ticks: OnTicks) -> None:
        self.malformed = 0
        self.refused = 0
        self.gaps = 0
        self._assets = tuple(assets)
        self._on_ticks = on_ticks
        self._last: dict[str, PriceTick] = {}
        self._unseen: dict[str, int] = {}
        self._errands = set[asyncio.Task[None]]()
        self.socket = Socket(
            name="spot-2",
            url=url,
            clock=clock,
            opening=lambda: [request(asset) for asset in self._assets],
            on_frame=self._on_frame,
            on_down=self._forget,
            ping=None,  # The heartbeat channel keeps the line alive
            silent_after=SILENT,
        )

    async def run(self, stop: asyncio.Event) -> None:
        await self.socket.run(stop)

    def _forget(self) -> None:
        """The next connection begins with its own last trade."""
        self._last.clear()
        self._unseen.clear()

    def _on_frame(self, raw: bytes, real: int) -> None:
        try:
            found = frame(raw)
        except Refused as error:
            self.refused += 1
            log.warning("spot_refused", feed=self.socket.name, error=str(error))
            return
        except ParseError as error:
            self.malformed += 1
            log.debug("spot_frame_refused", feed=self.socket.name, error=str(error))
            return
        match found:
            case PriceTick():
                self._on_trade(found, real)
            case Beat():
                self._on_beat(found, real)
            case None:
                return

    def _on_trade(self, tick: PriceTick, real: int) -> None:
        before = self._last.get(tick.asset)
        if before is not None and tick.trade <= before.trade:
            return  # Told before: a subscription renewed begins with the last trade again
        self.gaps += before is not None and tick.trade > before.trade + 1
        self._last[tick.asset] = tick
        self._unseen.pop(tick.asset, None)
        self._on_ticks((tick,), real)

    def _on_beat(self, beat: Beat, real: int) -> None:
        last = self._last.get(beat.asset)
        if last is not None and beat.last_trade == last.trade:
            self._on_ticks((last._replace(ts_event=beat.ts_event),), real)
        elif beat.last_trade > (last.trade if last is not None else 0):
            self._unseen[beat.asset] = times = self._unseen.get(beat.asset, 0) + 1
            self.gaps += times == 1
            self._run(self.socket.restart() if times >= ASKED_TWICE else self._ask_again(beat.asset))

    async def _ask_again(self, asset: str) -> None:
        """A subscription made anew begins with the last trade."""
        await self.socket.send(request(asset, kind="unsubscribe"))
        await self.socket.send(request(asset))

    def _run(self, errand: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(errand)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)
