"""`kill -9` of a sandbox with a state: the official client that traded before goes on as if nothing had happened."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import sandboxes
from tests.starting import Started, announced, finished

polymarket = pytest.importorskip("polymarket")
MICRO = 10**6
SPEED = 50


class Mortal:
    """A sandbox process on one port and one state, started as often as it takes."""

    def __init__(self, folder: Path) -> None:
        # The auto-redeemer leaves the shares to their owner.
        patient = folder / "patient.json"
        patient.write_text(json.dumps({"name": "patient", "base": "instant", "knobs": {"redeem_after_s": 1e9}}))
        self._options = ["--state", str(folder / "state"), "--speed", str(SPEED), "--scenario", str(patient)]
        self._options += ["--families", "5m", "--json"]
        self._port = "0"
        self._process: Started | None = None

    def start(self) -> Any:
        """What it prints when it is ready."""
        self._process, ready = announced("services.sandbox", ["--port", self._port, *self._options], env=os.environ)
        self._port = ready["clob"].rsplit(":", 1)[1]
        return ready

    def end(self, number: signal.Signals) -> int:
        """Exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(timeout=60)


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Mortal]:
    made = Mortal(tmp_path)
    yield made
    assert made.end(signal.SIGTERM) == 0


def client_of(ready: Any, **given: Any) -> Any:
    account = ready["accounts"][0]
    return polymarket.SecureClient.create(
        private_key=account["private_key"],
        wallet=account["wallet"],
        environment=sandboxes.environment(ready),
        **given,
    )


def furthest_window(ready: Any) -> Any:
    """The last one that is listed: it begins in two windows at the earliest."""
    markets = sandboxes.gamma(ready, "/markets", limit=500, closed="false")
    return max((each for each in markets if "btc-updown-5m-" in each["slug"]), key=lambda each: each["slug"])


def settled(ready: Any, account: Any) -> bool:
    return all(trade["status"] == "CONFIRMED" for trade in sandboxes.truth(ready, account)["trades"])


def data(ready: Any, path: str, account: Any) -> Any:
    return httpx.get(f"{ready['data']}{path}", params={"user": account["wallet"]}).json()


def items(paginator: Any) -> list[Any]:
    return [item for page in paginator for item in page.items]


def venue_s(ready: Any) -> int:
    return int(httpx.get(f"{ready['clob']}/time").text)


@contextlib.contextmanager
def trader(ready: Any) -> Iterator[Any]:
    """The official client, with a key for the relayer."""
    with client_of(ready) as first:
        key = first.create_builder_api_key()
        with client_of(ready, api_key=key) as client:
            yield client


def buy(client: Any, token: str) -> None:
    assert client.place_market_order(asset_id=token, side="BUY", amount="5", max_price="0.9").status == "matched"


def known(ready: Any, account: Any) -> dict[str, Any]:
    """What the venue knows of an account, without what time alone changes."""
    truth = sandboxes.truth(ready, account)
    for trade in truth["trades"]:
        for name in ("status", "last_update", "transaction_hash"):
            del trade[name]
    history = [data(ready, path, account) for path in ("/trades", "/activity", "/v2/activity")]
    return {**truth, "history": history}


def sleep_until(venue_second: int, ready: Any) -> None:
    anchor_s = ready["clock"]["anchor_ns"] / 1e9
    time.sleep(max(0.0, anchor_s + (venue_second - anchor_s) / SPEED - time.time()))


def test_a_killed_venue_knows_its_clients_again(mortal: Mortal) -> None:
    ready = mortal.start()
    account = ready["accounts"][0]
    with trader(ready) as client:
        market = furthest_window(ready)
        up, down = sandboxes.tokens(market)
        client.split_position(condition_id=market["conditionId"], amount=20 * MICRO).wait()
        resting = client.create_limit_order(asset_id=up, side="BUY", price="0.02", size="50")
        rested = client.post_order(resting).order_id
        buy(client, up)
        sandboxes.until(lambda: settled(ready, account))
        assert client.place_market_order(asset_id=down, side="SELL", shares="3", min_price="0.1").status == "matched"
        before, seconds = known(ready, account), venue_s(ready)
        assert mortal.end(signal.SIGKILL) == -signal.SIGKILL

        again = mortal.start()
        assert again == ready
        assert venue_s(again) >= seconds
        assert [order["id"] for order in before["open_orders"]] == [rested]
        assert known(again, account) == {**before, "open_orders": [], "reserved": "0"}
        # The same client, with the credentials it has: its trades settle, its orders are over, and known.
        ids = {trade["id"] for trade in before["trades"]}
        assert {trade.id for trade in items(client.list_account_trades())} == ids
        assert items(client.list_open_orders()) == []
        with pytest.raises(polymarket.errors.RequestRejectedError, match="Duplicated"):
            client.post_order(resting)
        sandboxes.until(lambda: settled(again, account))
        buy(client, sandboxes.tokens(furthest_window(again))[0])
        assert len({trade.id for trade in items(client.list_account_trades())}) == len(ids) + 1


@pytest.mark.long
def test_a_window_that_ended_while_nobody_was_there_is_redeemed_once(mortal: Mortal) -> None:
    ready = mortal.start()
    account = ready["accounts"][0]
    with trader(ready) as client:
        market = furthest_window(ready)
        condition = market["conditionId"]
        client.split_position(condition_id=condition, amount=20 * MICRO).wait()
        buy(client, sandboxes.tokens(market)[0])
        before = known(ready, account)
        assert mortal.end(signal.SIGKILL) == -signal.SIGKILL
        sleep_until(int(market["slug"].rsplit("-", 1)[1]) + 300, ready)

        again = mortal.start()
        sandboxes.until(lambda: sandboxes.gamma(again, f"/markets/slug/{market['slug']}")["closed"])
        assert known(again, account)["positions"] == [
            {**position, "redeemable": True} for position in before["positions"]
        ]
        client.redeem_positions(condition_id=condition).wait()
        paid = known(again, account)
        assert Decimal(paid["redeemed"]) >= 20
        assert Decimal(paid["cash"]) == Decimal(before["cash"]) + Decimal(paid["redeemed"])
        assert mortal.end(signal.SIGKILL) == -signal.SIGKILL

        assert known(mortal.start(), account) == paid
        assert paid["positions"] == []


def test_other_terms_end_with_2_and_say_what_to_do(mortal: Mortal) -> None:
    mortal.start()
    mortal.end(signal.SIGTERM)
    options = ["--port", "0", *mortal._options, "--seed", "9"]
    done = finished("services.sandbox", options, env=os.environ, timeout=60)
    assert done.returncode == 2
    assert "SANDBOX_SEED is 9, but" in done.stderr
    assert "docker compose down --volumes" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    mortal.start()
