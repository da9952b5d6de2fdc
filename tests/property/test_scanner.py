"""What the scanner may and may never emit."""

from collections import Counter
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmarb.clock import ManualClock
from pmarb.domain.edge import max_buy_price, net_edge
from pmarb.domain.fees import FeeSchedule
from pmarb.domain.market import Above, HourCandle, Outcome, SpotTick, Touch, Unknown
from pmarb.domain.messages import Opportunity
from pmarb.domain.underlying import SecondPrices, Stamp
from pmarb.domain.values import NANOS
from pmarb.venue.parse import PriceTick, Source, WireChange
from services.scanner.board import Board
from services.scanner.decide import Cooldown, Skip, SkipReason, find
from services.scanner.explain import explained
from services.scanner.sharing import Claims, owner
from tests.scanning import DOWN_TOKEN, START, UP_TOKEN, a_book, a_market, a_watched, an_underlying, limits

NOW = (START + 150) * NANOS
RISEN = 0.002
FINER = {SkipReason.NEAR_TIE, SkipReason.PRICE_BAND, SkipReason.EDGE_TOO_THIN, SkipReason.DEPTH_TOO_THIN}


def reason(watched: Any, underlying: Any = None, *, now: int = NOW, **changed: Any) -> SkipReason | None:
    found = find(watched, underlying or an_underlying(now=NOW), limits(**changed), now=now, real=now)
    return found.reason if isinstance(found, Skip) else None


@given(
    bid=st.integers(1, 97),
    spread=st.integers(1, 4),
    size=st.integers(1, 200),
    seed=st.integers(0, 20),
    jump=st.floats(-0.002, 0.002),
    rate=st.sampled_from(["0", "0.04", "0.07", "0.25"]),
)
def test_what_is_emitted_beats_its_threshold_up_to_its_limit(
    bid: int, spread: int, size: int, seed: int, jump: float, rate: str
) -> None:
    low, high = Decimal(bid) / 100, Decimal(bid + spread) / 100
    fees = FeeSchedule(Decimal(rate))
    watched = a_watched(bid=str(low), ask=str(min(high, Decimal("0.99"))), size=str(size), proven=NOW, fees=fees)
    found = find(watched, an_underlying(now=NOW, seed=seed, jump=jump), limits(), now=NOW, real=NOW)
    if isinstance(found, Skip):
        return
    leg = found.legs[0]
    assert found.net_edge >= found.threshold >= Decimal("0.02")
    assert found.threshold >= 2 * found.fair_se - Decimal("0.00001")
    assert net_edge(side=leg.side, fair=found.fair, price=leg.limit, fees=fees) >= found.threshold
    assert leg.price <= leg.limit
    ceiling = max_buy_price(fair=found.fair, min_edge=found.threshold, fees=fees, tick=leg.tick)
    best = (watched.up if leg.outcome == "Up" else watched.down).book().asks[0].price
    assert ceiling is not None
    assert leg.limit == min(ceiling, best + leg.tick)
    assert leg.limit % leg.tick == 0
    assert leg.shares >= 5
    assert found.gross_edge - found.fee == found.net_edge
    assert found.expires_at > found.ts_init
    assert Decimal("0.05") <= leg.price <= Decimal("0.96")


def test_a_late_maker_is_found_on_either_side() -> None:
    up = find(a_watched(proven=NOW), an_underlying(now=NOW, jump=0.002), limits(), now=NOW, real=NOW)
    down = find(a_watched(proven=NOW), an_underlying(now=NOW, jump=-0.002), limits(), now=NOW, real=NOW)
    assert isinstance(up, Opportunity)
    assert isinstance(down, Opportunity)
    assert (up.legs[0].outcome, up.legs[0].token) == ("Up", UP_TOKEN)
    assert (down.legs[0].outcome, down.legs[0].token) == ("Down", DOWN_TOKEN)
    assert set(up.inputs) >= {"spot", "strike", "basis_bps", "sigma_bps", "tau_s", "p_model", "se", "mid", "w", "nu"}


