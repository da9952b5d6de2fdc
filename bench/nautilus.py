"""The same number of events through nautilus_trader's backtest, if it happens to be installed (pip install it first).

Its strategy does what a replay does at the least: sees every top of book, and compares a fair value after fees with
it. Only the run is timed, not the loading, which is to its advantage: ours includes decoding the tape.
"""

import time
from pathlib import Path
from typing import Any

from bench.measure import Measured
from pmarb.venue import tape


def run(paths: list[Path], ours: Measured) -> list[Measured]:
    """One row, or none where it is not installed."""
    try:
        import nautilus_trader  # noqa: F401 - only whether it is there
    except ImportError:
        return []
    events = sum(1 for path in paths for _ in tape.raw_lines(path))
    rate = events / _seconds(events)
    return [
        Measured(
            name="replay events beside nautilus_trader",
            unit="/s",
            median=ours.median,
            p99=ours.median,
            baseline_name="nautilus_trader, quotes only",
            baseline=rate,
        )
    ]


def _seconds(events: int) -> float:
    """Real seconds of a backtest over so many quotes."""
    from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
    from nautilus_trader.config import LoggingConfig
    from nautilus_trader.model.currencies import USD
    from nautilus_trader.model.enums import AccountType, OmsType
    from nautilus_trader.model.identifiers import Venue
    from nautilus_trader.model.objects import Money
    from nautilus_trader.test_kit.providers import TestInstrumentProvider

    engine = BacktestEngine(config=BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    instrument = TestInstrumentProvider.default_fx_ccy("EUR/USD", Venue("SIM"))
    engine.add_venue(
        venue=Venue("SIM"),
        oms_type=OmsType.NETTING,
        account_type=AccountType.MARGIN,
        base_currency=USD,
        starting_balances=[Money(1_000_000, USD)],
    )
    engine.add_instrument(instrument)
    engine.add_data(_quotes(instrument, events))
    engine.add_strategy(_strategy(instrument))
    started = time.process_time()
    engine.run()
    took = time.process_time() - started
    engine.dispose()
    return took


def _quotes(instrument: Any, events: int) -> list[Any]:
    from nautilus_trader.model.data import QuoteTick

    bids = [instrument.make_price(0.40 + 0.001 * (n % 97)) for n in range(97)]
    asks = [instrument.make_price(0.41 + 0.001 * (n % 97)) for n in range(97)]
    size = instrument.make_qty(100_000)
    first = 1_790_000_000_000_000_000
    return [
        QuoteTick(
            instrument_id=instrument.id,
            bid_price=bids[n % 97],
            ask_price=asks[n % 97],
            bid_size=size,
            ask_size=size,
            ts_event=first + n * 1_000_000,
            ts_init=first + n * 1_000_000,
        )
        for n in range(events)
    ]


def _strategy(instrument: Any) -> Any:
    from nautilus_trader.trading.strategy import Strategy

    class Watcher(Strategy):  # type: ignore[misc]
        """Compares a fixed fair value with every ask, after the fee."""

        def on_start(self) -> None:
            self.found = 0
            self.subscribe_quote_ticks(instrument.id)

        def on_quote_tick(self, tick: Any) -> None:
            ask = float(tick.ask_price)
            if 0.45 - ask - 0.07 * ask * (1 - ask) >= 0.02:
                self.found += 1

    return Watcher()
