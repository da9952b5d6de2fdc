"""What one approved opportunity holds of the wallet, leg by leg, until nothing of it can be lost any more. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from pmarb.domain.messages import Approval, Fill, OrderUpdate
from pmarb.domain.orders import EXIT_LEG, FillStatus, is_exit
from pmarb.domain.values import NANOS, ONE, ZERO

GRACE = 5 * NANOS
"""How long after its expiry an approval without any order still counts: the executor may be slow to say so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketRef:
    """What a market has in common with others."""

    market: str
    event: str
    underlying: str
    expiry: int


def places(approval: Approval) -> dict[int, MarketRef]:
    """The market of each leg."""
    return {
        index: MarketRef(
            market=each.leg.market,
            event=each.leg.event or approval.event,
            underlying=approval.underlying,
            expiry=each.leg.expiry or approval.expiry,
        )
        for index, each in enumerate(approval.legs)
    }


@dataclass(slots=True, kw_only=True)
class Commitment:
    """One approved opportunity and all that came of it; `where` and `approved` are by leg.

    The exit of a leg is an order of its own for the other outcome of the leg's market: it holds nothing by itself, and
    every pair that it completes is a dollar that cannot be lost.
    """

    opportunity_id: str
    where: dict[int, MarketRef]
    approved_at: int
    expires_at: int
    approved: dict[int, Decimal]
    strategy: str = ""
    orders: dict[int, OrderUpdate] = field(default_factory=dict)
    trades: dict[str, Fill] = field(default_factory=dict)
    left: dict[str, Decimal] = field(default_factory=dict)
    """What part of its shares of a token was not merged into dollars, where not all of them are left."""
    markets: frozenset[str] = frozenset()
    """Of all its legs. This and what follows is kept at every change, for it is asked on the way of an order."""
    over: bool = False
    """Whether every leg has had its order, and all of them ended."""
    active: bool = True
    """Whether it holds anything, has an open order or may come to have one: if not, only a message can change that."""
    _stakes: dict[int, Decimal] | None = None
    """What each leg holds while no message changes it."""

    def __post_init__(self) -> None:
        self._changed()

    def exposure(self, now: int) -> Decimal:
        """Dollars that could still be lost, fee included."""
        return sum(self.stakes(now).values(), ZERO)

    def stakes(self, now: int) -> dict[int, Decimal]:
        """Dollars that could still be lost, by leg."""
        if self._stakes is not None:
            return self._stakes
        found = {leg: self._of_leg(leg, reserved, now) for leg, reserved in self.approved.items()}
        if self.approved.keys() <= self.orders.keys():  # Before that, time changes it too
            self._stakes = found
        return found

    @property
    def expiry(self) -> int:
        """When the last of its markets ends."""
        return max(place.expiry for place in self.where.values())

    def on_approval(self, approval: Approval) -> None:
        """Legs of which nothing is known yet, after a restart in the midst of a set."""
        for index, each in enumerate(approval.legs):
            if index not in self.approved:
                self.approved[index] = each.reserved
                self.where[index] = places(approval)[index]
                self.expires_at = max(self.expires_at, approval.expires_at)
                self._changed()

    def on_order(self, update: OrderUpdate) -> None:
        """An order that ended stays as it ended."""
        before = self.orders.get(update.leg)
        if before is None or not before.state.terminal or update.state.terminal:
            self.orders[update.leg] = update
            self._changed()

    def on_fill(self, fill: Fill) -> bool:
        """Whether that was news: a trade that was confirmed or failed stays so."""
        before = self.trades.get(fill.trade_id)
        if before is not None and before.status is not FillStatus.PROVISIONAL:
            return False
        self.trades[fill.trade_id] = fill
        self._changed()
        return True

    def on_settled(self, token: str) -> None:
        """What was bought of `token` holds nothing any more."""
        for trade_id in [trade_id for trade_id, fill in self.trades.items() if fill.token == token]:
            del self.trades[trade_id]
            self._changed()

    def on_merged(self, token: str, left: Decimal) -> None:
        """Only the part `left` of what was bought of `token` is still held."""
        self.left[token] = left
        self._changed()

    def restore(self, update: OrderUpdate, where: MarketRef) -> None:
        """Take over an order that the ledger knows; an exit belongs to its leg and reserves nothing of its own."""
        self.where[update.leg] = where
        if not is_exit(update.leg):
            self.approved[update.leg] = update.reserved
        self._changed()

    def _changed(self) -> None:
        self._stakes = None
        self.markets = frozenset(place.market for place in self.where.values())
        ordered = self.approved.keys() <= self.orders.keys()
        self.over = ordered and all(order.state.terminal for order in self.orders.values())
        self.active = not self.over or bool(self.trades)

    def _of_leg(self, leg: int, reserved: Decimal, now: int) -> Decimal:
        order = self.orders.get(leg)
        if order is None:
            return reserved if now <= self.expires_at + GRACE else ZERO
        shares, spent = self._traded(order)
        left_by = self.orders.get(leg + EXIT_LEG)
        if left_by is not None:
            others, paid = self._traded(left_by)
            if others > ZERO:
                spent = max(spent + paid - min(shares, others), ZERO)
        return spent if order.state.terminal else max(order.reserved, spent)

    def _traded(self, order: OrderUpdate) -> tuple[Decimal, Decimal]:
        """(shares, dollars) of the order's trades that have not failed, as far as they are still held."""
        shares = spent = ZERO
        for fill in self.trades.values():
            if fill.order_hash == order.order_hash and fill.status is not FillStatus.FAILED:
                left = self.left.get(fill.token, ONE)
                shares += fill.shares * left
                spent += (fill.shares * fill.price + fill.fee) * left
        return shares, spent

    def has_open_order(self, now: int) -> bool:
        if self.over:
            return False
        return now <= self.expires_at + GRACE or any(not order.state.terminal for order in self.orders.values())

    def bought(self, token: str) -> Decimal:
        """Shares of the token that its trades brought, unless they failed."""
        wanted = (f for f in self.trades.values() if f.token == token and f.status is not FillStatus.FAILED)
        return sum((fill.shares for fill in wanted), ZERO)

    @property
    def filled(self) -> bool:
        return any(fill.status is not FillStatus.FAILED for fill in self.trades.values())


