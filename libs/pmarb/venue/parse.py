"""The venue's JSON, strictly. Anything malformed is a `ParseError` with its cause; nothing else is ever raised.

Unknown fields are ignored and unknown event types come back as `Other`: the venue adds both without notice.
Prices and sizes stay text here, which decodes four times faster than decimals do; books key the ones by exact units
and make decimals of the others when asked: `price_units` and `shares_in` say what is acceptable.
"""

import math
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

import msgspec

MS: Final = 1_000_000
UNIT: Final = 1_000_000
"""Price units in a dollar: finer than every tick the venue has used (0.0001)."""

Raw = bytes | str | msgspec.Raw


class ParseError(ValueError):
    """The venue said something we do not understand. Count it, drop it, go on."""


class WireLevel(msgspec.Struct, frozen=True, gc=False):
    price: str
    size: str


class BookFrame(msgspec.Struct, tag_field="event_type", tag="book", frozen=True):
    """A whole book, best level last. `tick_size` and the rest come on live snapshots and over REST."""

    asset_id: str
    bids: list[WireLevel]
    asks: list[WireLevel]
    timestamp: int | str
    market: str = ""
    hash: str | None = None
    tick_size: str | float | None = None


class WireChange(msgspec.Struct, frozen=True, gc=False):
    """One level of one token; `size` is the new total and 0 removes it. Tops are of the book after the frame."""

    asset_id: str
    price: str
    size: str
    side: Literal["BUY", "SELL"]
    hash: str | None = None
    best_bid: str | None = None
    best_ask: str | None = None


class PriceChangeFrame(msgspec.Struct, tag_field="event_type", tag="price_change", frozen=True):
    price_changes: list[WireChange]
    timestamp: int | str
    market: str = ""


class BestBidAskFrame(msgspec.Struct, tag_field="event_type", tag="best_bid_ask", frozen=True):
    """The top without sizes; bid 0 and ask 1 mean an empty side."""

    asset_id: str
    best_bid: str
    best_ask: str
    timestamp: int | str
    market: str = ""


class LastTradeFrame(msgspec.Struct, tag_field="event_type", tag="last_trade_price", frozen=True):
    asset_id: str
    price: str
    size: Decimal
    side: str
    timestamp: int | str
    market: str = ""


class TickSizeFrame(msgspec.Struct, tag_field="event_type", tag="tick_size_change", frozen=True):
    asset_id: str
    new_tick_size: str
    timestamp: int | str
    old_tick_size: str = ""
    market: str = ""


class ResolvedFrame(msgspec.Struct, tag_field="event_type", tag="market_resolved", frozen=True):
    market: str
    winning_asset_id: str
    winning_outcome: str
    timestamp: int | str


class Other(msgspec.Struct, frozen=True):
    """A well-formed frame of a type we do not use."""

    event_type: str = ""


Known = BookFrame | PriceChangeFrame | BestBidAskFrame | LastTradeFrame | TickSizeFrame | ResolvedFrame
Frame = Known | Other

_FRAMES: Final[msgspec.json.Decoder[list[Known] | Known]] = msgspec.json.Decoder(list[Known] | Known)
_BOOKS: Final[msgspec.json.Decoder[list[dict[str, Any]]]] = msgspec.json.Decoder(list[dict[str, Any]])
_KNOWN: Final = frozenset(
    ("book", "price_change", "best_bid_ask", "last_trade_price", "tick_size_change", "market_resolved")
)


def frames(raw: Raw) -> Sequence[Frame]:
    """The frames of one message of the market channel, which may be an object or an array.

    Raises:
        ParseError: for anything else.
    """
    try:
        found = _FRAMES.decode(raw)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return _with_others(raw)
    return found if isinstance(found, list) else (found,)


def _with_others(raw: Raw) -> Sequence[Frame]:
    """The slow path: frames of unknown type beside known ones, or the reason why the message is refused."""
    body = plain(raw)
    items = body if isinstance(body, list) else [body]
    return [_one(item) for item in items]


