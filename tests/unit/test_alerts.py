"""Which messages become alerts, and how few of them."""

from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmarb.domain.messages import (
    Alert,
    AlertKind,
    Fill,
    Halt,
    Kill,
    Message,
    OrderUpdate,
    Priority,
    Rejection,
    RejectionReason,
    Resume,
)
from pmarb.domain.orders import FillStatus, OrderState
from pmarb.domain.values import NANOS, Side
from services.alerter.channels import UnknownChannel, address_for, channels
from services.alerter.decide import alert_for
from services.alerter.quiet import MINUTE, Dedupe, SilenceWatch, StormBrake
from services.alerter.settings import AlerterSettings
from tests.builders import NOW, a_settlement, an_approval, an_opportunity

# Apprise loads every plug-in it has at first use, and some import what newer Pythons drop
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

LOSS = Decimal(20)


def an_update(**changes: Any) -> OrderUpdate:
    fields: dict[str, Any] = {
        "opportunity_id": "opp-1",
        "leg": 0,
        "order_hash": "0xorder",
        "state": OrderState.LIVE,
        "cause": "",
        "slug": "btc-updown-5m-1790000000",
        "market": "0xmarket",
        "token": "1001",
        "outcome": "Up",
        "side": Side.BUY,
        "price": Decimal("0.50"),
        "shares": Decimal(6),
        "reserved": Decimal("3.1"),
        "filled": Decimal(0),
        "ts_event": NOW,
        "ts_init": NOW,
    }
    return OrderUpdate(**(fields | changes))


def a_fill(status: FillStatus, trade_id: str = "t1") -> Fill:
    return Fill(
        trade_id=trade_id,
        order_hash="0xorder",
        opportunity_id="opp-1",
        slug="btc-updown-5m-1790000000",
        market="0xmarket",
        token="1001",
        outcome="Up",
        side=Side.BUY,
        shares=Decimal(6),
        price=Decimal("0.50"),
        fee=Decimal("0.105"),
        status=status,
        ts_event=NOW,
        ts_init=NOW,
    )


def an_alert(priority: Priority = Priority.NORMAL, key: str = "k", kind: AlertKind = AlertKind.TRADE) -> Alert:
    return Alert(kind=kind, priority=priority, dedupe_key=key, title="t", body="b", ts_event=NOW, ts_init=NOW)


HALT = Halt(who="risk", why="daily_loss", clears_at=0, ts_event=NOW, ts_init=NOW)
KILL = Kill(who="operator", why="drill", ts_event=NOW, ts_init=NOW)

ALERTED = [
    (HALT, AlertKind.TRADING_STOPPED, Priority.CRITICAL),
    (KILL, AlertKind.TRADING_STOPPED, Priority.CRITICAL),
    (a_settlement(pnl=Decimal("-20.01")), AlertKind.LARGE_LOSS, Priority.HIGH),
    (a_settlement(pnl=Decimal(-20)), AlertKind.TRADE, Priority.NORMAL),
    (a_settlement(pnl=Decimal("2.895")), AlertKind.TRADE, Priority.NORMAL),
    (an_update(state=OrderState.REJECTED, cause="not enough balance"), AlertKind.ORDER_REJECTED, Priority.HIGH),
    (an_update(state=OrderState.UNKNOWN, cause="timeout"), AlertKind.ORDER_REJECTED, Priority.HIGH),
    (an_update(state=OrderState.FAILED), AlertKind.ORDER_REJECTED, Priority.HIGH),
    (a_fill(FillStatus.CONFIRMED), AlertKind.TRADE, Priority.NORMAL),
    (a_fill(FillStatus.FAILED), AlertKind.ORDER_REJECTED, Priority.HIGH),
    (an_alert(kind=AlertKind.MISMATCH), AlertKind.MISMATCH, Priority.NORMAL),
]
EVERYDAY = [
    an_opportunity(),
    an_approval(),
    Rejection(opportunity_id="o", reason=RejectionReason.DUPLICATE, detail="", slug="s", ts_event=NOW, ts_init=NOW),
    Resume(who="operator", why="fine", ts_event=NOW, ts_init=NOW),
    an_update(state=OrderState.REJECTED, cause="no_match: no orders found to match with FAK order"),
    an_update(state=OrderState.MATCHED),
    an_update(state=OrderState.CANCELLED),
    a_fill(FillStatus.PROVISIONAL),
]


@pytest.mark.parametrize(("message", "kind", "priority"), ALERTED)
def test_what_a_person_should_know_has_its_priority(message: Message, kind: AlertKind, priority: Priority) -> None:
    alert = alert_for(message, large_loss_usd=LOSS, now=NOW)
    assert alert is not None
    assert (alert.kind, alert.priority) == (kind, priority)
    assert alert.title
    assert alert.body


