"""Families of markets by name, and the rolling up/down windows on oracle averages and on exchange candles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from services.sandbox import wording
from services.sandbox.prices import ASSETS, Asset
from services.sandbox.terms import DAY_S, HOUR_S, MINUTE_S, Making, Rule, Series, Terms

EASTERN = ZoneInfo("America/New_York")
WINDOWS_AHEAD = 3
NOON = 12
# Price of an asset in dollars at a venue second: strikes are laid around it.
Spot = Callable[[str, int], float]


class Family(Protocol):
    """A row of events. `starts` says which must exist now, `event` describes the markets of one."""

    @property
    def name(self) -> str: ...

    @property
    def key(self) -> str: ...

    @property
    def series(self) -> Series | None: ...

    def starts(self, now_s: int) -> Iterable[int]: ...

    def event(self, start: int, spot: Spot) -> Sequence[Terms]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """An oracle window of 5 or 15 minutes, or of 4 hours (aligned to midnight in New York)."""

    asset: Asset
    minutes: int

    @property
    def name(self) -> str:
        return f"{self.minutes // 60}h" if self.minutes >= 60 else f"{self.minutes}m"

    @property
    def key(self) -> str:
        return f"{self.asset.code}:{self.name}"

    @property
    def series_slug(self) -> str:
        return f"{self.asset.code}-up-or-down-{self.name}"

    @property
    def series(self) -> Series:
        title = f"{self.asset.code.upper()} Up or Down {self.name}"
        return Series(slug=self.series_slug, title=title, recurrence=self.name)

    def slug(self, start: int) -> str:
        return f"{self.asset.code}-updown-{self.name}-{start}"

    def starts(self, now_s: int) -> Iterable[int]:
        """The running window and those ahead of it."""
        if self.minutes < 60:
            seconds = self.minutes * 60
            current = now_s // seconds * seconds
            return range(current, current + (WINDOWS_AHEAD + 1) * seconds, seconds)
        return [start for start in four_hours(now_s) if start + 4 * HOUR_S > now_s][:2]

    def event(self, start: int, spot: Spot) -> Sequence[Terms]:  # noqa: ARG002 - the protocol of families
        return (self.terms(start),)

    def terms(self, start: int) -> Terms:
        end = start + self.minutes * 60
        title = question(self, start)
        return Terms(
            family=self.name,
            slug=self.slug(start),
            event_slug=self.slug(start),
            question=title,
            event_title=title,
            description=wording.twap(self.asset),
            source=wording.twap_source(self.asset),
            rule=Rule.TWAP,
            start=start,
            end=end,
            known=end,
            asset=self.asset,
            series=self.series,
            tags=("crypto", "up-or-down", self.name),
            config=True,
            making=MAKING[self.minutes],
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Hourly:
    """The exchange's one-hour candle, named after the hour at which it begins."""

    asset: Asset
    name: str = "1h"

    @property
    def key(self) -> str:
        return f"{self.asset.code}:{self.name}"

    @property
    def series(self) -> Series:
        slug = f"{self.asset.code}-up-or-down-hourly"
        return Series(slug=slug, title=f"{self.asset.code.upper()} Up or Down Hourly", recurrence="hourly")

    def starts(self, now_s: int) -> Iterable[int]:
        current = now_s // HOUR_S * HOUR_S
        return (current, current + HOUR_S)

    def event(self, start: int, spot: Spot) -> Sequence[Terms]:  # noqa: ARG002 - the protocol of families
        moment = eastern(start)
        slug = f"{self.asset.name.lower()}-up-or-down-{date_slug(moment)}-{hour_slug(moment)}-et"
        title = f"{self.asset.name} Up or Down - {moment:%B} {moment.day}, {hour_slug(moment).upper()} ET"
        return (
            Terms(
                family=self.name,
                slug=slug,
                event_slug=slug,
                question=title,
                event_title=title,
                description=wording.candle(self.asset),
                source=wording.exchange_source(self.asset),
                rule=Rule.CANDLE,
                start=start,
                end=start + HOUR_S,
                known=start + HOUR_S,
                asset=self.asset,
                series=self.series,
                tags=("crypto", "up-or-down", "hourly"),
                making=Making(every_s=1.0),
            ),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Daily:
    """Noon to noon in New York, on the closes of two one-minute candles; equal closes resolve 50-50."""

    asset: Asset
    name: str = "daily"

    @property
    def key(self) -> str:
        return f"{self.asset.code}:{self.name}"

    @property
    def series(self) -> Series:
        slug = f"{self.asset.code}-up-or-down-daily"
        return Series(slug=slug, title=f"{self.asset.code.upper()} Up or Down Daily", recurrence="daily")

    def starts(self, now_s: int) -> Iterable[int]:
        return noons(now_s, count=2)

    def event(self, start: int, spot: Spot) -> Sequence[Terms]:  # noqa: ARG002 - the protocol of families
        """`start` is the noon that ends it: names carry that day."""
        moment = eastern(start)
        slug = f"{self.asset.name.lower()}-up-or-down-on-{date_slug(moment)}"
        title = f"{self.asset.name} Up or Down on {moment:%B} {moment.day}?"
        return (
            Terms(
                family=self.name,
                slug=slug,
                event_slug=slug,
                question=title,
                event_title=title,
                description=wording.noon_to_noon(self.asset, moment),
                source=wording.exchange_source(self.asset),
                rule=Rule.NOON,
                start=day_before(start),
                end=start,
                known=start + MINUTE_S,
                asset=self.asset,
                series=self.series,
                tags=("crypto", "up-or-down", "daily"),
                settle_s=720.0,
                making=Making(every_s=5.0, lively_from_s=DAY_S),
            ),
        )


MAKING = {
    5: Making(touch_usd=37.0, top3_usd=325.0),
    15: Making(),
    240: Making(every_s=1.0),
}


def question(family: Window, start: int) -> str:
    """Title as the venue words it, e.g. "Bitcoin Up or Down - September 28, 1:30PM-1:45PM ET"."""
    first, last = eastern(start), eastern(start + family.minutes * 60)
    return f"{family.asset.name} Up or Down - {first:%B} {first.day}, {_clock(first)}-{_clock(last)} ET"


def eastern(second: int) -> datetime:
    return datetime.fromtimestamp(second, tz=UTC).astimezone(EASTERN)


def date_slug(moment: datetime) -> str:
    return f"{moment:%B}-{moment.day}-{moment.year}".lower()


def hour_slug(moment: datetime) -> str:
    return moment.strftime("%I%p").lstrip("0").lower()


def noons(now_s: int, *, count: int) -> list[int]:
    """The next noons in New York whose one-minute candle has not closed yet."""
    today = eastern(now_s).date()
    found = []
    for days in range(count + 1):
        day = today + timedelta(days=days)
        noon = int(datetime(day.year, day.month, day.day, NOON, tzinfo=EASTERN).timestamp())
        if noon + MINUTE_S > now_s:
            found.append(noon)
    return found[:count]


def midnight(now_s: int) -> int:
    moment = eastern(now_s)
    return int(datetime(moment.year, moment.month, moment.day, tzinfo=EASTERN).timestamp())


def day_before(noon: int) -> int:
    """The noon before: 23, 24 or 25 hours earlier."""
    day = eastern(noon).date() - timedelta(days=1)
    return int(datetime(day.year, day.month, day.day, NOON, tzinfo=EASTERN).timestamp())


def four_hours(now_s: int) -> list[int]:
    """Starts at 0, 4, 8, 12, 16 and 20 o'clock in New York, today's and tomorrow's."""
    today = eastern(now_s).date()
    return [
        int(datetime(day.year, day.month, day.day, hour, tzinfo=EASTERN).timestamp())
        for day in (today, today + timedelta(days=1))
        for hour in range(0, 24, 4)
    ]


def _clock(moment: datetime) -> str:
    return moment.strftime("%I:%M%p").lstrip("0")


WINDOWS = tuple(Window(asset=asset, minutes=minutes) for asset in ASSETS.values() for minutes in (5, 15))
SLOW_WINDOWS = tuple(Window(asset=asset, minutes=240) for asset in ASSETS.values())
HOURLY = tuple(Hourly(asset=asset) for asset in ASSETS.values())
DAILY = tuple(Daily(asset=asset) for asset in ASSETS.values())
