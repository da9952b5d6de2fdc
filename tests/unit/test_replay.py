"""Recordings: written, read, replayed to the same decisions."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from pmarb.domain.market import HourCandle, NoonToNoon, Touch
from pmarb.domain.values import NANOS
from pmarb.venue import rules, tape
from pmarb.venue.candles import Candle
from services.replay.__main__ import main
from services.replay.references import Candles, Reference
from services.replay.run import Parameters, replay
from tests.scanning import (
    DOWN_TOKEN,
    SHARED,
    START,
    UP_TOKEN,
    a_book_frame,
    a_market,
    gamma_object,
    walk_of,
    write_tape,
)
from tests.unit.test_rules import ABOVE_TEXT, a_body


def test_a_tape_comes_back_as_it_was_written_without_annotations(tmp_path: Path) -> None:
    path = tmp_path / "x.tape.jsonl.zst"
    with tape.TapeWriter(path, fields={"venue": "polymarket"}, level=3) as writer:
        writer.add(t=1, src="a", msg={"p": "0.50", "_note": 1, "in": [{"_x": 1, "y": 2}]})
        writer.add(t=1, src="b", msg=b'{"z":1}')
    head = tape.header(path)
    assert (head["tape"], head["name"], head["lines"], head["first_t"], head["last_t"]) == (1, "x", 2, 1, 1)
    assert [(entry.t, entry.src, entry.msg) for entry in tape.lines(path)] == [
        (1, "a", {"p": "0.50", "in": [{"y": 2}]}),
        (1, "b", {"z": 1}),
    ]


def test_time_never_goes_back(tmp_path: Path) -> None:
    with tape.TapeWriter(tmp_path / "x.tape.jsonl.zst", fields={}, level=3) as writer:
        writer.add(t=2, src="a", msg={})
        with pytest.raises(tape.TapeError, match="went back"):
            writer.add(t=1, src="a", msg={})


@pytest.mark.parametrize("content", [b"", b"not zstd", b"\x28\xb5\x2f\xfd\x00"])
def test_a_file_that_is_no_tape_is_named(tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.tape.jsonl.zst"
    path.write_bytes(content)
    assert main([str(path)]) == 2
    assert "bad.tape" in capsys.readouterr().err


def test_a_folder_stands_for_its_tapes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert f"{tmp_path}: no *.tape.jsonl.zst in it" in capsys.readouterr().err
    (tmp_path / "b.part.jsonl").write_text("begun")
    for name in ("b", "a"):
        with tape.TapeWriter(tmp_path / f"{name}.tape.jsonl.zst", fields={}, level=3) as writer:
            writer.add(t=1, src="x", msg={})
    assert main(["--json", str(tmp_path), str(tmp_path / "a.tape.jsonl.zst")]) == 0
    assert [each["name"] for each in json.loads(capsys.readouterr().out)["tapes"]] == ["a", "b", "a"]


def test_late_makers_are_found_traded_and_settled(tmp_path: Path) -> None:
    path = tmp_path / "late.tape.jsonl.zst"
    write_tape(path, seed=3)
    first, second = replay([path], Parameters(model_weight=1.0)), replay([path], Parameters(model_weight=1.0))
    assert first.decision_hash == second.decision_hash
    result = first.tapes[0]
    assert result.opportunities > 0
    assert result.fills > 0
    assert result.settled == 1
    assert result.unsettled == 0
    assert (result.priced, result.malformed) == (1, 0)
    assert (result.settlement.known, result.settlement.computed, result.settlement.agreed) == (1, 1, 1)
    assert result.fees > 0


def test_a_token_that_was_not_recorded_is_the_others_mirror_until_it_is(tmp_path: Path) -> None:
    whole, late = tmp_path / "whole.tape.jsonl.zst", tmp_path / "late.tape.jsonl.zst"
    write_tape(whole, seed=3)
    appears = (START + 150) * NANOS
    with tape.TapeWriter(late, fields={}, level=3) as writer:
        for entry in tape.lines(whole):
            message = entry.msg
            if message.get("asset_id") == DOWN_TOKEN:
                if entry.t < appears:
                    continue  # Nobody recorded it; and when somebody does, it contradicts the other
                bids, asks = ([{"price": price, "size": "50"}] for price in ("0.78", "0.80"))
                message = {**message, "bids": bids, "asks": asks}
            writer.add(t=entry.t, src=entry.src, msg=message)
    skips = replay([late]).tapes[0].skips
    assert skips["mirror_broken"] >= 140
    assert skips["no_book"] == replay([whole]).tapes[0].skips.get("no_book", 0)


def test_the_outcome_changes_the_result_and_the_hash(tmp_path: Path) -> None:
    reports = []
    for winner in ("Up", "Down"):
        path = tmp_path / f"{winner}.tape.jsonl.zst"
        write_tape(path, seed=3, winner=winner)
        reports.append(replay([path], Parameters(model_weight=1.0)))
    assert reports[0].decision_hash != reports[1].decision_hash
    assert {report.tapes[0].pnl > 0 for report in reports} == {True, False}


def test_an_average_that_was_told_is_a_price_to_beat_but_no_proof_of_our_own_reading(tmp_path: Path) -> None:
    whole, torn, told = (tmp_path / f"{name}.tape.jsonl.zst" for name in ("whole", "torn", "told"))
    write_tape(whole, seed=3)
    missed = [f'"timestamp":{second * 1000},' for second in range(START - 70, START + 5)]
    ticks = [(entry.msg["payload"]) for entry in tape.lines(whole) if entry.src == "rtds"]
    average = sum(tick["value"] for tick in ticks if START - 60 <= tick["timestamp"] // 1000 < START) / 60
    point = {"value": average, "full_accuracy_value": repr(average), "timestamp": START * 1000}
    about = {"symbol": "btcusd", "source": "chainlink", "window_seconds": 60}
    frame = {"v": 1, "channel": "price.crypto.twap", "seq": 1, "ts": START * 1000, "payload": point | about}
    with (
        tape.TapeWriter(torn, fields={}, level=3) as without,
        tape.TapeWriter(told, fields={}, level=3) as added,
    ):
        for line in tape.raw_lines(whole):
            text = bytes(line.msg).decode()
            if line.src == "rtds" and any(stamp in text for stamp in missed):
                continue
            for writer in (without, added):
                writer.add(t=line.t, src=line.src, msg=text)
            if line.src == "spot.binance" and line.t == (START + 3) * NANOS:
                added.add(t=line.t, src="polybolt", msg={"op": "authed"})
                added.add(t=line.t, src="polybolt", msg=frame)
    found = {path: replay([path], Parameters(model_weight=1.0)).tapes[0] for path in (whole, torn, told)}
    assert found[torn].unpriced == {"reference_missing": 1}
    assert (found[told].priced, found[told].malformed) == (1, 0)
    assert found[told].opportunities > 0
    assert [found[path].settlement.computed for path in (whole, torn, told)] == [1, 0, 0]


def candle(second: int, *, opened: float = 100, high: float = 101, low: float = 99, close: float = 100) -> Candle:
    return Candle(second, opened, high, low, close)


def test_a_market_of_the_exchanges_candles_compares_with_those_that_were_told() -> None:
    candles, opens = Candles(), START // 60 * 60
    times = {"opens_at": opens * NANOS, "closes_at": (opens + 180) * NANOS}
    hour, noon, reach, dip = (
        Reference(a_market(settlement=rule, **times))
        for rule in (HourCandle(), NoonToNoon(), Touch(level=110, up=True), Touch(level=90, up=False))
    )
    assert [each.read(candles) for each in (hour, noon, reach, dip)] == [None] * 4
    candles.put("btc", "1m", candle(opens, close=100.5), now=(opens + 30) * NANOS)
    candles.put("btc", "1h", candle(opens, opened=99.5), now=(opens + 30) * NANOS)
    candles.put("eth", "1m", candle(opens, high=200), now=(opens + 30) * NANOS)
    assert [each.read(candles) for each in (hour, noon, reach, dip)] == [99.5, None, 101, 99]
    candles.put("btc", "1m", candle(opens, high=103, close=102), now=(opens + 60) * NANOS)
    assert [each.read(candles) for each in (hour, noon, reach, dip)] == [99.5, 102, 103, 99]
    candles.put("btc", "1m", candle(opens + 120, high=105, low=80), now=(opens + 130) * NANOS)
    assert [each.read(candles) for each in (reach, dip)] == [103, 99]  # A minute is missing
    candles.put("btc", "1m", candle(opens + 60), now=(opens + 140) * NANOS)
    candles.put("btc", "1m", candle(opens + 180, high=120), now=(opens + 190) * NANOS)  # After the end
    assert [each.read(candles) for each in (reach, dip)] == [105, 80]


def test_settings_change_decisions(tmp_path: Path) -> None:
    path = tmp_path / "x.tape.jsonl.zst"
    write_tape(path, seed=3)
    assert replay([path], Parameters(min_edge=Decimal("0.6"), model_weight=1.0)).tapes[0].opportunities == 0


@pytest.mark.parametrize("name", ["leafuryk-btc5m-20260302", "weiuou-updown15m-20260109", "borisz-btc15m-20251226"])
def test_recorded_tapes_run_to_their_end(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = SHARED / "tapes" / f"{name}.tape.jsonl.zst"
    if not path.exists():
        pytest.skip("recorded tapes are not beside the project")
    assert main([str(path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    found = report["tapes"][0]
    assert found["events"] == report["events"] == tape.header(path)["lines"]
    assert found["priced"] + sum(found["unpriced"].values()) == found["markets"] == tape.header(path)["markets"]
    assert found["lacks"]
    assert report["decision_hash"] == replay([path]).decision_hash


def test_a_strike_is_traded_and_every_market_of_the_tape_is_accounted_for(tmp_path: Path) -> None:
    noon = rules.noon(date(2026, 11, 26)) // NANOS
    body = a_body(ABOVE_TEXT, "Will the price of Bitcoin be above $83,000 on November 26?")
    body |= {"clobTokenIds": json.dumps([UP_TOKEN, DOWN_TOKEN]), "conditionId": "0xc0", "slug": "strike"}
    body |= {"eventStartTime": f"{datetime.fromtimestamp(noon - 3000, tz=UTC):%Y-%m-%dT%H:%M:%SZ}"}
    body |= {"active": True, "acceptingOrders": True, "enableOrderBook": True}
    three = body | {"slug": "three", "outcomes": '["A", "B", "C"]', "clobTokenIds": '["1", "2", "3"]'}
    path = tmp_path / "strike.tape.jsonl.zst"
    with tape.TapeWriter(path, fields={"venue": "polymarket"}, level=3) as writer:
        prices = walk_of(5, start=noon - 4400, seconds=4500)
        for second, price in enumerate(prices, start=noon - 4400):
            at = second * NANOS
            if second == noon - 2000:
                for one in (body, three, body | {"slug": "odd", "outcomes": "no list"}):
                    writer.add(t=at, src="gamma", msg=one)
            stamp = second * 1000
            trade = {"e": "trade", "s": "BTCUSDT", "p": f"{price:.2f}", "E": stamp, "T": stamp}
            writer.add(t=at, src="spot.binance", msg=trade)
            if noon - 1700 <= second < noon - 650:
                for token in (UP_TOKEN, DOWN_TOKEN):
                    writer.add(t=at, src="clob.market", msg=a_book_frame(token, second))
        done = {"event_type": "market_resolved", "market": "0xc0", "timestamp": str(noon * 1000)}
        done |= {"winning_outcome": "Yes", "winning_asset_id": UP_TOKEN}
        writer.add(t=(noon + 200) * NANOS, src="clob.market", msg=done)
    found = replay([path], Parameters(model_weight=1.0)).tapes[0]
    assert found.families == {"above": {"priced": 1}, "unknown": {"unknown_rule": 1, "unreadable": 1}}
    assert (found.markets, found.priced) == (3, 1)
    assert (found.fills, found.settled, found.pnl > 0) == (1, 1, True)
    assert all(sample.happened and sample.model > 0.9 for sample in found.evidence.samples)
    assert found.evidence.samples
    assert all(sample.at >= (noon - 2000) * NANOS for sample in found.evidence.samples)


def test_a_window_of_four_hours_keeps_the_reference_of_its_beginning(tmp_path: Path) -> None:
    """Ticks are kept for two hours; three and a half hours in, the price to beat must still be known."""
    slug = f"btc-updown-4h-{START}"
    market = a_market(slug=slug, family="4h", closes_at=(START + 14_400) * NANOS)
    first, asked = START - 2400, START + 14_000
    with tape.TapeWriter(tmp_path / "4h.tape.jsonl.zst", fields={"venue": "polymarket"}, level=1) as writer:
        writer.add(t=first * NANOS, src="gamma", msg=gamma_object(market))
        for second, price in enumerate(walk_of(3, start=first, seconds=asked - first), start=first):
            at = second * NANOS
            spot = {"e": "trade", "s": "BTCUSDT", "p": f"{price:.8f}", "E": second * 1000, "T": second * 1000}
            writer.add(t=at, src="spot.binance", msg=spot)
            payload = {"symbol": "btc/usd", "timestamp": second * 1000, "value": price}
            told = {"topic": "crypto_prices_chainlink", "type": "update", "payload": payload}
            writer.add(t=at, src="rtds", msg=told)
            if second == asked - 1:
                for token in (UP_TOKEN, DOWN_TOKEN):
                    writer.add(t=at, src="clob.market", msg=a_book_frame(token, second))
                writer.add(t=at, src="spot.binance", msg=spot)
    (found,) = replay([tmp_path / "4h.tape.jsonl.zst"], Parameters()).tapes
    assert "reference_missing" not in found.skips, found.skips
    assert found.families["4h"]["priced"] == 1
