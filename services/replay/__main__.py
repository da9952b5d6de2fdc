"""`python -m services.replay TAPE... [--json] [--sweep NAME=V,V...] [--evidence FILE]`: recorded data, real rules."""

import argparse
import json
import sys
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

import msgspec

from pmarb.domain.evidence import Evidence, joined
from pmarb.venue.tape import TapeError
from services.replay.marking import Marker
from services.replay.report import Report
from services.replay.run import Parameters, replay
from services.replay.sweep import Sweep, SweepError, parsed
from services.replay.tapes import spread

DESCRIPTION = "Run recorded data through the rules that trade: find, judge, plan, fill on paper, settle."
EPILOG = """examples:
  pm-arb replay shared/data/tapes/*.zst --json
  pm-arb replay day.tape.jsonl.zst --sweep k_se=0,1,2,3 --sweep min_edge=1,2,4
  pm-arb replay day.tape.jsonl.zst --evidence day.json     what `pm-arb evaluate` reads
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 2 for wrong use or a file that is not a tape, 130 for Ctrl-C."""
    options = _options(arguments)
    parameters = Parameters(
        bankroll=options.bankroll,
        min_edge=options.min_edge / 100,
        k_se=options.k_se,
        model_weight=options.model_weight,
    )
    try:
        options.tapes = spread(options.tapes)
        if options.sweep:
            return _sweep(options, parameters)
        marker = Marker(msgspec.json.decode(options.mark.read_bytes(), type=Evidence)) if options.mark else None
        report = replay(options.tapes, parameters, marker=marker)
    except (TapeError, SweepError, OSError, msgspec.DecodeError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("stopped; nothing was written\n")
        return 130
    if options.evidence:
        evidence = joined(tuple(tape.evidence for tape in report.tapes))
        evidence = evidence if marker is None else marker.marked(evidence)
        options.evidence.write_bytes(msgspec.json.encode(evidence))
    sys.stdout.write(json.dumps(report.as_dict()) + "\n" if options.json else _text(report))
    return 0


def _sweep(options: argparse.Namespace, parameters: Parameters) -> int:
    """Every combination, one line each as it is done."""
    sweep = Sweep(tapes=options.tapes, base=parameters, axes=parsed(options.sweep), workers=options.workers)
    for done, (changes, found) in enumerate(sweep.run(), start=1):
        if options.json:
            sys.stdout.write(json.dumps({"parameters": changes, "result": found}) + "\n")
        else:
            named = " ".join(f"{name}={value}" for name, value in changes.items())
            figures = " ".join(f"{name} {found[name]}" for name in ("opportunities", "orders", "fills", "fees", "pnl"))
            sys.stdout.write(f"{done}/{len(sweep)}  {named}: {figures}\n")
        sys.stdout.flush()
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="pm-arb replay",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("tapes", nargs="+", type=Path, metavar="TAPE", help="a file, or a folder of them")
    parser.add_argument("--json", action="store_true", help="one JSON object (with --sweep: one a line)")
    parser.add_argument("--min-edge", type=_decimal, default=Decimal(2), help="least net edge, cents a share")
    parser.add_argument("--k-se", type=float, default=2.0, help="standard errors the edge must exceed")
    parser.add_argument("--bankroll", type=_decimal, default=Decimal(300), help="dollars at the start of each tape")
    parser.add_argument("--model-weight", type=float, default=0.5, help="trust in the model against the market")
    parser.add_argument(
        "--sweep",
        action="append",
        default=[],
        metavar="NAME=V,V,...",
        help="try every combination; names: min_edge (cents), k_se, model_weight, bankroll",
    )
    parser.add_argument("--workers", type=int, default=None, help="processes of a sweep (default: one a core)")
    parser.add_argument("--evidence", type=Path, metavar="FILE", help="write samples and bets for the meter, as JSON")
    parser.add_argument(
        "--mark",
        type=Path,
        metavar="FILE",
        help="with --evidence: bets of this evidence, marked by the tapes, in place of the paper orders",
    )
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
