"""Which rule decides a market: the venue's own words, their contradictions, and New York's clock."""

import json
from datetime import date
from typing import Any

import pytest

from pmarb.domain.market import Above, Between, HourCandle, MarketInfo, NoonToNoon, Settlement, Touch, Unknown
from pmarb.domain.values import NANOS
from pmarb.venue import gamma, rules
from services.sandbox import wording
from services.sandbox.families import eastern
from services.sandbox.gamma import bare_market
from services.sandbox.markets import Markets
from services.sandbox.prices import ASSETS
from tests.scanning import SHARED

WINTER_NOON, SUMMER_NOON = rules.noon(date(2026, 11, 26)), rules.noon(date(2026, 7, 2))
ABOVE_TEXT = (
    'This market will resolve to "Yes" if the Binance 1 minute candle for BTC/USDT 12:00 in the ET timezone (noon) on '
    'the date specified in the title has a final "Close" price higher than the price specified in the title. Otherwise,'
    ' this market will resolve to "No". The resolution source for this market is Binance, specifically the BTC/USDT '
    '"Close" prices currently available at https://www.binance.com/en/trade/BTC_USDT'
)
DAILY_TEXT = (
    'This market will resolve to "Up" if the "Close" price for the Binance 1 minute candle for BTC/USDT Nov 25 \'26 '
    '12:00 in the ET timezone (noon) is lower than the final "Close" price for the Nov 26 \'26 12:00 ET candle. This '
    'market will resolve to "Down" if the "Close" price for the Binance 1 minute candle for BTC/USDT Nov 25 \'26 12:00 '
    'in the ET timezone (noon) is higher than the final "Close" price for the Nov 26 \'26 12:00 ET candle. If the '
    'final "Close" price for both of these candles is exactly equal on Binance, this market will resolve 50-50.'
)
TOUCH_TEXT = (
    'This market will immediately resolve to "Yes" if any Binance 1 minute candle for Bitcoin (BTC/USDT) on the date '
    'specified in the title, between 12:00 AM ET and 11:59 PM ET has a final "Low" price equal to or lower than the '
    'price specified in the title. Otherwise, this market will resolve to "No".'
)


def a_body(text: str, question: str, *, labels: tuple[str, str] = ("Yes", "No"), **changes: Any) -> dict[str, Any]:
    body = {
        "slug": "some-market",
        "conditionId": "0xc",
        "question": question,
        "description": text,
        "resolutionSource": "https://www.binance.com/en/trade/BTC_USDT",
        "outcomes": json.dumps(list(labels)),
        "clobTokenIds": '["11", "12"]',
        "orderPriceMinTickSize": 0.01,
        "orderMinSize": 5,
        "endDate": "2026-11-26T17:00:00Z",
        "feesEnabled": False,
    }
    return body | changes


def read(*arguments: Any, **changes: Any) -> MarketInfo:
    return gamma.market_from(a_body(*arguments, **changes))


def why(*arguments: Any, **changes: Any) -> str:
    settlement = read(*arguments, **changes).settlement
    assert isinstance(settlement, Unknown)
    return settlement.why


def test_a_strike_is_read_from_the_venues_own_words() -> None:
    market = read(ABOVE_TEXT, "Will the price of Bitcoin be above $64,000 on November 26?", groupItemTitle="64,000")
    assert (market.family, market.underlying, market.settlement) == ("above", "btc", Above(strike=64_000))
    assert market.closes_at == WINTER_NOON
    assert market.decided_at == market.closes_at + 60 * NANOS
    short = read(ABOVE_TEXT, "Will the price of Bitcoin be above $64k on November 26?")
    assert short.settlement == market.settlement


def test_a_recorded_ladder_is_read_whole() -> None:
    path = SHARED / "payloads" / "nautilus_trader" / "test_data" / "search_response.json"
    if not path.exists():
        pytest.skip("the recorded search reply is not here")
    bodies = [body for event in json.loads(path.read_text())["events"] for body in event["markets"]]
    found = [gamma.market_from(body) for body in bodies if "12:00 in the ET timezone" in body["description"]]
    assert found
    assert all(isinstance(market.settlement, Above) and market.family == "above" for market in found)
    assert all(rules.eastern(market.closes_at).hour == 12 for market in found)


