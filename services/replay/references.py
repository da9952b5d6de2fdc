"""What markets of the exchange's candles compare with, from the candles on the tape (`updown.fair_value`)."""

from dataclasses import dataclass
from typing import Final

from pmarb.domain.market import NOON_CANDLE_S, HourCandle, MarketInfo, NoonToNoon, Touch
from pmarb.domain.values import NANOS
from pmarb.venue.candles import Candle

HOUR: Final = "1h"
MINUTE: Final = "1m"


class Candles:
    """The candles told so far, by asset, interval and second, each as it was told last and when that was."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str, int], tuple[Candle, int]] = {}

    def put(self, asset: str, interval: str, candle: Candle, *, now: int) -> None:
        self._told[asset, interval, candle.second] = candle, now

    def at(self, asset: str, interval: str, second: int, *, closed: int = 0) -> Candle | None:
        """The candle that begins at `second`, if it was told `closed` seconds later or after that."""
        found = self._told.get((asset, interval, second))
        return None if found is None or found[1] < (second + closed) * NANOS else found[0]


@dataclass(slots=True)
class Reference:
    """One market's. A level's extreme is known once the minutes of its period are, from the first one on."""

    market: MarketInfo
    _high: float = 0.0
    _low: float = float("inf")
    _read: int = 0

    def read(self, candles: Candles) -> float | None:
        """The reference by what has been told; None until it has, and for rules that need none."""
        asset, opens = self.market.underlying, self.market.opens_at // NANOS
        match self.market.settlement:
            case HourCandle():
                candle = candles.at(asset, HOUR, opens)
                return None if candle is None else candle.open
            case NoonToNoon():
                candle = candles.at(asset, MINUTE, opens, closed=NOON_CANDLE_S)
                return None if candle is None else candle.close
            case Touch(up=up):
                self._go_on(candles, asset, opens, self.market.closes_at // NANOS)
                return None if not self._read else self._high if up else self._low
            case _:
                return None

    def _go_on(self, candles: Candles, asset: str, opens: int, closes: int) -> None:
        """From the last minute read, which may have gone on since, as far as no minute is missing."""
        second = max(opens, self._read)
        while second < closes and (candle := candles.at(asset, MINUTE, second)) is not None:
            self._high, self._low = max(self._high, candle.high), min(self._low, candle.low)
            self._read, second = second, second + NOON_CANDLE_S
