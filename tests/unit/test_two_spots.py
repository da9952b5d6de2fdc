"""Two exchanges for one price: the second checks the first and stands in for it; holes are filled afterwards."""

import math

import pytest

from pmarb.domain.fair import DEFAULT_MODEL, Fair
from pmarb.domain.market import HourCandle, SpotTick
from pmarb.domain.underlying import SPOT_SILENT, Stamp, Underlying
from pmarb.domain.updown import fair_value
from pmarb.domain.values import NANOS
from pmarb.venue import coinbase, polybolt
from pmarb.venue.parse import ParseError, PriceTick
from services.scanner.decide import Skip, SkipReason, find
from tests.scanning import START, a_watched, an_underlying, limits, walk_of

MS = 1_000_000
NOW = (START + 100) * NANOS
TETHER = 4e-4


def at(second: float) -> Stamp:
    nanos = int(second * NANOS)
    return Stamp(ts_event=nanos, ts_init=nanos, real=nanos)


def two_spots(*, now: int = NOW) -> Underlying:
    """Warm, and the second exchange 4 bp above the first for as long as anyone remembers."""
    underlying = an_underlying(now=now)
    second = now // NANOS
    assert underlying.price is not None
    for ago in range(40, -1, -1):
        price = underlying.seconds.at(second - ago) or underlying.price
        underlying.on_spot(price, second=second - ago, stamp=at(second - ago))
        underlying.on_other_spot(price * math.exp(TETHER), second=second - ago, stamp=at(second - ago))
    return underlying


def test_the_usual_distance_is_no_disagreement() -> None:
    assert two_spots().disagreement(real=NOW) == pytest.approx(0.0, abs=1e-9)


