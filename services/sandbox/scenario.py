"""Scenarios: everything about the simulated world that a test may want to change, as data."""

from __future__ import annotations

from dataclasses import dataclass

from services.sandbox.fault_specs import Fault, Spec, Timed


@dataclass(frozen=True, kw_only=True, slots=True)
class Lognormal:
    """Positive random quantity given by its median and the standard deviation of its logarithm."""

    median: float
    sigma: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """Parameters of price, makers, takers, order path and settlement. Seconds unless the name says otherwise."""

    name: str
    summary: str
    # Price: 50 ms grid, basis points per square root of a second, jumps an hour, size of a jump in basis points.
    sigma_bps: float = 0.4
    sigma_window_sd: float = 0.4
    jumps_per_hour: float = 6.0
    jump_bps: float = 5.0
    basis_sd_bps: float = 1.5
    basis_half_life_s: float = 1800.0
    # From the anchor on, the oracle steps away from the index this far and back, by turns; so does the index itself.
    basis_jump_bps: float = 0.0
    basis_jump_every_s: float = 120.0
    spot_gap_bps: float = 0.0
    spot_gap_every_s: float = 90.0
    oracle_lag_s: float = 0.5
    # Makers.
    maker_lag: Lognormal = Lognormal(median=1.08, sigma=1.56)
    maker_lag_scale: float = 1.0
    maker_noise: float = 0.0032
    maker_hysteresis: float = 0.009
    spread_ticks: tuple[tuple[int, float], ...] = ((1, 0.6), (2, 0.3), (3, 0.1))
    touch_usd_sigma: float = 1.0
    # Takers.
    competitors: bool = True
    competitor_lag: Lognormal = Lognormal(median=0.41, sigma=0.86)
    competitor_edge: float = 0.02
    noise_takes_per_minute: float = 4.0
    noise_take_usd: Lognormal = Lognormal(median=8.0, sigma=0.9)
    # Order path in milliseconds of venue time: median 230, 95th percentile 380.
    order_path_ms: Lognormal = Lognormal(median=230.0, sigma=0.305)
    hold_ms: float = 150.0
    # Balances as the order checks see them: refreshed by /balance-allowance/update alone.
    stale_balances: bool = False
    # Feeds: delay between the event and its delivery, in milliseconds.
    spot_feed_ms: float = 106.0
    # The second exchange, and how far its dollars usually are from the first one's.
    coinbase_feed_ms: float = 110.0
    coinbase_basis_bps: float = 3.0
    rtds_spot_ms: float = 260.0
    rtds_oracle_ms: float = 1280.0
    clob_ws_ms: float = 60.0
    # Settlement.
    post_close_s: float = 1.5
    settle: Lognormal = Lognormal(median=54.0, sigma=0.372)
    settle_max_s: float = 162.0
    redeem_after_s: float = 10.0
    mined_after_s: float = 2.0
    confirmed_after_s: float = 5.0
    failed_prob: float = 0.001
    # A match with more makers than this is split into several trades.
    bucket_fills: float = 20
    # After its creation a market takes no orders for so long.
    ready_after_s: float = 0.0
    # What goes wrong, and when.
    faults: tuple[Timed, ...] = ()


SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            name="efficient", summary="measured defaults: makers react in 0.3 s, competitors race for stale quotes"
        ),
        Scenario(
            name="slow_makers",
            summary="makers react ten times later and nobody competes: a correct system earns",
            maker_lag_scale=10.0,
            competitors=False,
        ),
        Scenario(
            name="no_competitors",
            summary="the makers of efficient, and nobody who races you for their stale quotes",
            competitors=False,
        ),
        Scenario(
            name="stale_oracle",
            summary="every minute the oracle streams of the RTDS fall silent for 25 s while everything else goes on",
            faults=tuple(
                Timed(
                    at_s=20,
                    every_s=60,
                    spec=Spec(kind=Fault.WS_FREEZE, channel="rtds", match=topic, seconds=25),
                )
                for topic in ("crypto_prices_chainlink", "crypto_prices_twap")
            ),
        ),
        Scenario(
            name="crossed_book",
            summary="every 20 s the running books show a bid above their ask for 3 s; nobody can trade with it",
            faults=(Timed(at_s=10, every_s=20, spec=Spec(kind=Fault.BOOK_CROSSED, seconds=3)),),
        ),
        Scenario(
            name="basis_jump",
            summary="every two minutes the oracle steps 8 basis points away from the index, or back",
            basis_jump_bps=8.0,
        ),
        Scenario(
            name="restart_425",
            summary="after a minute, and every ten, the engine restarts: 90 s of 425, then two minutes post-only",
            faults=(Timed(at_s=60, every_s=600, spec=Spec(kind=Fault.ENGINE_RESTART)),),
        ),
        Scenario(
            name="fee_change",
            summary="after a minute the fee of every market, old and new, goes from 0.07 to 0.10, later to 0.04",
            faults=(
                Timed(at_s=60, spec=Spec(kind=Fault.MARKET_CHANGED, fee_rate="0.10")),
                Timed(at_s=660, spec=Spec(kind=Fault.MARKET_CHANGED, fee_rate="0.04")),
            ),
        ),
        Scenario(
            name="settlement_failed",
            summary="35 of 100 matched BUYs of clients are ghosts: MATCHED, then FAILED",
            faults=(Timed(at_s=0, spec=Spec(kind=Fault.GHOST_FILL, rate=0.35, side="BUY")),),
        ),
        Scenario(
            name="spot_gap",
            summary="every 90 s the index gaps by 20 basis points within 50 ms",
            spot_gap_bps=20.0,
        ),
        Scenario(
            name="instant",
            summary="no order path, no hold, no feed delays: for tests of mechanics",
            order_path_ms=Lognormal(median=0.0, sigma=0.0),
            hold_ms=0.0,
            spot_feed_ms=0.0,
            coinbase_feed_ms=0.0,
            rtds_spot_ms=0.0,
            rtds_oracle_ms=0.0,
            clob_ws_ms=0.0,
            failed_prob=0.0,
        ),
    )
}
DEFAULT_SCENARIO = "efficient"
