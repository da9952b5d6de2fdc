"""Families of markets: names, times in New York, prices of the house, and answers."""

from array import array
from datetime import UTC, datetime

import pytest

from services.sandbox.book import Side
from services.sandbox.catalog import FAMILY_NAMES, families_named
from services.sandbox.clock import SECOND_NS
from services.sandbox.families import day_before, eastern, four_hours, noons
from services.sandbox.gamma import event_object, market_object
from services.sandbox.markets import Market
from services.sandbox.money import MICRO
from services.sandbox.orders import Order, OrderStatus, OrderType
from services.sandbox.scenario import SCENARIOS
from services.sandbox.terms import Rule
from services.sandbox.world import RunSettings, World

# 14 November 2026, 16:53:20 in New York.
ANCHOR_S = 1_794_693_200


class Town:
    """A world with chosen families and a clock set by hand."""

    def __init__(self, *families: str, anchor_s: int = ANCHOR_S) -> None:
        self.now_ns = anchor_s * SECOND_NS
        run = RunSettings(
            seed=5,
            scenario=SCENARIOS["instant"],
            speed=1.0,
            anchor_ns=self.now_ns,
            bankroll_usd=300,
            families=families or FAMILY_NAMES,
        )
        self.world = World(run)
        self.world.clock.now_ns = lambda: self.now_ns  # type: ignore[method-assign]
        self.world.settlement.step(self.now_ns)
        self.world.house.step(self.now_ns)

    def of(self, family: str) -> list[Market]:
        return [market for market in self.world.markets.by_slug.values() if market.terms.family == family]

    def go(self, second: int) -> None:
        self.now_ns = second * SECOND_NS
        self.world.settlement.step(self.now_ns)


@pytest.fixture(scope="module")
def town() -> Town:
    return Town()


def test_the_default_families_are_those_of_the_first_version():
    plain = Town("5m", "15m")
    assert len(plain.world.markets.live()) == 16
    with pytest.raises(KeyError):
        families_named(("5m", "weekly"))


@pytest.mark.parametrize(
    ("family", "slug"),
    [
        ("5m", "btc-updown-5m-1794693000"),
        ("4h", "btc-updown-4h-1794690000"),
        ("1h", "bitcoin-up-or-down-november-14-2026-4pm-et"),
        ("1h", "ethereum-up-or-down-november-14-2026-5pm-et"),
        ("daily", "bitcoin-up-or-down-on-november-15-2026"),
        ("above", "bitcoin-above-84k-on-november-15-2026"),
        ("range", "will-the-price-of-bitcoin-be-between-83000-84000-on-november-15-2026"),
        ("hit", "will-bitcoin-reach-86k-on-november-14-2026"),
        ("hit", "will-bitcoin-dip-to-82k-on-november-14-2026"),
        ("sports", "sbx-hares-tortoises-1794679200"),
    ],
)
def test_names_follow_the_venue(town, family, slug):
    assert slug in {market.slug for market in town.of(family)}


def test_hours_and_noons_follow_new_york_through_the_change_of_clocks():
    sunday = int(datetime(2026, 11, 1, 20, tzinfo=UTC).timestamp())
    noon = noons(sunday, count=1)[0]
    assert (eastern(noon).hour, eastern(noon).day) == (12, 2)
    assert noon - day_before(noon) == 24 * 3600
    assert noons(sunday, count=1)[0] - day_before(day_before(noon)) == 49 * 3600
    assert {eastern(start).hour for start in four_hours(sunday)} == {0, 4, 8, 12, 16, 20}
    assert four_hours(sunday)[2] - four_hours(sunday)[0] == 9 * 3600


def test_the_house_quotes_every_slow_market_near_its_value(town):
    for market in town.world.markets.live():
        # Fast windows move while the makers look, and so does a level that is being touched.
        if market.terms.family in ("5m", "15m") or market.decided_ns:
            continue
        bid, ask = market.best(0)
        value = town.world.values.fair(market, town.now_ns)
        assert bid is not None or ask is not None, market.slug
        middle = ((bid or 0) + (ask if ask is not None else MICRO)) / 2 / MICRO
        assert abs(middle - value) < 0.06, (market.slug, middle, value)


def test_exactly_one_range_and_one_candidate_wins(town):
    for family in ("range", "augmented"):
        markets = town.of(family)
        total = sum(town.world.values.fair(market, town.now_ns) for market in markets)
        assert total == pytest.approx(1)
        assert all(market.neg_risk for market in markets)
        assert len({market.terms.event_slug for market in markets}) == 1
    event = event_object(town.of("augmented"))
    assert (event["negRisk"], event["negRiskAugmented"], len(event["markets"])) == (True, True, 4)
    assert [market["negRiskOther"] for market in event["markets"]] == [False, False, False, True]


def test_a_ladder_falls_with_its_strikes(town):
    by_event: dict[str, list[Market]] = {}
    for market in town.of("above"):
        by_event.setdefault(market.terms.event_slug, []).append(market)
    assert len(by_event) == 2
    for markets in by_event.values():
        values = [town.world.values.fair(market, town.now_ns) for market in markets]
        assert values == sorted(values, reverse=True)


