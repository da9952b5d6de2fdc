"""`python -m services.replay TAPE... [--json]`: recorded data through the rules that trade."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

from pmarb.venue.tape import TapeError
from services.replay.engine import TapeReplay
from services.replay.report import Report
from services.risk.decide import Limits as RiskLimits
from services.scanner.decide import Limits


def replay(
    paths: Sequence[Path],
    *,
    bankroll: Decimal = Decimal(300),
    min_edge: Decimal = Decimal("0.02"),
    k_se: float = 2.0,
    model_weight: float = 0.5,
) -> Report:
    """Replay tapes one after the other, each with a fresh wallet of `bankroll` dollars.

    Raises:
        TapeError: a file is not a tape.
    """
    limits = Limits(order_usd=min(bankroll / 100, Decimal(5)), min_edge=min_edge, k_se=k_se, model_weight=model_weight)
    risk = RiskLimits(min_edge=min_edge)
    started = time.perf_counter()
    tapes = tuple(TapeReplay(path, limits=limits, risk=risk, bankroll=bankroll).run() for path in paths)
    return Report(tapes=tapes, seconds=time.perf_counter() - started)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 2 for a file that is not a tape."""
    options = _options(arguments)
    try:
        report = replay(
            options.tapes,
            bankroll=options.bankroll,
            min_edge=options.min_edge / 100,
            k_se=options.k_se,
            model_weight=options.model_weight,
        )
    except (TapeError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    if options.json:
        sys.stdout.write(json.dumps(report.as_dict()) + "\n")
    else:
        sys.stdout.write(_text(report))
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m services.replay", description=__doc__)
    parser.add_argument("tapes", nargs="+", type=Path, metavar="TAPE")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--min-edge", type=_decimal, default=Decimal(2), help="least net edge, cents a share")
    parser.add_argument("--k-se", type=float, default=2.0, help="standard errors the edge must exceed")
    parser.add_argument("--bankroll", type=_decimal, default=Decimal(300), help="dollars at the start of each tape")
    parser.add_argument("--model-weight", type=float, default=0.5, help="trust in the model against the market")
    return parser.parse_args(arguments)


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def _text(report: Report) -> str:
    whole = report.as_dict()
    lines = [f"{key}: {value}" for key, value in whole.items() if key != "tapes"]
    for one in whole["tapes"]:
        lines += ["", one["name"], *(f"  {key}: {value}" for key, value in one.items() if key != "name")]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
