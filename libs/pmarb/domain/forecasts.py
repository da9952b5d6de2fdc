"""The model's forecasts against the outcomes, and against the market's own middle at the same instants."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pmarb.domain import scoring
from pmarb.domain.bootstrap import Draws, Interval, clustered_mean
from pmarb.domain.evidence import Bet, Sample
from pmarb.domain.logistic import Fit


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecasts:
    """Scores of the model and of the market at the same instants.

    Where no sample has a middle, the model is scored alone and everything about the market is None. `gap` is the
    market's Brier less the model's: above 0 the model is better. `stacking` are the coefficients of
    (1, logit market, logit model): the last is the weight the model deserves.
    """

    samples: int
    windows: int
    brier_model: float
    log_loss_model: float
    model: scoring.Calibration
    brier_market: float | None = None
    log_loss_market: float | None = None
    skill: float | None = None
    gap: Interval | None = None
    market: scoring.Calibration | None = None
    stacking: Fit | None = None


def score(samples: Sequence[Sample], draws: Draws, *, rounds: int) -> Forecasts | None:
    """Of the samples that have a middle, else of all; None without any."""
    beside = [sample for sample in samples if sample.mid is not None]
    chosen = beside or samples
    if not chosen:
        return None
    model, outcomes = [sample.model for sample in chosen], [sample.happened for sample in chosen]
    windows = [sample.window for sample in chosen]
    alone = Forecasts(
        samples=len(chosen),
        windows=len(set(windows)),
        brier_model=scoring.brier(model, outcomes),
        log_loss_model=scoring.log_loss(model, outcomes),
        model=scoring.calibration(model, outcomes),
    )
    market = [sample.mid for sample in beside if sample.mid is not None]
    if not market:
        return alone
    gaps = ((mid - y) ** 2 - (p - y) ** 2 for mid, p, y in zip(market, model, outcomes, strict=True))
    return replace(
        alone,
        brier_market=scoring.brier(market, outcomes),
        log_loss_market=scoring.log_loss(market, outcomes),
        skill=scoring.brier_skill(model, market, outcomes),
        gap=clustered_mean(zip(windows, gaps, strict=True), draws, rounds=rounds),
        market=scoring.calibration(market, outcomes),
        stacking=scoring.stacking(market, model, outcomes, windows),
    )


def gap_at_decisions(bets: Sequence[Bet], draws: Draws, *, rounds: int) -> Interval | None:
    """`Forecasts.gap` where it was bet: the market's squared error less that of the fair value each order was judged
    by, of all orders with a middle, filled or not, windows together; None without any."""
    gaps = [
        (bet.window, (float(bet.mid) - bet.won) ** 2 - (float(bet.fair) - bet.won) ** 2)
        for bet in bets
        if bet.mid is not None
    ]
    return clustered_mean(gaps, draws, rounds=rounds)