@pytest.mark.parametrize("message", EVERYDAY, ids=lambda message: type(message).__name__)
def test_everyday_life_is_no_alert(message: Message) -> None:
    assert alert_for(message, large_loss_usd=LOSS, now=NOW) is None


def test_a_trade_says_its_result() -> None:
    alert = alert_for(a_settlement(), large_loss_usd=LOSS, now=NOW)
    assert alert is not None
    assert "+$2.90" in alert.title or "+$2.89" in alert.title
    assert "fees $0.10" in alert.body or "fees $0.11" in alert.body


def test_the_same_message_twice_has_one_key_and_two_trades_have_two() -> None:
    first, again = (alert_for(a_fill(FillStatus.CONFIRMED), large_loss_usd=LOSS, now=NOW + n) for n in (0, 1))
    other = alert_for(a_fill(FillStatus.CONFIRMED, "t2"), large_loss_usd=LOSS, now=NOW)
    assert first is not None
    assert again is not None
    assert other is not None
    assert first.dedupe_key == again.dedupe_key != other.dedupe_key


@given(st.lists(st.integers(min_value=0, max_value=3 * MINUTE), min_size=1, max_size=60).map(sorted))
def test_one_key_passes_at_most_once_in_a_quiet_time(times: list[int]) -> None:
    dedupe = Dedupe(quiet_ns=MINUTE)
    passed = [at for at in times if dedupe.admit("key", now=at)]
    assert passed[0] == times[0]
    assert all(later - earlier >= MINUTE for earlier, later in pairwise(passed))


def test_a_resumed_stop_is_news_again() -> None:
    dedupe = Dedupe(quiet_ns=MINUTE)
    assert dedupe.admit("trading_stopped:Kill", now=1)
    dedupe.forget("trading_stopped")
    assert dedupe.admit("trading_stopped:Kill", now=2)


@given(st.lists(st.sampled_from(list(Priority)), min_size=1, max_size=100))
def test_a_storm_passes_every_critical_alert_and_counts_what_it_holds(priorities: list[Priority]) -> None:
    brake = StormBrake(burst=5)
    passed = [p for p in priorities if brake.admit(an_alert(p), now=NOW)]
    critical = sum(p is Priority.CRITICAL for p in priorities)
    held = len(priorities) - len(passed)
    digest = brake.digest(now=NOW + MINUTE, venue_now=NOW)
    assert sum(p is Priority.CRITICAL for p in passed) == critical
    assert len(passed) - critical <= 5
    assert (digest is None) == (held == 0)
    if digest is not None:
        assert str(held) in digest.title
    assert brake.digest(now=NOW + 2 * MINUTE, venue_now=NOW) is None


def test_a_silence_is_reported_once_until_the_service_returns() -> None:
    watch = SilenceWatch(silent_after_ns=120 * NANOS)
    watch.expect(("risk", "executor"), now=0)
    watch.heard("risk", now=100 * NANOS)
    assert watch.silent(now=120 * NANOS) == []
    assert watch.silent(now=121 * NANOS) == [("executor", 121)]
    assert watch.silent(now=130 * NANOS) == []
    assert watch.heard("executor", now=131 * NANOS)
    assert [name for name, _ in watch.silent(now=260 * NANOS)] == ["risk", "executor"]


def test_pushover_hears_of_an_emergency_in_its_own_words() -> None:
    url = address_for("pover://user@token", Priority.CRITICAL)
    assert "priority=emergency" in url
    assert "retry=" in url
    assert "expire=" in url
    assert address_for("pover://user@token?priority=low", Priority.CRITICAL).endswith("priority=low")
    assert address_for("json://127.0.0.1/x", Priority.CRITICAL) == "json://127.0.0.1/x"


@pytest.mark.parametrize("priority", list(Priority))
@pytest.mark.parametrize("url", ["pover://" + "u" * 30 + "@" + "t" * 30, "ntfy://topic", "gotify://host/" + "A" * 15])
def test_apprise_understands_every_address_we_make(url: str, priority: Priority) -> None:
    assert channels((address_for(url, priority),))


def test_a_wrong_address_is_named_by_position_without_its_secret() -> None:
    with pytest.raises(UnknownChannel, match=r"address 2 \(scheme nonsense\)") as error:
        channels(("json://127.0.0.1/", "nonsense://topsecret"))
    assert "topsecret" not in str(error.value)


def test_addresses_are_split_between_addresses_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPRISE_URLS", "mailto://u:p@h?to=a@b,c@d, ntfy://x ,json://h/")
    assert AlerterSettings().urls == ("mailto://u:p@h?to=a@b,c@d", "ntfy://x", "json://h/")