def test_the_daily_rule_is_read_in_both_of_its_wordings() -> None:
    title, labels = "Bitcoin Up or Down on November 26?", ("Up", "Down")
    market = read(DAILY_TEXT, title, labels=labels)
    assert (market.family, market.settlement) == ("daily", NoonToNoon())
    assert market.opens_at == rules.noon(date(2026, 11, 25))
    ours = read(wording.noon_to_noon(ASSETS["btc"], eastern(WINTER_NOON // NANOS)), title, labels=labels)
    assert (ours.settlement, ours.opens_at) == (NoonToNoon(), market.opens_at)
    swapped = DAILY_TEXT.replace("is lower than", "is #").replace("is higher than", "is lower than")
    assert "which noon" in why(swapped.replace("is #", "is higher than"), title, labels=labels)


def test_a_level_is_read_with_its_direction_and_its_day() -> None:
    end = "2026-11-27T05:00:00Z"
    market = read(TOUCH_TEXT, "Will Bitcoin dip to $67,000 on November 26?", endDate=end, groupItemTitle="↓ 67,000")
    assert market.settlement == Touch(level=67_000, up=False)
    assert (market.opens_at, market.closes_at) == (
        rules.midnight(date(2026, 11, 26)),
        rules.midnight(date(2026, 11, 27)),
    )
    for text, title, group in (
        (TOUCH_TEXT, "Will Bitcoin reach $67,000 on November 26?", ""),
        (TOUCH_TEXT, "Will Bitcoin dip to $67,000 on November 26?", "↑ 67,000"),
        (TOUCH_TEXT, "Will Bitcoin dip to $67,000 on November 26?", "↓ 68,000"),
        (TOUCH_TEXT, "Will Bitcoin dip to $67,000 on November 25?", ""),
        (TOUCH_TEXT.replace("equal to or lower", "equal to or greater"), "Will Bitcoin dip to $67,000?", ""),
        (
            TOUCH_TEXT.replace("on the date specified in the title", "during the month in the title"),
            "dip to $67,000",
            "",
        ),
    ):
        assert why(text, title, endDate=end, groupItemTitle=group)


@pytest.mark.parametrize(
    "changes",
    [
        {"resolutionSource": "https://data.chain.link/streams/btc-usd"},
        {"resolutionSource": "https://www.binance.com/en/trade/ETH_USDT"},
        {"endDate": "2026-11-26T16:00:00Z"},
        {"endDate": "2026-11-27T17:00:00Z"},
        {"groupItemTitle": "65,000"},
        {"question": "Will the price of Ethereum be above $64,000 on November 26?"},
        {"question": "Will the price of Bitcoin be below $64,000 on November 26?"},
        {"question": "Will the price of Bitcoin be above $64,000 or $65,000 on November 26?"},
        {"description": ABOVE_TEXT.replace("higher than", "at least")},
        {"description": ABOVE_TEXT + " The source may also be Chainlink."},
        {"description": "Something else entirely, according to Binance BTC/USDT."},
        {"cryptoMarketConfig": {"twapEnabled": True, "twapLookbackSeconds": 60}},
    ],
)
def test_what_contradicts_itself_is_unknown(changes: dict[str, Any]) -> None:
    body = a_body(ABOVE_TEXT, "Will the price of Bitcoin be above $64,000 on November 26?", groupItemTitle="64,000")
    market = gamma.market_from(body | changes)
    assert isinstance(market.settlement, Unknown)
    assert market.family == ""


def test_new_yorks_noon_moves_with_its_clock() -> None:
    assert WINTER_NOON % (86_400 * NANOS) == 17 * 3600 * NANOS
    assert SUMMER_NOON % (86_400 * NANOS) == 16 * 3600 * NANOS
    assert rules.noon(date(2026, 11, 1)) - rules.noon(date(2026, 10, 31)) == 25 * 3600 * NANOS


def sandbox_markets() -> list[tuple[Any, MarketInfo]]:
    """Every market of the rule families as the sandbox would announce it, and how we read it."""
    now_s = WINTER_NOON // NANOS - 5 * 3600
    markets = Markets(seed=1, families=("1h", "daily", "above", "range", "hit"))
    markets.roll(now_ns=now_s * NANOS, spot=lambda _code, _second: 84_123.0)
    return [(market.terms, gamma.market_from(bare_market(market))) for market in markets.live()]


def expected(terms: Any) -> Settlement:
    match terms.family:
        case "1h":
            return HourCandle()
        case "daily":
            return NoonToNoon()
        case "above":
            return Above(strike=terms.low)
        case "range":
            return Between(low=terms.low, high=terms.high)
        case _:
            return Touch(level=terms.high or terms.low, up=terms.high is not None)


def test_every_rule_of_the_sandbox_is_read() -> None:
    seen = sandbox_markets()
    assert {terms.family for terms, _ in seen} == {"1h", "daily", "above", "range", "hit"}
    for terms, market in seen:
        assert (market.family, market.settlement) == (terms.family, expected(terms)), market.title
        assert market.underlying == terms.asset.code
        assert market.closes_at == terms.end * NANOS
        if terms.family in ("1h", "daily", "hit"):
            assert market.opens_at == terms.start * NANOS


def test_a_template_is_the_same_for_every_day_and_asset_of_a_family() -> None:
    hashes: dict[str, set[str]] = {}
    for terms, market in sandbox_markets():
        direction = isinstance(market.settlement, Touch) and market.settlement.up
        hashes.setdefault(f"{terms.family}{direction}", set()).add(market.template)
    assert all(len(found) == 1 for found in hashes.values())
    assert len({next(iter(found)) for found in hashes.values()}) == len(hashes) == 6
