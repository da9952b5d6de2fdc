"""The audit's questions: does the ledger say what the venue says? Pure: two views in, one line a question out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final

from pmarb.db.foreign import Movement
from pmarb.domain.checks import Check
from pmarb.domain.ledger import Account
from pmarb.domain.values import ZERO

HALF_A_CENT: Final = Decimal("0.005")
DUST: Final = Decimal("0.0001")  # Shares or dollars: the venue books micro-units, we keep what it reports
SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A trade as one side knows it; `status` is provisional, confirmed or failed."""

    shares: Decimal
    usd: Decimal
    fee: Decimal
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerView:
    """What we believe. `worthless` are tokens that resolved against us: the venue may still list them. The foreign ones
    are movements of the wallet that are not ours, told apart."""

    balances: Mapping[Account, Decimal]
    unbalanced: int
    order_hashes: frozenset[str]
    open_orders: frozenset[str]
    trades: Mapping[str, Match]
    positions: Mapping[str, Decimal]
    worthless: frozenset[str]
    foreign: Sequence[Movement] = ()

    @property
    def foreign_trades(self) -> frozenset[str]:
        return frozenset(each.movement_id.split(":")[1] for each in self.foreign if each.kind == "trade")

    @property
    def foreign_orders(self) -> frozenset[str]:
        return frozenset(each.order_hash for each in self.foreign)

    @property
    def foreign_shares(self) -> Mapping[str, Decimal]:
        found: dict[str, Decimal] = {}
        for each in self.foreign:
            found[each.token] = found.get(each.token, ZERO) + each.shares
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueView:
    """What the venue says of our wallet. `listed` are the positions of its public Data API."""

    cash: Decimal
    deposits: Decimal
    fees: Decimal
    order_ids: frozenset[str]
    open_orders: frozenset[str]
    trades: Mapping[str, Match]
    positions: Mapping[str, Decimal]
    listed: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """All questions; `ok` only if every answer is."""

    ok: bool
    checks: list[Check] = field(default_factory=list)


def audit(checks: Iterable[Check]) -> Audit:
    found = list(checks)
    return Audit(ok=all(check.ok for check in found), checks=found)


def books_balance(ledger: LedgerView) -> list[Check]:
    """What the ledger owes to itself."""
    total = sum(ledger.balances.values(), ZERO)
    return [
        Check(name="sum_is_zero", ok=total == ZERO, detail=f"all accounts sum to {total}"),
        Check(name="entries_balance", ok=not ledger.unbalanced, detail=f"{ledger.unbalanced} entries do not"),
    ]


def agree(ledger: LedgerView, venue: VenueView) -> list[Check]:
    """What the ledger owes to the venue."""
    return [
        *books_balance(ledger),
        _foreign(ledger),
        _same_set(
            "orders_known",
            "posted at the venue, unknown to us",
            venue.order_ids - ledger.order_hashes - ledger.foreign_orders,
        ),
        _open_orders(ledger, venue),
        _trades(ledger, venue),
        _positions("positions", ledger, venue.positions),
        _positions("positions_listed", ledger, venue.listed),
        _money(
            "cash",
            ledger.balances[Account.CASH]
            + ledger.balances[Account.RESERVED]
            + sum((each.usd for each in ledger.foreign), ZERO),
            venue.cash,
        ),
        _money("capital", -ledger.balances[Account.CAPITAL], venue.deposits),
        _money("fees", ledger.balances[Account.FEES], venue.fees),
    ]


def _foreign(ledger: LedgerView) -> Check:
    """Never wrong by itself, but a person should know whose they are."""
    words = [f"{each.kind} {each.shares:+f} {each.token[:12]} ${each.usd:+f}" for each in ledger.foreign]
    return Check(
        name="foreign", ok=True, detail=f"{len(words)} movements are not ours: {some(words)}" if words else "none"
    )


def _open_orders(ledger: LedgerView, venue: VenueView) -> Check:
    both = len(ledger.open_orders & venue.open_orders)
    apart = ledger.open_orders ^ venue.open_orders
    return _same_set("orders_open", "open on one side only", apart, agreed=f"{both} open on both sides")


def _same_set(name: str, problem: str, wrong: Iterable[str], agreed: str = "none unknown") -> Check:
    found = sorted(wrong)
    return Check(name=name, ok=not found, detail=f"{problem}: {some(found)}" if found else agreed)


def _trades(ledger: LedgerView, venue: VenueView) -> Check:
    pairs = {
        trade_id: (ledger.trades.get(trade_id), venue.trades.get(trade_id))
        for trade_id in sorted((ledger.trades.keys() | venue.trades.keys()) - ledger.foreign_trades)
    }
    apart = {trade_id: pair for trade_id, pair in pairs.items() if not _same(*pair)}
    wrong = [f"{trade_id} ledger {_match(ours)} venue {_match(theirs)}" for trade_id, (ours, theirs) in apart.items()]
    detail = some(wrong) if wrong else f"{len(venue.trades)} the same on both sides"
    if wrong and all(_behind(*pair) for pair in apart.values()):
        detail += ". The venue has moved on since the executor last looked: with the executor running, ask again"
    return Check(name="trades", ok=not wrong, detail=detail)


def _behind(ours: Match | None, theirs: Match | None) -> bool:
    """Whether the ledger has only not heard yet how a trade went on."""
    if ours is None or theirs is None:
        return False
    return ours.status == "provisional" and _same(ours, replace(theirs, status=ours.status))


def _same(ours: Match | None, theirs: Match | None) -> bool:
    if ours is None or theirs is None:
        return (ours or theirs) is None or _never_was(ours) or _never_was(theirs)
    if ours.status != theirs.status:
        return False
    return all(
        abs(a - b) < DUST for a, b in ((ours.shares, theirs.shares), (ours.usd, theirs.usd), (ours.fee, theirs.fee))
    )


def _never_was(trade: Match | None) -> bool:
    """A trade that failed before the other side heard of it changed nothing."""
    return trade is not None and trade.status == "failed"


def _positions(name: str, ledger: LedgerView, theirs: Mapping[str, Decimal]) -> Check:
    foreign = ledger.foreign_shares
    ours = {
        token: ledger.positions.get(token, ZERO) + foreign.get(token, ZERO)
        for token in ledger.positions.keys() | theirs.keys()
    }
    wrong = [
        f"{token[:12]} ledger {ours[token]} venue {theirs.get(token, ZERO)}"
        for token in sorted(ours)
        if abs(ours[token] - theirs.get(token, ZERO)) >= DUST and token not in ledger.worthless
    ]
    detail = some(wrong) if wrong else f"{len(ledger.positions)} the same on both sides"
    return Check(name=name, ok=not wrong, detail=detail)


def _money(name: str, ours: Decimal, theirs: Decimal) -> Check:
    return Check(name=name, ok=abs(ours - theirs) < HALF_A_CENT, detail=f"ledger {ours:.5f}, venue {theirs:.5f}")


def _match(match: Match | None) -> str:
    return "nothing" if match is None else f"{match.shares} for {match.usd:.6f} fee {match.fee} {match.status}"


def some(found: Sequence[str]) -> str:
    """The first few, and how many more there are."""
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return "; ".join(found[:SHOWN]) + more
