"""Events with several markets on one price: strikes, ranges (exactly one wins), and levels that may be touched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.sandbox import wording
from services.sandbox.families import Spot, date_slug, day_before, eastern, midnight, noons
from services.sandbox.prices import ASSETS, Asset
from services.sandbox.terms import DAY_S, MINUTE_S, YES_NO, Making, Rule, Series, Terms

STEPS_USD = {"btc": 1000.0, "eth": 50.0}
STRIKES = 7
BRACKETS = 6
TOUCHES = 3
LIVENESS_S = 720.0
# Strikes lie around the price of two days before; what began before the run takes its first price.
LAID_OUT_S = 2 * DAY_S
SLOW = Making(every_s=5.0, lively_from_s=3 * DAY_S, touch_usd=60.0, top3_usd=600.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Above:
    """Strictly above a strike at noon in New York; each strike is a market of its own."""

    asset: Asset
    name: str = "above"

    @property
    def key(self) -> str:
        return f"{self.asset.code}:{self.name}"

    @property
    def series(self) -> Series:
        slug = f"{self.asset.code}-multi-strikes-daily"
        return Series(slug=slug, title=f"{self.asset.name} Multi Strikes Daily", recurrence="daily")

    def starts(self, now_s: int) -> Iterable[int]:
        return noons(now_s, count=2)

    def event(self, start: int, spot: Spot) -> Sequence[Terms]:
        moment, name = eastern(start), self.asset.name
        date, day = date_slug(moment), f"{moment:%B} {moment.day}"
        return [
            Terms(
                family=self.name,
                slug=f"{name.lower()}-above-{money_slug(strike)}-on-{date}",
                event_slug=f"{name.lower()}-above-on-{date}",
                question=f"Will the price of {name} be above ${strike:,.0f} on {day}?",
                event_title=f"{name} above ___ on {day}?",
                description=wording.above(self.asset),
                source=wording.exchange_source(self.asset),
                rule=Rule.ABOVE,
                start=day_before(start),
                end=start,
                known=start + MINUTE_S,
                labels=YES_NO,
                asset=self.asset,
                low=strike,
                series=self.series,
                tags=("crypto", "bitcoin", "weekly"),
                group_title=f"{strike:,.0f}",
                group_threshold=str(number),
                settle_s=LIVENESS_S,
                making=SLOW,
            )
            for number, strike in enumerate(strikes(self.asset, start - LAID_OUT_S, spot, count=STRIKES))
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """Brackets of the noon price: a neg-risk event, a price on a border belongs to the higher bracket."""

    asset: Asset
    name: str = "range"

    @property
    def key(self) -> str:
        return f"{self.asset.code}:{self.name}"

    @property
    def series(self) -> Series:
        slug = f"{self.asset.code}-neg-risk-daily"
        return Series(slug=slug, title=f"{self.asset.name} Price Daily", recurrence="daily")

    def starts(self, now_s: int) -> Iterable[int]:
        return noons(now_s, count=1)

    def event(self, start: int, spot: Spot) -> Sequence[Terms]:
        borders = strikes(self.asset, start - LAID_OUT_S, spot, count=BRACKETS - 1)
        brackets = list(zip([None, *borders], [*borders, None], strict=True))
        return [self._bracket(start, low, high, number) for number, (low, high) in enumerate(brackets)]

    def _bracket(self, start: int, low: float | None, high: float | None, number: int) -> Terms:
        moment, name = eastern(start), self.asset.name
        date, day = date_slug(moment), f"{moment:%B} {moment.day}"
        if low is None:
            title, words = f"<{high:,.0f}", f"less than ${high:,.0f}"
        elif high is None:
            title, words = f">{low:,.0f}", f"greater than ${low:,.0f}"
        else:
            title, words = f"{low:,.0f}-{high:,.0f}", f"between ${low:,.0f} and ${high:,.0f}"
        text = words.replace("$", "").replace(",", "").replace(" and ", "-").replace(" ", "-")
        return Terms(
            family=self.name,
            slug=f"will-the-price-of-{name.lower()}-be-{text}-on-{date}",
            event_slug=f"{name.lower()}-price-on-{date}",
            question=f"Will the price of {name} be {words} on {day}?",
            event_title=f"{name} price on {day}?",
            description=wording.bracket(self.asset),
            source=wording.exchange_source(self.asset),
            rule=Rule.RANGE,
            start=day_before(start),
            end=start,
            known=start + MINUTE_S,
            labels=YES_NO,
            asset=self.asset,
            low=low,
            high=high,
            series=self.series,
            tags=("crypto", "bitcoin", "weekly"),
            neg_risk=True,
            group_title=title,
            group_threshold=str(number),
            settle_s=LIVENESS_S,
            making=SLOW,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit:
    """Levels that any one-minute candle of the day in New York may touch; a touch decides at once."""

    asset: Asset
    name: str = "hit"

    @property
    def key(self) -> str:
        return f"{self.asset.code}:{self.name}"

    @property
    def series(self) -> Series:
        slug = f"{self.asset.code}-hit-price-daily"
        return Series(slug=slug, title=f"What price will {self.asset.name} hit", recurrence="daily")

    def starts(self, now_s: int) -> Iterable[int]:
        return (midnight(now_s),)

    def event(self, start: int, spot: Spot) -> Sequence[Terms]:
        grid = strikes(self.asset, start, spot, count=2 * TOUCHES + 1)
        middle = TOUCHES
        chosen = [(level, False) for level in grid[:middle]] + [(level, True) for level in grid[middle + 1 :]]
        return [self._level(start, level, up=up, number=number) for number, (level, up) in enumerate(chosen)]

    def _level(self, start: int, level: float, *, up: bool, number: int) -> Terms:
        moment, name = eastern(start), self.asset.name
        date, day = date_slug(moment), f"{moment:%B} {moment.day}"
        verb = "reach" if up else "dip to"
        return Terms(
            family=self.name,
            slug=f"will-{name.lower()}-{verb.replace(' ', '-')}-{money_slug(level)}-on-{date}",
            event_slug=f"what-price-will-{name.lower()}-hit-on-{date}",
            question=f"Will {name} {verb} ${level:,.0f} on {day}?",
            event_title=f"What price will {name} hit on {day}?",
            description=wording.touch(self.asset, up=up),
            source=wording.exchange_source(self.asset),
            rule=Rule.TOUCH_HIGH if up else Rule.TOUCH_LOW,
            start=start,
            end=midnight(start + DAY_S + DAY_S // 12),
            known=midnight(start + DAY_S + DAY_S // 12),
            labels=YES_NO,
            asset=self.asset,
            low=None if up else level,
            high=level if up else None,
            series=self.series,
            tags=("crypto", "bitcoin", "hit-price"),
            group_title=f"{'↑' if up else '↓'} {level:,.0f}",
            group_threshold=str(number),
            settle_s=LIVENESS_S,
            making=SLOW,
        )


def strikes(asset: Asset, second: int, spot: Spot, *, count: int) -> list[float]:
    """`count` round prices around the price at which the event was laid out, ascending."""
    step = STEPS_USD[asset.code]
    middle = round(spot(asset.code, second) / step) * step
    return [middle + (number - count // 2) * step for number in range(count)]


def money_slug(dollars: float) -> str:
    return f"{dollars / 1000:.0f}k" if dollars % 1000 == 0 else f"{dollars:.0f}"


ABOVE = (Above(asset=ASSETS["btc"]),)
RANGES = (Range(asset=ASSETS["btc"]),)
HITS = (Hit(asset=ASSETS["btc"]),)
