"""Slugs that can be computed: of the windows of an oracle, of the exchange's hours, and of New York's noons."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from pmarb.domain.values import NANOS
from pmarb.venue.gamma import WINDOW_S, slug
from pmarb.venue.rules import EASTERN, HOUR_S, NAMES, eastern, noon


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A market that should exist: its slug, how it may be spelled otherwise, and the second it ends."""

    slug: str
    spellings: tuple[str, ...] = ()
    ends: int


def slots(asset: str, family: str, second: int) -> list[Slot]:
    """The running market of a family and the next one; empty for families that only a listing knows."""
    starts = _STARTS.get(family)
    if starts is not None:
        width = WINDOW_S[family]
        return [Slot(slug=slug(asset=asset, family=family, start=at), ends=at + width) for at in starts(second)]
    named = _NAMED.get(family)
    return [] if named is None else named(NAMES[asset], second)


def _grid(width: int) -> Callable[[int], list[int]]:
    return lambda second: [second // width * width, second // width * width + width]


def _four_hours(second: int) -> list[int]:
    """Starts are at 0, 4, 8, ... o'clock in New York, so the grid moves with its clock."""
    today = eastern(second * NANOS).date()
    starts = [
        int(datetime(day.year, day.month, day.day, hour, tzinfo=EASTERN).timestamp())
        for day in (today - timedelta(days=1), today, today + timedelta(days=1))
        for hour in range(0, 24, 4)
    ]
    current = max(start for start in starts if start <= second)
    return [current, min(start for start in starts if start > current)]


def _hours(name: str, second: int) -> list[Slot]:
    first = second // HOUR_S * HOUR_S
    return [_hour(name, start) for start in (first, first + HOUR_S)]


def _hour(name: str, start: int) -> Slot:
    moment = eastern(start * NANOS)
    hour = moment.strftime("%I%p").lstrip("0").lower()
    dated, undated = (f"{name}-up-or-down-{day}-{hour}-et" for day in _spelled(moment.date()))
    return Slot(slug=dated, spellings=(undated,), ends=start + HOUR_S)


def _days(name: str, second: int) -> list[Slot]:
    today = eastern(second * NANOS).date()
    days = [day for day in (today, today + timedelta(days=1)) if noon(day) // NANOS > second]
    return [_day(name, day) for day in days]


def _day(name: str, day: date) -> Slot:
    dated, undated = (f"{name}-up-or-down-on-{spelled}" for spelled in _spelled(day))
    return Slot(slug=dated, spellings=(undated,), ends=noon(day) // NANOS)


def _spelled(day: date) -> tuple[str, str]:
    """With and without the year: the venue changed its mind in 2026."""
    undated = f"{day:%B}-{day.day}".lower()
    return f"{undated}-{day.year}", undated


_STARTS: Final[Mapping[str, Callable[[int], list[int]]]] = {
    "5m": _grid(WINDOW_S["5m"]),
    "15m": _grid(WINDOW_S["15m"]),
    "4h": _four_hours,
}
_NAMED: Final[Mapping[str, Callable[[str, int], list[Slot]]]] = {"1h": _hours, "daily": _days}
LISTED: Final = ("above", "range", "hit")
"""Families whose slugs carry prices and suffixes: found through the events of their asset's tag."""
