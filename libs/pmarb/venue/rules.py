"""Which rule decides a market, read from its words; what is new or contradicts itself is Unknown (quant.md 1.1).

Nothing here trusts a slug: the text names the exchange, the candle and the relation, the title names the date and the
price, and both must agree with the stated end in New York's time and with the group's title.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from pmarb.domain.market import Above, Between, HourCandle, NoonToNoon, Settlement, SpotTick, Touch, Twap, Unknown
from pmarb.domain.values import NANOS

EASTERN: Final = ZoneInfo("America/New_York")
NAMES: Final = {
    "btc": "bitcoin",
    "eth": "ethereum",
    "sol": "solana",
    "xrp": "xrp",
    "doge": "dogecoin",
    "bnb": "bnb",
    "hype": "hyperliquid",
}
_YEAR: Final = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
MONTHS: Final = {name: number for number, month in enumerate(_YEAR, start=1) for name in (month, month[:3])}
HOUR_S: Final = 3600
_NOON: Final = time(12)
_LOOKBACKS: Final = range(1, 301)
_TWAP_SOURCE: Final = re.compile(r"twap-(\d{1,4})s")
_PAIR: Final = re.compile(r"(?<![a-z0-9])([a-z0-9]{2,10})[/_]?usdt(?![a-z0-9])")
_DATE: Final = re.compile(rf"\b({'|'.join(sorted(MONTHS, key=len, reverse=True))})\.? (\d{{1,2}})(?!\d)")
_DATES: Final = re.compile(_DATE.pattern + r"(?:,? ?(?:'\d{2}\b|\d{4}\b))?")
_HOUR: Final = re.compile(r"\b(\d{1,2}) ?(am|pm) et\b")
_AMOUNT: Final = re.compile(r"(\d[\d,]*(?:\.\d+)?)\s?([km])?(?![\w])")
_DOLLARS: Final = re.compile(r"\$\s?" + _AMOUNT.pattern)
_TOUCHED: Final = re.compile(
    r'final "(high|low)" price (?:that is )?equal to or (above|greater than|below|lower than) the'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the words say. Times in nanoseconds; `family` and `asset` are empty for what is Unknown."""

    settlement: Settlement
    family: str = ""
    asset: str = ""
    opens_at: int = 0
    closes_at: int = 0


class _Unclear(Exception):
    """Why a text cannot be trusted."""


def oracle_rule(fields: Mapping[str, Any], description: str) -> Settlement:
    """The rule of an epoch family's market."""
    source = (_words(fields, "resolutionSource") or description).lower()
    config = fields.get("cryptoMarketConfig")
    named = _TWAP_SOURCE.search(source)
    wordy = "time-weighted" in description.lower() or "twap" in description.lower()
    if isinstance(config, Mapping) and config.get("twapEnabled") is True:
        lookback = config.get("twapLookbackSeconds")
        if not isinstance(lookback, int) or isinstance(lookback, bool) or lookback not in _LOOKBACKS:
            return Unknown(why=f"twap lookback was {lookback!r:.20}")
        if ("chain.link" in source and not named) or (named and int(named[1]) != lookback):
            return Unknown(why="config and resolution source disagreed")
        return Twap(lookback=lookback)
    if named:
        lookback = int(named[1])
        return Twap(lookback=lookback) if lookback in _LOOKBACKS else Unknown(why=f"twap lookback was {lookback}")
    if "chain.link" in source:
        return Unknown(why="text and resolution source disagreed") if wordy else SpotTick()
    return Unknown(why="resolution source was not recognised")


def exchange_rule(
    fields: Mapping[str, Any], description: str, labels: frozenset[str], *, start: int | None, end: int
) -> Reading:
    """The rule of every other market. `start` and `end` are what the venue states, nanoseconds."""
    text = _plain(description)
    try:
        asset = _asset(text, fields)
        title = _plain(_words(fields, "question") or _words(fields, "title"))
        if "1 hour candle" in text:
            return _hour(text, title, labels, asset, start=start, end=end)
        if "any binance 1 minute candle" in text or "any binance 1-minute candle" in text:
            return _touch(text, title, _words(fields, "groupItemTitle"), labels, asset, end=end)
        if "1 minute candle" in text and "12:00 in the et timezone" in text and '"close"' in text:
            return _noon(fields, text, title, labels, asset, start=start, end=end)
        raise _Unclear("the rule's text was not recognised")
    except _Unclear as unclear:
        return Reading(settlement=Unknown(why=str(unclear)))


