"""Market objects of Gamma and the CLOB, strictly: what cannot be read is refused, what cannot be known is said so."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from pmarb.domain.fees import FREE, FeeSchedule
from pmarb.domain.market import MarketInfo, Outcome
from pmarb.domain.values import NANOS
from pmarb.venue import rules
from pmarb.venue.parse import ParseError, number, plain
from pmarb.venue.rules import Reading, template

EPOCH_SLUG: Final = re.compile(r"(?P<asset>[a-z0-9]{2,10})-updown-(?P<family>5m|15m|4h)-(?P<start>\d{9,11})")
WINDOW_S: Final = {"5m": 300, "15m": 900, "4h": 14_400}
"""Families whose slugs hold their start, with the seconds of a window."""
NAMED: Final = ("1h", "daily", "above", "range", "hit")
"""Families that are known by their rule's words."""
FAMILIES: Final = (*WINDOW_S, *NAMED)


def slug(*, asset: str, family: str, start: int) -> str:
    """The computed slug of an epoch family's window that starts at Unix second `start`."""
    return f"{asset}-updown-{family}-{start}"


def market(raw: bytes | str) -> MarketInfo:
    """A Gamma market object.

    Raises:
        ParseError: if it is not JSON or not a market we can read.
    """
    return market_from(plain(raw))


def market_from(body: object) -> MarketInfo:
    """The same from decoded JSON."""
    fields = _mapping(body, "market")
    name = _text(fields, "slug")
    outcomes = _outcomes(fields)
    description = _optional_text(fields, "description")
    reading = _reading(fields, name, description, frozenset(outcome.label for outcome in outcomes))
    return MarketInfo(
        slug=name,
        condition_id=_text(fields, "conditionId"),
        event=_event(fields) or name,
        outcomes=outcomes,
        fees=fees(fields),
        tick=_positive(fields, "orderPriceMinTickSize", below=Decimal(1)),
        min_size=_positive(fields, "orderMinSize", below=Decimal(10**6)),
        opens_at=reading.opens_at,
        closes_at=reading.closes_at,
        family=reading.family,
        underlying=reading.asset,
        settlement=reading.settlement,
        template=template(description, reading.asset),
        accepting=all(fields.get(flag) is True for flag in ("active", "acceptingOrders", "enableOrderBook")),
        closed=fields.get("closed") is True,
        neg_risk=fields.get("negRisk") is True,
        taker_delay=bool(fields.get("secondsDelay") or fields.get("takerDelay")),
        augmented=fields.get("negRiskOther") is True or _event_says(fields, "negRiskAugmented") is True,
        title=_optional_text(fields, "question"),
    )


def read_event(event: object, markets: list[MarketInfo], unread: dict[str, str]) -> None:
    """The markets of an event into `markets`; of those that cannot be read, why, into `unread`."""
    header = dict(_mapping(event, "event"))
    bodies = header.pop("markets", None)
    for body in bodies if isinstance(bodies, list) else []:
        try:
            markets.append(market_from({**_mapping(body, "market"), "events": [header]}))
        except ParseError as error:
            unread[str(body.get("slug", "?"))[:120] if isinstance(body, dict) else "?"] = str(error)


def fees(fields: Mapping[str, Any]) -> FeeSchedule | None:
    """The schedule: `feesEnabled` false is free, a paying market without a readable schedule is unknown (None)."""
    enabled = fields.get("feesEnabled")
    if enabled is False:
        return FREE
    found = fields.get("feeSchedule")
    if enabled is not True or not isinstance(found, Mapping):
        return None
    return _schedule(found.get("rate"), found.get("exponent", 1))


def _schedule(rate: object, exponent: object) -> FeeSchedule | None:
    try:
        return FeeSchedule(number(rate, "rate"), number(exponent, "exponent"))
    except ValueError:
        return None  # An unreadable schedule is an unknown fee, not a reason to miss the market's other news


def outcome_prices(body: object) -> dict[str, Decimal]:
    """Label -> price, as Gamma states it: 1 and 0 once the market is decided."""
    fields = _mapping(body, "market")
    labels, prices = _list(fields, "outcomes"), _list(fields, "outcomePrices")
    if len(labels) != len(prices):
        raise ParseError(f"outcomes and outcomePrices were {len(labels)} and {len(prices)} long")
    return {label: number(price, "outcome price") for label, price in zip(labels, prices, strict=True)}


def strikes(body: object) -> tuple[float | None, float | None]:
    """(priceToBeat, finalPrice) of `events[0].eventMetadata`, None where not stated."""
    events = _mapping(body, "market").get("events")
    found = (
        events[0].get("eventMetadata") if isinstance(events, list) and events and isinstance(events[0], dict) else None
    )
    if not isinstance(found, dict):
        return None, None
    return _maybe_price(found.get("priceToBeat")), _maybe_price(found.get("finalPrice"))


