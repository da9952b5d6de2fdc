"""Markets, prices and books for tests of the scanner and of the replay."""

import json
import math
import random
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from pmarb.domain.fees import FeeSchedule
from pmarb.domain.market import MarketInfo, Outcome, SpotTick, Twap
from pmarb.domain.underlying import Stamp, Underlying
from pmarb.domain.values import NANOS
from pmarb.venue.books import LocalBook
from pmarb.venue.parse import BookFrame, WireLevel
from pmarb.venue.tape import TapeWriter
from services.scanner.decide import Limits, Watched

START = 1_790_000_100
UP_TOKEN, DOWN_TOKEN = "1001", "1002"
SHARED = Path(__file__).parents[2] / "shared" / "data"


def a_market(**changes: Any) -> MarketInfo:
    market = MarketInfo(
        slug=f"btc-updown-5m-{START}",
        condition_id="0xc0",
        event=f"btc-updown-5m-{START}",
        outcomes=(Outcome(label="Up", token=UP_TOKEN), Outcome(label="Down", token=DOWN_TOKEN)),
        fees=FeeSchedule(Decimal("0.07")),
        tick=Decimal("0.01"),
        min_size=Decimal(5),
        opens_at=START * NANOS,
        closes_at=(START + 300) * NANOS,
        family="5m",
        underlying="btc",
        settlement=Twap(lookback=60),
        template="",
        accepting=True,
        closed=False,
        neg_risk=False,
        taker_delay=True,
    )
    return replace(market, **changes)


def limits(**changes: Any) -> Limits:
    return replace(Limits(order_usd=Decimal(3)), **changes)


def a_book(token: str, *, bid: str, ask: str, size: str = "100", at: int = START * NANOS) -> LocalBook:
    """One level a side; "0" and "1" leave a side empty."""
    book = LocalBook(token)
    frame = BookFrame(
        asset_id=token,
        bids=[WireLevel(price=bid, size=size)] if Decimal(bid) > 0 else [],
        asks=[WireLevel(price=ask, size=size)] if Decimal(ask) < 1 else [],
        timestamp=at // 1_000_000,
    )
    book.snapshot(frame, ts_init=at)
    return book


def a_watched(*, bid: str = "0.49", ask: str = "0.50", size: str = "100", proven: int, **changes: Any) -> Watched:
    """Up at these prices and Down as its exact mirror."""
    return Watched(
        market=a_market(**changes),
        up=a_book(UP_TOKEN, bid=bid, ask=ask, size=size),
        down=a_book(DOWN_TOKEN, bid=str(1 - Decimal(ask)), ask=str(1 - Decimal(bid)), size=size),
        proven=proven,
    )


def walk_of(seed: int, *, start: int, seconds: int, price: float = 84_000.0, sigma: float = 4e-5) -> list[float]:
    """A geometric random walk by the second."""
    rng, level, found = random.Random(seed), math.log(price), []
    for _ in range(seconds):
        found.append(math.exp(level))
        level += rng.gauss(0.0, sigma)
    return found


def an_underlying(*, now: int, seed: int = 1, basis: float = 3e-4, jump: float = 0.0) -> Underlying:
    """Warm at `now` (nanoseconds); `jump` moves the spot's log price at the last moment."""
    second, back = now // NANOS, 2400
    prices = walk_of(seed, start=second - back, seconds=back + 1)
    underlying = Underlying("btc")
    for offset, price in enumerate(prices[:-1]):
        at = second - back + offset
        underlying.put_spot(at, price)
        if at <= second - 2:
            stamp = Stamp(ts_event=at * NANOS, ts_init=now, real=now)
            underlying.on_oracle(price * math.exp(basis), second=at, stamp=stamp)
    underlying.on_spot(prices[-1] * math.exp(jump), second=second, stamp=Stamp(ts_event=now, ts_init=now, real=now))
    return underlying


def gamma_object(market: MarketInfo, **changes: Any) -> dict[str, Any]:
    """The market as Gamma would say it."""
    lookback = market.settlement.lookback if isinstance(market.settlement, Twap) else 0
    source = "https://data.chain.link/streams/btc-usd"
    body: dict[str, Any] = {
        "slug": market.slug,
        "conditionId": market.condition_id,
        "outcomes": json.dumps([outcome.label for outcome in market.outcomes]),
        "clobTokenIds": json.dumps([outcome.token for outcome in market.outcomes]),
        "orderPriceMinTickSize": float(market.tick),
        "orderMinSize": 5,
        "active": True,
        "closed": False,
        "acceptingOrders": True,
        "enableOrderBook": True,
        "negRisk": False,
        "feesEnabled": True,
        "feeSchedule": {"rate": 0.07, "exponent": 1, "takerOnly": True, "rebateRate": 0.2},
        "eventStartTime": _iso(market.opens_at),
        "endDate": _iso(market.closes_at),
        "resolutionSource": f"{source}-twap-{lookback}s-streams" if lookback else source,
    }
    if lookback:
        body["cryptoMarketConfig"] = {"twapEnabled": True, "twapLookbackSeconds": lookback}
    return body | changes


def _iso(nanos: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(nanos // NANOS, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def write_tape(path: Path, *, seed: int = 1, quiet_after: int = 300, winner: str = "") -> None:
    """An hour of spot and oracle, then one window whose makers quote 0.50 whatever the price does."""
    first, end = START - 2400, START + 300
    prices = walk_of(seed, start=first, seconds=end - first + 60)
    market = a_market()
    strike = sum(prices[second - first - 2] for second in range(START - 60, START)) / 60
    final = sum(prices[second - first - 2] for second in range(end - 60, end)) / 60
    up = winner == "Up" if winner else final >= strike
    with TapeWriter(path, fields={"venue": "polymarket", "settlement": "twap60"}, level=3) as tape:
        for second in range(first, end + 60):
            at = second * NANOS
            if second == START - 120:
                tape.count_market()
                tape.add(t=at, src="gamma", msg=gamma_object(market, _synthetic=["*"]))
            spot = {
                "e": "trade",
                "s": "BTCUSDT",
                "p": f"{prices[second - first]:.8f}",
                "E": at // 10**6,
                "T": at // 10**6,
            }
            tape.add(t=at, src="spot.binance", msg=spot)
            value = prices[second - first - 2] if second - first >= 2 else prices[0]
            payload = {"symbol": "btc/usd", "timestamp": second * 1000, "value": value}
            tape.add(
                t=at + NANOS // 2,
                src="rtds",
                msg={"topic": "crypto_prices_chainlink", "type": "update", "payload": payload},
            )
            if START - 60 <= second < START + quiet_after:
                for token in (UP_TOKEN, DOWN_TOKEN):
                    tape.add(t=at + 6 * NANOS // 10, src="clob.market", msg=a_book_frame(token, second))
        done = {"event_type": "market_resolved", "market": market.condition_id, "timestamp": str((end + 60) * 1000)}
        done |= {"winning_outcome": "Up" if up else "Down", "winning_asset_id": UP_TOKEN if up else DOWN_TOKEN}
        tape.add(t=(end + 60) * NANOS, src="clob.market", msg=done)


def a_book_frame(token: str, second: int) -> dict[str, Any]:
    """A book of 0.49 against 0.51, whichever token's."""
    return {
        "event_type": "book",
        "market": "0xc0",
        "asset_id": token,
        "bids": [{"price": "0.48", "size": "50"}, {"price": "0.49", "size": "100"}],
        "asks": [{"price": "0.52", "size": "50"}, {"price": "0.51", "size": "100"}],
        "timestamp": str(second * 1000),
    }


def spot_rule() -> SpotTick:
    return SpotTick()
