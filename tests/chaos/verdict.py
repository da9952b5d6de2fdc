"""The invariants, each counted: what the ledger and the venue's own truth do not agree on."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Self

from tests.executors import Ground, balance, rows

INVARIANTS: Final = ("doubles", "lost_fills", "wrong_positions", "unbalanced", "unresolved")
ROUNDED: Final = Decimal("0.001")
"""A fee is floored to 0.00001 of a sum that the venue rounds too; a settled trade's is not asked for again."""

OPEN: Final = "('SUBMITTING', 'LIVE', 'DELAYED', 'UNKNOWN', 'MATCHED')"


@dataclass(slots=True)
class Verdict:
    """How often each invariant was broken, and in what words."""

    counts: Counter[str] = field(default_factory=Counter)
    words: list[str] = field(default_factory=list)

    def found(self, invariant: str, words: Iterable[str]) -> Self:
        said = list(words)
        self.counts[invariant] += len(said)
        self.words += [f"{invariant}: {each}" for each in said]
        return self

    @property
    def clean(self) -> bool:
        return not any(self.counts.values())


def judged(ground: Ground, dsn: str, *, not_ours: set[str]) -> Verdict:
    """Compare everything now. `not_ours` are orders that the suite itself placed in the same wallet."""
    truth = ground.truth()
    return (
        Verdict()
        .found("doubles", _doubles(truth, dsn, not_ours))
        .found("lost_fills", _fills(truth, dsn))
        .found("wrong_positions", _positions(truth, dsn))
        .found("unbalanced", _money(truth, dsn))
        .found("unresolved", _unresolved(dsn))
    )


def _doubles(truth: Any, dsn: str, not_ours: set[str]) -> list[str]:
    """An order taken twice, one that was sent without being written down, or two for one (opportunity, leg)."""
    taken = {order: count for order, count in truth["post_count_by_order_id"].items() if order not in not_ours}
    written = {row[0] for row in rows(dsn, "SELECT order_hash FROM orders")}
    legs = rows(dsn, "SELECT opportunity_id, leg FROM orders GROUP BY 1, 2 HAVING count(*) > 1")
    wrong = [f"order {order} was taken {count} times" for order, count in taken.items() if count > 1]
    wrong += [f"order {order} was taken and never written down" for order in taken.keys() - written]
    return wrong + [f"{opportunity}/{leg} has more than one order" for opportunity, leg in legs]


def _fills(truth: Any, dsn: str) -> list[str]:
    booked = {row[0]: row[1:] for row in rows(dsn, "SELECT trade_id, shares, fee, status FROM trades")}
    real = {trade["id"]: trade for trade in truth["trades"]}
    wrong = [f"trade {trade} is not in the ledger" for trade in real.keys() - booked.keys()]
    wrong += [f"trade {trade} was never made" for trade in booked.keys() - real.keys()]
    for trade_id in real.keys() & booked.keys():
        failed, dead = real[trade_id]["status"].upper().endswith("FAILED"), booked[trade_id][2] == "failed"
        if failed != dead:
            wrong.append(f"trade {trade_id} is {booked[trade_id][2]} here, {real[trade_id]['status']} there")
    return wrong


def _positions(truth: Any, dsn: str) -> list[str]:
    held = dict(
        rows(dsn, "SELECT token, sum(shares) FROM (SELECT token, t.shares FROM trades t JOIN orders USING (order_hash) "
             "WHERE t.status <> 'failed' UNION ALL SELECT token, -shares FROM merges) AS moves "
             "WHERE token NOT IN (SELECT token FROM settlements) GROUP BY token")
    )  # fmt: skip
    theirs = {p["token_id"]: Decimal(p["shares"]) for p in truth["positions"] if not p["redeemable"]}
    return [
        f"shares of {token[:10]}: {held.get(token, 0)} here, {theirs.get(token, 0)} there"
        for token in {*held, *theirs}
        if held.get(token, Decimal(0)) != theirs.get(token, Decimal(0))
    ]


def _money(truth: Any, dsn: str) -> list[str]:
    total = balance(dsn, *(row[0] for row in rows(dsn, "SELECT DISTINCT account FROM postings"))) if truth else 0
    entries = rows(dsn, "SELECT entry_id, sum(amount) FROM postings GROUP BY entry_id HAVING sum(amount) <> 0")
    cash = balance(dsn, "cash", "reserved")
    wrong = [f"all accounts sum to {total}"] if total else []
    wrong += [f"entry {entry} sums to {amount}" for entry, amount in entries]
    if abs(cash - Decimal(truth["cash"])) > ROUNDED:
        wrong.append(f"cash {cash} here, {truth['cash']} there")
    return wrong


def _unresolved(dsn: str) -> list[str]:
    found = rows(dsn, f"SELECT order_hash, state, cause FROM orders WHERE state IN {OPEN}")
    return [f"order {order_hash} is {state} {cause}".strip() for order_hash, state, cause in found]
