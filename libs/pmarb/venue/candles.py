"""Candles of the spot exchange, strictly."""

import math
from typing import NamedTuple

import msgspec

from pmarb.venue.parse import ParseError, Raw, number, plain


class Candle(NamedTuple):
    """A candle of the spot exchange, by the second of its opening."""

    second: int
    open: float
    high: float
    low: float
    close: float


class CandlePage(msgspec.Struct, frozen=True):
    """How a tape holds a page of candles: what was asked for, and the exchange's own words."""

    symbol: str
    interval: str
    klines: msgspec.Raw


def candles(raw: Raw) -> list[Candle]:
    """Candles, oldest first."""
    rows = plain(raw)
    if not isinstance(rows, list):
        raise ParseError(f"klines were {type(rows).__name__}, not an array")
    return [_candle(row) for row in rows]


def _candle(row: object) -> Candle:
    if not isinstance(row, list) or len(row) < 5 or isinstance(row[0], bool) or not isinstance(row[0], int):
        raise ParseError(f"kline was {row!r:.60}")
    opened, high, low, close = (float(number(value, "price of a candle")) for value in row[1:5])
    if not 0 < low <= min(opened, close) <= max(opened, close) <= high < math.inf:
        raise ParseError(f"candle was no candle: {row[:5]!r:.120}")
    return Candle(row[0] // 1000, opened, high, low, close)


def klines(raw: Raw) -> list[tuple[int, float]]:
    """(second of opening, closing price) of each candle, oldest first."""
    return [(candle.second, candle.close) for candle in candles(raw)]
