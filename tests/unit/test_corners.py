"""What the rules do at the edges of their ranges: refuse what is impossible, and say nothing where nothing is known."""

import random
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from pmarb.domain import ledger, logistic
from pmarb.domain import limits as rules
from pmarb.domain.book import Book, Level, walk
from pmarb.domain.bundles import unwind
from pmarb.domain.candles import candle_value
from pmarb.domain.digitals import touch_digital
from pmarb.domain.edge import max_buy_price
from pmarb.domain.fair import DEFAULT_MODEL, Fair, Missing, Model
from pmarb.domain.fairvalue import Moments, cumulative, error_terms, twap_moments
from pmarb.domain.fees import FeeSchedule
from pmarb.domain.forecasts import score
from pmarb.domain.market import Above, Outcome, SpotTick, Touch
from pmarb.domain.messages import AlertKind, Merge, MergedPart
from pmarb.domain.proportion import wilson
from pmarb.domain.sequential import Decision, sprt
from pmarb.domain.sizing import Record, fixed
from pmarb.domain.underlying import SecondPrices, Stamp, Underlying
from pmarb.domain.updown import fair_value, settled_by
from pmarb.domain.values import NANOS, Side
from pmarb.domain.volatility import BlendedVolatility
from services.alerter.decide import alert_for
from services.executor.decide import Skip as NotSent
from services.executor.decide import SkipReason as NotSentReason
from services.scanner.decide import Skip, SkipReason, find
from tests.evidence import samples_with
from tests.scanning import START, UP_TOKEN, a_book, a_market, a_watched, an_underlying, limits

