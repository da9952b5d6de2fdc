"""Faults that change the state of the venue at once, and the timetable of a scenario's faults."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING

from services.sandbox.accounts import Account
from services.sandbox.book import BookOrder, Side
from services.sandbox.clock import MS_NS, SECOND_NS
from services.sandbox.engine import Mode
from services.sandbox.eventlog import log_event
from services.sandbox.faults import Fault, Spec, Timed
from services.sandbox.house import PREFIX
from services.sandbox.markets import Market
from services.sandbox.money import MICRO
from services.sandbox.orders import Order
from services.sandbox.trades import Trade

if TYPE_CHECKING:
    from services.sandbox.world import World

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


class Mischief:
    """Does to a world what a Spec asks for. Everything that ends by itself ends in venue time."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._changes: list[Spec] = []
        self._serial = 0
        world.exchange.ghost = self.is_ghost
        world.exchange.before_match = self.before_match
        world.exchange.pays = self.pays
        world.markets.on_new = self.on_new

    def do(self, spec: Spec) -> None:
        """Raises ValueError when the values of the spec fit no market or account."""
        action = self._actions().get(spec.kind)
        if spec.kind in MODES:
            mode, seconds = MODES[spec.kind]
            self.world.engine.enter(mode, seconds=seconds if spec.seconds is None else spec.seconds)
        elif action is not None:
            action(spec)
        else:
            self.world.faults.arm(spec)
        log_event("fault", kind=spec.kind, market=spec.market, seconds=spec.seconds or 0)

    def undo(self) -> None:
        """Disarm everything and put the venue right again; books and settlements of the past stay as they are."""
        self.world.faults.clear()
        self.world.engine.enter(Mode.RUNNING, seconds=0)
        self.world.clock.skew_ns = 0
        self._changes.clear()
        for account in self.world.accounts.everyone:
            account.closed_only = False

    def schedule(self, timetable: Iterable[Timed], *, start_ns: int) -> None:
        for timed in timetable:
            self._plan(timed, start_ns + int(timed.at_s * SECOND_NS))

    # --- asked by the exchange --------------------------------------------------------------------------------------

    def is_ghost(self, trade: Trade) -> bool:
        """Will this trade be MATCHED and then FAILED?"""
        chosen = self.world.faults.take(
            Fault.GHOST_FILL,
            account=trade.taker.account,
            market=trade.market.slug,
            side=str(trade.taker.side),
        )
        return chosen or self.world.settlement.fails()

    def before_match(self, order: Order) -> None:
        struck = self.world.faults.take(Fault.MARKET_CLOSED_MID_ORDER, account=order.account, market=order.market.slug)
        if struck:
            self.world.settlement.stop(order.market)

    def pays(self, account: Account, market: Market) -> bool:
        """False: the redemption succeeds and moves nothing."""
        return account.house or not self.world.faults.take(Fault.REDEMPTION_EMPTY, account=account, market=market.slug)

    def on_new(self, market: Market) -> None:
        for spec in self._changes:
            if fnmatchcase(market.slug, spec.market):
                self._change(market, spec)

    # --- actions ----------------------------------------------------------------------------------------------------

    def _actions(self) -> dict[Fault, Callable[[Spec], None]]:
        return {
            Fault.CLOSED_ONLY: self._closed_only,
            Fault.CLOCK_SKEW: self._skew,
            Fault.MARKET_CHANGED: self._market_changed,
            Fault.BOOK_EMPTIED: self._empty,
            Fault.BOOK_CROSSED: self._cross,
            Fault.RESOLUTION_DISPUTED: self._dispute,
            Fault.RESOLUTION_SPLIT: self._split,
        }

    def _closed_only(self, spec: Spec) -> None:
        found = self.world.accounts.find(spec.account) if spec.account else None
        accounts = [found] if found else [] if spec.account else self.world.accounts.everyone
        if not accounts:
            raise ValueError(f"no account {spec.account}")
        for account in accounts:
            account.closed_only = not account.house
            if spec.seconds is not None:
                self._later(spec.seconds, partial(setattr, account, "closed_only", False))

    def _skew(self, spec: Spec) -> None:
        self.world.clock.skew_ns = int(spec.ms * MS_NS)
        if spec.seconds is not None:
            self._later(spec.seconds, partial(setattr, self.world.clock, "skew_ns", 0))

    def _market_changed(self, spec: Spec) -> None:
        for value in (spec.fee_rate, spec.tick, spec.min_size):
            _micro(value or "0")
        if spec.hold_ms is not None:
            self.world.change_scenario({"hold_ms": spec.hold_ms})
        self._changes.append(spec)
        for market in self._markets(spec):
            self._change(market, spec)
            self.world.exchange.publish(market)

    def _change(self, market: Market, spec: Spec) -> None:
        if spec.fee_rate:
            market.fees = replace(market.fees, rate=Decimal(spec.fee_rate))
        if spec.min_size:
            market.min_size = _micro(spec.min_size)
        if spec.tick and market.tick != _micro(spec.tick):
            old, market.tick = market.tick, _micro(spec.tick)
            self.world.exchange.events.tick_changed(market, old)

    def _empty(self, spec: Spec) -> None:
        """The makers are gone; orders of clients stay."""
        seconds = EMPTY_S if spec.seconds is None else spec.seconds
        for market in self._markets(spec):
            self.world.house.leave(market, until_ns=self._in(seconds))
            self.world.exchange.publish(market)

    def _cross(self, spec: Spec) -> None:
        """A bid above the best ask that is shown and cannot be hit, while the makers stand still."""
        seconds = EMPTY_S if spec.seconds is None else spec.seconds
        for market in self._markets(spec):
            ask = market.book.best_ask()
            if ask is None or ask + market.tick >= MICRO:
                continue
            self.world.house.pause(market, until_ns=self._in(seconds))
            self._serial += 1
            price = min(MICRO - market.tick, ask + spec.ticks * market.tick)
            phantom = Phantom(
                id=f"{PREFIX}phantom-{self._serial}",
                account=self.world.house.makers,
                outcome=0,
                side=Side.BUY,
                price=price,
                size=PHANTOM_SHARES,
            )
            phantom.show(market)
            self.world.exchange.publish(market)
            self._later(seconds, partial(self._uncross, market, phantom))

    def _uncross(self, market: Market, phantom: Phantom) -> None:
        phantom.hide(market)
        if market.accepting:
            self.world.exchange.publish(market)

    def _dispute(self, spec: Spec) -> None:
        for market in self._markets(spec):
            market.dispute_s = DISPUTE_S if spec.seconds is None else spec.seconds

    def _split(self, spec: Spec) -> None:
        for market in self._markets(spec):
            market.split = True

    # --- parts ------------------------------------------------------------------------------------------------------

    def _plan(self, timed: Timed, due_ns: int) -> None:
        def strike() -> None:
            self.do(timed.spec)
            if timed.every_s:
                self._plan(timed, due_ns + int(timed.every_s * SECOND_NS))

        self.world.agenda.at(due_ns, strike)

    def _markets(self, spec: Spec) -> list[Market]:
        return [market for market in self.world.markets.live() if fnmatchcase(market.slug, spec.market)]

    def _in(self, seconds: float) -> int:
        return self.world.clock.now_ns() + int(seconds * SECOND_NS)

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        self.world.agenda.at(self._in(seconds), action)


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


def _micro(text: str) -> int:
    """Micro-units of a decimal. Raises ValueError."""
    try:
        return int(Decimal(text) * MICRO)
    except InvalidOperation as error:
        raise ValueError(f"{text!r} is no number") from error
