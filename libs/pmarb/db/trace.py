"""The life of one opportunity across services, with the time each step took."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, LiteralString

from psycopg.rows import dict_row

from pmarb.db.views import Connection
from pmarb.domain.orders import EXIT_LEG, is_exit
from pmarb.domain.values import ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something that happened. `real` is this machine's time and `at` the venue's, nanoseconds; 0 where not taken."""

    name: str
    detail: str
    real: int = 0
    at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """The steps in the order of a life that goes well; what never happened is absent."""

    opportunity_id: str
    slug: str
    steps: tuple[Step, ...]


def find_ids(connection: Connection, prefix: str, *, limit: int = 10) -> list[str]:
    """Opportunities that risk judged or that became an order, whose id begins with `prefix`."""
    query: LiteralString = """
        SELECT opportunity_id FROM verdicts WHERE starts_with(opportunity_id, %(prefix)s)
        UNION SELECT opportunity_id FROM orders WHERE starts_with(opportunity_id, %(prefix)s) LIMIT %(limit)s"""
    with connection.cursor() as cursor:
        return sorted(found for (found,) in cursor.execute(query, {"prefix": prefix, "limit": limit}))


def trace(connection: Connection, opportunity_id: str) -> Trace | None:
    """What is known of this opportunity, None if nothing is."""
    verdict = _all(connection, "SELECT * FROM verdicts WHERE opportunity_id = %s", opportunity_id)
    orders = _all(connection, "SELECT * FROM orders WHERE opportunity_id = %s ORDER BY leg", opportunity_id)
    if not verdict and not orders:
        return None
    steps = [*_judgement(verdict[0])] if verdict else []
    for order in orders:
        trades = _all(
            connection, "SELECT * FROM trades WHERE order_hash = %s ORDER BY ts_event, trade_id", order["order_hash"]
        )
        filled = sum((trade["shares"] for trade in trades if trade["status"] != "failed"), ZERO)
        merges = _merges(connection, order) if filled else ()
        steps += [*_order(order, legs=len(orders)), *_trades(trades), *merges, *_settlement(connection, order, filled)]
    steps += _set(connection, opportunity_id)
    return Trace(opportunity_id=opportunity_id, slug=(verdict or orders)[0]["slug"], steps=tuple(steps))


def _judgement(row: Mapping[str, Any]) -> Iterator[Step]:
    seen = row["opportunity"] or {}
    if seen.get("tick_real"):
        yield Step(name="tick received", detail=_leg(seen), real=seen["tick_real"], at=seen.get("ts_event", 0))
    edge = f"fair={seen.get('fair')} net_edge={seen.get('net_edge')} threshold={seen.get('threshold')}"
    yield Step(name="opportunity found", detail=edge, real=seen.get("found_real", 0), at=seen.get("ts_init", 0))
    approval = row["approval"]
    if approval is None:
        detail = " ".join(part for part in (row["reason"], row["detail"]) if part)
        yield Step(name="denied by risk", detail=detail, at=row["judged_at"])
        return
    sized = f"reserved={approval.get('reserved')} bound_by={approval.get('bound_by')}"
    legs = approval.get("legs", ())
    if len(legs) > 1:
        sized += f" legs={len(legs)} shares={legs[0].get('shares')} worst_loss={approval.get('worst_loss')}"
    yield Step(name="approved by risk", detail=sized, real=approval.get("judged_real", 0), at=row["judged_at"])


def _leg(opportunity: Mapping[str, Any]) -> str:
    legs = opportunity.get("legs") or [{}]
    if len(legs) > 1:
        return ", ".join(f"{leg.get('outcome')} of {leg.get('slug')} at {leg.get('price')}" for leg in legs)
    return f"{legs[0].get('side')} {legs[0].get('outcome')} at {legs[0].get('price')}, mid {opportunity.get('mid')}"


def _order(row: Mapping[str, Any], *, legs: int) -> Iterator[Step]:
    number = int(row["leg"])
    leg = f"exit of leg {number - EXIT_LEG}: " if is_exit(number) else f"leg {number}: " if legs > 1 or number else ""
    what = f"{leg}{row['side']} {row['shares']} {row['outcome']} limit {row['limit_price']} {row['order_type']}"
    yield Step(name="order written", detail=f"{what} {row['order_hash']}", at=row["created_at"])
    if row["sent_real"]:
        yield Step(name="order sent", detail="signed and on the wire", real=row["sent_real"])
    if row["answered_real"]:
        yield Step(name="venue answered", detail="", real=row["answered_real"])
    outcome = f"{row['state']} {row['cause']}".strip()
    yield Step(name="order stands", detail=outcome, at=row["updated_at"])


def _trades(trades: Sequence[Mapping[str, Any]]) -> Iterator[Step]:
    for trade in trades:
        what = f"{trade['shares']} at {trade['price']} fee {trade['fee']} {trade['status']}"
        yield Step(name="matched", detail=f"{what} {trade['trade_id']}", at=trade["ts_event"])
        if trade["status"] != "provisional":
            yield Step(name=f"trade {trade['status']}", detail=trade["trade_id"], at=trade["updated_at"])


def _set(connection: Connection, opportunity_id: str) -> Iterator[Step]:
    """How a set of legs ended."""
    for row in _all(connection, "SELECT * FROM sets WHERE opportunity_id = %s", opportunity_id):
        if not row["ending"]:
            yield Step(name="set under way", detail=f"worst_loss={row['worst_loss']}", at=row["created_at"])
            continue
        skew = f"skew_ms={row['skew'] // 1_000_000}"
        told = f"{row['ending']}: {row['whole'].normalize():f} whole, {skew}, worst_loss={row['worst_loss']}"
        yield Step(name="set ended", detail=f"{told} {row['detail']}".strip(), at=row["ended_at"])


def _merges(connection: Connection, order: Mapping[str, Any]) -> Iterator[Step]:
    """Of all that is held of the token: a merge takes the shares of its orders alike."""
    for row in _all(connection, "SELECT * FROM merges WHERE token = %s ORDER BY merged_at", order["token"]):
        detail = f"{row['shares']} {row['outcome']} and as many of the other outcome became ${row['shares']}"
        yield Step(name="merged", detail=f"{detail}, of this side pnl {row['pnl']} after fees", at=row["merged_at"])


def _settlement(connection: Connection, order: Mapping[str, Any], filled: Decimal) -> Iterator[Step]:
    """Of all that was held of the token, however many orders bought it; nothing is paid to an order without a fill."""
    for row in _all(connection, "SELECT * FROM settlements WHERE token = %s", order["token"]):
        result = f"{row['outcome']} {'won' if row['won'] else 'lost'}"
        if not filled:
            yield Step(name="market resolved", detail=f"{result}: no share of this order", at=row["resolved_at"])
            continue
        ours = "" if filled == row["shares"] else f"; of this order {order['side']} {filled}"
        detail = f"{result}: {row['shares']} shares pay {row['payout']}, pnl {row['pnl']} after fees{ours}"
        yield Step(name="market resolved", detail=detail, at=row["resolved_at"])
        if row["redeemed_at"] and row["payout"]:
            yield Step(name="redeemed", detail=f"{row['payout']} to cash", at=row["redeemed_at"])


def _all(connection: Connection, query: LiteralString, *values: object) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, values).fetchall()
