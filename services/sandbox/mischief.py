"""Faults that change the state of the venue at once, and the timetable of a scenario's faults."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from services.sandbox.accounts import Account, Accounts
from services.sandbox.agenda import Agenda
from services.sandbox.book import BookOrder, Side
from services.sandbox.clock import MS_NS, SECOND_NS, VenueClock
from services.sandbox.engine import POST_ONLY_S, Engine, Mode
from services.sandbox.eventlog import log_event
from services.sandbox.exchange import Exchange
from services.sandbox.fault_specs import Fault, Spec, Timed
from services.sandbox.faults import Armed, Faults, Moment
from services.sandbox.house import PREFIX, House
from services.sandbox.markets import Market
from services.sandbox.money import MICRO
from services.sandbox.orders import Order
from services.sandbox.settlement import Settlement
from services.sandbox.streams import Hub
from services.sandbox.trades import Trade

RESTART_S = 90.0
MODE_S = 60.0
EMPTY_S = 5.0
DISPUTE_S = 600.0
PHANTOM_SHARES = 500 * MICRO
MODES = {
    Fault.ENGINE_RESTART: (Mode.RESTART, RESTART_S),
    Fault.CANCEL_ONLY: (Mode.CANCEL_ONLY, MODE_S),
    Fault.TRADING_DISABLED: (Mode.DISABLED, MODE_S),
}
Undo = Callable[[], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """The parts of a venue that faults lay hands on."""

    clock: VenueClock
    agenda: Agenda
    engine: Engine
    accounts: Accounts
    exchange: Exchange
    house: House
    settlement: Settlement
    hubs: Mapping[str, Hub[Any]]


class Mischief:
    """Does what a Spec asks for. Everything that ends by itself ends in venue time."""

    def __init__(self, *, stage: Stage, faults: Faults) -> None:
        self.stage = stage
        self.faults = faults
        self._changes: list[Spec] = []
        self._serial = 0
        self._acts: dict[Fault, Callable[[Spec], tuple[Undo, float | None]]] = {
            **dict.fromkeys(MODES, self._mode),
            Fault.ORDERS_DROPPED: self._drop_orders,
            Fault.WS_DROPPED: self._drop_clients,
            Fault.CLOSED_ONLY: self._closed_only,
            Fault.CLOCK_SKEW: self._skew,
            Fault.MARKET_CHANGED: self._market_changed,
            Fault.BOOK_EMPTIED: self._empty,
            Fault.BOOK_CROSSED: self._cross,
            Fault.MARKET_MISPRICED: self._misprice,
            Fault.RESOLUTION_DISPUTED: self._dispute,
            Fault.RESOLUTION_SPLIT: self._split,
        }
        stage.exchange.fate = self.decide_fate
        stage.exchange.before_match = self.before_match
        stage.exchange.pays = self.pays
        stage.exchange.merges = self.merges
        stage.exchange.markets.on_new = self.on_new

    def do(self, spec: Spec) -> Armed:
        """Raises ValueError when the values of the spec fit no market or account."""
        act = self._acts.get(spec.kind)
        if act is None:
            armed = self.faults.arm(spec)
        else:
            undo, seconds = act(spec)
            armed = self.faults.stand(spec, undo=undo, seconds=seconds)
            if seconds is not None:
                self.stage.agenda.at(self._in(seconds), partial(self.faults.end, armed))
        log_event("fault", id=armed.id, **spec.stated())
        return armed

    def undo(self, which: str = "") -> int:
        """End all faults, those of a kind, or one by its id; what was traded and settled stays. Returns how many.

        All of them means that the venue runs as usual, whoever has changed its mode or restricted an account.
        """
        ended = self.faults.clear(which)
        if not which:
            self.stage.engine.enter(Mode.RUNNING, seconds=0)
            _reopen(self.stage.accounts.everyone)
        return ended

    def schedule(self, timetable: Iterable[Timed], *, start_ns: int) -> None:
        for timed in timetable:
            self._plan(timed, start_ns + int(timed.at_s * SECOND_NS))

    # --- asked by the exchange --------------------------------------------------------------------------------------

    def decide_fate(self, trade: Trade) -> None:
        """Will this trade be MATCHED and then FAILED, or RETRYING first? Every client in it is a reason."""
        moments = [
            Moment(account=order.account, market=trade.market.slug, side=str(order.side))
            for order in (trade.taker, *(fill.maker for fill in trade.fills))
            if not order.account.house
        ]
        chosen = self.faults.strike(Fault.GHOST_FILL, *moments) is not None
        trade.will_fail = self.stage.settlement.fails() or chosen
        trade.will_retry = self.faults.strike(Fault.SETTLEMENT_RETRIED, *moments) is not None

    def before_match(self, order: Order) -> None:
        moment = Moment(account=order.account, market=order.market.slug)
        if self.faults.strike(Fault.MARKET_CLOSED_MID_ORDER, moment):
            self.stage.settlement.stop(order.market)

    def pays(self, account: Account, market: Market) -> bool:
        """False: the redemption succeeds and moves nothing."""
        if account.house or not any(account.shares(token) for token in market.tokens):
            return True
        return not self.faults.strike(Fault.REDEMPTION_EMPTY, Moment(account=account, market=market.slug))

    def merges(self, account: Account, market: Market) -> bool:
        """False: the merge succeeds and moves nothing."""
        return not self.faults.strike(Fault.MERGE_EMPTY, Moment(account=account, market=market.slug))

    def on_new(self, market: Market) -> None:
        for spec in self._changes:
            if fnmatchcase(market.slug, spec.market):
                self._change(market, spec)

    # --- acts: what they did can be undone, and ends by itself after so many seconds ----------------------------------

    def _mode(self, spec: Spec) -> tuple[Undo, float | None]:
        mode, usual = MODES[spec.kind]
        seconds = usual if spec.seconds is None else spec.seconds
        change = self.stage.engine.enter(mode, seconds=seconds)
        undo = partial(self.stage.engine.leave, change)
        return undo, seconds + (POST_ONLY_S if mode is Mode.RESTART else 0)

    def _drop_orders(self, spec: Spec) -> tuple[Undo, float | None]:
        """Resting orders are gone, and nobody is told."""
        for account in self._accounts(spec):
            for order in list(account.open_orders.values()):
                if order.resting and fnmatchcase(order.market.slug, spec.market):
                    self.stage.exchange.drop(order)
        return _nothing, 0.0

    def _drop_clients(self, spec: Spec) -> tuple[Undo, float | None]:
        """Hang up on the clients of a channel; they may come back at once."""
        accounts = self._accounts(spec) if spec.account else None
        for channel, hub in self.stage.hubs.items():
            if spec.channel in ("", "all", channel):
                hub.hang_up(lambda client: accounts is None or client.account in accounts)
        return _nothing, 0.0

    def _closed_only(self, spec: Spec) -> tuple[Undo, float | None]:
        accounts = self._accounts(spec)
        for account in accounts:
            account.closed_only = True
        return partial(_reopen, accounts), spec.seconds

    def _skew(self, spec: Spec) -> tuple[Undo, float | None]:
        self.stage.clock.skew_ns = int(spec.ms * MS_NS)
        return partial(setattr, self.stage.clock, "skew_ns", 0), spec.seconds

    def _market_changed(self, spec: Spec) -> tuple[Undo, float | None]:
        for value in (spec.fee_rate, spec.tick, spec.min_size):
            _micro(value or "0")
        before = [self._change(market, spec) for market in self._markets(spec)]
        self._changes.append(spec)
        return partial(self._change_back, spec, before), spec.seconds

    def _change(self, market: Market, spec: Spec) -> Undo:
        """Change one market; the result puts back what was changed."""
        old, terms = (market.fees, market.min_size, market.hold_ms, market.tick), market.terms
        if spec.fee_rate:
            market.fees = replace(market.fees, rate=Decimal(spec.fee_rate))
        if spec.min_size:
            market.min_size = _micro(spec.min_size)
        if spec.hold_ms is not None:
            market.hold_ms = spec.hold_ms
        if spec.text:
            market.terms = replace(terms, description=f"{terms.description} {spec.text}")
        if spec.tick:
            self._set_tick(market, _micro(spec.tick))

        def put_back() -> None:
            market.fees, market.min_size, market.hold_ms = old[:3]
            market.terms = terms
            if spec.tick:
                self._set_tick(market, old[3])

        self.stage.exchange.publish(market)
        return put_back

    def _change_back(self, spec: Spec, before: Iterable[Undo]) -> None:
        """Markets that were there get their old terms; those made since keep the terms they were made with."""
        self._changes.remove(spec)
        for put_back in before:
            put_back()

    def _set_tick(self, market: Market, tick: int) -> None:
        if market.tick != tick:
            old, market.tick = market.tick, tick
            self.stage.exchange.events.tick_changed(market, old)

    def _empty(self, spec: Spec) -> tuple[Undo, float | None]:
        """The makers are gone; orders of clients stay."""
        seconds = EMPTY_S if spec.seconds is None else spec.seconds
        markets = self._markets(spec)
        for market in markets:
            self.stage.house.leave(market, until_ns=self._in(seconds))
            self.stage.exchange.publish(market)
        return partial(self._resume, markets), seconds

    def _cross(self, spec: Spec) -> tuple[Undo, float | None]:
        """A bid above the best ask that is shown and cannot be hit, while the makers stand still."""
        seconds = EMPTY_S if spec.seconds is None else spec.seconds
        shown = [(market, phantom) for market in self._markets(spec) if (phantom := self._phantom(market, spec))]
        for market, phantom in shown:
            self.stage.house.pause(market, until_ns=self._in(seconds))
            phantom.show(market)
            self.stage.exchange.publish(market)
        return partial(self._uncross, shown), seconds

    def _phantom(self, market: Market, spec: Spec) -> Phantom | None:
        ask = market.book.best_ask()
        if ask is None or ask + market.tick >= MICRO:
            return None
        self._serial += 1
        return Phantom(
            id=f"{PREFIX}phantom-{self._serial}",
            account=self.stage.house.makers,
            outcome=0,
            side=Side.BUY,
            price=min(MICRO - market.tick, ask + spec.ticks * market.tick),
            size=PHANTOM_SHARES,
        )

    def _uncross(self, shown: Iterable[tuple[Market, Phantom]]) -> None:
        for market, phantom in shown:
            phantom.hide(market)
            self._resume([market])
            if market.accepting:
                self.stage.exchange.publish(market)

    def _misprice(self, spec: Spec) -> tuple[Undo, float | None]:
        """The house is wrong by so much, all of it alike, so that nobody takes the difference away."""
        markets = self._markets(spec)
        for market in markets:
            self.stage.house.err(market, spec.by)
        return partial(self._price_right, markets), spec.seconds

    def _price_right(self, markets: Iterable[Market]) -> None:
        for market in markets:
            if market.accepting:
                self.stage.house.err(market, 0.0)

    def _resume(self, markets: Iterable[Market]) -> None:
        for market in markets:
            if market.accepting:
                self.stage.house.pause(market, until_ns=0)

    def _dispute(self, spec: Spec) -> tuple[Undo, float | None]:
        markets = self._markets(spec)
        for market in markets:
            market.dispute_s = DISPUTE_S if spec.seconds is None else spec.seconds
        return partial(_settle_dispute, markets), None

    def _split(self, spec: Spec) -> tuple[Undo, float | None]:
        markets = self._markets(spec)
        for market in markets:
            market.split = True
        return partial(_join, markets), None

    # --- parts ------------------------------------------------------------------------------------------------------

    def _plan(self, timed: Timed, due_ns: int) -> None:
        def strike() -> None:
            self.do(timed.spec)
            if timed.every_s:
                self._plan(timed, due_ns + int(timed.every_s * SECOND_NS))

        self.stage.agenda.at(due_ns, strike)

    def _accounts(self, spec: Spec) -> list[Account]:
        """The one that was named, or all clients. Raises ValueError."""
        if not spec.account:
            return [account for account in self.stage.accounts.everyone if not account.house]
        found = self.stage.accounts.find(spec.account)
        if found is None:
            raise ValueError(f"no account {spec.account}")
        return [found]

    def _markets(self, spec: Spec) -> list[Market]:
        return [market for market in self.stage.exchange.markets.live() if fnmatchcase(market.slug, spec.market)]

    def _in(self, seconds: float) -> int:
        return self.stage.clock.now_ns() + int(seconds * SECOND_NS)


class Phantom(BookOrder):
    """Shown but not to be met: nothing remains of the order, while the total of its level says otherwise."""

    def show(self, market: Market) -> None:
        self.remaining = 0
        market.book.add(self)
        market.book.bids[self.book_price].total += self.size

    def hide(self, market: Market) -> None:
        level = market.book.bids.get(self.book_price)
        if level is not None and self.id in level.orders:
            level.total -= self.size
            market.book.remove(self.id)


def _nothing() -> None:
    """What was lost stays lost."""


def _reopen(accounts: Iterable[Account]) -> None:
    for account in accounts:
        account.closed_only = False


def _settle_dispute(markets: Iterable[Market]) -> None:
    for market in markets:
        market.dispute_s = 0.0


def _join(markets: Iterable[Market]) -> None:
    for market in markets:
        market.split = False


def _micro(text: str) -> int:
    """Micro-units of a decimal. Raises ValueError."""
    try:
        return int(Decimal(text) * MICRO)
    except InvalidOperation as error:
        raise ValueError(f"{text!r} is no number") from error