@dataclass(slots=True)
class Exposed:
    """Dollars that could still be lost, by where: one pass over the commitments for all the caps of a judgement."""

    stakes: list[tuple[MarketRef, str, Decimal]]
    """Place, strategy and dollars above 0 of each leg."""

    @property
    def total(self) -> Decimal:
        return sum((usd for _, _, usd in self.stakes), ZERO)

    @property
    def markets(self) -> set[str]:
        """Those in which something is held or may come to be."""
        return {place.market for place, _, _ in self.stakes}

    def of_market(self, market: str) -> Decimal:
        return sum((usd for place, _, usd in self.stakes if place.market == market), ZERO)

    def of_event(self, event: str) -> Decimal:
        return sum((usd for place, _, usd in self.stakes if place.event == event), ZERO)

    def of_strategy(self, strategy: str) -> Decimal:
        return sum((usd for _, owner, usd in self.stakes if owner == strategy), ZERO)

    def of_underlying(self, underlying: str, *, expiry: int, within: int) -> Decimal:
        """Markets on one price that end within `within` of each other are one bet."""
        same = (u for p, _, u in self.stakes if p.underlying == underlying and abs(p.expiry - expiry) <= within)
        return sum(same, ZERO)


def exposed(commitments: Iterable[Commitment], now: int) -> Exposed:
    found = [
        (commitment.where[leg], commitment.strategy, usd)
        for commitment in commitments
        for leg, usd in commitment.stakes(now).items()
        if usd > ZERO
    ]
    return Exposed(found)
