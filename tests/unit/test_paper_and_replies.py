"""Paper fills are pessimistic; replies prove a refusal only where nothing was placed."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from polymarket.errors import RateLimitError, RequestRejectedError
from polymarket.models.clob.order_response import RawOrderResponse, normalize_order_response

from pmarb.clock import ManualClock
from pmarb.domain.book import Book, Level
from pmarb.domain.fees import FeeSchedule
from pmarb.domain.orders import FillStatus, OrderState, OrderType
from pmarb.domain.values import NANOS, Side
from pmarb.venue import replies
from pmarb.venue.account import traded
from pmarb.venue.outcomes import resolution
from pmarb.venue.paper import CONFIRMED_AFTER, PaperVenue, fill
from pmarb.venue.port import (
    Intent,
    PostAccepted,
    PostIndeterminate,
    PostPaused,
    PostRefused,
    Redemption,
    Resolution,
    Signed,
    VenueMerge,
    VenuePosition,
    VenueTrade,
)
from tests.builders import NOW

INTENT = Intent(
    market="0xm", token="1001", side=Side.BUY, order_type=OrderType.FAK,
    limit=Decimal("0.50"), usd=Decimal("3.00"), shares=Decimal(6),
)  # fmt: skip
SIGNED = Signed(order_hash="0xabc", intent=INTENT, payload=None)


class Memory:
    """Nothing was traded, unless told."""

    def __init__(self, *trades: VenueTrade) -> None:
        self._trades = trades

    async def cash(self) -> Decimal | None:
        return None

    async def free(self) -> Decimal:
        return Decimal(1)

    async def unconfirmed(self) -> Sequence[VenueTrade]:
        return self._trades

    async def positions(self) -> Sequence[VenuePosition]:
        return ()

    async def merging(self) -> Sequence[VenueMerge]:
        return ()

    async def unpaid(self) -> Sequence[Redemption]:
        return ()


class NoneEnded:
    async def resolutions(self, markets: Sequence[str]) -> Sequence[Resolution]:
        return ()


def paper(clock: ManualClock, *asks: Level, memory: Memory | None = None) -> PaperVenue:
    async def look(token: str) -> Book | None:
        if not asks:
            return None
        return Book(token=token, bids=(), asks=asks, ts_event=clock.now(), ts_init=clock.now())

    return PaperVenue(look=look, memory=memory or Memory(), ended=NoneEnded(), clock=clock, capital=Decimal(300))


async def test_a_paper_order_takes_the_time_of_a_real_one_and_half_of_what_is_shown() -> None:
    clock = ManualClock(NOW)
    venue = paper(clock, Level(Decimal("0.40"), Decimal(4)), Level(Decimal("0.50"), Decimal(2)))
    answer = await venue.post(venue.seal(await venue.draft(INTENT)))
    assert isinstance(answer, PostAccepted)
    assert clock.now() - NOW == 380_000_000
    assert (answer.shares, answer.usd) == (Decimal(3), Decimal("1.30"))


async def test_paper_misses_as_the_venue_does() -> None:
    venue = paper(ManualClock(NOW), Level(Decimal("0.51"), Decimal(4)))
    missed = await venue.post(venue.seal(await venue.draft(INTENT)))
    assert isinstance(missed, PostRefused)
    assert missed.reason.startswith(replies.NO_MATCH)
    blind = paper(ManualClock(NOW))
    assert isinstance(await blind.post(blind.seal(await blind.draft(INTENT))), PostRefused)
    assert await venue.cash() == 300


async def test_a_paper_trade_confirms_after_its_lag() -> None:
    trade = traded(
        trade_id="t", shares=Decimal(6), usd=Decimal(3), fees=FeeSchedule(Decimal(0)),
        status=FillStatus.PROVISIONAL, ts_event=NOW,
    )  # fmt: skip
    row = VenueTrade(order_hash="o", market="m", token="1", outcome="Up", side=Side.BUY, trade=trade)
    clock = ManualClock(NOW + CONFIRMED_AFTER - 1)
    venue = paper(clock, memory=Memory(row))
    assert (await venue.trades(since_ns=0))[0].trade.status is FillStatus.PROVISIONAL
    clock.time_ns += 1
    assert (await venue.trades(since_ns=0))[0].trade.status is FillStatus.CONFIRMED


LEVELS = st.lists(
    st.tuples(st.integers(1, 99).map(lambda c: Decimal(c) / 100), st.decimals("0.01", "50", places=2)), max_size=6
).map(lambda rows: [Level(price, size) for price, size in sorted(rows)])


@given(LEVELS, st.decimals("1", "20", places=2), st.integers(1, 99).map(lambda c: Decimal(c) / 100))
def test_a_paper_fill_spends_no_more_and_pays_no_worse(asks: list[Level], usd: Decimal, limit: Decimal) -> None:
    shares, spent = fill(asks, usd=usd, limit=limit)
    assert 0 <= spent <= usd
    assert spent <= shares * limit + Decimal("0.000001") * len(asks)
    assert shares <= sum((size / 2 for price, size in asks if price <= limit), Decimal(0))


# ---------------------------------------------------------------------------------------------------------- replies


def reply(**fields: object) -> object:
    body = {
        "success": True, "errorMsg": "", "orderID": "0xabc", "status": "matched", "makingAmount": "3.00",
        "takingAmount": "6.1", "tradeIDs": ["t1"], "transactionsHashes": [],
    } | fields  # fmt: skip
    raw = normalize_order_response(RawOrderResponse.parse_response(body))
    return replies.answered(raw, SIGNED, sent_real=1)


def test_a_match_carries_its_amounts() -> None:
    assert reply() == PostAccepted(
        state=OrderState.MATCHED, shares=Decimal("6.1"), usd=Decimal("3.00"), trade_ids=("t1",), sent_real=1
    )


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"status": "delayed", "makingAmount": "", "takingAmount": "", "tradeIDs": []}, PostAccepted),
        ({"errorMsg": "not enough balance / allowance", "orderID": ""}, PostRefused),
        ({"errorMsg": "no orders found to match with FAK order.", "orderID": ""}, PostRefused),
        ({"errorMsg": "order 0xabc is invalid. Duplicated.", "orderID": ""}, PostIndeterminate),
        ({"status": "unmatched"}, PostIndeterminate),
        ({"status": "new word"}, PostIndeterminate),
        ({"orderID": ""}, PostIndeterminate),
        ({"orderID": "0xanother"}, PostIndeterminate),
        ({"errorMsg": "a text nobody has seen before", "orderID": ""}, PostIndeterminate),
        ({"errorMsg": "order timed out", "orderID": ""}, PostRefused),
        ({"errorMsg": "post-only mode: only post-only orders and cancels are allowed", "orderID": ""}, PostPaused),
    ],
)
def test_what_a_200_proves(fields: dict[str, object], kind: type) -> None:
    assert isinstance(reply(**fields), kind)


def test_an_unmatched_resting_order_is_accepted() -> None:
    raw = normalize_order_response(
        RawOrderResponse.parse_response(
            {"success": True, "errorMsg": "", "orderID": "0xabc", "status": "unmatched",
             "makingAmount": "", "takingAmount": ""}
        )
    )  # fmt: skip
    resting = replace(SIGNED, intent=replace(INTENT, order_type=OrderType.GTC))
    assert isinstance(replies.answered(raw, resting, sent_real=1), PostAccepted)


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (400, "not enough balance / allowance", PostRefused),
        (400, "order 0xabc is invalid. Duplicated.", PostIndeterminate),
        (401, "Unauthorized/Invalid api key", PostRefused),
        (403, "address in closed only mode", PostRefused),
        (404, "market not found", PostRefused),
        (425, "engine restarting", PostPaused),
        (500, "order timed out", PostRefused),
        (500, "there are no matching orders", PostRefused),
        (500, "internal server error", PostIndeterminate),
        (502, "bad gateway", PostIndeterminate),
        (503, "Trading is currently disabled", PostPaused),
        (503, "post-only mode: only post-only orders and cancels are allowed", PostPaused),
        (400, "invalid post-only order: order crosses book", PostRefused),
        (503, "upstream connect error", PostIndeterminate),
        (408, "request timeout", PostIndeterminate),
    ],
)
def test_what_an_error_status_proves(status: int, text: str, kind: type) -> None:
    answer = replies.refused(RequestRejectedError(text, status=status), sent_real=1)
    assert isinstance(answer, kind)


def test_a_rate_limit_says_when_to_come_back() -> None:
    answer = replies.refused(RateLimitError("slow down", retry_after=2.5), sent_real=1)
    assert isinstance(answer, PostRefused)
    assert answer.retry_after_s == 2.5


# ------------------------------------------------------------------------------------------------------- resolutions


def a_market(**fields: object) -> dict[str, object]:
    return {
        "slug": "btc-updown-5m-1790000000", "conditionId": "0xm", "outcomes": '["Down", "Up"]',
        "outcomePrices": '["0", "1"]', "clobTokenIds": '["11", "22"]', "closed": True, "orderPriceMinTickSize": 0.01,
        "orderMinSize": 5, "endDate": "2026-09-21T14:18:20Z", "eventStartTime": "2026-09-21T14:13:20Z",
    } | fields  # fmt: skip


def test_a_payout_follows_the_label_and_not_the_index() -> None:
    found = resolution(a_market())
    assert found is not None
    assert found.payouts == {"22": Decimal(1), "11": Decimal(0)}
    assert found.closed_at == NOW + 300 * NANOS
    halves = resolution(a_market(outcomePrices='["0.5", "0.5"]'))
    assert halves is not None
    assert set(halves.payouts.values()) == {Decimal("0.5")}


@pytest.mark.parametrize(
    "fields",
    [{"closed": False}, {"outcomePrices": '["0.01", "0.99"]'}, {"outcomePrices": '["1", "1"]'}, {"outcomes": "?"}],
)
def test_what_is_no_final_result_is_none(fields: dict[str, object]) -> None:
    assert resolution(a_market(**fields)) is None
