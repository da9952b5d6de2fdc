"""The venue's frames and market objects, as recorded and as they must not be."""

import json
from decimal import Decimal
from typing import Any

import pytest

from pmarb.domain.fees import FREE, FeeSchedule
from pmarb.domain.market import SpotTick, Twap, Unknown
from pmarb.venue import gamma, parse, rules
from pmarb.venue.books import LocalBook, MirrorBook
from tests.scanning import DOWN_TOKEN, SHARED, START, UP_TOKEN, a_book, a_market, gamma_object

PAYLOADS = SHARED / "payloads"


def payload(name: str) -> bytes:
    path = PAYLOADS / name
    if not path.exists():
        pytest.skip(f"recorded payloads are not beside the project: {name}")
    return path.read_bytes()


def test_a_book_is_turned_best_first() -> None:
    frame = parse.frames(payload("nautilus_trader/test_data/ws_market_book_msg.json"))[0]
    assert isinstance(frame, parse.BookFrame)
    local = LocalBook(frame.asset_id)
    local.snapshot(frame, ts_init=5)
    book = local.book()
    assert [level.price for level in book.bids] == sorted((level.price for level in book.bids), reverse=True)
    assert [level.price for level in book.asks] == sorted(level.price for level in book.asks)
    assert book.ts_init == 5
    assert book.ts_event == parse.milliseconds(frame.timestamp)


def test_recorded_frames_of_every_type_are_read() -> None:
    raw = payload("promt-backtest/clob_market_ws.jsonl")
    kinds = [type(parse.frames(line)[0]) for line in raw.splitlines()]
    assert kinds == [parse.PriceChangeFrame, parse.BestBidAskFrame, parse.LastTradeFrame]
    ticks = [parse.rtds(line) for line in payload("promt-backtest/rtds_crypto_prices.jsonl").splitlines()]
    assert [tick[0].source for tick in ticks if tick] == ["relayed_spot", "oracle", "twap_60"]
    assert ticks[1][0].price == pytest.approx(118.18190351039499)


def test_a_recorded_twap_market_is_read() -> None:
    event = json.loads(payload("promt-backtest/gamma_event_btc_15m_resolved.json"))
    market = gamma.market_from(event["markets"][0])
    assert market.settlement == Twap(lookback=60)
    assert market.fees == FeeSchedule(Decimal("0.07"))
    assert (market.underlying, market.family, market.closed) == ("btc", "15m", True)
    assert gamma.outcome_prices(event["markets"][0]) == {"Up": Decimal(1), "Down": Decimal(0)}


@pytest.mark.parametrize(
    ("changes", "fees"),
    [
        ({"feesEnabled": False, "feeSchedule": None}, FREE),
        ({"feeSchedule": None}, None),
        ({"feesEnabled": None}, None),
        ({"feeSchedule": {"rate": "nan"}}, None),
        ({"feeSchedule": {"rate": 0.25, "exponent": 2}}, FeeSchedule(Decimal("0.25"), Decimal(2))),
    ],
)
def test_an_unreadable_fee_is_unknown_never_free(changes: dict[str, Any], fees: FeeSchedule | None) -> None:
    assert gamma.market_from(gamma_object(a_market(), **changes)).fees == fees


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({}, Twap),
        ({"cryptoMarketConfig": None}, Twap),
        ({"cryptoMarketConfig": None, "resolutionSource": "https://data.chain.link/streams/btc-usd"}, SpotTick),
        ({"resolutionSource": "https://data.chain.link/streams/btc-usd"}, Unknown),
        ({"resolutionSource": "https://data.chain.link/streams/btc-usd-twap-30s-streams"}, Unknown),
        ({"cryptoMarketConfig": {"twapEnabled": True, "twapLookbackSeconds": "60"}}, Unknown),
        ({"cryptoMarketConfig": None, "resolutionSource": "https://www.binance.com/en/trade/BTC_USDT"}, Unknown),
    ],
)
def test_contradicting_rules_are_unknown(changes: dict[str, Any], rule: type) -> None:
    assert isinstance(gamma.market_from(gamma_object(a_market(), **changes)).settlement, rule)


def test_the_template_is_the_same_for_every_asset() -> None:
    text = "Bitcoin above BTC/USD at https://x/streams/btc-usd"
    assert rules.template(text, "btc") == rules.template("Ethereum above ETH/USD at https://x/streams/eth-usd", "eth")
    assert rules.template(text + "!", "btc") != rules.template(text, "btc")
    assert rules.template(" ", "btc") == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"endDate": "2026-01-01T00:00:00Z"},
        {"clobTokenIds": '["1"]'},
        {"clobTokenIds": '["1", "1"]'},
        {"outcomes": "not json"},
        {"conditionId": 7},
        {"orderPriceMinTickSize": 0},
        {"orderPriceMinTickSize": True},
        {"endDate": "soon"},
    ],
)
def test_a_market_that_does_not_add_up_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(parse.ParseError):
        gamma.market_from(gamma_object(a_market(), **changes))


