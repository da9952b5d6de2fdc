"""Risk: reads opportunities, orders, fills and control; answers with approvals and rejections.

One is active (a Postgres advisory lock), others stand by. The portfolio is rebuilt at start from the ledger and from
approvals still alive, so that a restart forgets no loss, no order and no halt.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import psycopg

from pmarb import logs
from pmarb.bus.port import Bus, BusUnavailable, Consumer, DeadLetter, Delivery
from pmarb.clock import Clock
from pmarb.db import limits as in_force
from pmarb.db import portfolio as stored
from pmarb.db import rules, scans, verdicts
from pmarb.db.pool import Connection
from pmarb.db.portfolio import StoredState
from pmarb.domain.gate import demoted
from pmarb.domain.limits import Limits, Sizing, plainly, warnings_at
from pmarb.domain.messages import (
    Approval,
    Fill,
    Halt,
    Kill,
    MarketRules,
    Marks,
    Merge,
    Message,
    Opportunity,
    OrderUpdate,
    Rejection,
    RejectionReason,
    Resume,
    Scanned,
    Settlement,
    Stream,
)
from pmarb.domain.values import NANOS, ZERO
from pmarb.runtime import Backoff, Heartbeat, ServerLost, every
from services.risk import words
from services.risk.breakers import Breaker, tripped
from services.risk.case import Gate, shown
from services.risk.decide import Judgement, weigh
from services.risk.gatekeeper import LOOK_EVERY, NOT_READ, Gatekeeper
from services.risk.lead import lead
from services.risk.portfolio import DAY, Portfolio
from services.risk.rebuild import adopt, rebuilt
from services.risk.settings import POLL_STATE_EVERY, RESYNC_EVERY, STATE_OLD_AFTER
from services.risk.tripwire import changed

log = logs.get(__name__)

BACKLOG = 20_000
KEPT = 3 * DAY  # Every scan, and rules of markets gone by
KEEP_MS = 600_000  # Streams keep ten minutes of what every group has read


class RiskService:
    """The active guardian. `connection` holds the advisory lock: while it lives, no other one judges."""

    def __init__(
        self,
        *,
        bus: Bus,
        connection: Connection,
        limits: Limits,
        clock: Clock,
        heartbeat: Heartbeat,
        gatekeeper: Gatekeeper,
    ) -> None:
        self._bus = bus
        self._gatekeeper = gatekeeper
        self._db = connection
        self._db_turn = asyncio.Lock()
        self._limits = limits
        self._clock = clock
        self._heartbeat = heartbeat
        self._locked = NOT_READ if gatekeeper.guards else ""
        self._portfolio = Portfolio(capital=ZERO, locked=self._locked)
        self._state_read = 0
        self._verdicts: deque[verdicts.Verdict] = deque(maxlen=BACKLOG)
        self._scans: deque[Scanned] = deque(maxlen=BACKLOG)
        self._counts: dict[str, int] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Judge until told to stop; whatever breaks ends the process, and start-up is recovery."""
        if not await lead(self._db, self._bus, self._heartbeat, stop):
            return
        await self._rebuild()
        if stop.is_set():
            return
        consumer = self._bus.consumer(
            group="risk",
            name="risk",  # One at a time, so a successor inherits what its predecessor left unacknowledged
            streams=(Stream.CONTROL, Stream.SCANS, Stream.FILLS, Stream.ORDERS, Stream.OPPORTUNITIES),
            on_dead=_log_dead,
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._judge_all(consumer, stop))
                tasks.create_task(every(POLL_STATE_EVERY, self._housekeeping, stop))
                tasks.create_task(every(RESYNC_EVERY, self._resync, stop))
                tasks.create_task(every(0.2, self._store_verdicts, stop))
                tasks.create_task(every(10.0, self._summary, stop))
                tasks.create_task(every(3600.0, self._forget_old, stop))
                if self._gatekeeper.guards:
                    tasks.create_task(every(LOOK_EVERY, self._look_at_gate, stop))
            await self._store_verdicts()
        except* psycopg.OperationalError as lost:  # With the connection went the lock: another one may judge now
            raise ServerLost(f"postgres: {lost.exceptions[0]}") from None
        await consumer.close()

    async def _rebuild(self) -> None:
        now = self._clock.now()
        snapshot = await stored.load(self._db, since=now - DAY)
        approvals = await self._bus.tail(Stream.APPROVALS, since_ns=0)  # By no clock: ours may have jumped
        self._portfolio = rebuilt(snapshot, [a for a in approvals if isinstance(a, Approval)], now=now)
        self._portfolio.locked = self._locked
        self._portfolio.tripwires = await rules.waiting(self._db)
        self._state_read = self._clock.real()
        await self._gatekeeper.enter()
        await self._look_at_limits(now)
        log.info(
            "portfolio_rebuilt",
            state=self._portfolio.state,
            equity=str(self._portfolio.equity),
            exposure=str(self._portfolio.exposed(now).total),
            day_pnl=str(self._portfolio.day_pnl),
        )

    async def _look_at_limits(self, now: int) -> None:
        """Say which limits make trading impossible or rare, and which are others than at the last start."""
        for warning in warnings_at(self._limits, self._portfolio.equity):
            log.warning("limit_makes_trades_rare", why=warning)
        current = plainly(self._limits)
        before = await in_force.replace_limits(self._db, current, now=now)
        if before is None:
            return
        changes = [
            f"{name} {before.get(name, 'none')} -> {value}"
            for name, value in current.items()
            if before.get(name) != value
        ]
        log.warning("limits_changed", changes=changes)
        await self._tell(words.of_limits(changes, now))

    async def _look_at_gate(self) -> None:
        finding = await self._gatekeeper.look()
        if finding.locked != self._locked:
            log.warning("gate", locked=finding.locked or "no: real money may be traded")
        self._locked = self._portfolio.locked = finding.locked
        if finding.shut:
            await self._demote(finding.locked)

    async def _demote(self, why: str) -> None:
        """Back to paper: nothing real is approved any more, and a person must look."""
        now, halt = self._clock.now(), f"demoted to paper: {why}"
        log.error("demoted_to_paper", why=why)
        await self._read_state()  # It was halted in the same step as it was locked
        await self._tell(Halt(who="risk", why=halt, clears_at=0, ts_event=now, ts_init=now))
        await self._tell(demoted(why, now=now))

    async def _tell(self, message: Message) -> None:
        with contextlib.suppress(BusUnavailable):  # What it is about is stored already
            await self._bus.publish(message)

    async def _judge_all(self, consumer: Consumer, stop: asyncio.Event) -> None:
        backoff = Backoff("redis")
        while not stop.is_set():
            await self._heartbeat.beat()
            try:
                await self._handle_all(consumer, await consumer.poll(block_ms=500))
            except BusUnavailable as error:
                await backoff.wait(error)
            else:
                backoff.recovered()

    async def _handle_all(self, consumer: Consumer, deliveries: Sequence[Delivery]) -> None:
        """An opportunity is answered by itself, at once; all else is acknowledged together."""
        handled: list[Delivery] = []
        for delivery in deliveries:
            if isinstance(delivery.message, Opportunity):
                await self._answer(consumer, delivery, delivery.message)
            else:
                await self._learn(delivery.message)
                handled.append(delivery)
        await consumer.ack(*handled)

    async def _learn(self, message: Message) -> None:
        match message:
            case OrderUpdate():
                self._portfolio.on_order(message)
            case Fill():
                self._portfolio.on_fill(message)
            case Settlement():
                await self._learn_capital()
                self._portfolio.on_settlement(message)
                await self._trip_breakers()
            case Merge():
                self._portfolio.on_merge(message)
                await self._trip_breakers()
            case Scanned():
                self._scans.append(message)
            case Marks():
                self._portfolio.on_marks(message)
            case MarketRules():
                await self._compare(message)
            case Halt() | Resume() | Kill():
                await self._read_state()  # The database is the truth; the message only wakes us
            case _:
                pass

    async def _answer(self, consumer: Consumer, delivery: Delivery, opportunity: Opportunity) -> None:
        now = self._clock.now()
        self._portfolio.at(now)
        judged = self._judge(opportunity, now)
        answer = judged.answer
        if isinstance(answer, Approval):
            answer = replace(answer, judged_real=self._clock.real())
            self._portfolio.on_approval(answer)  # Before it leaves: a lost reply must not free its reservation
        await consumer.forward(delivery, answer)
        self._note(opportunity, answer, (*judged.asked, *judged.rest))

    def _judge(self, opportunity: Opportunity, now: int) -> Judgement:
        unread = self._clock.real() - self._state_read
        if unread > STATE_OLD_AFTER:
            unknown = Rejection(
                opportunity_id=opportunity.opportunity_id,
                reason=RejectionReason.TRADING_HALTED,
                detail=f"state=unknown not_read_for_s={unread / NANOS:.0f}",
                slug=opportunity.slug,
                ts_event=now,
                ts_init=now,
            )
            return Judgement(answer=unknown, asked=(), rest=iter(()))
        return weigh(opportunity, self._portfolio, self._limits, now=now)

    def _note(self, opportunity: Opportunity, answer: Approval | Rejection, gates: Sequence[Gate]) -> None:
        rows = tuple((gate.name, shown(gate.found), shown(gate.limit), gate.passed) for gate in gates)
        self._verdicts.append(verdicts.Verdict(opportunity=opportunity, answer=answer, gates=rows))
        if isinstance(answer, Approval):
            log.info(
                "approved",
                opportunity_id=answer.opportunity_id,
                slug=answer.slug,
                shares=str(answer.legs[0].shares),
                limit=str(answer.legs[0].limit),
                net_edge=f"{opportunity.net_edge:.4f}",
                bound_by=answer.bound_by,
                legs=len(answer.legs),
                worst_loss=str(answer.worst_loss) if answer.worst_loss else None,
            )
            word = "approved"
        else:
            log.debug("denied", opportunity_id=answer.opportunity_id, reason=answer.reason, detail=answer.detail)
            word = str(answer.reason)
        self._counts[word] = self._counts.get(word, 0) + 1

    async def _housekeeping(self) -> None:
        now = self._clock.now()
        self._portfolio.at(now)
        self._portfolio.forget(now)
        await self._learn_capital()
        await self._trip_breakers()
        await self._read_state()
        for stream in Stream:
            with contextlib.suppress(BusUnavailable):
                await self._bus.trim(stream, keep_ms=KEEP_MS)

    async def _resync(self) -> None:
        """Take over what the ledger knows: a message that died with its sender must not hide an order or a loss."""
        now = self._clock.now()
        async with self._db_turn:
            snapshot = await stored.load(self._db, since=now - DAY)
            if self._limits.sizing is Sizing.ALLOCATOR:
                self._portfolio.records = await in_force.records(self._db)
        adopt(self._portfolio, snapshot, now=now)
        await self._trip_breakers()

    async def _learn_capital(self) -> None:
        """The executor books the deposit after it has seen the wallet, maybe after we started."""
        async with self._db_turn:
            capital = await stored.capital(self._db)
        if capital > 0 and capital != self._portfolio.capital:
            self._portfolio.learn_capital(capital)

    async def _read_state(self) -> None:
        now = self._clock.now()
        async with self._db_turn:
            await stored.clear(self._db, who="risk", why="the stop ended", now=now)
            state = await stored.read_state(self._db)
            resumed_at, rearmed_at = await stored.resumes(self._db)
            self._portfolio.tripwires = await rules.waiting(self._db)
        self._state_read = self._clock.real()
        portfolio, before = self._portfolio, self._portfolio.state
        portfolio.state, portfolio.state_why, portfolio.clears_at = state.state, state.why, state.clears_at
        if rearmed_at > portfolio.rearmed_at:
            portfolio.rearm(rearmed_at)
        if resumed_at > portfolio.resumed_at:
            portfolio.restart_counts(resumed_at)
        if before is not state.state:
            log.warning("trading_state_changed", before=before, state=state.state, who=state.who, why=state.why)

    async def _compare(self, seen: MarketRules) -> None:
        """A market whose rules are others than before is halted by itself until a person acknowledges it."""
        async with self._db_turn:
            before = await rules.known(self._db, seen)
            what = "" if before is None else changed(before.rules, seen.rules, same_market=before.same_market)
            await rules.keep(self._db, seen, changed=what)
            self._portfolio.tripwires = await rules.waiting(self._db)
        if not what:
            return
        log.error("rules_changed", slug=seen.slug, what=what)
        await self._tell(words.of_rules(seen, what, self._clock.now()))

    async def _trip_breakers(self) -> None:
        breaker = tripped(self._portfolio, self._limits, now=self._clock.now())
        if breaker is not None and breaker.says_more_than(self._portfolio.state, self._portfolio.clears_at):
            await self._tighten(breaker)

    async def _tighten(self, breaker: Breaker) -> None:
        """Stored first, then announced; what stands already and is as strict stays."""
        new = StoredState(
            state=breaker.state, who="risk", why=breaker.why, since=self._clock.now(), clears_at=breaker.clears_at
        )
        async with self._db_turn:
            changed = await stored.tighten(self._db, new)
        if changed:
            portfolio = self._portfolio
            portfolio.state, portfolio.state_why, portfolio.clears_at = new.state, new.why, new.clears_at
            await self._announce(breaker)

    async def _announce(self, breaker: Breaker) -> None:
        log.error("breaker_tripped", state=breaker.state, why=breaker.why)
        await self._tell(words.of_breaker(breaker, self._clock.now()))

    async def _store_verdicts(self) -> None:
        if not self._verdicts and not self._scans:
            return
        batch = [self._verdicts.popleft() for _ in range(len(self._verdicts))]
        seen = [self._scans.popleft() for _ in range(len(self._scans))]
        async with self._db_turn:
            await verdicts.store(self._db, batch)
            await scans.store(self._db, seen)

    async def _forget_old(self) -> None:
        before, more = self._clock.now() - KEPT, True
        async with self._db_turn:
            await rules.forget(self._db, before=before)
        while more:
            async with self._db_turn:
                more = await scans.compact(self._db, before=before)

    async def _summary(self) -> None:
        if self._counts:
            log.info("verdict_summary", **self._counts)
            self._counts = {}


def _log_dead(letter: DeadLetter) -> None:
    log.error("dead_letter", stream=letter.stream, entry=letter.entry_id, reason=letter.reason)
