"""What the scanners say of themselves: how busy, how many are needed, how far their prices to beat are off."""

import contextlib
from collections.abc import Mapping
from typing import Any

from pmarb import codec
from pmarb.domain.checks import Check
from pmarb.domain.scanners import ScannerReport, scanners_needed
from pmarb.settings import Settings
from services.cli import context
from services.cli.output import END, RED


def reports(of: Settings) -> dict[str, ScannerReport]:
    """By member; empty while Redis is away, without a member that has not said anything yet."""
    found = {}
    for member, raw in context.said(of, "scanner").items():
        with contextlib.suppress(codec.Undecodable):  # Nothing said yet, or by another version
            found[member] = codec.decode_value(raw, ScannerReport)
    return found


def body(found: Mapping[str, ScannerReport]) -> dict[str, Any]:
    """For `--json`."""
    return {"alive": len(found), "needed": scanners_needed(found.values()), "members": dict(found)}


def lines(found: Mapping[str, ScannerReport]) -> list[str]:
    """For a person: the load, and the references of whoever compared most."""
    if not found:
        return []
    needed, alive = scanners_needed(found.values()), len(found)
    shares = ", ".join(
        f"{r.markets} markets, {r.frames_per_s:.0f} frames/s, {r.cpu_share:.0%} of a core, {r.lag_ms:.0f} ms late"
        for r in found.values()
    )
    enough = f"{needed} needed" if needed <= alive else f"{RED}{needed} needed{END}: --scale scanner={needed}"
    best = max(found.values(), key=lambda r: r.references_checked)
    errors = (
        f"price to beat off by {best.reference_error_median_bps:.2f} bp (median), {best.reference_error_max_bps:.2f} "
        f"(most), {best.references_far_off} of {best.references_checked} by more than 1 bp"
        if best.references_checked
        else "no price to beat could be compared with the venue's yet"
    )
    return [f"scanners   {alive} run, {enough} ({shares})", f"references {errors}"]


def check(of: Settings) -> Check:
    """Whether as many run as the load needs."""
    found = reports(of)
    needed, alive = scanners_needed(found.values()), len(found)
    ok = needed <= alive
    return Check(
        name="scanners",
        ok=ok,
        detail=f"{alive} run, the load needs {needed}" if found else "none has told of its load",
        fix="" if ok else f"docker compose up -d --scale scanner={needed}",
    )