def _one(item: object) -> Frame:
    if not isinstance(item, dict):
        raise ParseError(f"frame was {type(item).__name__}, not an object")
    kind = item.get("event_type")
    if not isinstance(kind, str):
        raise ParseError(f"frame had no event_type; keys were {sorted(map(str, item))[:8]}")
    if kind not in _KNOWN:
        return Other(event_type=kind)
    try:
        frame: Known = msgspec.convert(item, Known)
        return frame
    except (msgspec.ValidationError, ValueError, RecursionError) as error:
        raise ParseError(f"{kind}: {error}") from None


def rest_books(raw: Raw) -> Sequence[BookFrame]:
    """The reply of POST /books: frames without an `event_type`."""
    try:
        return [_rest_book(item) for item in _BOOKS.decode(raw)]
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise ParseError(f"books: {error}") from None


def _rest_book(item: dict[str, Any]) -> BookFrame:
    frame: BookFrame = msgspec.convert({**item, "event_type": "book"}, BookFrame)
    return frame


def plain(raw: Raw) -> Any:
    """Any JSON value.

    Raises:
        ParseError: if it is not JSON.
    """
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise ParseError(f"not JSON: {error}") from None


known_units: Final[dict[str, int]] = {}
"""What `price_units` has found so far, for loops that cannot afford the call."""


def price_units(text: str) -> int:
    """A price in [0, 1] as a whole number of millionths.

    Raises:
        ParseError: for anything that is not such a price.
    """
    found = known_units.get(text)
    if found is None:
        if len(known_units) > 50_000:  # The text is the venue's: it must not be able to fill our memory
            known_units.clear()
        found = known_units[text] = _exact_units(text)
    return found


MOST_SHARES: Final = 1e15


def shares_in(text: str) -> float:
    """About how many shares a level's size says: enough to refuse nonsense and to see nothing. Its `Decimal` is exact.

    Raises:
        ParseError: for anything that is not a number from 0, or one beyond all reason.
    """
    try:
        size = float(text)
    except ValueError:
        size = -1.0
    if 0.0 <= size < MOST_SHARES:
        return size
    raise ParseError(f"size was {text[:40]!r}")


def _exact_units(text: str) -> int:
    scaled = number(text, "price") * UNIT
    if scaled != scaled.to_integral_value() or not 0 <= scaled <= UNIT:
        raise ParseError(f"price was {text[:40]!r}, not in [0, 1] to six decimals")
    return int(scaled)