def test_the_same_inputs_give_the_same_identity() -> None:
    found = [
        find(a_watched(proven=NOW), an_underlying(now=NOW, jump=RISEN), limits(), now=NOW, real=NOW) for _ in range(3)
    ]
    assert len({one.opportunity_id for one in found if isinstance(one, Opportunity)}) == 1


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"fees": None}, SkipReason.UNKNOWN_FEE),
        ({"settlement": Unknown(why="?")}, SkipReason.UNKNOWN_RULE),
        ({"accepting": False}, SkipReason.NOT_ACCEPTING),
        ({"closed": True}, SkipReason.NOT_ACCEPTING),
    ],
)
def test_a_barred_market_is_never_emitted(changes: dict[str, Any], expected: SkipReason) -> None:
    assert reason(a_watched(proven=NOW, **changes), an_underlying(now=NOW, jump=RISEN)) is expected


def test_an_unread_rule_text_is_never_emitted() -> None:
    assert reason(a_watched(proven=NOW), templates=frozenset(("other",))) is SkipReason.UNKNOWN_TEMPLATE


def test_bad_books_are_never_emitted() -> None:
    risen = an_underlying(now=NOW, jump=RISEN)
    assert reason(a_watched(proven=NOW - 600_000_000), risen) is SkipReason.STALE_BOOK
    assert reason(a_watched(bid="0.50", ask="0.49", proven=NOW), risen) is SkipReason.CROSSED
    assert reason(a_watched(bid="0", ask="0.49", proven=NOW), risen) is SkipReason.ONE_SIDED
    broken = a_watched(proven=NOW)
    broken.down = a_book(DOWN_TOKEN, bid="0.40", ask="0.41")
    assert reason(broken, risen) is SkipReason.MIRROR_BROKEN
    assert reason(a_watched(size="4", proven=NOW), risen) is SkipReason.DEPTH_TOO_THIN


def test_stale_prices_are_never_emitted() -> None:
    spot = an_underlying(now=NOW, jump=RISEN)
    spot.spot_stamp = spot.spot_stamp._replace(real=NOW - 1_100_000_000)
    assert reason(a_watched(proven=NOW), spot) is SkipReason.STALE_SPOT
    oracle = an_underlying(now=NOW, jump=RISEN)
    oracle.oracle_stamp = Stamp(real=NOW - 5_100_000_000)
    assert reason(a_watched(proven=NOW), oracle) is SkipReason.STALE_ORACLE


def test_windows_are_judged_in_time() -> None:
    for offset, expected in (
        (-1, SkipReason.NOT_OPEN),
        (3, SkipReason.TOO_EARLY),
        (241, SkipReason.TOO_LATE),
    ):
        at = (START + offset) * NANOS
        assert reason(a_watched(proven=at), an_underlying(now=at), now=at) is expected


def test_a_window_whose_opening_was_not_seen_stays_unpriced() -> None:
    late = an_underlying(now=(START + 2700) * NANOS)  # Its ticks begin long after this window's opening average
    assert reason(a_watched(proven=NOW), late) is not None
    now = (START + 150) * NANOS
    seen = an_underlying(now=now)
    for second in range(START - 60, START - 50):
        seen.oracle._prices.pop(second)
    for second in range(START - 70, START - 60):
        seen.oracle._prices.pop(second)
    assert reason(a_watched(proven=now), seen, now=now) is SkipReason.REFERENCE_MISSING


def test_a_cold_volatility_emits_nothing() -> None:
    cold = an_underlying(now=NOW)
    cold.volatility._seen = 100
    assert reason(a_watched(proven=NOW), cold) is SkipReason.WARMING_UP