def confirmed(info: MarketInfo, raw: bytes | str) -> MarketInfo:
    """`info` checked against GET /clob-markets/{condition}: tokens must agree, its fee schedule is authoritative.

    Raises:
        ParseError: if the CLOB names other tokens, which means that one of the two is about something else.
    """
    fields = _mapping(plain(raw), "clob market")
    tokens = fields.get("t")
    if not isinstance(tokens, list):
        raise ParseError("clob market had no tokens")
    stated = {(_text(_mapping(item, "token"), "o"), _text(_mapping(item, "token"), "t")) for item in tokens}
    if stated != {(outcome.label, outcome.token) for outcome in info.outcomes}:
        raise ParseError(f"{info.slug}: gamma and clob named different tokens")
    return _with_clob(info, fields)


def _with_clob(info: MarketInfo, fields: Mapping[str, Any]) -> MarketInfo:
    details = fields.get("fd")
    schedule = _schedule(details.get("r"), details.get("e", 1)) if isinstance(details, Mapping) else info.fees
    if schedule is not None and info.fees is not None and schedule != info.fees:
        schedule = max(schedule, info.fees, key=lambda s: s.fee(shares=Decimal(1), price=Decimal("0.5")))
    tick = fields.get("mts")
    return replace(
        info,
        fees=schedule,
        tick=info.tick if tick is None else number(tick, "tick size"),
        taker_delay=info.taker_delay or fields.get("itode") is True,
    )


def _reading(fields: Mapping[str, Any], name: str, description: str, labels: frozenset[str]) -> Reading:
    """Family, window and rule. An epoch slug must agree with the stated times; other markets are known by words."""
    end = _moment(fields, "endDate")
    start = _moment(fields, "eventStartTime") if fields.get("eventStartTime") else None
    match = EPOCH_SLUG.fullmatch(name)
    if match is None:
        read = rules.exchange_rule(fields, description, labels, start=start, end=end)
        return read if read.family else replace(read, opens_at=start or end, closes_at=end)
    opens = int(match["start"]) * NANOS
    closes = opens + WINDOW_S[match["family"]] * NANOS
    if closes != end or start not in (None, opens):
        raise ParseError(f"{name}: the window of the slug and the stated times disagreed")
    return Reading(
        settlement=rules.oracle_rule(fields, description),
        family=match["family"],
        asset=match["asset"],
        opens_at=opens,
        closes_at=closes,
    )


def _outcomes(fields: Mapping[str, Any]) -> tuple[Outcome, ...]:
    labels, tokens = _list(fields, "outcomes"), _list(fields, "clobTokenIds")
    if len(labels) != len(tokens) or len(set(tokens)) != len(tokens) or len(set(labels)) != len(labels):
        raise ParseError(f"outcomes {labels!r:.80} and {len(tokens)} tokens did not pair")
    if not all(token.isdecimal() for token in tokens):
        raise ParseError("a token id was not a decimal number")
    return tuple(Outcome(label=label, token=token) for label, token in zip(labels, tokens, strict=True))


def _event(fields: Mapping[str, Any]) -> str:
    return str(_event_says(fields, "slug") or "")


def _event_says(fields: Mapping[str, Any], key: str) -> object:
    events = fields.get("events")
    if isinstance(events, list) and events and isinstance(events[0], dict):
        return events[0].get(key)
    return None


def _mapping(body: object, what: str) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise ParseError(f"{what} was {type(body).__name__}, not an object")
    return body


def _text(fields: Mapping[str, Any], key: str) -> str:
    found = fields.get(key)
    if not isinstance(found, str) or not found:
        raise ParseError(f"{key} was {found!r:.40}, not text")
    return found


def _optional_text(fields: Mapping[str, Any], key: str) -> str:
    found = fields.get(key)
    return found if isinstance(found, str) else ""


def _list(fields: Mapping[str, Any], key: str) -> list[str]:
    """A list of text, sent as JSON inside a string (Gamma) or plainly."""
    found = fields.get(key)
    if isinstance(found, str):
        found = plain(found)
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise ParseError(f"{key} was {found!r:.60}, not a list of text")
    return found


def _positive(fields: Mapping[str, Any], key: str, *, below: Decimal) -> Decimal:
    found = number(fields.get(key), key)
    if not 0 < found < below:
        raise ParseError(f"{key} was {found}")
    return found


def _moment(fields: Mapping[str, Any], key: str) -> int:
    text = _text(fields, key)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ParseError(f"{key} was {text[:40]!r}, not a time") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        return int(moment.timestamp()) * NANOS
    except (OverflowError, OSError, ValueError):
        raise ParseError(f"{key} was {text[:40]!r}, out of range") from None


def _maybe_price(value: object) -> float | None:
    if value is None:
        return None
    price = float(number(value, "strike"))
    return price if price > 0 else None