def test_two_spots_that_disagree_price_nothing_and_are_counted() -> None:
    underlying = two_spots()
    assert underlying.price is not None
    stamp = at(NOW / NANOS + 0.1)
    underlying.on_other_spot(underlying.price * math.exp(TETHER + 12e-4), second=NOW // NANOS, stamp=stamp)
    assert underlying.disagreement(real=NOW) == pytest.approx(12e-4, rel=0.02)
    watched = a_watched(proven=NOW, settlement=SpotTick())
    watched.stated_strike = underlying.price
    found = find(watched, underlying, limits(), now=NOW, real=NOW)
    assert isinstance(found, Skip)
    assert found.reason is SkipReason.SPOT_DISPUTED
    old = NOW + SPOT_SILENT + 200 * MS  # Nobody disagrees with a price that is no more than old
    assert underlying.disagreement(real=old) == 0.0


def test_the_second_stands_in_for_a_silent_first_moved_by_their_distance_and_less_certain() -> None:
    underlying = two_spots()
    watched = a_watched(proven=NOW, settlement=SpotTick())
    strike = underlying.price
    assert strike is not None
    before = fair_value(watched.market, underlying, DEFAULT_MODEL, now=NOW, real=NOW, stated_strike=strike)
    later = NOW + 2 * NANOS
    underlying.on_other_spot(strike * math.exp(TETHER + 5e-4), second=later // NANOS, stamp=at(later / NANOS))
    assert underlying.standing_in
    assert underlying.price == pytest.approx(strike * math.exp(5e-4), rel=1e-6)
    assert underlying.spot_stamp.real == later
    after = fair_value(watched.market, underlying, DEFAULT_MODEL, now=later, real=later, stated_strike=strike)
    assert isinstance(before, Fair)
    assert isinstance(after, Fair)
    assert after.up > before.up
    assert after.se_price > before.se_price
    underlying.on_spot(strike, second=later // NANOS, stamp=at(later / NANOS + 0.1))
    assert not underlying.standing_in


def test_nobody_stands_in_where_the_first_exchange_settles() -> None:
    underlying = two_spots()
    assert underlying.price is not None
    later = NOW + 4 * NANOS
    underlying.on_other_spot(underlying.price, second=later // NANOS, stamp=at(later / NANOS))
    watched = a_watched(proven=later, settlement=HourCandle(), family="1h")
    watched.stated_strike = underlying.price
    found = find(watched, underlying, limits(), now=later, real=later)
    assert isinstance(found, Skip)
    assert found.reason is SkipReason.STALE_SPOT


def test_a_distance_that_is_not_known_yet_neither_checks_nor_stands_in() -> None:
    underlying = an_underlying(now=NOW)
    price = underlying.price
    assert price is not None
    underlying.on_other_spot(2 * price, second=NOW // NANOS, stamp=at(NOW / NANOS))
    assert underlying.disagreement(real=NOW) == 0.0
    underlying.on_other_spot(2 * price, second=NOW // NANOS + 9, stamp=at(NOW / NANOS + 9))
    assert (underlying.price, underlying.standing_in) == (price, False)


def test_a_refilled_hole_leaves_the_volatility_of_one_who_saw_everything() -> None:
    seconds = 4000
    prices = walk_of(3, start=START, seconds=seconds)
    prices = [price * (1.002 if n >= 3050 else 1.0) for n, price in enumerate(prices)]  # 20 bp inside the hole
    seen, holed, blind = Underlying("btc"), Underlying("btc"), Underlying("btc")
    for n, price in enumerate(prices):
        seen.put_spot(START + n, price)
        if not 3000 <= n < 3100:
            holed.put_spot(START + n, price)
            blind.put_spot(START + n, price)
        if n == 3110:  # The answer comes while newer trades do
            holed.refill([(START + m, prices[m]) for m in range(2999, 3100)])
    for horizon in (300.0, 3600.0):
        assert holed.sigma(horizon) == seen.sigma(horizon)
        assert blind.sigma(horizon) != seen.sigma(horizon)
    assert holed.seconds.mean(START + 3000, START + 3100) == seen.seconds.mean(START + 3000, START + 3100)
    assert blind.seconds.mean(START + 3000, START + 3100) is None


def test_a_second_hole_before_the_first_is_refilled_is_not_forgotten() -> None:
    prices = walk_of(3, start=START, seconds=4000)
    prices = [price * (1.002 if n >= 3080 else 1.0) for n, price in enumerate(prices)]  # 20 bp inside the second hole
    seen, holed = Underlying("btc"), Underlying("btc")
    for n, price in enumerate(prices):
        seen.put_spot(START + n, price)
        if not (3000 <= n < 3050 or 3060 <= n < 3100):
            holed.put_spot(START + n, price)
        if n == 3105:
            holed.refill([(START + m, prices[m]) for m in range(2999, 3050)])
        if n == 3110:
            holed.refill([(START + m, prices[m]) for m in range(3059, 3100)])
    assert holed.sigma(300.0) == seen.sigma(300.0)


def test_coinbase_speaks() -> None:
    match = b"""{"type":"last_match","trade_id":7,"maker_order_id":"m","taker_order_id":"t","side":"sell",
        "size":"0.1","price":"84000.50","product_id":"BTC-USD","sequence":9,"time":"2026-11-22T10:00:00.123456Z"}"""
    tick = coinbase.frame(match)
    assert isinstance(tick, PriceTick)
    assert (tick.asset, tick.price, tick.trade) == ("btc", 84000.5, 7)
    assert tick.ts_event % NANOS == 123_456_000
    beat = coinbase.frame(
        b'{"type":"heartbeat","sequence":1,"last_trade_id":7,"product_id":"ETH-USD","time":"2026-11-22T10:00:01Z"}'
    )
    assert isinstance(beat, coinbase.Beat)
    assert (beat.asset, beat.last_trade) == ("eth", 7)
    assert coinbase.frame(b'{"type":"subscriptions","channels":[]}') is None
    for wrong in (
        b"[]",
        match.replace(b"84000.50", b"-1"),
        match.replace(b"Z", b""),
        match.replace(b"2026-11-22T10", b"yesterday"),
    ):
        with pytest.raises(ParseError):
            coinbase.frame(wrong)
    with pytest.raises(coinbase.Refused, match="X is not valid"):
        coinbase.frame(b'{"type":"error","message":"Failed to subscribe","reason":"X is not valid"}')


def test_polybolt_speaks() -> None:
    tick = b"""{"v":1,"channel":"price.crypto.twap","seq":4,"ts":1,"dropped":2,"payload":{"symbol":"btcusd","value":1.5,
        "full_accuracy_value":"1.50000000001","timestamp":1795000000000,"source":"chainlink","window_seconds":60}}"""
    found = polybolt.frame(tick)
    assert isinstance(found, polybolt.Averages)
    assert (found.asset, found.seq, found.lost, found.snapshot) == ("btc", 4, 2, False)
    assert found.ticks[0].price == 1.50000000001
    assert polybolt.frame(tick.replace(b'"chainlink"', b'"pyth"')) is None
    assert polybolt.frame(tick.replace(b'"window_seconds":60', b'"window_seconds":30')) is None
    assert polybolt.frame(b'{"op":"error","code":"auth_invalid"}') == polybolt.Answer("error", "auth_invalid")
    with pytest.raises(ParseError):
        polybolt.frame(tick.replace(b'"1.50000000001"', b'"nan"'))