def template(description: str, asset: str) -> str:
    """SHA-256 of the rule's text without the asset's names and without dates: every market of a family has the same."""
    if not description.strip():
        return ""
    text = " ".join(description.lower().split())
    for name in (NAMES.get(asset, asset), asset):
        text = re.sub(rf"(?<![a-z0-9]){re.escape(name)}(?![a-z0-9])", "*", text)
    return hashlib.sha256(_DATES.sub("#", text).encode()).hexdigest()


def noon(day: date) -> int:
    """Noon of this day in New York, nanoseconds."""
    return _nanos(datetime.combine(day, _NOON, EASTERN))


def midnight(day: date) -> int:
    """The first moment of this day in New York, nanoseconds."""
    return _nanos(datetime.combine(day, time(), EASTERN))


def eastern(at: int) -> datetime:
    """Nanoseconds UTC as New York's time."""
    return datetime.fromtimestamp(at // NANOS, tz=UTC).astimezone(EASTERN)


def _hour(text: str, title: str, labels: frozenset[str], asset: str, *, start: int | None, end: int) -> Reading:
    _require(labels == {"Up", "Down"}, "an hour's market has outcomes Up and Down")
    _require("greater than or equal" in text and "1 minute" not in text, "the relation of close and open was not read")
    opens = end - HOUR_S * NANOS
    moment, hour = eastern(opens), _HOUR.search(title)
    _require(hour is not None and moment.minute == moment.second == 0, "the title named no hour")
    assert hour is not None
    stated = int(hour[1]) % 12 + (12 if hour[2] == "pm" else 0)
    _require(stated == moment.hour and _same_day(title, moment.date()), "title and end named different hours")
    _require(start in (None, opens), "start and end were not an hour apart")
    return Reading(settlement=HourCandle(), family="1h", asset=asset, opens_at=opens, closes_at=end)


def _noon(
    fields: Mapping[str, Any],
    text: str,
    title: str,
    labels: frozenset[str],
    asset: str,
    *,
    start: int | None,
    end: int,
) -> Reading:
    day = eastern(end).date()
    _require(noon(day) == end, "the end was not noon in New York")
    _require(_same_day(title, day), "title and end named different days")
    if labels == {"Up", "Down"}:
        before = day - timedelta(days=1)
        _require("50-50" in text and _rises(text, day, before), "which noon must be higher was not read")
        _require(start in (None, noon(before)), "the start was not noon of the day before")
        return Reading(settlement=NoonToNoon(), family="daily", asset=asset, opens_at=noon(before), closes_at=end)
    _require(labels == {"Yes", "No"}, "outcomes were neither Up and Down nor Yes and No")
    group = _words(fields, "groupItemTitle")
    began = start or end - 24 * HOUR_S * NANOS
    if "higher range bracket" in text:
        bracket = _bracket(title, group)
        return Reading(settlement=bracket, family="range", asset=asset, opens_at=began, closes_at=end)
    _require("higher than the price specified in the title" in text, "the relation to the strike was not read")
    _require(" above " in title, "title and text disagreed on the direction")
    strike = Above(strike=_one(title, group))
    return Reading(settlement=strike, family="above", asset=asset, opens_at=began, closes_at=end)


def _touch(text: str, title: str, group: str, labels: frozenset[str], asset: str, *, end: int) -> Reading:
    _require(labels == {"Yes", "No"}, "a level's market has outcomes Yes and No")
    found = {(match[1], match[2] in ("above", "greater than")) for match in _TOUCHED.finditer(text)}
    _require(len(found) == 1, "which price must reach the level was not read")
    (value, up) = found.pop()
    _require((value == "high") is up, "High or Low and the direction disagreed")
    _require(
        up is not (" dip " in title) and (up is (" reach " in title) or " hit " in title), "title and text disagreed"
    )
    _require(not group or "↑" not in group or up, "group title and text disagreed")
    _require(not group or "↓" not in group or not up, "group title and text disagreed")
    daily = "on the date specified in the title" in text or "on the date in the title" in text
    _require(daily and ("11:59 pm et" in text or "23:59 in the et timezone" in text), "the period was not read")
    day = eastern(end - 12 * HOUR_S * NANOS).date()
    opens, closes = midnight(day), midnight(day + timedelta(days=1))
    _require(abs(end - closes) <= 120 * NANOS, "the end was not midnight in New York")
    _require(_same_day(title, day), "title and end named different days")
    level = Touch(level=_one(title, group), up=up)
    return Reading(settlement=level, family="hit", asset=asset, opens_at=opens, closes_at=closes)


def _asset(text: str, fields: Mapping[str, Any]) -> str:
    source = _words(fields, "resolutionSource").lower()
    _require("binance" in text and (not source or "binance" in source), "the source was not one exchange")
    _require("chain.link" not in text + source and "chainlink" not in text, "an oracle and an exchange were named")
    config = fields.get("cryptoMarketConfig")
    _require(not (isinstance(config, Mapping) and config.get("twapEnabled") is True), "config and text disagreed")
    assets = {match[1] for match in _PAIR.finditer(f"{text} {source}")}
    _require(len(assets) == 1, "not exactly one pair was named")
    asset = assets.pop()
    _require(asset in NAMES, f"{asset} is no asset we know")
    title = _plain(_words(fields, "question") or _words(fields, "title"))
    _require(NAMES[asset] in title or asset in title.split(), "title and text named different assets")
    return asset


def _rises(text: str, day: date, before: date) -> bool:
    """Whether the first comparison says that `day`'s close must be the higher one for Up."""
    if not 0 <= text.find('"up"') < text.find('"down"'):
        return False
    rule = text[text.find('"up"') :]
    dates = [(MONTHS[m[1]], int(m[2])) for m in _DATE.finditer(rule)][:2]
    relation = re.search(r"\b(higher|lower) than\b", rule)
    if relation is None or len(dates) < 2:
        return False
    now, then = (day.month, day.day), (before.month, before.day)
    return dates == ([now, then] if relation[1] == "higher" else [then, now])


def _bracket(title: str, group: str) -> Between:
    amounts = _dollars(title)
    if "between" in title and len(amounts) == 2 and amounts[0] < amounts[1]:
        bracket = Between(low=amounts[0], high=amounts[1])
    elif len(amounts) == 1 and ("less than" in title or "below" in title):
        bracket = Between(low=None, high=amounts[0])
    elif len(amounts) == 1 and ("greater than" in title or "above" in title):
        bracket = Between(low=amounts[0], high=None)
    else:
        raise _Unclear("the range was not read")
    _agree(group, amounts)
    _require(not group or (group.strip()[0] == "<") is (bracket.low is None), "group title and title disagreed")
    _require(not group or (group.strip()[0] == ">") is (bracket.high is None), "group title and title disagreed")
    return bracket


def _one(title: str, group: str) -> float:
    amounts = _dollars(title)
    _require(len(amounts) == 1, "the title named no single price")
    _agree(group, amounts)
    return amounts[0]


def _agree(group: str, amounts: list[float]) -> None:
    stated = [_number(match) for match in _AMOUNT.finditer(group.lower())]
    _require(not group.strip() or stated == amounts, "title and group title named different prices")


def _dollars(text: str) -> list[float]:
    return [_number(match) for match in _DOLLARS.finditer(text)]


def _number(match: re.Match[str]) -> float:
    return float(match[1].replace(",", "")) * {"k": 1e3, "m": 1e6}.get(match[2] or "", 1.0)


def _same_day(title: str, day: date) -> bool:
    return [(MONTHS[m[1]], int(m[2])) for m in _DATE.finditer(title)] == [(day.month, day.day)]


def _plain(text: str) -> str:
    """Lower case, straight quotes, single blanks."""
    return " ".join(re.sub("[\u201c\u201d\u2033]", '"', text).lower().split())


def _words(fields: Mapping[str, Any], key: str) -> str:
    found = fields.get(key)
    return found if isinstance(found, str) else ""


def _nanos(moment: datetime) -> int:
    return int(moment.timestamp()) * NANOS


def _require(holds: bool, why: str) -> None:
    if not holds:
        raise _Unclear(why)
