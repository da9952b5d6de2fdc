"""`python -m services.cli.docs`: writes the generated tables of docs/ anew, between their BEGIN and END marks."""

import sys
from collections.abc import Mapping
from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from typing import Final

from pmarb.domain import messages
from pmarb.domain.limits import WORDS, Limits
from pmarb.domain.messages import STREAM_OF, RejectionReason
from pmarb.domain.orders import OrderState
from pmarb.domain.values import NANOS
from services.cli.words import REASONS

ROOT: Final = Path(__file__).parents[2]
STATES: Final[dict[OrderState, str]] = {
    OrderState.SUBMITTING: "written before it is sent; a crash here is settled by asking the venue for its hash",
    OrderState.LIVE: "resting in the book",
    OrderState.DELAYED: "held by the venue before it may match; funds are reserved and it cannot be cancelled",
    OrderState.UNKNOWN: "sent, and the answer was lost: its exposure stays reserved and it is never sent again",
    OrderState.MATCHED: "traded, not yet confirmed by the chain",
    OrderState.FILLED: "every trade confirmed",
    OrderState.CANCELLED: "ended without a trade, or never sent (a skipped approval)",
    OrderState.EXPIRED: "ended by its own time",
    OrderState.REJECTED: (
        "the venue proved that it did not take it; `no_match: ` means nothing was left at our price, "
        "`paused: ` that it takes no orders now"
    ),
    OrderState.FAILED: "every trade of it failed on chain and was reversed",
    OrderState.ABSENT: "the venue never knew it, proven long after it could have arrived",
}


def tables() -> Mapping[str, str]:
    """The generated tables by the name in their marks."""
    return {"limits": _limits(), "messages": _messages(), "reasons": _reasons(), "states": _states()}


def rendered(text: str) -> str:
    """The document with every table it has marks for written anew."""
    for name, table in tables().items():
        begin, end = f"<!-- BEGIN GENERATED {name} -->", f"<!-- END GENERATED {name} -->"
        if begin in text:
            before, _, rest = text.partition(begin)
            text = f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"
    return text


def _messages() -> str:
    lines = ["| message | stream | fields |", "|---|---|---|"]
    for cls, stream in STREAM_OF.items():
        names = ", ".join(f"`{field.name}`" for field in fields(cls))
        lines.append(f"| `{cls.__name__}` | `{stream}` | {names} |")
    for name in ("Leg", "ApprovedLeg", "MergedPart"):
        names = ", ".join(f"`{field.name}`" for field in fields(getattr(messages, name)))
        lines.append(f"| `{name}` | part of the above | {names} |")
    return "\n".join(lines)


def _reasons() -> str:
    rows = [f"| `{reason}` | {REASONS[reason]} |" for reason in RejectionReason]
    return "\n".join(["| reason | risk denied because |", "|---|---|", *rows])


BANKROLLS: Final = (Decimal(200), Decimal(300), Decimal(500))
TIMES: Final = (
    "cool_down",
    "no_trade_first",
    "leg_skew",
    "clock_skew",
    "duplicate_cooldown",
    "same_expiry",
    "approval_ttl",
)


def _limits() -> str:
    """Fractions as dollars of each bankroll, times in seconds."""
    lines = ["| limit | what it bounds | default | at $200 | at $300 | at $500 |", "|---|---|---|---|---|---|"]
    for field in fields(Limits):
        value = getattr(Limits(), field.name)
        of = ["" for _ in BANKROLLS]
        if field.name.startswith(("stale_", "min_time_")) or field.name in TIMES:
            value = f"{Decimal(value) / NANOS:f} s"
        elif field.name.endswith("_pct") or field.name == "order_pct_to_reach_minimum":
            of = [f"${value * bankroll:.2f}" for bankroll in BANKROLLS]
            value = f"{value * 100:f}".rstrip("0").rstrip(".") + " %"
        lines.append(f"| `{field.name}` | {WORDS[field.name]} | {value} | " + " | ".join(of) + " |")
    return "\n".join(lines)


def _states() -> str:
    rows = [f"| `{state}` | {'no' if state.terminal else 'yes'} | {STATES[state]} |" for state in OrderState]
    return "\n".join(["| state | holds funds | meaning |", "|---|---|---|", *rows])


def main() -> None:
    for path in sorted((ROOT / "docs").glob("*.md")):
        before = path.read_text(encoding="utf-8")
        after = rendered(before)
        if after != before:
            path.write_text(after, encoding="utf-8")
            sys.stdout.write(f"wrote {path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