def test_the_clob_must_name_the_same_tokens() -> None:
    info = a_market()
    same = {"t": [{"t": DOWN_TOKEN, "o": "Down"}, {"t": UP_TOKEN, "o": "Up"}], "fd": {"r": 0.07, "e": 1}, "itode": True}
    assert gamma.confirmed(info, json.dumps(same)).taker_delay
    swapped = {"t": [{"t": DOWN_TOKEN, "o": "Up"}, {"t": UP_TOKEN, "o": "Down"}]}
    with pytest.raises(parse.ParseError, match="different tokens"):
        gamma.confirmed(info, json.dumps(swapped))


def test_of_two_fee_schedules_the_dearer_counts() -> None:
    details = {"t": [{"t": UP_TOKEN, "o": "Up"}, {"t": DOWN_TOKEN, "o": "Down"}], "fd": {"r": 0.03, "e": 1}}
    assert gamma.confirmed(a_market(), json.dumps(details)).fees == FeeSchedule(Decimal("0.07"))
    assert gamma.confirmed(a_market(fees=None), json.dumps(details)).fees == FeeSchedule(Decimal("0.03"))


@pytest.mark.parametrize("side", ["HOLD", "buy", "", 1])
def test_a_side_that_is_none_is_refused_and_not_taken_for_an_offer(side: object) -> None:
    change = {"asset_id": "1", "price": "0.5", "size": "3", "side": side}
    with pytest.raises(parse.ParseError, match="side"):
        parse.frames(json.dumps({"event_type": "price_change", "timestamp": 1, "price_changes": [change]}))


def test_changes_keep_the_top_and_disagreement_shows() -> None:
    book = a_book("1", bid="0.49", ask="0.50")
    book.change(parse.WireChange(asset_id="1", side="BUY", price=".495", size="3"))
    book.change(parse.WireChange(asset_id="1", side="SELL", price="0.5", size="0"))
    book.change(parse.WireChange(asset_id="2", side="SELL", price="0.5", size="8"))
    book.changed(digest="h", ts_event=9, ts_init=9)
    assert (book.bid, book.ask) == (0.495, 1.0)
    assert book.agrees("0.495", "1")
    assert not book.agrees("0.49", "1")
    assert book.book().hash == "h"


def test_a_change_older_than_a_rest_snapshot_is_passed_over() -> None:
    book = a_book("1", bid="0.49", ask="0.50", at=1_000_000_000)
    book.rest_snapshot(parse.BookFrame(asset_id="1", bids=[], asks=[], timestamp=5000), ts_init=1)
    assert book.outdated(4_999_000_000)
    assert not book.snapshot(parse.BookFrame(asset_id="1", bids=[], asks=[], timestamp=4000), ts_init=1)


def test_a_rest_snapshot_that_the_stream_has_overtaken_changes_nothing() -> None:
    book = a_book("1", bid="0.49", ask="0.50", at=1_000_000_000)
    book.change(parse.WireChange(asset_id="1", side="BUY", price="0.48", size="3"))
    book.changed(digest="h", ts_event=6_000_000_000, ts_init=9)
    assert not book.rest_snapshot(parse.BookFrame(asset_id="1", bids=[], asks=[], timestamp=5999), ts_init=1)
    assert (book.bid, book.hash) == (0.49, "h")
    assert book.rest_snapshot(parse.BookFrame(asset_id="1", bids=[], asks=[], timestamp=6000), ts_init=1)
    assert book.bid == 0.0


def test_a_mirrored_book_is_the_other_side() -> None:
    other = a_book("2", bid="0.30", ask="0.34", size="7")
    mirrored = MirrorBook("1", other).book()
    assert mirrored.best_bid is not None
    assert mirrored.best_ask is not None
    assert (mirrored.best_bid.price, mirrored.best_ask.price, mirrored.token) == (Decimal("0.66"), Decimal("0.70"), "1")


def test_values_that_contradict_each_other_are_refused() -> None:
    payload = {"symbol": "btc/usd", "timestamp": 1, "value": 84000.0, "full_accuracy_value": "83000000000000000000000"}
    with pytest.raises(parse.ParseError, match="disagreed"):
        parse.rtds(json.dumps({"topic": "crypto_prices_chainlink", "type": "update", "payload": payload}))


def test_a_subscription_is_answered_with_history() -> None:
    points = [{"timestamp": 1000 * second, "value": 84000 + second} for second in range(3)]
    raw = json.dumps({"topic": "crypto_prices_chainlink", "payload": {"symbol": "btc/usd", "data": points}})
    assert [tick.ts_event for tick in parse.rtds(raw)] == [0, 10**9, 2 * 10**9]


def test_spot_frames_are_read_bare_and_wrapped() -> None:
    trade = {"e": "trade", "E": START * 1000, "s": "BTCUSDT", "p": "84000.10", "q": "1", "T": START * 1000}
    for raw in (json.dumps(trade), json.dumps({"stream": "btcusdt@trade", "data": trade})):
        tick = parse.spot(raw)
        assert tick is not None
        assert (tick.asset, tick.price, tick.ts_event) == ("btc", 84000.10, START * 10**9)
    quote = parse.spot('{"u":1,"s":"ETHUSDT","b":"2900.00","B":"1","a":"2900.10","A":"1"}')
    assert quote is not None
    assert quote.price == pytest.approx(2900.05)
    assert parse.spot('{"result":null,"id":1}') is None
