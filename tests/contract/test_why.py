"""`pm-arb why`, for what was traded, for what risk denied, and for what never was an opportunity."""

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime

from pmarb.bus.streams import RedisBus
from pmarb.domain.messages import Scanned
from pmarb.domain.values import NANOS
from tests.contract.test_cli import bare, pm_arb  # noqa: F401 - fixtures
from tests.contract.test_risk_service import Risk, answers, fresh, now_ns, start  # noqa: F401 - a fixture

SLUG = "eth-updown-5m-1790000000"


def a_scan(until: int, **skips: int) -> Scanned:
    return Scanned(
        slug=SLUG,
        since=until - 10 * NANOS,
        looks=sum(skips.values()),
        found=0,
        skips=skips,
        gates=(("left_s", "120", "60", True), ("net_edge_up", "-0.0210", "0.0600", False)),
        ts_event=until,
        ts_init=until,
    )


async def test_every_question_of_what_was_traded_denied_or_never_was(
    start: Callable[..., Risk],  # noqa: F811
    redis_bus: RedisBus,
    pm_arb: Callable[..., subprocess.CompletedProcess[str]],  # noqa: F811
) -> None:
    risk = start()
    await risk.wrote("portfolio_rebuilt")
    now = now_ns()
    await redis_bus.publish(a_scan(now - 60 * NANOS, edge_too_thin=70, stale_book=2), a_scan(now, edge_too_thin=50))
    await redis_bus.publish(fresh(1, now), fresh(2, now, spot_ts_init=now - 3 * NANOS))
    await answers(redis_bus, 2)
    assert risk.end() == 0

    asked = pm_arb("why", "opp-1", "--json")
    assert asked.returncode == 0, asked.stderr
    traded = json.loads(asked.stdout)
    gates = {name: (value, limit, passed) for name, value, limit, passed in traded["judged"]["gates"]}
    assert traded["judged"]["verdict"] == "approved"
    assert gates["net_edge"] == ("0.1025", "0.06", True)
    assert all(passed for _, _, passed in gates.values())
    denied = pm_arb("why", "opp-2")
    assert "denied: the spot price was too old to trust" in denied.stdout
    assert "NO" in denied.stdout
    assert "free_usd" in denied.stdout, "gates behind the first are told too"

    at = datetime.fromtimestamp(now / NANOS - 65, UTC).isoformat(timespec="seconds")
    never = pm_arb("why", SLUG, "--at", at)
    assert "Scanned 72 times" in never.stdout, never.stderr
    assert "70 edge_too_thin, 2 stale_book" in never.stdout
    assert "net_edge_up" in never.stdout
    assert "Risk was never asked about this market." in never.stdout
    assert "122 looks" in never.stdout
    assert "120 edge_too_thin" in never.stdout
    latest = json.loads(pm_arb("why", SLUG, "--json").stdout)
    assert latest["scanned"]["looks"] == 50
    assert latest["funnel"]["denials"] == [{"name": "stale_spot", "count": 1}]
    assert "Not scanned then" in pm_arb("why", SLUG, "--at", "2026-01-01").stdout
    assert "is no opportunity, and no market" in pm_arb("why", "btc-updown-5m-1").stderr
    assert "--at was 'noon'" in pm_arb("why", SLUG, "--at", "noon").stderr
