"""A real executor process against a real sandbox: starting it, feeding it approvals, and comparing the two truths."""

import contextlib
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import httpx
import psycopg

from pmarb.clock import ScaledClock
from pmarb.domain.market import MarketInfo, Outcome
from pmarb.domain.messages import Approval, ApprovedLeg
from pmarb.domain.sizing import reserve_for_spend
from pmarb.domain.values import CENT, NANOS, round_down
from pmarb.venue import gamma
from tests.builders import a_leg, an_approval
from tests.starting import POSING, ROOT, Started, from_nothing
from tests.waiting import PATIENCE_S


@dataclass(kw_only=True)
class Ground:
    """A sandbox that runs, by what it printed when it was ready."""

    ready: dict[str, Any]
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=10))

    @property
    def clock(self) -> ScaledClock:
        clock = self.ready["clock"]
        return ScaledClock(speed=clock["speed"], anchor=clock["anchor_ns"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def get(self, url: str, **query: Any) -> Any:
        return self.http.get(url, params=query).raise_for_status().json()

    def truth(self, account: int = 0) -> Any:
        return self.get(f"{self.ready['sandbox']}/accounts/{self.ready['accounts'][account]['wallet']}")

    def fault(self, kind: str, count: int = 1, **more: str) -> None:
        asked = {"kind": kind, "count": count, **more}
        self.http.post(f"{self.ready['sandbox']}/faults", json=asked).raise_for_status()

    def knobs(self, **values: float) -> None:
        self.http.post(f"{self.ready['sandbox']}/knobs", json=values).raise_for_status()

    def markets(self, *, left_s: int = 30) -> list[MarketInfo]:
        """Open windows with at least `left_s` venue seconds to go."""
        now = self.clock.now()
        rows = self.get(f"{self.ready['gamma']}/markets", limit=100)
        found = [gamma.market_from(row) for row in rows]
        return [m for m in found if m.accepting and m.opens_at <= now <= m.closes_at - left_s * NANOS]

    def coming_markets(self) -> list[MarketInfo]:
        """Windows that take orders already and open later."""
        rows = self.get(f"{self.ready['gamma']}/markets", limit=100)
        return [m for m in map(gamma.market_from, rows) if m.accepting and m.opens_at > self.clock.now()]

    def best_ask(self, token: str) -> tuple[Decimal, Decimal] | None:
        """(ask, tick), None without one."""
        reply = self.http.get(f"{self.ready['clob']}/book", params={"token_id": token})
        if reply.status_code == httpx.codes.NOT_FOUND:  # The market has closed meanwhile
            return None
        book = reply.raise_for_status().json()
        if not book["asks"]:
            return None
        return Decimal(book["asks"][-1]["price"]), Decimal(book["tick_size"])

    def approvals(self, *, lives_s: float = 30) -> Iterator[Approval]:
        """Approvals that pay by their own account, one for each open window where something is offered."""
        for market in self.markets():
            for outcome in market.outcomes:
                found = self.best_ask(outcome.token)
                if found is not None and Decimal("0.1") < found[0] < Decimal("0.9"):
                    yield self.approval(market, outcome.token, outcome.label, *found, lives_s=lives_s)

    def a_set(self, size: int, *, lives_s: float = 300, fair: Decimal | None = None) -> Approval | None:
        """Legs in markets of their own, the worst loss stated as risk does; None if too few are offered in the middle.

        `fair` is what each leg by itself is said to be worth.
        """
        legs: list[ApprovedLeg] = []
        for market in self.markets(left_s=120):
            for token, label, other in _both_ways(market):
                found = self.best_ask(token)
                if len(legs) < size and found is not None and Decimal("0.25") < found[0] < Decimal("0.70"):
                    legs.append(self._leg_of_set(market, token, label, other, *found, fair))
                    break
        if len(legs) < size:
            return None
        reserved, first, now = [leg.reserved for leg in legs], legs[0].leg, self.clock.now()
        return an_approval(
            opportunity_id=uuid.uuid4().hex, slug=first.slug, event=first.event, underlying="btc", family=first.family,
            expiry=first.expiry, expires_at=now + int(lives_s * NANOS), ts_event=now, ts_init=now,
            fair=Decimal(size), threshold=Decimal("0.01"), legs=tuple(legs), reserved=sum(reserved),
            worst_loss=sum(reserved) - min(reserved), strategy="bundle_pair",
            tick_real=self.clock.real(), judged_real=self.clock.real(),
        )  # fmt: skip

    def _leg_of_set(
        self, market: MarketInfo, token: str, label: str, other: Outcome, ask: Decimal, tick: Decimal,
        fair: Decimal | None,
    ) -> ApprovedLeg:  # fmt: skip
        limit, shares, now = min(ask + Decimal("0.08"), 1 - tick), Decimal(10), self.clock.now()
        usd = round_down(limit * shares, CENT)
        leg = a_leg(
            market=market.condition_id, token=token, outcome=label, limit=ask, price=ask, tick=tick, shares=shares,
            book_ts_event=now, book_ts_init=now, slug=market.slug, event=market.event, family=market.family,
            expiry=market.closes_at, bid=ask - tick, other_token=other.token, other_outcome=other.label, fair=fair,
        )  # fmt: skip
        assert market.fees is not None
        reserved = reserve_for_spend(usd=usd, limit=limit, tick=tick, fees=market.fees)
        return ApprovedLeg(leg=leg, shares=shares, limit=limit, usd=usd, reserved=reserved)

    def approval(
        self, market: MarketInfo, token: str, label: str, ask: Decimal, tick: Decimal, *, lives_s: float
    ) -> Approval:
        now = self.clock.now()
        limit = min(ask + Decimal("0.08"), 1 - tick)  # Far above: by the time it is carried out the book has moved
        usd = round_down(limit * 10, CENT)
        leg = a_leg(
            market=market.condition_id, token=token, outcome=label, limit=limit, price=ask, tick=tick,
            shares=Decimal(10), book_ts_event=now, book_ts_init=now,
        )  # fmt: skip
        return an_approval(
            opportunity_id=uuid.uuid4().hex, slug=market.slug, event=market.event, underlying=market.underlying,
            family=market.family, expiry=market.closes_at, expires_at=now + int(lives_s * NANOS), ts_event=now,
            ts_init=now, fair=Decimal("0.999"), threshold=Decimal("0.01"),
            legs=(ApprovedLeg(leg=leg, shares=Decimal(10), limit=limit, usd=usd, reserved=usd * 2),),
            tick_real=self.clock.real(), judged_real=self.clock.real(),
        )  # fmt: skip


def _both_ways(market: MarketInfo) -> Iterator[tuple[str, str, Outcome]]:
    one, other = market.outcomes
    yield one.token, one.label, other
    yield other.token, other.label, one


@dataclass(kw_only=True)
class ExecutorProcess:
    """`python -m services.executor` with its log in a file."""

    env: dict[str, str]
    log: Path
    module: str = "services.executor"
    process: Started | subprocess.Popen[bytes] | None = None
    began: int = 0

    def start(self) -> None:
        self.began = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            start = from_nothing if POSING in self.env else Started
            self.process = start(self.module, env=self.env, out=log, err=log)

    def kill9(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(timeout=10)

    def stop(self, *, within: float = PATIENCE_S) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(timeout=within)

    def ready(self, *, within: float = PATIENCE_S) -> None:
        """Until this start has reconciled and follows its books."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            if b"feed_connected" in self.log.read_bytes()[self.began :]:
                return
            time.sleep(0.02)
        raise AssertionError(f"not ready within {within} s: {self.words()[-2000:]}")

    def words(self) -> str:
        return self.log.read_text(errors="replace")


def pids_of(parent: int) -> list[int]:
    """A process and its children."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [parent, *map(int, children.split())]


@contextlib.contextmanager
def executor(
    ground: Ground, *, redis_url: str, database_url: str, log: Path, member: str = "executor-1", **settings: str
) -> Iterator[ExecutorProcess]:
    """An executor that is not started yet; killed at the end if it still runs."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("CLOCK_", "WALLET_", "CLOB_"))}
    env |= {
        "PYTHONPATH": f"{ROOT / 'libs'}{os.pathsep}{ROOT}",
        "REDIS_URL": redis_url,
        "DATABASE_URL": database_url,
        "SANDBOX_URL": ground.ready["clob"],
        "MEMBER": member,
        "HEARTBEAT_FILE": str(log.with_suffix(".beat")),
        **settings,
    }
    process = ExecutorProcess(env=env, log=log)
    try:
        yield process
    finally:
        if process.process is not None and process.process.poll() is None:
            process.kill9()


_sessions: dict[str, psycopg.Connection] = {}


def rows(database_url: str, statement: str) -> list[tuple[Any, ...]]:
    """Over a session that is kept: asked twenty times a second, a new one each time would take half a core."""
    session = _sessions.get(database_url)
    if session is not None:
        with contextlib.suppress(psycopg.OperationalError):  # Its server was stopped, or killed
            return session.execute(statement.encode()).fetchall()
    forget_sessions()
    session = _sessions[database_url] = psycopg.connect(database_url, autocommit=True)
    return session.execute(statement.encode()).fetchall()


def forget_sessions() -> None:
    """Close what `rows` keeps open: a database in use cannot be copied."""
    while _sessions:
        _sessions.popitem()[1].close()


def balance(database_url: str, *accounts: str) -> Any:
    names = ", ".join(f"'{name}'" for name in accounts)
    return rows(database_url, f"SELECT coalesce(sum(amount), 0) FROM postings WHERE account IN ({names})")[0][0]


def disagreements(ground: Ground, database_url: str) -> list[str]:
    """What the ledger and the sandbox do not agree on; empty once everything is settled."""
    truth = ground.truth()
    wrong = []
    total = rows(database_url, "SELECT coalesce(sum(amount), 0) FROM postings")[0][0]
    if total != 0:
        wrong.append(f"ledger sums to {total}")
    still_open = rows(database_url, "SELECT order_hash, state FROM orders WHERE state IN "
                      "('SUBMITTING', 'LIVE', 'DELAYED', 'UNKNOWN', 'MATCHED')")  # fmt: skip
    wrong += [f"order {order_hash[:10]} is {state}" for order_hash, state in still_open]
    cash = balance(database_url, "cash", "reserved")
    if cash != Decimal(truth["cash"]):
        wrong.append(f"ledger cash {cash}, sandbox {truth['cash']}")
    booked = dict(rows(database_url, "SELECT trade_id, status FROM trades"))
    real = {trade["id"]: trade["status"] for trade in truth["trades"]}
    if set(booked) != set(real):
        wrong.append(f"trades only here {set(booked) - set(real)}, only there {set(real) - set(booked)}")
    held = dict(
        rows(database_url, "SELECT token, sum(shares) FROM (SELECT token, t.shares FROM trades t "
             "JOIN orders USING (order_hash) WHERE t.status <> 'failed' "
             "UNION ALL SELECT token, -shares FROM merges) AS moves "
             "WHERE token NOT IN (SELECT token FROM settlements) GROUP BY token")
    )  # fmt: skip
    theirs = {p["token_id"]: Decimal(p["shares"]) for p in truth["positions"] if not p["redeemable"]}
    wrong += [f"shares of {t[:8]}: {held.get(t, 0)} here, {theirs.get(t, 0)} there"
              for t in {*held, *theirs} if held.get(t, 0) != theirs.get(t, 0)]  # fmt: skip
    return wrong
