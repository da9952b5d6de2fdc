"""A reading of the meter as rows for people and as JSON for programs."""

from collections.abc import Sequence
from dataclasses import fields
from decimal import Decimal
from typing import Any

import msgspec

from pmarb.domain.attribution import Attribution
from pmarb.domain.forecasts import Forecasts
from pmarb.domain.meter import Reading, cents
from pmarb.domain.sequential import sample_size
from pmarb.domain.trading import Mode, Trading

Rows = list[tuple[str, str]]


def body(result: Reading) -> dict[str, Any]:
    """Everything, with the verdict and its words first."""
    plain: dict[str, Any] = msgspec.to_builtins(result, str_keys=True)
    needed = {f"{n}c": sample_size(sd=0.5, delta=n / 100) for n in (1, 2, 3, 5)}
    return {"verdict": result.verdict.value, "words": result.words, **plain, "outcomes_needed": needed}


def sections(result: Reading) -> Sequence[tuple[str, Rows]]:
    """Titles with (name, value) rows, in the order a person asks."""
    found = [
        ("What an edge must satisfy", [(_mark(c.met) + " " + c.name, c.found) for c in result.criteria]),
        ("Forecasts", _forecasts(result.forecasts)),
        ("Orders", _orders(result.trading, result.unsettled)),
        ("Marks after fees, a share", _marks(result.trading)),
        ("Where the money went (dollars)", _attribution(result.trading.attribution, result.trading.attributed)),
        ("Three fills of the same orders", _modes(result.trading)),
        ("Sequential tests", _tests(result)),
        ("Buckets (5 s marks; * still counts among all of them)", _buckets(result.trading)),
    ]
    return [(title, rows) for title, rows in found if rows]


def _mark(met: bool) -> str:
    return "yes" if met else "no "


def _forecasts(found: Forecasts | None) -> Rows:
    if found is None:
        return [("samples", "none: no fair value was recorded")]
    rows = [
        ("samples", f"{found.samples} of {found.windows} windows"),
        ("Brier", f"model {found.brier_model:.4f}, {_beside(found.brier_market)}"),
        ("log loss", f"model {found.log_loss_model:.4f}, {_beside(found.log_loss_market)}"),
        ("calibration slope (1 is right)", f"model {_number(found.model.slope)}"),
        ("calibration error", f"model {found.model.error:.4f}"),
    ]
    if found.skill is not None:
        rows.append(("Brier skill against the market", f"{found.skill:+.4f}"))
    if found.stacking is not None:
        weight, error, p = (
            part[2] for part in (found.stacking.coefficients, found.stacking.errors, found.stacking.p_values)
        )
        rows.append(("weight the model deserves", f"{weight:+.3f} +- {error:.3f} (p {p:.3g})"))
    return rows


def _beside(market: float | None) -> str:
    return "market not recorded" if market is None else f"market {market:.4f} at the same instants"


def _orders(found: Trading, unsettled: int) -> Rows:
    return [
        ("orders, filled", f"{found.orders}, {found.filled} in {found.windows} windows on {found.days} days"),
        ("not decided yet", str(unsettled)),
        ("result a share after fees", cents(found.result)),
        ("result, clustered by day", cents(found.result_by_day)),
        ("expected edge a share", "none" if found.expected is None else f"{found.expected * 100:+.2f}c"),
        ("realised of it", f"by marks {_number(found.ratio_marks)}, by results {_number(found.ratio_result)}"),
        ("won", f"filled {_share(found.won_filled)}, unfilled {_share(found.won_unfilled)}"),
        ("unfilled would have made", cents(found.missed)),
        ("slippage", "none" if found.slippage is None else f"{found.slippage * 100:+.2f}c"),
        ("P&L, fees", f"${found.pnl:.2f}, ${found.fees:.2f}"),
        ("control: opposite side", cents(found.opposite)),
        ("control: random time and side", cents(found.random)),
    ]


def _marks(found: Trading) -> Rows:
    return [(f"after {seconds} s", cents(interval)) for seconds, interval in found.marks.items()]


def _attribution(found: Attribution, count: int) -> Rows:
    if not count:
        return []
    parts = [(part.name, f"{getattr(found, part.name):+.4f}") for part in fields(found)]
    return [*parts, (f"sum, over {count} fills", f"{found.total:+.4f}")]


def _modes(found: Trading) -> Rows:
    gap = found.optimistic.pnl - found.pessimistic.pnl
    return [
        ("at once, all of it", _mode(found.optimistic)),
        ("after path and hold, half", _mode(found.delayed)),
        ("slow path, three in ten lost", _mode(found.pessimistic)),
        ("gap between the outer two", f"${gap:.2f}"),
    ]


def _mode(mode: Mode) -> str:
    each = "" if mode.per_share is None else f", {mode.per_share * 100:+.2f}c a share"
    return f"{mode.fills} fills, {_plain(mode.shares)} shares, ${mode.pnl:.2f}{each}"


def _tests(result: Reading) -> Rows:
    test = result.sprt
    return [
        (
            "SPRT",
            f"{test.decision.value}: {test.ratio:+.2f} in ({test.lower:.2f}, {test.upper:.2f}), {test.trades} trades",
        ),
        ("e-value of outcomes", f"{result.e_outcomes:.3g}"),
        ("e-value of marks", f"{result.e_marks:.3g}"),
    ]


def _buckets(found: Trading) -> Rows:
    return [
        (f"{'*' if b.counts else ' '} {b.name}", f"{b.fills} fills, {b.mark * 100:+.2f}c, p {b.p_value:.3g}")
        for b in found.buckets
    ]


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.2f}"


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.0%}"


def _plain(amount: Decimal) -> str:
    return f"{amount.normalize():f}"
