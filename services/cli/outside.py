"""What `pm-arb doctor` asks the world outside: the venue, the clocks, the law, the channels of alerts."""

import os
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx

from pmarb.clock import ScaledClock
from pmarb.db import delivered
from pmarb.domain.checks import Check
from pmarb.domain.values import NANOS
from pmarb.settings import Settings
from pmarb.venue.public import GEOBLOCK, POLYMARKET
from services.cli import context
from services.cli.trouble import Trouble

LATEST: Final = 20
"""Alerts that are looked at; whether a channel works is said by the newest."""
MOST_SKEW: Final = 2.0  # Seconds: the venue's clock is told in whole ones
SYNCHRONISE: Final = "synchronise this machine's clock (chrony, systemd-timesyncd)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """Where the venue's public parts are, and the clock that holds there."""

    clob: str
    gamma: str
    geoblock: str
    clock: ScaledClock


def of_venue(of: Settings) -> list[Check]:
    """Reachability, clocks, markets and the law."""
    with httpx.Client(timeout=5) as http:
        try:
            place, reached = _find(of, http)
        except (httpx.HTTPError, KeyError, TypeError, ValueError) as error:
            where, fix = (
                (of.sandbox_url, "pm-arb up, or set SANDBOX_URL")
                if of.venue == "sandbox"
                else ("Polymarket", "see above")
            )
            detail = f"{where} does not answer: {str(error) or type(error).__name__}"
            return [Check(name="venue", ok=False, detail=detail, fix=fix)]
        return [reached, *_clocks(of, place, http), _markets(place, http), _law(of, place, http)]


def _find(of: Settings, http: httpx.Client) -> tuple[Outside, Check]:
    if of.venue != "sandbox":
        http.get(f"{POLYMARKET.clob}/ok").raise_for_status()
        place = Outside(clob=POLYMARKET.clob, gamma=POLYMARKET.gamma, geoblock=GEOBLOCK, clock=of.clock())
        return place, Check(name="venue", ok=True, detail=f"Polymarket answers at {POLYMARKET.clob}")
    ready: dict[str, Any] = http.get(f"{of.sandbox_url}/sandbox/ready").raise_for_status().json()
    theirs = ready["clock"]
    place = Outside(
        clob=str(ready["clob"]),
        gamma=str(ready["gamma"]),
        geoblock=f"{ready['web']}/api/geoblock",
        clock=ScaledClock(speed=float(theirs["speed"]), anchor=int(theirs["anchor_ns"])),
    )
    return place, Check(name="venue", ok=True, detail=f"sandbox at {of.sandbox_url}, scenario {ready['scenario']}")


def _clocks(of: Settings, place: Outside, http: httpx.Client) -> list[Check]:
    return [_venue_clock(of, place, http), *_other_clock(of)]


def _venue_clock(of: Settings, place: Outside, http: httpx.Client) -> Check:
    """Against /time, in the middle of the question; its seconds are whole and, in a sandbox, may pass faster."""
    asked = of.clock().now()
    try:
        theirs = int(http.get(f"{place.clob}/time").raise_for_status().text)
    except (httpx.HTTPError, ValueError) as error:
        return Check(
            name="clock_venue", ok=False, detail=f"/time: {error}", fix="is something between us and the venue?"
        )
    took = of.clock().now() - asked
    apart = ((asked + took / 2) / NANOS) - (theirs + 0.5)
    bearable = MOST_SKEW + took / NANOS
    fix = "set CLOCK_SPEED and CLOCK_ANCHOR_NS alike for both" if of.venue == "sandbox" else SYNCHRONISE
    return Check(
        name="clock_venue",
        ok=abs(apart) <= bearable,
        detail=f"{apart:+.1f} s against the venue's /time",
        fix="" if abs(apart) <= bearable else fix,
    )


def _other_clock(of: Settings) -> list[Check]:
    """Another source: the database's clock; and, on the real venue, a web server's that is not the venue's."""
    found = []
    try:
        with context.ledger(of) as ledger:
            before = time.time()
            row = ledger.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
            middle = (before + time.time()) / 2
            found.append(("the database's", middle - float(row[0]) if row else 0.0))
    except Trouble:
        pass  # Said above
    if of.venue != "sandbox":
        found += _web_clock()
    return [
        Check(
            name="clock_other",
            ok=abs(apart) <= MOST_SKEW,
            detail=f"{apart:+.1f} s against {whose}",
            fix="" if abs(apart) <= MOST_SKEW else SYNCHRONISE,
        )
        for whose, apart in found
    ]


def _web_clock() -> list[tuple[str, float]]:
    try:
        date = httpx.head(f"{POLYMARKET.spot_rest}/api/v3/ping", timeout=5).headers["date"]
        return [("a web server's", time.time() - parsedate_to_datetime(date).timestamp() - 0.5)]
    except (httpx.HTTPError, KeyError, ValueError):
        return []


def _markets(place: Outside, http: httpx.Client) -> Check:
    try:
        rows = http.get(f"{place.gamma}/markets", params={"limit": 5, "closed": "false"}).raise_for_status().json()
    except (httpx.HTTPError, ValueError) as error:
        return Check(
            name="markets", ok=False, detail=f"{place.gamma}: {error}", fix="is it reachable from this machine?"
        )
    count = len(rows) if isinstance(rows, list) else 0
    return Check(
        name="markets", ok=count > 0, detail="open markets are listed" if count else "no open market is listed"
    )


def _law(of: Settings, place: Outside, http: httpx.Client) -> Check:
    """Where the venue is closed, paper is all there is; we know no way around it."""
    try:
        told = http.get(place.geoblock).raise_for_status().json()
        blocked, where = bool(told["blocked"]), f"{told.get('country', '?')}-{told.get('region', '?')}"
    except (httpx.HTTPError, KeyError, TypeError, ValueError) as error:
        return Check(name="geoblock", ok=of.execution == "paper", detail=f"not known: {error}", fix="EXECUTION=paper")
    ok = not blocked or of.execution == "paper"
    words = "closed to this place: paper only" if blocked else "open to this place"
    return Check(name="geoblock", ok=ok, detail=f"{words} ({where})", fix="" if ok else "EXECUTION=paper")


def of_channels(of: Settings) -> Check:
    """Does anything wake a person? A running alerter knows its channels; without one, our own environment may."""
    told = [int(word) for word in context.said(of, "alerter").values() if word.isdigit()]
    count = max(told) if told else len([url for url in os.environ.get("APPRISE_URLS", "").split(",") if url.strip()])
    if not count:
        fix = "set APPRISE_URLS, then pm-arb alerts test"
        return Check(name="channels", ok=of.venue == "sandbox", detail="none: alerts are only logged", fix=fix)
    try:
        with context.ledger(of) as ledger:
            latest = delivered.deliveries(ledger, limit=LATEST)
    except Trouble:
        latest = []
    lost = [each for each in latest if not each.delivered and each.error]
    if not lost:
        return Check(name="channels", ok=True, detail=f"{count} set")
    detail = f"{count} set; {len(lost)} of the last {len(latest)} alerts not delivered: {lost[0].error}"
    broken = lost[0] is latest[0]
    return Check(name="channels", ok=not broken, detail=detail, fix="pm-arb alerts test" if broken else "")