def test_every_fee_category_has_its_rate(town):
    rates = {market.terms.fee_type: str(market.fees.rate) for market in town.of("plain")}
    assert rates == {
        "sports_fees_v3": "0.05",
        "economics_fees": "0.05",
        "culture_fees": "0.05",
        "weather_fees": "0.05",
        "general_fees": "0.05",
        "finance_prices_fees": "0.04",
        "politics_fees": "0.04",
        "mentions_fees": "0.04",
        "tech_fees": "0.04",
        "zero_fees": "0",
    }
    free = next(market for market in town.of("plain") if market.terms.fee_type == "zero_fees")
    row = market_object(free, [free])
    assert (row["feesEnabled"], row["takerBaseFee"], row["outcomes"]) == (False, 0, '["Yes", "No"]')


def test_newer_ids_leave_their_middle_empty(town):
    market = town.of("positions")[0]
    assert market.is_position
    assert len(market.condition_id) == 64
    assert int(market.tokens[1]) - int(market.tokens[0]) == 1
    row = market_object(market, [market])
    assert (row["version"], row["positionIds"], "clobTokenIds" in row) == ("v2", list(market.tokens), False)
    assert not any(other.is_position for other in town.of("15m"))


def test_an_hour_settles_on_its_candle():
    town = Town("1h")
    market = min(town.of("1h"), key=lambda each: (each.start, each.slug))
    town.go(market.end + 400)
    assert market.closed
    ticker = "btcusdt" if market.slug.startswith("bitcoin") else "ethusdt"
    candle = town.world.spot.klines(ticker=ticker, interval="1h", start_ms=market.start * 1000, limit=1)[0]
    assert (market.price_to_beat, market.final_price) == (float(candle[1]), float(candle[4]))
    assert market.winner == int(float(candle[4]) < float(candle[1]))


def test_ladder_range_and_day_settle_on_one_minute_of_noon():
    noon = noons(ANCHOR_S, count=1)[0]
    town = Town("daily", "above", "range", anchor_s=noon - 600)
    ended = [market for market in town.world.markets.live() if market.end == noon]
    town.go(noon + 30)
    assert all(market.accepting for market in ended)
    town.go(noon + 3000)
    assert all(market.closed for market in ended)
    close = float(town.world.spot.klines(ticker="btcusdt", interval="1m", start_ms=noon * 1000, limit=1)[0][4])
    for market in ended:
        terms = market.terms
        if terms.rule is Rule.ABOVE and terms.low is not None:
            assert market.winner == int(close <= terms.low)
    assert sum(market.winner == 0 for market in ended if market.terms.rule is Rule.RANGE) == 1


def test_a_touch_decides_before_the_end():
    town = Town("hit")
    market = next(each for each in town.of("hit") if each.terms.rule is Rule.TOUCH_HIGH)
    path = town.world.paths["btc"]
    level = market.terms.high or 0.0
    path.span = lambda start_ns, end_ns: array("d", [level])  # type: ignore[method-assign]
    town.go(ANCHOR_S + 60)
    assert market.decided_ns
    assert town.world.values.fair(market, town.now_ns) == 1.0
    town.go(ANCHOR_S + 4000)
    assert (market.closed, market.winner) == (True, 0)
    assert market.closed_ns < market.end_ns


def test_an_equal_close_pays_both_sides_half():
    noon = noons(ANCHOR_S, count=1)[0]
    town = Town("daily", anchor_s=noon - 600)
    market = next(each for each in town.of("daily") if each.end == noon)
    town.world.values.final = lambda market: 84_000.0  # type: ignore[method-assign]
    town.world.values.reference = lambda market: 84_000.0  # type: ignore[method-assign]
    account = town.world.seeded[0]
    account.holding(market.tokens[0]).add(shares=3 * MICRO, cost=MICRO, fee=0, now_ns=1)
    before = account.cash
    town.go(noon + 3000)
    town.go(noon + 3100)
    assert (market.even, market.winner, account.cash - before) == (True, None, 3 * MICRO // 2)


def test_declared_outcomes_are_the_same_in_every_run_of_a_seed():
    answers = []
    for _ in range(2):
        town = Town("plain", "augmented")
        markets = [*town.of("plain"), *town.of("augmented")]
        end = markets[0].end
        town.go(end + 20_000)
        assert all(market.closed for market in markets)
        answers.append([market.winner for market in markets])
        assert sum(market.winner == 0 for market in town.of("augmented") if market.end == end) == 1
    assert answers[0] == answers[1]


def test_a_delayed_order_without_a_match_is_unmatched_and_rests(town):
    market = town.of("sports")[0]
    account, heard = town.world.seeded[0], []
    town.world.exchange.events.order_changed = lambda order, kind, reason="": heard.append((kind, str(order.status)))
    order = Order(
        id="0x1",
        account=account,
        api_key="key",
        market=market,
        outcome=0,
        side=Side.BUY,
        order_type=OrderType.GTC,
        post_only=False,
        maker_amount=MICRO // 10,
        taker_amount=10 * MICRO,
        price=MICRO // 100,
        expiration=0,
        created_ns=town.now_ns,
        stamped_ns=town.now_ns,
    )
    town.world.exchange.hold(order, delayed=True)
    assert town.world.exchange.cancel(account, order.id) is not None
    town.world.exchange.finish(order, delayed=True)
    assert heard == [("PLACEMENT", "DELAYED"), ("PLACEMENT", "LIVE"), ("UPDATE", "UNMATCHED")]
    assert (order.status, market.book.orders["0x1"].remaining) == (OrderStatus.LIVE, 10 * MICRO)
