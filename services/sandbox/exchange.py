"""The exchange: validates, holds, matches and cancels orders, and moves money.

Synchronous; waiting is the gateway's work.

Takers never execute against anything but the book of the moment they are matched. House parties (makers, competing
and noise takers) trade by the same engine and always BUY: against each other's BUYs pairs are minted, so shares are
never created from air.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from services.sandbox import rules
from services.sandbox.accounts import Account, Accounts
from services.sandbox.balances import Balances
from services.sandbox.book import BookOrder, Fill, Side
from services.sandbox.clock import SECOND_NS, VenueClock
from services.sandbox.events import Events
from services.sandbox.facts import history_facts, trade_fact
from services.sandbox.fees import taker_fee
from services.sandbox.journal import Journal
from services.sandbox.markets import COARSE_TICK, FINE_ABOVE, FINE_BELOW, FINE_TICK, Market, Markets
from services.sandbox.money import MICRO
from services.sandbox.orders import Order, OrderStatus, OrderType, Placed
from services.sandbox.refusals import ALREADY_GONE, MARKET_NOT_FOUND, STILL_HELD, Refusal, duplicated
from services.sandbox.trades import (
    Trade,
    TradeStatus,
    apply_moves,
    dependents,
    in_flight,
    moves_of,
    trade_activity,
    trade_ids,
    undo_moves,
)

HOUSE_CASH = 1_000_000_000 * MICRO
# So many makers fit into one trade; a larger match is split.
BUCKET_FILLS = 20


class Exchange:
    """All markets, accounts, orders and trades of one run."""

    def __init__(
        self,
        *,
        clock: VenueClock,
        markets: Markets,
        accounts: Accounts,
        events: Events,
        run_tag: str,
        balances: Balances | None = None,
        journal: Journal | None = None,
    ) -> None:
        self.clock = clock
        self.balances = balances or Balances()
        self.journal = journal or Journal()
        self.markets = markets
        self.accounts = accounts
        self.events = events
        self.orders: dict[str, Order] = {}
        # Ids from before a restart: those orders are over, and cannot be posted again.
        self.past_orders: set[str] = set()
        self.trades: dict[str, Trade] = {}
        self.unsettled: deque[Trade] = deque()
        # What faults may decide: how a trade is settled, a match that comes too late, a redemption that moves nothing.
        self.fate: Callable[[Trade], None] = lambda _: None
        self.before_match: Callable[[Order], None] = lambda _: None
        self.pays: Callable[[Account, Market], bool] = lambda _, __: True
        self.merges: Callable[[Account, Market], bool] = lambda _, __: True
        self.bucket_fills = BUCKET_FILLS
        self._run_tag = run_tag
        self._serial = 0

    # --- the life of a client's order -------------------------------------------------------------------------------

    def knows(self, order_id: str) -> bool:
        """Was an order with this id ever accepted?"""
        return order_id in self.orders or order_id in self.past_orders

    def validate(self, order: Order) -> None:
        """Every check before acceptance. Raises Refusal with the venue's text."""
        if self.knows(order.id):
            raise duplicated(order.id)
        if not order.market.accepting:
            raise Refusal(MARKET_NOT_FOUND, status=404, order_id=order.id)
        marketable = self.is_marketable(order)
        refusal = (
            rules.accuracy_refusal(order)
            or rules.tick_refusal(order)
            or rules.size_refusal(order, marketable=marketable)
            or rules.expiration_refusal(order, now_s=self.clock.now_s())
            or (rules.POST_ONLY_CROSSES if order.post_only and marketable else None)
            or self._balance_refusal(order, marketable=marketable)
        )
        if refusal:
            raise Refusal(refusal, order_id=order.id)

    def is_marketable(self, order: Order) -> bool:
        return not order.order_type.rests or order.market.book.crosses(order.book_order())

    def hold(self, order: Order, *, delayed: bool = False) -> None:
        """Reserve the funds of a taker order for the delay; it cannot be cancelled until `finish`."""
        order.fee_reserve = self._fee_estimate(order)
        self._accept(order)
        order.account.open_orders[order.id] = order
        if delayed:
            self.events.order_changed(order, "PLACEMENT")

    def finish(self, order: Order, *, delayed: bool = False) -> Placed:
        """Re-check, match and rest or kill. Raises Refusal when nothing came of the order."""
        with self.journal.together():
            self._accept(order)
            self.before_match(order)
            try:
                placed = self._match(order)
            except Refusal as refusal:
                self._drop(order, reason=refusal.text)
                raise
        if delayed and placed.status == "live":
            # Its moment passed without a match; the order stands.
            order.status = OrderStatus.UNMATCHED
            self.events.order_changed(order, "UPDATE")
            order.status = OrderStatus.LIVE
        return placed

    def cancel(self, account: Account, order_id: str, *, reason: str = "") -> str | None:
        """Cancel a resting order; returns the venue's reason when it cannot be cancelled."""
        order = account.open_orders.get(order_id)
        if order is None:
            return ALREADY_GONE
        if order.status is OrderStatus.HELD:
            return STILL_HELD
        order.market.book.remove(order_id)
        order.status = OrderStatus.CANCELED
        del account.open_orders[order_id]
        self.events.order_changed(order, "CANCELLATION", reason)
        self.publish(order.market)
        return None

    def _accept(self, order: Order) -> None:
        if not self.knows(order.id):
            self.journal.write("accepted", order=order.id)
        self.orders[order.id] = order

    def _match(self, order: Order) -> Placed:
        market = order.market
        if not market.accepting:
            raise Refusal(MARKET_NOT_FOUND, status=404, order_id=order.id)
        taker = order.book_order()
        fills = market.book.plan(taker)
        self._require_fill(order, fills)
        if fills and order.post_only:
            raise Refusal(f"order {order.id} crosses the book", order_id=order.id)
        self._require_funds(order, fills)
        trades = self.execute(market, taker, fills, api_key=order.api_key) if fills else []
        order.matched = sum(trade.shares for trade in trades)
        order.trade_ids.extend(trade.id for trade in trades)
        self._rest_or_end(order, taker, filled=bool(trades))
        self.publish(market)
        if not trades:
            return Placed(order_id=order.id, status="live", making=0, taking=0, trade_ids=())
        making, taking = sum(trade.notional for trade in trades), order.matched
        if order.side is Side.SELL:
            making, taking = taking, making
        ids = tuple(trade.id for trade in trades)
        return Placed(order_id=order.id, status="matched", making=making, taking=taking, trade_ids=ids)

    def _require_fill(self, order: Order, fills: list[Fill]) -> None:
        if order.order_type is OrderType.FAK and not fills:
            raise Refusal(rules.FAK_MISSED, order_id=order.id)
        if order.order_type is OrderType.FOK and not rules.completes(order, fills):
            raise Refusal(rules.FOK_MISSED, order_id=order.id)

    def _require_funds(self, order: Order, fills: list[Fill]) -> None:
        """The second check, at the end of the hold, with the real cost and fee of this match."""
        account = order.account
        shares, dollars = sum(fill.shares for fill in fills), sum(fill.dollars for fill in fills)
        others = [other for other in account.open_orders.values() if other is not order]
        if order.side is Side.SELL:
            reserved = sum(other.reserved_shares for other in others if other.token_id == order.token_id)
            balance, amount = self.balances.of(account, order.token_id), order.size
        else:
            reserved = sum(other.reserved_cash for other in others)
            rest = 0 if not order.order_type.rests else order.maker_amount - dollars
            value = sum(fill.value for fill in fills)
            fee = taker_fee(shares=shares, value=value, schedule=order.market.fees)
            balance, amount = self.balances.of(account), dollars + fee + max(0, rest)
            if fills and order.order_type.rests and dollars + max(0, rest) < rules.MIN_MARKETABLE_BUY:
                raise Refusal(rules.small_buy_refusal(dollars), order_id=order.id)
        if amount > balance - reserved:
            raise Refusal(self._balance_text(order, balance, reserved, amount), order_id=order.id)

    def _rest_or_end(self, order: Order, taker: BookOrder, *, filled: bool) -> None:
        order.fee_reserve = 0
        taker.remaining = order.size - order.matched
        if order.order_type.rests and taker.remaining >= MICRO // 100:
            order.resting = taker
            order.status = OrderStatus.LIVE
            order.account.open_orders[order.id] = order
            order.market.book.add(taker)
            self.events.order_changed(order, "PLACEMENT")
            if filled:
                self.events.order_changed(order, "UPDATE")
            return
        order.status = OrderStatus.MATCHED
        order.account.open_orders.pop(order.id, None)
        self.events.order_changed(order, "UPDATE")

    def _drop(self, order: Order, *, reason: str) -> None:
        order.status = OrderStatus.CANCELED
        order.account.open_orders.pop(order.id, None)
        self.events.order_changed(order, "CANCELLATION", reason)

    def _balance_refusal(self, order: Order, *, marketable: bool) -> str | None:
        account = order.account
        if order.side is Side.SELL:
            balance, amount = self.balances.of(account, order.token_id), order.maker_amount
            active = account.reserved_shares(order.token_id)
        else:
            fee = self._fee_estimate(order) if marketable else 0
            balance, amount, active = self.balances.of(account), order.maker_amount + fee, account.reserved_cash()
        if amount <= balance - active:
            return None
        return self._balance_text(order, balance, active, amount)

    def _balance_text(self, order: Order, balance: int, active: int, amount: int) -> str:
        """The venue counts from what the chain says, which has not seen the latest matches yet."""
        matched = in_flight(self.unsettled, order.account, order.token_id if order.side is Side.SELL else "")
        return rules.balance_refusal(balance=balance + matched, active=active, matched=matched, amount=amount)

    def _fee_estimate(self, order: Order) -> int:
        """Fee at the limit; at a better price a BUY of dollars may owe a little more, which the second check sees."""
        if order.side is Side.SELL:
            return 0
        value = order.maker_amount * MICRO
        return taker_fee(shares=order.taker_amount, value=value, schedule=order.market.fees)

    # --- execution --------------------------------------------------------------------------------------------------

    def execute(self, market: Market, taker: BookOrder, fills: list[Fill], *, api_key: str = "") -> list[Trade]:
        """Book the fills: balances, fees, records of the clients concerned, one public print."""
        size = self.bucket_fills
        buckets = [fills[first : first + size] for first in range(0, len(fills), size)]
        trades = [
            self._trade(market, taker, bucket, api_key=api_key, number=number) for number, bucket in enumerate(buckets)
        ]
        market.book.apply(fills)
        market.volume += sum(fill.dollars for fill in fills)
        market.trades += 1
        last = fills[-1].price
        market.last_price, market.last_side = last if taker.outcome == 0 else MICRO - last, taker.side
        self.events.traded(market, taker, fills, trades[0].transaction)
        for trade in trades:
            if trade.parties():
                self._record(trade)
        return trades

    def _trade(self, market: Market, taker: BookOrder, fills: list[Fill], *, api_key: str, number: int) -> Trade:
        """Move the money and shares of one bucket."""
        now_ns, stamped_ns = self.clock.now_ns(), self.clock.stamp_ns()
        shares, value = sum(fill.shares for fill in fills), sum(fill.value for fill in fills)
        fee = taker_fee(shares=shares, value=value, schedule=market.fees)
        moves = moves_of(market, taker, fills, fee=fee)
        apply_moves(market, moves, now_ns=now_ns)
        for move in moves:
            self.balances.note(move.account, move.token_id)
        self._serial += 1
        trade_id, transaction = trade_ids(self._run_tag, self._serial)
        return Trade(
            id=trade_id,
            market=market,
            taker=taker,
            taker_key=api_key,
            fills=fills,
            shares=shares,
            notional=sum(fill.dollars for fill in fills),
            value=value,
            fee=fee,
            matched_ns=now_ns,
            moves=moves,
            stamped_ns=stamped_ns,
            updated_ns=stamped_ns,
            bucket=number,
            transaction=transaction,
        )

    def _record(self, trade: Trade) -> None:
        self.fate(trade)
        self.enter(trade)
        for fill in trade.fills:
            self._update_maker(trade, fill)
        self.journal.write("trade", **trade_fact(trade))
        self.events.trade_changed(trade)

    def enter(self, trade: Trade) -> None:
        """Into the records of the exchange and of the clients that took part."""
        self.trades[trade.id] = trade
        self.unsettled.append(trade)
        for account in trade.parties():
            account.trades.append(trade)
        for move in trade.moves:
            if not move.account.house:
                move.account.activity.append(trade_activity(trade, move))

    def _update_maker(self, trade: Trade, fill: Fill) -> None:
        order = self.orders.get(fill.maker.id)
        if order is None:
            return
        trade.maker_keys[order.id] = order.api_key
        order.matched += fill.shares
        order.trade_ids.append(trade.id)
        if order.id not in order.market.book.orders:
            order.status = OrderStatus.MATCHED
            order.account.open_orders.pop(order.id, None)
        self.events.order_changed(order, "UPDATE")

    def fail(self, trade: Trade) -> None:
        """A ghost fill: the match is undone on both sides and its records disappear from the wallet's history."""
        self.undo(trade)
        doomed = []
        for account in trade.parties():
            for other in dependents(self.unsettled, account):
                other.will_fail = True
                doomed.append(other.id)
            self.cancel_uncovered(account)
        self.journal.write("failed", trade=trade.id, doomed=doomed)

    def undo(self, trade: Trade) -> None:
        undo_moves(trade.market, trade.moves)
        trade.status = TradeStatus.FAILED
        for account in trade.parties():
            account.activity[:] = [line for line in account.activity if line.trade_id != trade.id]

    def note_history(self, account: Account, *, since: int) -> None:
        """Into the journal: what an account's history gained by other ways than a trade."""
        lines = history_facts(account.activity[since:], self.markets)
        if lines:
            self.journal.write("moved", wallet=account.wallet, lines=lines)

    def publish(self, market: Market) -> None:
        """Tell the feeds about changed levels and move to the fine tick where prices are extreme."""
        market.changed_ns = self.clock.now_ns()
        self.events.book_changed(market)
        if market.tick != COARSE_TICK:
            return
        bid, ask = market.book.best_bid(), market.book.best_ask()
        if bid is None and ask is None:
            return
        middle = ((bid or 0) + (MICRO if ask is None else ask)) // 2
        if middle > FINE_ABOVE or middle < FINE_BELOW:
            market.tick = FINE_TICK
            self.events.tick_changed(market, COARSE_TICK)

    def drop(self, order: Order) -> None:
        """Lose a resting order without a word to its owner."""
        order.market.book.remove(order.id)
        order.status = OrderStatus.CANCELED
        order.account.open_orders.pop(order.id, None)
        self.publish(order.market)

    def cancel_where(self, orders: Iterable[Order], *, reason: str = "") -> tuple[list[str], dict[str, str]]:
        """Cancel many; returns (cancelled ids, {id: reason} of the others)."""
        done: list[str] = []
        refused: dict[str, str] = {}
        for order in list(orders):
            why = self.cancel(order.account, order.id, reason=reason)
            if why:
                refused[order.id] = why
            else:
                done.append(order.id)
        return done, refused

    def cancel_uncovered(self, account: Account) -> None:
        """After money left an account by another way than a trade: cancel the newest orders it no longer covers."""
        for order in reversed(list(account.open_orders.values())):
            short = (
                account.reserved_shares(order.token_id) > account.shares(order.token_id)
                if order.side is Side.SELL
                else account.reserved_cash() > account.cash
            )
            if short:
                self.cancel(account, order.id, reason="NOT_ENOUGH_BALANCE")

    def expire(self) -> None:
        """End GTD orders one minute before their stated second."""
        now_s = self.clock.now_ns() / SECOND_NS
        for account in self.accounts.everyone:
            for order in list(account.open_orders.values()):
                if order.expiration and now_s >= order.expiration - rules.GTD_ENDS_EARLY_S:
                    self.cancel(account, order.id, reason="EXPIRED_ORDER")