NOW = (START + 150) * NANOS
FEES = FeeSchedule(Decimal("0.07"))


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: twap_moments(spot=1, sigma=1e-4, tau=9, lookback=0.5), "lookback was"),
        (lambda: cumulative(1.0, 2.0), "more than 2"),
        (lambda: SecondPrices().put(1, float("inf")), "above 0"),
        (lambda: BlendedVolatility().update(second=1, price=0.0), "above 0"),
        (lambda: max_buy_price(fair=Decimal(1), min_edge=Decimal(0), fees=FEES, tick=Decimal(1)), "tick was"),
        (lambda: FEES.fee(shares=Decimal(-1), price=Decimal("0.5")), "below 0"),
        (lambda: FEES.fee(shares=Decimal(1), price=Decimal(2)), "not in"),
        (lambda: FeeSchedule(Decimal("0.07"), Decimal(-1)), "exponent was"),
        (lambda: FeeSchedule(Decimal(2)), "rate was"),
        (lambda: wilson(3, 2), "no proportion"),
    ],
)
def test_the_impossible_is_refused_with_its_value(act: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        act()


def test_an_entry_of_one_posting_is_no_entry() -> None:
    posting = ledger.Posting(account=ledger.Account.CASH, amount=Decimal(0))
    with pytest.raises(ledger.Unbalanced, match="1 postings"):
        ledger.Entry(entry_id="e", kind=ledger.EntryKind.FEE, ref="r", postings=(posting,), ts_event=1)


@pytest.mark.parametrize(("booked", "charged"), [("0.10", "0.12"), ("0.12", "0.10")])
def test_another_fee_than_was_booked_moves_the_difference_and_sums_to_zero(booked: str, charged: str) -> None:
    entry = ledger.fee_corrected(trade_id="t", booked=Decimal(booked), charged=Decimal(charged), ts_event=1)
    moved = {posting.account: posting.amount for posting in entry.postings}
    assert sum(moved.values()) == 0
    assert moved[ledger.Account.FEES] == Decimal(charged) - Decimal(booked)


def test_a_book_with_one_side_has_no_middle_and_no_spread() -> None:
    ask = Level(Decimal("0.52"), Decimal(10))
    book = Book(token="t", bids=(), asks=(ask,), ts_event=1, ts_init=1, hash="", tick=Decimal("0.01"))
    assert (book.one_sided, book.mid, book.spread) == (True, None, None)
    whole = replace(book, bids=(Level(Decimal("0.50"), Decimal(10)),))
    assert (whole.one_sided, whole.mid, whole.spread) == (False, Decimal("0.51"), Decimal("0.02"))


def test_a_walk_of_nothing_takes_nothing() -> None:
    level = (Level(Decimal("0.5"), Decimal(10)),)
    assert walk(level, side=Side.BUY, fees=FEES, shares=Decimal("0.001")) is None
    assert walk((), side=Side.BUY, fees=FEES, budget=Decimal(5)) is None
    free = walk((Level(Decimal(0), Decimal(10)),), side=Side.BUY, fees=FEES, budget=Decimal(5))
    assert free is not None
    assert (free.shares, free.all_in) == (Decimal(10), Decimal(0))


def test_a_dollar_that_cannot_buy_buys_nothing() -> None:
    assert fixed(usd=Decimal(0), price=Decimal("0.5"), fees=FEES) == 0
    assert fixed(usd=Decimal(5), price=Decimal(1), fees=FEES) == 0


def test_leaving_a_share_that_nobody_bids_for_costs_all_of_it() -> None:
    assert unwind(price=Decimal("0.4"), bid=Decimal(0), fees=FEES) == Decimal("0.4")
    assert unwind(price=Decimal("0.4"), bid=Decimal("0.39"), fees=FEES) > Decimal("0.01")


def test_results_that_do_not_scatter_prove_nothing() -> None:
    same = Record(count=3, total=Decimal(3), squares=Decimal(3))
    assert same.chance == 0.5
    assert Record(count=3, total=Decimal(3), squares=Decimal(5)).chance > 0.5


def test_nothing_is_said_of_limits_without_equity() -> None:
    assert rules.warnings_at(rules.Limits(), Decimal(0)) == []
    assert rules.warnings_at(rules.Limits(), Decimal(20))


def test_a_cost_at_which_the_alternative_is_no_chance_says_nothing() -> None:
    assert sprt([(0.99, True)] * 500).trades == 0
    assert sprt([(0.5, False)] * 500).decision is Decision.NO_EDGE


def test_a_regression_that_cannot_be_made_is_none() -> None:
    assert logistic.fit([[1.0, 2.0]], [True]) is None
    far = [[1.0, x / 1000] for x in range(-40, 41)]
    outcomes = [(x + 3 * (n % 7 - 3)) > 0 for n, x in enumerate(range(-40, 41))]
    found = logistic.fit(far, outcomes)
    assert found is None or found.coefficients[1] > 5  # Steeper than one step may go
    assert logistic.fit([[1.0], [1.0], [1.0]], [True, False, True], ["a", "a", "a"]) is None


def test_what_is_settled_has_no_error_and_a_still_price_touches_nothing() -> None:
    assert error_terms(moments=Moments(mean=1.0, sd=0.0), strike=1.0, sigma=1e-4) == (0.0, 0.0)
    assert touch_digital(spot=1.0, level=1.1, sigma=0.0, tau=60, up=True) == 0.0
    assert SecondPrices().mean(5, 5) is None


# --- what a window lacks ---------------------------------------------------------------------------------------------


def value(underlying: Underlying, model: Model = DEFAULT_MODEL, **changes: Any) -> Fair | Missing:
    return fair_value(a_market(**changes), underlying, model, now=NOW, real=NOW)


def test_a_basis_unlike_any_and_one_not_learnt_are_not_believed() -> None:
    assert value(an_underlying(now=NOW, basis=40e-4)) is Missing.BASIS_TOO_LARGE
    warm, cold = an_underlying(now=NOW), Underlying("btc")
    cold.volatility, cold.price = warm.volatility, warm.price
    assert value(cold) is Missing.BASIS_UNKNOWN
    assert cold.nowcast is None
    assert cold.elapsed_mean(START, START + 9) is None


def test_a_closing_average_with_a_hole_is_not_priced() -> None:
    late = (START + 270) * NANOS
    told = an_underlying(now=late)
    assert isinstance(fair_value(a_market(), told, DEFAULT_MODEL, now=late, real=late), Fair)
    holed = an_underlying(now=late)
    holed.oracle = SecondPrices()
    for second in [*range(START - 70, START + 1), START + 268]:
        holed.oracle.put(second, 84_000.0)
    found = fair_value(a_market(), holed, DEFAULT_MODEL, now=late, real=late, stated_strike=84_000.0)
    assert found is Missing.ELAPSED_MISSING


def test_the_old_rule_reads_single_ticks_and_a_candle_reads_none() -> None:
    underlying = an_underlying(now=NOW)
    single = a_market(settlement=SpotTick())
    assert settled_by(single, underlying, second=START) == underlying.oracle.exactly(START)
    assert isinstance(value(underlying, settlement=SpotTick()), Fair)
    assert settled_by(a_market(settlement=Above(strike=1.0)), underlying, second=START) is None


def test_two_readings_of_one_average_that_differ_much_are_none() -> None:
    underlying = an_underlying(now=NOW)
    own = settled_by(a_market(), underlying, second=START)
    assert own is not None
    underlying.averages.put(START, own)
    assert settled_by(a_market(), underlying, second=START) == own
    underlying.averages.put(START, own * 1.01)
    assert settled_by(a_market(), underlying, second=START) is None
    underlying.oracle = SecondPrices()
    underlying.oracle.put(START + 1, own)
    assert settled_by(a_market(), underlying, second=START) == own * 1.01


def test_a_level_to_be_touched_needs_what_the_period_has_seen() -> None:
    rule, underlying = Touch(level=90_000.0, up=True), an_underlying(now=NOW)
    market = a_market(settlement=rule)
    found = candle_value(market, rule, underlying, DEFAULT_MODEL, now=NOW, age=0.1, reference=None)
    assert found is Missing.REFERENCE_MISSING
    empty = Underlying("btc")
    assert candle_value(market, rule, empty, DEFAULT_MODEL, now=NOW, age=0.1, reference=1.0) is Missing.WARMING_UP


# --- why the scanner emits nothing ------------------------------------------------------------------------------------


def reason(watched: Any, underlying: Underlying, *, now: int = NOW, **changed: Any) -> SkipReason | None:
    found = find(watched, underlying, limits(**changed), now=now, real=now)
    return found.reason if isinstance(found, Skip) else None


def test_a_market_without_prices_or_books_says_which_are_missing() -> None:
    risen = an_underlying(now=NOW, jump=0.002)
    assert reason(a_watched(proven=NOW), Underlying("btc")) is SkipReason.NO_SPOT
    deaf = Underlying("btc")
    deaf.on_spot(84_000.0, second=START + 150, stamp=Stamp(real=NOW))
    assert reason(a_watched(proven=NOW), deaf) is SkipReason.NO_ORACLE
    paused = a_watched(proven=NOW)
    paused.paused = True
    assert reason(paused, risen) is SkipReason.BOOK_PAUSED
    unread = a_watched(proven=NOW)
    unread.up = type(a_book(UP_TOKEN, bid="0.49", ask="0.50"))(UP_TOKEN)
    assert reason(unread, risen) is SkipReason.NO_BOOK
    bare = a_watched(proven=NOW)
    bare.up.sized = False  # type: ignore[misc]
    assert reason(bare, risen) is SkipReason.NO_SIZES
    assert reason(a_watched(proven=NOW), an_underlying(now=NOW, basis=40e-4)) is SkipReason.BASIS_TOO_LARGE


def test_a_fee_of_another_shape_is_looked_at_by_its_shape() -> None:
    risen = an_underlying(now=NOW, jump=0.002)
    flat = a_watched(proven=NOW, fees=FeeSchedule(Decimal("0.6"), Decimal(0)))
    bent = a_watched(proven=NOW, fees=FeeSchedule(Decimal("0.25"), Decimal(2)))
    assert reason(bent, risen) is None
    assert reason(flat, risen) is SkipReason.EDGE_TOO_THIN


def test_in_the_last_minute_a_tie_is_not_bet_on() -> None:
    late = (START + 240) * NANOS
    assert reason(a_watched(proven=late), an_underlying(now=late), now=late, near_tie_bps=1e6) is SkipReason.NEAR_TIE
    assert reason(a_watched(proven=late), an_underlying(now=late), now=late + 1) is SkipReason.TOO_LATE


# --- what is told of it -----------------------------------------------------------------------------------------------


def test_samples_without_a_middle_score_the_model_alone() -> None:
    alone = tuple(replace(sample, mid=None) for sample in samples_with(0.05, 0.05, windows=40))
    found = score(alone, random.Random(1), rounds=50)
    assert found is not None
    assert found.brier_model < 0.25
    assert (found.brier_market, found.gap) == (None, None)
    assert score((), random.Random(1), rounds=50) is None


def test_a_market_of_three_outcomes_has_no_two_sides() -> None:
    three = tuple(Outcome(label=label, token=str(n)) for n, label in enumerate(("Up", "Down", "Even")))
    twins = (Outcome(label="Up", token="1"), Outcome(label="Down", token="1"))
    assert a_market(outcomes=three).sides is None
    assert a_market(outcomes=twins).sides is None


def test_a_merge_is_told_as_a_trade_and_a_skip_with_its_values() -> None:
    part = MergedPart(
        token="1", outcome="Up", shares=Decimal(5), cost=Decimal(2), fees=Decimal(0), payout=Decimal("2.5")
    )
    merge = Merge(
        merge_id="m",
        market="0xc0",
        slug="btc",
        parts=(part,),
        payout=Decimal(5),
        pnl=Decimal("0.5"),
        equity=Decimal(300),
        ts_event=1,
        ts_init=1,
    )
    alert = alert_for(merge, large_loss_usd=Decimal(20), now=2)
    assert alert is not None
    assert (alert.kind, alert.dedupe_key) == (AlertKind.TRADE, "merged:m")
    assert alert_for(alert, large_loss_usd=Decimal(20), now=3) is alert
    skipped = NotSent(reason=NotSentReason.PRICE_MOVED, detail="limit=0.5")
    assert skipped.cause == "skipped: price_moved limit=0.5"
