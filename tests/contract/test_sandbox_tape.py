"""A recording played by the sandbox: its clock, its markets, its books, and our orders against them."""

import json
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
import zstandard

from services.sandbox.settings import SettingError, read_settings
from services.sandbox.tape import TapeFile
from tests.sandbox_orders import call, signed_order
from tests.starting import running_sandbox

ROOT = Path(__file__).parents[2]
TAPES = ROOT.parent / "shared" / "data" / "tapes"
FIRST_S = 1_776_092_940
START_S = FIRST_S + 60
UP, DOWN = "111" + "7" * 70, "222" + "7" * 70
CONDITION = "0x" + "ab" * 32
CENT, SHARE = 10_000, 1_000_000


def gamma(**more: Any) -> dict[str, Any]:
    return {
        "id": "11776093000",
        "conditionId": CONDITION,
        "slug": f"btc-updown-5m-{START_S}",
        "question": "Bitcoin Up or Down",
        "outcomes": '["Up", "Down"]',
        "clobTokenIds": json.dumps([UP, DOWN]),
        "orderPriceMinTickSize": 0.01,
        "orderMinSize": 5,
        "closed": False,
        "negRisk": False,
        "feesEnabled": True,
        "feeSchedule": {"exponent": 1, "rate": 0.072, "takerOnly": True, "rebateRate": 0.2},
        "eventStartTime": "2026-04-13T15:10:00Z",
        "endDate": "2026-04-13T15:15:00Z",
        "_synthetic": ["id"],
        **more,
    }


def book(bids: dict[str, str], asks: dict[str, str], *, token: str = DOWN) -> dict[str, Any]:
    def side(levels: dict[str, str]) -> list[dict[str, str]]:
        return [{"price": price, "size": size} for price, size in levels.items()]

    return {"event_type": "book", "market": CONDITION, "asset_id": token, "bids": side(bids), "asks": side(asks)}


def change(*entries: tuple[str, str, str]) -> dict[str, Any]:
    changes = [{"asset_id": DOWN, "side": side, "price": price, "size": size} for side, price, size in entries]
    return {"event_type": "price_change", "market": CONDITION, "price_changes": changes}


def write_tape(path: Path, lines: list[tuple[float, str, dict[str, Any]]]) -> Path:
    first = FIRST_S * 1_000_000_000
    rows = [{"tape": 1, "name": path.stem, "first_t": first, "book": "l2"}]
    rows += [{"t": first + int(at * 1e9), "src": src, "msg": msg} for at, src, msg in lines]
    path.write_bytes(zstandard.ZstdCompressor().compress("\n".join(json.dumps(row) for row in rows).encode()))
    return path


def playing(tape: Path, *more: str) -> AbstractContextManager[Any]:
    return running_sandbox("--tape", str(tape), *more)


def wait_for(found, *, seconds: float = 10.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = found()
        if value:
            return value
        time.sleep(0.05)
    raise TimeoutError


@pytest.fixture
def ready(tmp_path):
    tape = write_tape(
        tmp_path / "small.tape.jsonl.zst",
        [
            (0, "gamma", gamma()),
            (0.2, "clob.market", book({"0.40": "100", "0.38": "7"}, {"0.45": "50", "0.43": "20"})),
            (0.2, "clob.market", book({"0.10": "1"}, {}, token=UP)),
            (6, "clob.market", change(("SELL", "0.43", "0"), ("BUY", "0.41", "33"))),
            (9, "clob.market", change(("SELL", "0.42", "15"), ("BUY", "0.41", "0"))),
            (14, "clob.market", {"event_type": "market_resolved", "market": CONDITION, "winning_asset_id": UP}),
            (15, "gamma", gamma(closed=True, outcomePrices='["1", "0"]')),
        ],
    )
    with playing(tape, "--scenario", "instant") as found:
        yield found


def test_a_small_tape_is_shown_as_it_was_and_traded_against(ready):
    with httpx.Client(base_url=ready["clob"]) as http:
        account = ready["accounts"][1]

        def shown(token: str = DOWN) -> Any:
            return http.get("/book", params={"token_id": token}).json()

        def post(token: str, **order: Any) -> Any:
            payload = signed_order(account, token, **order)
            return http.request(**call(account, "POST", "/order", payload)).json()

        assert 0 <= http.get("/time").json() - FIRST_S < 5
        wait_for(lambda: shown().get("bids"))
        assert shown()["bids"] == [{"price": "0.38", "size": "7"}, {"price": "0.4", "size": "100"}]
        assert shown()["asks"] == [{"price": "0.45", "size": "50"}, {"price": "0.43", "size": "20"}]
        assert shown(UP)["bids"][-1] == {"price": "0.57", "size": "20"}
        bought = post(DOWN, price=44 * CENT, shares=30 * SHARE, salt=1)
        assert (bought["status"], bought["takingAmount"]) == ("matched", "20")
        resting = post(DOWN, price=42 * CENT, shares=25 * SHARE, salt=2, order_type="GTC")
        assert resting["status"] == "live"
        wait_for(lambda: {"price": "0.41", "size": "33"} in shown()["bids"])
        assert shown()["asks"] == [{"price": "0.45", "size": "50"}]
        wait_for(lambda: len(http.get(f"/sandbox/accounts/{account['address']}").json()["trades"]) == 2)
        assert {"price": "0.42", "size": "10"} in shown()["bids"]
        market = wait_for(lambda: closed(http))
        assert json.loads(market["outcomePrices"]) == ["1", "0"]
        assert market["feeSchedule"]["rate"] == 0.072
        assert not any(name.startswith("_") for name in market)


def closed(http: httpx.Client) -> dict[str, Any] | None:
    market = http.get(f"/gamma/markets/slug/btc-updown-5m-{START_S}").json()
    return market if market["closed"] else None


async def test_books_of_a_real_recording_agree_with_the_tape():
    path = TAPES / "cronos-btc5m-20260413.tape.jsonl.zst"
    if not path.exists():
        pytest.skip("recorded tapes are not here")
    lines = TapeFile(str(path)).lines()
    wanted = next(message for _, _, message in lines if message.get("event_type") == "book")
    with playing(path, "--speed", "40") as ready:
        async with websockets.connect(ready["ws_market"], max_size=None) as socket:
            await socket.send(json.dumps({"assets_ids": [wanted["asset_id"]], "type": "market"}))
            with httpx.Client(base_url=ready["clob"]) as http:
                shown = wait_for(lambda: has_bids(http, wanted["asset_id"]))
            tops: list[tuple[float, float]] = []
            while len(tops) < 200:
                parsed = json.loads(await socket.recv())
                for frame in parsed if isinstance(parsed, list) else [parsed]:
                    changes = frame.get("price_changes", [])
                    tops.extend((float(entry["best_bid"]), float(entry["best_ask"])) for entry in changes)
    assert all(bid < ask for bid, ask in tops)
    assert len(shown["bids"]) > 20


def has_bids(http: httpx.Client, token: str) -> dict[str, Any] | None:
    found = http.get("/book", params={"token_id": token}).json()
    return found if found.get("bids") else None


@pytest.mark.parametrize("content", [b"no tape", zstandard.ZstdCompressor().compress(b'{"tape": 2}\n')])
def test_what_is_no_tape_is_refused_at_start(tmp_path, content):
    path = tmp_path / "bad.tape.jsonl.zst"
    path.write_bytes(content)
    with pytest.raises(SettingError, match="SANDBOX_TAPE"):
        read_settings(["--tape", str(path)], {})
