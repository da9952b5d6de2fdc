"""The brake: watches the trading state and the kill file, and brings everything at the venue to a proven stop."""

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from pmarb import logs
from pmarb.db.pool import Unavailable
from pmarb.db.receipts import Receipt
from pmarb.domain.messages import Kill, TradingState
from pmarb.domain.orders import OrderState
from pmarb.domain.values import NANOS
from pmarb.runtime import Backoff
from pmarb.waiting import until_set
from services.executor.flatten import GIVE_UP_AFTER, flatten, log_receipt
from services.executor.shop import Shop, persistently

log = logs.get(__name__)
Answer = TypeVar("Answer")

WATCH_EVERY: Final = 0.5  # Seconds, real: how soon a state written by a person, or a kill file, is noticed
LATEST: Final = 120 * NANOS
"""Venue time after it was given up within which an order that was sent may still turn up there."""

LEDGER_WITHIN: Final = 2.0
"""Seconds (real) that a stop waits for the ledger: a frozen database must not keep orders resting at the venue."""

AGAIN_FOR: Final = 5.0  # Seconds, real, of each further try while the venue cannot be reached
LONGEST_REASON: Final = 500


class Brake:
    """See the module. One per executor: whoever stops first cancels for all."""

    def __init__(self, shop: Shop, *, kill_file: Path | None) -> None:
        self._shop = shop
        self._kill_file = kill_file
        self._watching = asyncio.Event()
        self._announcing: asyncio.Future[None] | None = None  # Redis may be away; cancelling does not wait for it

    def wake(self) -> None:
        """The trading state may have changed."""
        self._watching.set()

    async def watch(self, done: asyncio.Event) -> None:
        """Act once on every change of the trading state, whoever wrote it."""
        acted_on, backoff = -1, Backoff("postgres")
        while not done.is_set():
            await self._look_for_file()
            try:
                state, change = await _soon(self._shop.state.look())
            except Unavailable as error:
                await backoff.wait(error)  # And look for the file again: it works without the database
                continue
            backoff.recovered()
            if state not in (TradingState.HALTED, TradingState.KILLED):
                self._shop.braked.clear()
            elif change != acted_on:
                self._shop.braked.set()
                await self._stopped(state, change, done)
            acted_on = change
            await until_set(self._watching, within=WATCH_EVERY)
            self._watching.clear()

    async def latch(self, *, who: str, why: str, said_at: int) -> None:
        """KILLED, until a person resumes; a word older than the present state changes nothing."""
        await persistently(
            "postgres",
            Unavailable,
            lambda: self._shop.state.kill(who=who, why=why, said_at=said_at, now=self._shop.clock.now()),
        )
        self.wake()

    async def flat(self, *, who: str, why: str, give_up: float = GIVE_UP_AFTER) -> Receipt:
        """Cancel, verify, write the receipt. It names the orders of which nobody can say that they will not trade."""
        receipt = await flatten(
            self._shop.venue, self._shop.clock, who=who, why=why, unanswered=self._travelling, give_up=give_up
        )
        try:
            words = await _soon(self._doubts())
            receipt = replace(receipt, unverified="; ".join(filter(None, (receipt.unverified, *words))))
            await _soon(self._shop.receipts.add(receipt))
        except Unavailable as error:
            receipt = replace(receipt, unverified=f"{receipt.unverified}; receipt not stored: {error}".strip("; "))
        log_receipt(receipt)
        return receipt

    async def _stopped(self, state: TradingState, change: int, done: asyncio.Event) -> None:
        log.warning("trading_stopped", state=state.value)
        if state is TradingState.HALTED:
            receipt = await flatten(self._shop.venue, self._shop.clock, who="state", why="trading was halted")
            log.info("halt_cancelled", cancelled=len(receipt.cancelled), unverified=receipt.unverified or None)
            return
        receipt = await self.flat(who="state", why="trading was killed")
        while not receipt.verified_real and not done.is_set() and await self._still(change):
            log.error("kill_not_verified", why=receipt.unverified, next="tries again")
            receipt = await self.flat(who="state", why="trading was killed, again", give_up=AGAIN_FOR)
        if receipt.unverified and await self._known(change, done):
            await self.flat(who="state", why="trading was killed; the last outcomes are known now")

    async def _known(self, change: int, done: asyncio.Event) -> bool:
        """Wait until there is no doubt about any order; False when told to end, or something else was said, before."""
        while not done.is_set() and await self._still(change):
            with contextlib.suppress(Unavailable):
                if not await self._doubts():
                    return True
            await until_set(self._watching, within=WATCH_EVERY)
            self._watching.clear()
        self.wake()  # What ended it is for `watch` to act on, at once
        return False

    async def _doubts(self) -> list[str]:
        """What a list of open orders without any does not prove, in words."""
        since = self._shop.clock.now() - LATEST
        absent = [each.order for each in await self._shop.orders.changed_since(since)]
        found = {
            "outcome not known yet": await self._of_state(OrderState.UNKNOWN, OrderState.SUBMITTING),
            "not seen at the venue, may still arrive": [o.order_hash for o in absent if o.state is OrderState.ABSENT],
        }
        return [f"{doubt}: {', '.join(orders)}" for doubt, orders in found.items() if orders]

    async def _still(self, change: int) -> bool:
        """Whether this kill is the latest word, as far as anybody can tell."""
        with contextlib.suppress(Unavailable):
            return await _soon(self._shop.state.look()) == (TradingState.KILLED, change)
        return True

    async def _look_for_file(self) -> None:
        """While the file exists trading is KILLED, also right after a resume. Without the database nothing is sent, nor
        while it is too slow to latch, but orders may rest: they are cancelled all the same."""
        why = _words(self._kill_file)
        if why is None:
            return
        now = self._shop.clock.now()
        try:
            if not await _soon(self._shop.state.kill(who="kill file", why=why, now=now)):
                return
        except Unavailable as error:
            self._shop.braked.set()
            log.error("kill_not_latched", file=str(self._kill_file), error=str(error), next="cancels at the venue")
            await self.flat(who="kill file", why=why)
            return
        log.warning("kill_file_found", file=str(self._kill_file), why=why)
        self._announcing = asyncio.ensure_future(
            self._shop.publish(Kill(who="kill file", why=why, ts_event=now, ts_init=now))
        )

    async def _travelling(self) -> Sequence[str]:
        try:
            return await _soon(self._of_state(OrderState.SUBMITTING))
        except Unavailable:
            return ()  # Without the database nothing is sent

    async def _of_state(self, *states: OrderState) -> list[str]:
        return [each.order.order_hash for each in await self._shop.orders.open() if each.order.state in states]


async def _soon(question: Coroutine[Any, Any, Answer]) -> Answer:
    """What the ledger answers within a short time; later it may still do what it was asked to.

    Raises:
        Unavailable: it did not.
    """
    asked = asyncio.ensure_future(question)
    asked.add_done_callback(lambda done: done.cancelled() or done.exception())  # Told here, or too late for anybody
    await asyncio.wait({asked}, timeout=LEDGER_WITHIN)
    if asked.done():
        return asked.result()
    raise Unavailable(f"no answer within {LEDGER_WITHIN:g} s")


def _words(file: Path | None) -> str | None:
    """What a kill file says, None where there is none."""
    if file is None or not file.exists():
        return None
    try:
        text = file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        text = f"unreadable: {error.strerror}"
    return text[:LONGEST_REASON] or f"{file} exists"