def test_a_token_repeats_only_after_the_pause_or_for_more() -> None:
    found = find(a_watched(proven=NOW), an_underlying(now=NOW, jump=0.002), limits(), now=NOW, real=NOW)
    assert isinstance(found, Opportunity)
    pause = Cooldown(limits())
    assert pause.admits(found)
    assert not pause.admits(replace(found, ts_init=NOW + NANOS // 2))
    assert pause.admits(replace(found, ts_init=NOW + NANOS // 2, net_edge=found.net_edge + Decimal("0.01")))
    assert pause.admits(replace(found, ts_init=NOW + 2 * NANOS))


names = st.text(st.characters(codec="ascii", categories=("Ll", "Nd")), min_size=1, max_size=6)


@given(st.sets(names, min_size=1, max_size=6), st.lists(names, min_size=1, max_size=40, unique=True))
def test_every_market_has_one_owner_and_a_loss_moves_only_the_lost(members: set[str], keys: list[str]) -> None:
    before = {key: owner(key, members) for key in keys}
    assert all(name in members for name in before.values())
    gone = min(members)
    rest = members - {gone}
    if not rest:
        return
    after = {key: owner(key, rest) for key in keys}
    assert all(after[key] == before[key] for key in keys if before[key] != gone)


def test_shares_are_even_enough() -> None:
    counts = Counter(owner(f"btc-updown-5m-{n}", ["a", "b", "c"]) for n in range(3000))
    assert all(800 < count < 1200 for count in counts.values())


def test_a_newcomer_waits_until_the_former_owner_let_go() -> None:
    keys = [f"k{n}" for n in range(20)]
    old, new = Claims("a"), Claims("b")
    assert old.update(keys, ["a"], now=0.0) == set(keys)
    kept = old.update(keys, ["a", "b"], now=1.0)
    assert new.update(keys, ["a", "b"], now=1.0) == set()
    taken = new.update(keys, ["a", "b"], now=3.0)
    assert kept.isdisjoint(taken)
    assert kept | taken == set(keys)
    assert old.update(keys, ["a"], now=9.0) == set(keys)


@given(
    bid=st.integers(1, 97),
    seed=st.integers(0, 20),
    at=st.sampled_from([-10, 2, 60, 150, 245, 299]),
    age=st.sampled_from([0, 700, 6000]),
    rate=st.sampled_from(["0", "0.07"]),
)
def test_what_is_told_of_a_market_agrees_with_what_was_decided(
    bid: int, seed: int, at: int, age: int, rate: str
) -> None:
    """Whenever something is emitted every question was passed; where all were, only the finer ones can refuse."""
    now = (START + at) * NANOS
    watched = a_watched(
        bid=str(Decimal(bid) / 100), ask=str(Decimal(bid + 1) / 100), size="100", proven=now - age * 1_000_000,
        fees=FeeSchedule(Decimal(rate)),
    )  # fmt: skip
    underlying = an_underlying(now=now, seed=seed, jump=0.001)
    found = find(watched, underlying, limits(), now=now, real=now)
    rows = {name: passed for name, _, _, passed in explained(watched, underlying, limits(), now=now, real=now)}
    edges = [rows.pop(name, False) for name in ("net_edge_up", "net_edge_down")]
    sound = all(rows.values()) and any(edges)
    if not isinstance(found, Skip):
        assert sound
    elif sound:
        assert found.reason in FINER


def yes_no(rule: Any, **changes: Any) -> dict[str, Any]:
    outcomes = (Outcome(label="No", token=DOWN_TOKEN), Outcome(label="Yes", token=UP_TOKEN))
    return {"settlement": rule, "outcomes": outcomes, "family": "above", "closes_at": NOW + 1500 * NANOS} | changes


def test_a_strike_is_bought_by_its_label_without_any_oracle() -> None:
    underlying = an_underlying(now=NOW)
    underlying.oracle = SecondPrices()
    assert underlying.price is not None
    below, above = underlying.price * 0.997, underlying.price * 1.003
    for strike, label, token in ((below, "Yes", UP_TOKEN), (above, "No", DOWN_TOKEN)):
        watched = a_watched(proven=NOW, **yes_no(Above(strike=strike)))
        found = find(watched, underlying, limits(), now=NOW, real=NOW)
        assert isinstance(found, Opportunity)
        assert (found.legs[0].outcome, found.legs[0].token) == (label, token)
        assert found.fair > Decimal("0.9")
        assert found.reference_ts_init == found.spot_ts_init
        assert found.inputs["rule"] == "Above"
        assert float(found.inputs["apr"]) > 0


def test_a_touched_level_and_an_unread_candle_are_refused() -> None:
    underlying = an_underlying(now=NOW)
    assert underlying.price is not None
    level = Touch(level=underlying.price * 1.001, up=True)
    watched = a_watched(proven=NOW, **yes_no(level, family="hit"))
    assert reason(watched, underlying) is SkipReason.REFERENCE_MISSING
    watched.stated_strike = underlying.price * 1.002
    assert reason(watched, underlying) is SkipReason.ALREADY_TOUCHED
    hour = a_watched(proven=NOW, settlement=HourCandle(), family="1h", closes_at=NOW + 1500 * NANOS)
    assert reason(hour, underlying) is SkipReason.REFERENCE_MISSING


def test_the_error_of_the_receipt_is_made_of_its_parts() -> None:
    found = find(a_watched(proven=NOW), an_underlying(now=NOW, jump=RISEN), limits(), now=NOW, real=NOW)
    assert isinstance(found, Opportunity)
    parts = [float(found.inputs[part]) for part in ("se_price", "se_sigma")]
    assert float(found.inputs["se"]) == pytest.approx((parts[0] ** 2 + parts[1] ** 2) ** 0.5, abs=2e-6)
    assert found.inputs["arrival_s"] == "0.38"


class Proven:
    """Books that are always fresh."""

    def proven(self, token: str) -> int:
        return NOW + 100 * NANOS


def test_books_that_contradict_each_other_for_long_are_paused_until_mended() -> None:
    clock, broken = ManualClock(NOW), list[Any]()
    board = Board(
        assets=["btc"], limits=limits(), clock=clock, proofs=Proven(), on_found=lambda _o: None, on_broken=broken.append
    )
    board.underlyings["btc"] = an_underlying(now=NOW)
    up, down = a_book(UP_TOKEN, bid="0.49", ask="0.50"), a_book(DOWN_TOKEN, bid="0.40", ask="0.41")
    good = a_book(DOWN_TOKEN, bid="0.50", ask="0.51")
    board.add(a_market(), up=up, down=down)
    for milliseconds in (0, 500, 749):
        clock.time_ns = NOW + milliseconds * 1_000_000
        board.on_books([up], clock.time_ns)
    assert (broken, board.alarms) == ([], 0)
    clock.time_ns = NOW + 800 * 1_000_000
    board.on_books([up], clock.time_ns)
    assert (len(broken), board.alarms) == (1, 1)
    board.on_books([up], clock.time_ns)
    assert board.census() == {"5m": Counter(book_paused=1)}
    assert board.alarms == 1
    board.mended(broken[0], up=up, down=good)
    board.on_books([up], clock.time_ns)
    assert sum(one.skips.get("book_paused", 0) for one in board.account()) == 1


def test_slow_markets_wait_for_their_turn_and_not_for_a_tick() -> None:
    clock = ManualClock(NOW)
    board = Board(assets=["btc"], limits=limits(), clock=clock, proofs=Proven(), on_found=lambda _o: None)
    board.underlyings["btc"] = an_underlying(now=NOW)
    for number in range(5):
        market = a_market(slug=f"m{number}", **yes_no(Above(strike=84_000.0)))
        board.add(market, up=a_book(UP_TOKEN, bid="0.49", ask="0.50"), down=a_book(DOWN_TOKEN, bid="0.50", ask="0.51"))
    tick = PriceTick(asset="btc", source=Source.SPOT, price=84_000.0, ts_event=NOW)
    board.on_spot([tick], NOW)
    assert [one.looks for one in board.account()] == [0] * 5
    board.look_at_slow(3)
    board.look_at_slow(3)
    assert sorted(one.looks for one in board.account()) == [1, 1, 1, 1, 2]
    board.drop("m1")
    board.look_at_slow(10)
    assert [one.looks for one in board.account()] == [1] * 4


def test_a_book_whose_best_prices_stand_asks_once_a_second_while_it_is_too_dear() -> None:
    clock = ManualClock(NOW)
    allowed = limits(min_edge=Decimal("0.9"))
    board = Board(assets=["btc"], limits=allowed, clock=clock, proofs=Proven(), on_found=lambda _o: None)
    board.underlyings["btc"] = an_underlying(now=NOW)
    up, down = a_book(UP_TOKEN, bid="0.49", ask="0.50"), a_book(DOWN_TOKEN, bid="0.50", ask="0.51")
    board.add(a_market(settlement=SpotTick()), up=up, down=down)
    board.refer({a_market().slug: 84_000.0})
    board.on_books([up], NOW)
    assert board.census() == {"5m": Counter(edge_too_thin=1)}
    for _ in range(5):
        up.change(WireChange(asset_id=UP_TOKEN, side="BUY", price="0.30", size="7"))
        board.on_books([up], NOW + 100 * 1_000_000)
    assert [one.looks for one in board.account()] == [1]
    board.on_books([up], NOW + 1000 * 1_000_000)
    assert [one.looks for one in board.account()] == [1]
    up.change(WireChange(asset_id=UP_TOKEN, side="SELL", price="0.50", size="0"))
    up.change(WireChange(asset_id=UP_TOKEN, side="SELL", price="0.51", size="5"))
    board.on_books([up], NOW + 1001 * 1_000_000)
    assert [one.looks for one in board.account()] == [1]