def number(value: object, name: str) -> Decimal:
    """A finite decimal from text, an integer, or a JSON number (by its shortest text)."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal)):
        raise ParseError(f"{name} was {value!r:.40}, not a number")
    try:
        found = Decimal(str(value).strip() if not isinstance(value, Decimal) else value)
    except (InvalidOperation, ValueError):
        raise ParseError(f"{name} was {value!r:.40}, not a number") from None
    if not found.is_finite() or abs(found.adjusted()) > 60:
        raise ParseError(f"{name} was {value!r:.40}, not a finite number")
    return found


def milliseconds(value: int | str) -> int:
    """A millisecond stamp, text or number, in nanoseconds."""
    try:
        stamp = int(value)
    except ValueError:
        raise ParseError(f"timestamp was {value!r:.40}") from None
    if not 0 <= stamp < 10**14:
        raise ParseError(f"timestamp was {value!r:.40}, not milliseconds")
    return stamp * MS


# ------------------------------------------------------------------------------------------------------------ prices


class Source(StrEnum):
    """Who states a price."""

    SPOT = "spot"
    OTHER_SPOT = "other_spot"
    ORACLE = "oracle"
    TWAP_60 = "twap_60"
    RELAYED_SPOT = "relayed_spot"


_TOPICS: Final = {
    "crypto_prices": Source.RELAYED_SPOT,
    "crypto_prices_chainlink": Source.ORACLE,
    "crypto_prices_twap_sixty": Source.TWAP_60,
}
_QUOTES: Final = ("usdt", "usdc", "usd")


class PriceTick(NamedTuple):
    """A price of `asset` (btc, eth, ...) in dollars at `ts_event`, nanoseconds UTC; 0: no time stated.

    `trade` is the exchange's number of the trade, one more than that of the trade before; 0 where it has none.
    """

    asset: str
    source: Source
    price: float
    ts_event: int
    trade: int = 0


class _Payload(msgspec.Struct):
    symbol: str = ""
    timestamp: int | str = 0
    value: float | str | None = None
    full_accuracy_value: str | int | None = None
    data: list["_Payload"] | None = None


class _RtdsFrame(msgspec.Struct):
    topic: str = ""
    type: str = ""
    payload: _Payload | None = None


class _SpotFrame(msgspec.Struct):
    e: str = ""
    s: str = ""
    E: int = 0
    T: int = 0
    t: int = 0
    p: str | None = None
    b: str | None = None
    a: str | None = None
    data: msgspec.Raw = msgspec.Raw()


_RTDS: Final = msgspec.json.Decoder(_RtdsFrame)
_SPOT: Final = msgspec.json.Decoder(_SpotFrame)


def rtds(raw: Raw) -> Sequence[PriceTick]:
    """The ticks of a price frame: one of an update, many of the history that answers a subscription, else none."""
    try:
        frame = _RTDS.decode(raw)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise ParseError(f"price frame: {error}") from None
    source = _TOPICS.get(frame.topic)
    payload = frame.payload
    if source is None or payload is None:
        return ()
    asset = asset_of(payload.symbol)
    points = [payload] if payload.data is None else payload.data
    return [_oracle_tick(asset, source, point) for point in points]


def _oracle_tick(asset: str, source: Source, point: _Payload) -> PriceTick:
    stated = point.value if type(point.value) is float or point.value is None else _real(point.value, "value")
    exact = point.full_accuracy_value
    if exact is not None:
        text = str(exact)
        price = _real(text, "full_accuracy_value")
        if source is not Source.RELAYED_SPOT and "." not in text:
            price /= 1e18  # Chainlink's integers carry 18 decimals
        if stated is not None and abs(price - stated) > 1e-6 * abs(stated):
            raise ParseError(f"value {stated} and full_accuracy_value {text[:40]} disagreed")
    elif stated is not None:
        price = stated
    else:
        raise ParseError("price frame had no value")
    return PriceTick(asset=asset, source=source, price=positive(price), ts_event=milliseconds(point.timestamp))


def spot(raw: Raw) -> PriceTick | None:
    """A trade's price or the middle of a bookTicker, bare or in a combined stream's wrapper; None for other frames."""
    try:
        frame = _SPOT.decode(raw)
        if frame.data:
            frame = _SPOT.decode(frame.data)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise ParseError(f"spot frame: {error}") from None
    if frame.p is not None and frame.e in ("trade", "aggTrade"):
        price = _real(frame.p, "p")
    elif frame.a is not None and frame.b is not None and frame.e in ("", "bookTicker"):
        price = float(number(frame.a, "a") + number(frame.b, "b")) / 2
    else:
        return None
    return PriceTick(
        asset=asset_of(frame.s),
        source=Source.SPOT,
        price=positive(price),
        ts_event=milliseconds(frame.T or frame.E),
        trade=frame.t,
    )


@lru_cache(maxsize=1024)
def asset_of(symbol: str) -> str:
    """btc of BTCUSDT, btc/usd, btc-usd, btcusd."""
    text = symbol.lower().replace("/", "").replace("-", "")
    for quote in _QUOTES:
        if text.endswith(quote) and len(text) > len(quote):
            return text[: -len(quote)]
    raise ParseError(f"symbol was {symbol[:20]!r}")


def _real(value: float | str, name: str) -> float:
    """A price as a float; whether it is one at all `positive` says."""
    try:
        return float(value)
    except ValueError:
        raise ParseError(f"{name} was {value!r:.40}, not a number") from None


def positive(price: float) -> float:
    """The price, if it is one.

    Raises:
        ParseError: it is not above 0, or not finite.
    """
    if not (price > 0 and math.isfinite(price)):
        raise ParseError(f"price was {price}; a price is above 0")
    return price
