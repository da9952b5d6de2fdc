"""Token buckets, heartbeats, L1 logins and what a maker sees."""

import time

import pytest

from services.sandbox.accounts import Accounts
from services.sandbox.auth import Keys
from services.sandbox.book import Side
from services.sandbox.clock import SECOND_NS, VenueClock
from services.sandbox.eip712 import login_digest
from services.sandbox.journal import Journal
from services.sandbox.limits import Heartbeats, RateLimiter
from services.sandbox.money import MICRO
from services.sandbox.orders import OrderStatus, OrderType
from services.sandbox.refusals import Refusal
from services.sandbox.sessions import Sessions
from services.sandbox.user_messages import trade_row
from services.sandbox.wallets import address_of_key, deposit_wallet, key_from_seed


class HandClock(VenueClock):
    def __init__(self) -> None:
        super().__init__(anchor_ns=0, speed=1.0)
        self.at_ns = 10**18

    def now_ns(self) -> int:
        return self.at_ns


def login_headers(*, timestamp: int, nonce: int = 0) -> dict[str, str]:
    key = key_from_seed(seed=2, index=0)
    address = address_of_key(key)
    digest = login_digest(address=address, timestamp=str(timestamp), nonce=nonce)
    raw = key.sign_recoverable(digest, hasher=None)
    return {
        "poly_address": address,
        "poly_signature": "0x" + (raw[:64] + bytes([raw[64] + 27])).hex(),
        "poly_timestamp": str(timestamp),
        "poly_nonce": str(nonce),
    }


def test_a_bucket_holds_sixty_orders_and_refills_forty_a_second():
    clock = HandClock()
    limiter = RateLimiter(clock)
    for _ in range(59):
        limiter.spend_order("0xA")
    headers = limiter.spend_order("0xA")
    assert headers["Poly-RateLimit-Remaining"] == "0"
    with pytest.raises(Refusal) as caught:
        limiter.spend_order("0xa")
    assert (caught.value.status, caught.value.headers["Retry-After"]) == (429, "1")
    limiter.spend_order("0xB")
    clock.at_ns += SECOND_NS // 2
    limiter.spend_order("0xA", 20)
    with pytest.raises(Refusal):
        limiter.spend_order("0xA", 1)


def test_a_batch_needs_all_its_tokens():
    limiter = RateLimiter(HandClock())
    limiter.spend_order("0xA", 50)
    with pytest.raises(Refusal):
        limiter.spend_order("0xA", 15)
    limiter.spend_order("0xA", 10)


def test_a_heart_is_armed_by_its_first_beat_and_silent_after_ten_seconds():
    clock = HandClock()
    hearts = Heartbeats(clock)
    assert hearts.silent(clock.at_ns) == []
    _, first = hearts.beat("k", "")
    assert hearts.beat("k", "other") == (False, first)
    accepted, second = hearts.beat("k", first)
    assert accepted
    assert second != first
    clock.at_ns += 10 * SECOND_NS - 1
    assert hearts.silent(clock.at_ns) == []
    assert hearts.silent(clock.at_ns + 1) == ["k"]


def keys_of(clock: HandClock, accounts: Accounts) -> Keys:
    journal = Journal()
    return Keys(seed=1, clock=clock, accounts=accounts, sessions=Sessions(clock, journal), journal=journal)


@pytest.mark.parametrize("clock_of_timestamp", ["wall", "venue"])
def test_a_login_is_good_by_either_clock(clock_of_timestamp):
    clock = HandClock()
    keys = keys_of(clock, Accounts())
    stamp = int(time.time()) if clock_of_timestamp == "wall" else clock.at_ns // SECOND_NS
    made = keys.create(login_headers(timestamp=stamp))
    assert keys.derive(login_headers(timestamp=stamp)) == made
    with pytest.raises(Refusal, match="Could not create"):
        keys.create(login_headers(timestamp=stamp))
    with pytest.raises(Refusal, match="Invalid L1"):
        keys.create(login_headers(timestamp=stamp - 61))
    with pytest.raises(Refusal, match="Invalid L1"):
        keys.create(login_headers(timestamp=stamp) | {"poly_nonce": "1"})


def test_a_stranger_who_logs_in_owns_a_deposit_wallet():
    accounts = Accounts()
    clock = HandClock()
    keys = keys_of(clock, accounts)
    key = keys.create(login_headers(timestamp=int(time.time())))
    account = accounts.find(key.address)
    assert account is not None
    assert (account.wallet, account.cash) == (deposit_wallet(key.address), 0)


def test_a_maker_sees_the_takers_trade_and_its_own_part_in_the_maker_orders(bench):
    maker = bench.order(price=0.5, shares=20, account=bench.account(1))
    bench.place(maker)
    bench.place(bench.order(price=0.5, dollars=5, outcome=1, order_type=OrderType.FAK))
    assert maker.status is OrderStatus.LIVE
    row = trade_row(bench.account(1).trades[0], bench.account(1))
    assert (row["trader_side"], row["side"], row["outcome"]) == ("MAKER", Side.BUY, "Down")
    own = row["maker_orders"][0]
    assert (own["order_id"], own["outcome"], own["matched_amount"]) == (maker.id, "Up", "10")
    assert bench.account(1).cash == 295 * MICRO
    assert bench.account(1).reserved_cash() == 5 * MICRO
