"""A recording of makers who come late, and a ledger of paper orders that earned on it: evidence that opens the gate."""

import math
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from statistics import NormalDist
from typing import Any

import psycopg

from pmarb.domain.evidence import Bet
from pmarb.domain.market import MarketInfo, Outcome
from pmarb.domain.values import NANOS
from pmarb.venue.tape import TapeWriter
from services.replay.run import Parameters, replay
from tests.scanning import a_market, gamma_object, walk_of

WINDOW, WARM_UP, LATE, SIGMA = 300, 2400, 6, 4e-5


def window(opens: int) -> MarketInfo:
    """The five minutes from `opens` on (seconds), with tokens of its own."""
    slug = f"btc-updown-5m-{opens}"
    return a_market(
        slug=slug,
        event=slug,
        condition_id=f"0x{opens:064x}",
        outcomes=(Outcome(label="Up", token=f"{opens}1"), Outcome(label="Down", token=f"{opens}2")),
        opens_at=opens * NANOS,
        closes_at=(opens + WINDOW) * NANOS,
    )


class Recorder:
    """Writes the seconds from an hour before `start` through so many windows after it."""

    def __init__(self, tape: TapeWriter, *, start: int, windows: int, seed: int) -> None:
        self._tape = tape
        self._first, self._start, self._windows = start - WARM_UP, start, windows
        self._prices = walk_of(seed, start=self._first, seconds=WARM_UP + WINDOW * windows + 120, sigma=SIGMA)

    def write(self) -> None:
        for second in range(self._first + 2, self._first + len(self._prices)):
            if (second - self._start) % WINDOW == WINDOW - 120 and second < self._end - WINDOW:
                market = window(second + 120)
                self._tape.count_market()
                self._tape.add(t=second * NANOS, src="gamma", msg=gamma_object(market))
            self._prices_of(second)
            if self._start <= second < self._end:
                self._books(window(self._start + (second - self._start) // WINDOW * WINDOW), second)
            over = second - 60 - WINDOW
            if over >= self._start and (over - self._start) % WINDOW == 0:
                self._resolve(window(over), second)

    @property
    def _end(self) -> int:
        return self._start + WINDOW * self._windows

    def _price(self, second: int) -> float:
        return self._prices[second - self._first]

    def _average(self, before: int) -> float:
        """As the oracle shows it, two seconds late."""
        return sum(self._price(second - 2) for second in range(before - 60, before)) / 60

    def _prices_of(self, second: int) -> None:
        at, price = second * NANOS, self._price(second)
        trade = {"e": "trade", "s": "BTCUSDT", "p": f"{price:.8f}", "E": at // 10**6, "T": at // 10**6}
        self._tape.add(t=at, src="spot.binance", msg=trade)
        payload = {"symbol": "btc/usd", "timestamp": second * 1000, "value": self._price(second - 2)}
        said = {"topic": "crypto_prices_chainlink", "type": "update", "payload": payload}
        self._tape.add(t=at + NANOS // 2, src="rtds", msg=said)

    def _books(self, market: MarketInfo, second: int) -> None:
        """Quoted by the price of some time ago, a cent to each side."""
        opens, seen = market.opens_at // NANOS, self._price(second - LATE)
        left = max(opens + WINDOW - second - 39.5, 20.0)
        worth = NormalDist().cdf((seen - self._average(opens)) / (seen * SIGMA * math.sqrt(left)))
        mid = min(max(Decimal(str(round(worth, 2))), Decimal("0.07")), Decimal("0.93"))
        for outcome, middle in zip(market.outcomes, (mid, 1 - mid), strict=True):
            self._tape.add(
                t=second * NANOS + 6 * NANOS // 10, src="clob.market", msg=_book(market, outcome.token, middle, second)
            )

    def _resolve(self, market: MarketInfo, second: int) -> None:
        opens = market.opens_at // NANOS
        winner = market.outcomes[0 if self._average(opens + WINDOW) >= self._average(opens) else 1]
        said = {"event_type": "market_resolved", "market": market.condition_id, "timestamp": str(second * 1000)}
        said |= {"winning_outcome": winner.label, "winning_asset_id": winner.token}
        self._tape.add(t=second * NANOS + 7 * NANOS // 10, src="clob.market", msg=said)


def _book(market: MarketInfo, token: str, middle: Decimal, second: int) -> dict[str, Any]:
    return {
        "event_type": "book",
        "market": market.condition_id,
        "asset_id": token,
        "bids": [{"price": str(middle - Decimal("0.01")), "size": "100"}],
        "asks": [{"price": str(middle + Decimal("0.01")), "size": "100"}],
        "timestamp": str(second * 1000),
    }


def recorded(path: Path, *, start: int, windows: int, seed: int = 7) -> tuple[Bet, ...]:
    """Write the tape; the paper orders that the rules would have made meanwhile."""
    with TapeWriter(path, fields={"venue": "polymarket", "settlement": "twap60"}, level=3) as tape:
        Recorder(tape, start=start, windows=windows, seed=seed).write()
    (tape_report,) = replay([path], Parameters(model_weight=1.0)).tapes
    return tape_report.evidence.bets


def keep(database_url: str, bets: Iterable[Bet]) -> None:
    """The orders, trades and settlements of these bets, as an executor on paper leaves them."""
    with psycopg.connect(database_url) as writer:
        for bet in bets:
            if bet.filled is not None:
                _keep(writer, bet, "0x" + bet.bet_id)


def _keep(writer: psycopg.Connection, bet: Bet, order_hash: str) -> None:
    assert bet.filled is not None
    paid, cost = bet.filled, bet.filled.shares * bet.filled.price
    writer.execute(
        "INSERT INTO orders (order_hash, opportunity_id, leg, slug, event, underlying, family, market, token, outcome,"
        " side, order_type, limit_price, shares, usd, reserved, fee_rate, fee_exponent, fair, expiry, expires_at,"
        " state, tick_real, sent_real, created_at, updated_at) VALUES (%s, %s, 0, %s, %s, 'btc', '5m', %s, %s, %s,"
        " 'BUY', 'FAK', %s, %s, %s, %s, 0.07, 1, %s, %s, %s, 'FILLED', 1, 200000000, %s, %s)",
        (order_hash, bet.bet_id, bet.window, bet.window, bet.window, bet.token, bet.outcome, paid.price, paid.shares,
         cost, cost + paid.fee, bet.fair, bet.closes_at, bet.matched_at, bet.decided_at, bet.matched_at),
    )  # fmt: skip
    writer.execute(
        "INSERT INTO trades VALUES (%s, %s, %s, %s, %s, 'confirmed', %s, %s)",
        (f"t{bet.bet_id}", order_hash, paid.shares, paid.price, paid.fee, bet.matched_at, bet.matched_at),
    )
    payout = paid.shares * bet.payout
    writer.execute(
        "INSERT INTO settlements (token, market, slug, outcome, won, shares, cost, fees, payout, pnl, resolved_at,"
        " redeemed_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (bet.token, bet.window, bet.window, bet.outcome, bet.won, paid.shares, cost, paid.fee, payout,
         payout - cost - paid.fee, bet.closes_at, bet.closes_at),
    )  # fmt: skip
