"""So many quotes and trades through nautilus_trader's backtest; prints one JSON line.

Run by the interpreter that has nautilus_trader, which need not be the one of this project: nothing of it is imported
here. The strategy does what a replay does at the least: every trade moves price and volatility, every quote is compared
with the digital's fair value after the fee. Only the run is timed, not the making of its events.
"""

import json
import math
import sys
import time
from decimal import Decimal
from typing import Any

import nautilus_trader
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import QuoteTick, TradeTick
from nautilus_trader.model.enums import AccountType, AggressorSide, OmsType
from nautilus_trader.model.identifiers import TradeId, Venue
from nautilus_trader.model.objects import Money
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.trading.strategy import Strategy

FIRST_NS = 1_790_000_000_000_000_000
STEP_NS = 1_000_000


class Watcher(Strategy):  # type: ignore[misc]
    """Prices an up/down window of five minutes at every quote."""

    def __init__(self, share: Any, spot: Any) -> None:
        super().__init__()
        self.share, self.spot = share, spot
        self.price, self.variance, self.strike, self.found = 0.0, 1e-9, 1.0, 0

    def on_start(self) -> None:
        self.subscribe_quote_ticks(self.share.id)
        self.subscribe_trade_ticks(self.spot.id)

    def on_trade_tick(self, tick: Any) -> None:
        price = float(tick.price)
        if self.price:
            self.variance += 0.01 * (math.log(price / self.price) ** 2 - self.variance)
        else:
            self.strike = price
        self.price = price

    def on_quote_tick(self, tick: Any) -> None:
        if not self.price:
            return
        tau = 300.0 - tick.ts_event // 1_000_000_000 % 240
        z = math.log(self.price / self.strike) / math.sqrt(self.variance * (tau - 39.5))
        fair = 0.5 * math.erfc(-z / math.sqrt(2))
        ask, bid = float(tick.ask_price), float(tick.bid_price)
        edge = max(fair - ask - 0.07 * ask * (1 - ask), bid - fair - 0.07 * bid * (1 - bid))
        density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        if edge >= max(0.02, 2 * density * math.hypot(0.1, 0.22 * z)):
            self.found += 1


def main() -> None:
    quotes, trades = map(int, sys.argv[1:])
    engine = BacktestEngine(config=BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    venue = Venue("SIM")
    share, spot = (TestInstrumentProvider.default_fx_ccy(name, venue) for name in ("EUR/USD", "GBP/USD"))
    engine.add_venue(
        venue=venue,
        oms_type=OmsType.NETTING,
        account_type=AccountType.MARGIN,
        base_currency=USD,
        starting_balances=[Money(1_000_000, USD)],
    )
    for instrument in (share, spot):
        engine.add_instrument(instrument)
    engine.add_data(_quotes(share, quotes, trades))
    engine.add_data(_trades(spot, quotes, trades))
    engine.add_strategy(Watcher(share, spot))
    started = time.process_time()
    engine.run()
    took = time.process_time() - started
    engine.dispose()
    print(json.dumps({"version": nautilus_trader.__version__, "events": quotes + trades, "seconds": took}))


def _quotes(instrument: Any, quotes: int, trades: int) -> list[Any]:
    bids = [instrument.make_price(Decimal(40000 + 100 * n) * Decimal("0.00001")) for n in range(97)]
    asks = [instrument.make_price(Decimal(41000 + 100 * n) * Decimal("0.00001")) for n in range(97)]
    size = instrument.make_qty(100_000)
    made = []
    for n in range(quotes):
        at = FIRST_NS + n * (quotes + trades) * STEP_NS // quotes
        made.append(QuoteTick(instrument.id, bids[n % 97], asks[n % 97], size, size, at, at))
    return made


def _trades(instrument: Any, quotes: int, trades: int) -> list[Any]:
    prices = [instrument.make_price(Decimal(84000 + n * 37 % 11) * Decimal("0.00001")) for n in range(97)]
    size = instrument.make_qty(1000)
    made = []
    for n in range(trades):
        at = FIRST_NS + n * (quotes + trades) * STEP_NS // trades
        side = AggressorSide.BUYER if n % 2 else AggressorSide.SELLER
        made.append(TradeTick(instrument.id, prices[n % 97], size, side, TradeId(str(n)), at, at))
    return made


if __name__ == "__main__":
    main()
