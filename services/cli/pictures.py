"""The meter's picture: reliability, equity with the band of no edge, marks. Needs the extra `evaluate`."""

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pmarb.domain.evidence import Evidence
from pmarb.domain.meter import Reading
from pmarb.domain.scoring import Calibration
from services.cli.trouble import Trouble

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MODEL, MARKET, QUIET = "#222222", "#1b6ca8", "#c2571a", "#999999"
BAND: Final = 1.96


def draw(path: Path, result: Reading, evidence: Evidence) -> None:
    """One PNG, three panels.

    Raises:
        Trouble: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise Trouble("Pictures need matplotlib: pip install 'pm-arb[evaluate]', or leave out --report.") from None
    figure = Figure(figsize=(15, 4.6), layout="constrained")
    reliability, equity, marks = figure.subplots(1, 3)
    _reliability(reliability, result)
    _equity(equity, evidence)
    _marks(marks, result)
    figure.suptitle(str(result.verdict), color=INK, fontsize=13)
    figure.savefig(path, dpi=110)


def _reliability(axes: "Axes", result: Reading) -> None:
    axes.set(title="Said and happened", xlabel="forecast", ylabel="share that came true", xlim=(0, 1), ylim=(0, 1))
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1)
    if result.forecasts is None:
        _nothing(axes, "no forecasts recorded")
        return
    _bins(axes, result.forecasts.model, "model", MODEL)
    if result.forecasts.market is not None:
        _bins(axes, result.forecasts.market, "market", MARKET)
    axes.legend(frameon=False, loc="upper left")


def _bins(axes: "Axes", found: Calibration, name: str, colour: str) -> None:
    said, happened = [b.said for b in found.bins], [b.happened for b in found.bins]
    errors = [BAND * (b.happened * (1 - b.happened) / b.count) ** 0.5 for b in found.bins]
    slope = "" if found.slope is None else f", slope {found.slope:.2f}"
    style: dict[str, Any] = {"fmt": "o-", "markersize": 4, "linewidth": 1, "elinewidth": 0.8, "capsize": 2}
    axes.errorbar(said, happened, yerr=errors, color=colour, label=f"{name}{slope}", **style)


def _equity(axes: "Axes", evidence: Evidence) -> None:
    """P&L trade by trade, and where nineteen in twenty would be if every price had been fair."""
    axes.set(title="P&L after fees, and the band of no edge", xlabel="fills", ylabel="dollars")
    fills = [(bet, bet.filled) for bet in evidence.bets if bet.filled is not None]
    if not fills:
        _nothing(axes, "no fills")
        return
    results = [float(paid.shares * (bet.payout - paid.cost)) for bet, paid in fills]
    variances = [float(paid.shares) ** 2 * max(float(paid.cost * (1 - paid.cost)), 0.0) for _, paid in fills]
    curve = [0.0, *itertools.accumulate(results)]
    band = [BAND * total**0.5 for total in (0.0, *itertools.accumulate(variances))]
    axes.fill_between(range(len(band)), [-b for b in band], band, color=QUIET, alpha=0.2, linewidth=0)
    axes.plot(range(len(curve)), curve, color=MODEL, linewidth=1.5)
    axes.axhline(0, color=QUIET, linewidth=1)


def _marks(axes: "Axes", result: Reading) -> None:
    axes.set(title="Marks after fees", xlabel="seconds after the match", ylabel="cents a share")
    found = result.trading.marks
    if not found:
        _nothing(axes, "no marks recorded")
        return
    seconds = list(found)
    means = [100 * interval.mean for interval in found.values()]
    below = [100 * (interval.mean - interval.low) for interval in found.values()]
    above = [100 * (interval.high - interval.mean) for interval in found.values()]
    axes.errorbar(seconds, means, yerr=[below, above], fmt="o-", color=MODEL, capsize=3)
    axes.axhline(0, color=QUIET, linewidth=1)
    axes.set_xscale("log")
    axes.set_xticks(seconds, [str(s) for s in seconds])
    axes.minorticks_off()


def _nothing(axes: "Axes", why: str) -> None:
    axes.text(0.5, 0.5, why, transform=axes.transAxes, ha="center", va="center", color=QUIET)
