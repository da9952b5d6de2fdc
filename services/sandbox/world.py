"""One run of the sandbox: builds every part, owns the background loops, and knows its seeded accounts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

from services.sandbox import recovery
from services.sandbox.accounts import Account, Accounts
from services.sandbox.agenda import BACKLOG_MAX_S, Agenda
from services.sandbox.auth import Keys
from services.sandbox.balances import Balances
from services.sandbox.catalog import DAY_LONG, DEFAULT_FAMILIES
from services.sandbox.chain import Chain
from services.sandbox.clock import MS_NS, SECOND_NS, VenueClock
from services.sandbox.coinbase import Coinbase
from services.sandbox.engine import Engine
from services.sandbox.eventlog import log_event
from services.sandbox.exchange import HOUSE_CASH, Exchange
from services.sandbox.facts import account_fact
from services.sandbox.fair import Values
from services.sandbox.faults import Faults
from services.sandbox.feeds import Feeds
from services.sandbox.gateway import Gateway
from services.sandbox.house import STEP_NS, House
from services.sandbox.journal import Journal
from services.sandbox.limits import HEARTBEAT_CHECK_S, Heartbeats, RateLimiter
from services.sandbox.markets import Markets
from services.sandbox.mischief import Mischief, Stage
from services.sandbox.money import MICRO
from services.sandbox.polybolt import PolyBolt
from services.sandbox.prices import ASSETS, DAY_HISTORY_S, HISTORY_S, IndexPath, Oracle
from services.sandbox.relayer import Relayer
from services.sandbox.rtds import Rtds
from services.sandbox.scenario import Lognormal, Scenario
from services.sandbox.sessions import Sessions
from services.sandbox.settlement import Settlement
from services.sandbox.sports import Sports
from services.sandbox.spot import Spot
from services.sandbox.streams import Hub
from services.sandbox.tape import TapeFile, TapePlayer
from services.sandbox.wallets import address_of_key, derived_address, key_from_seed, wallet_for

SEEDED_SIGNATURE_TYPES = (3, 0)
TRADES_NS = 200 * MS_NS
SPOT_STEP_NS = 100 * MS_NS
MIN_REAL_STEP_S = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSettings:
    """What makes a run: the same values give the same prices, markets, keys and settlement times."""

    seed: int
    scenario: Scenario
    speed: float
    anchor_ns: int
    bankroll_usd: int
    families: tuple[str, ...] = DEFAULT_FAMILIES
    tape: TapeFile | None = None

    @property
    def origin_ns(self) -> int:
        """Venue time at the anchor: that of the anchor itself, or the beginning of the tape."""
        return self.anchor_ns if self.tape is None else self.tape.first_ns


def _index_paths(settings: RunSettings) -> dict[str, IndexPath]:
    """Each asset's index; families that look a day back need a day of it."""
    history_s = DAY_HISTORY_S if set(settings.families) & set(DAY_LONG) else HISTORY_S
    return {
        code: IndexPath(
            asset=asset,
            seed=settings.seed,
            anchor_ns=settings.origin_ns,
            scenario=settings.scenario,
            history_s=history_s,
        )
        for code, asset in ASSETS.items()
    }


class World:
    """Everything alive in one process. `start` and `stop` must run inside the event loop."""

    def __init__(self, settings: RunSettings, journal: Journal | None = None) -> None:
        self.settings = settings
        self.journal = journal or Journal()
        self.scenario = settings.scenario
        self.clock = VenueClock(anchor_ns=settings.anchor_ns, speed=settings.speed, origin_ns=settings.origin_ns)
        self.agenda = Agenda(self.clock)
        self.markets = Markets(seed=settings.seed, families=() if settings.tape else settings.families)
        self.accounts = Accounts()
        self.faults = Faults(self.clock, seed=settings.seed)
        self.sessions = Sessions(self.clock, self.journal)
        self.keys = self._make_keys()
        self.limiter = RateLimiter(self.clock)
        self.heartbeats = Heartbeats(self.clock)
        self.engine = Engine(self.clock)
        self.balances = Balances()
        self.paths = _index_paths(settings)
        self.oracles = {code: Oracle(path) for code, path in self.paths.items()}
        self.feeds = Feeds(clock=self.clock, markets=self.markets, keys=self.keys, scenario=self.scenario)
        run_tag = recovery.run_tag(settings, self.journal)
        self.exchange = self._make_exchange(run_tag)
        self.chain = Chain(self.exchange, self.sessions)
        self.relayer = Relayer(
            clock=self.clock, accounts=self.accounts, chain=self.chain, run_tag=run_tag, journal=self.journal
        )
        self.gateway = Gateway(exchange=self.exchange, clock=self.clock, scenario=self.scenario, seed=settings.seed)
        self.values = Values(paths=self.paths, oracles=self.oracles, markets=self.markets, seed=settings.seed)
        self.house = self._make_house()
        self.settlement = self._make_settlement()
        self.polybolt = PolyBolt(
            clock=self.clock, keys=self.keys, paths=self.paths, oracles=self.oracles, scenario=self.scenario
        )
        self.rtds = Rtds(clock=self.clock, paths=self.paths, oracles=self.oracles, scenario=self.scenario)
        self.spot = Spot(clock=self.clock, paths=self.paths, scenario=self.scenario)
        self.coinbase = Coinbase(clock=self.clock, paths=self.paths, scenario=self.scenario)
        self.sports = Sports(clock=self.clock, markets=self.markets, values=self.values, seed=settings.seed)
        self.seeded = self._go_on()
        self._tell_exchange()
        self.player = self._make_player(settings.tape) if settings.tape else None
        self.mischief = self._make_mischief()
        self._carry_faults()
        self._tasks: list[asyncio.Task[None]] = []
        self.failure: BaseException | None = None
        self.on_failure: Callable[[], None] = lambda: None

    def _go_on(self) -> list[Account]:
        """What the journal remembers, and the accounts that every run has."""
        recovery.recover(self)
        self.journal.begin(*recovery.first_facts(self))
        return [self._seeded(signature_type=kind, index=n) for n, kind in enumerate(SEEDED_SIGNATURE_TYPES)]

    def _make_keys(self) -> Keys:
        return Keys(
            seed=self.settings.seed,
            clock=self.clock,
            accounts=self.accounts,
            sessions=self.sessions,
            journal=self.journal,
        )

    def _make_exchange(self, run_tag: str) -> Exchange:
        return Exchange(
            clock=self.clock,
            markets=self.markets,
            accounts=self.accounts,
            events=self.feeds,
            run_tag=run_tag,
            balances=self.balances,
            journal=self.journal,
        )

    def _make_settlement(self) -> Settlement:
        return Settlement(
            exchange=self.exchange,
            house=self.house,
            values=self.values,
            paths=self.paths,
            scenario=self.scenario,
            seed=self.settings.seed,
        )

    def _make_player(self, tape: TapeFile) -> TapePlayer:
        return TapePlayer(
            tape,
            agenda=self.agenda,
            exchange=self.exchange,
            settlement=self.settlement,
            makers=self.house.makers,
            rtds=self.rtds,
            spot=self.spot,
        )

    def _make_mischief(self) -> Mischief:
        stage = Stage(
            clock=self.clock,
            agenda=self.agenda,
            engine=self.engine,
            accounts=self.accounts,
            exchange=self.exchange,
            house=self.house,
            settlement=self.settlement,
            hubs=self._hubs(),
        )
        return Mischief(stage=stage, faults=self.faults)

    def _seeded(self, *, signature_type: int, index: int) -> Account:
        """One of the accounts that every run has; a run that goes on has it already."""
        address = address_of_key(key_from_seed(seed=self.settings.seed, index=index))
        return self.accounts.find(address) or self.open_account(signature_type=signature_type, index=index)

    def open_account(self, *, signature_type: int, index: int | None = None, address: str | None = None) -> Account:
        """A funded account with an API key. Without an address it gets a key of its own, derived from the seed."""
        with self.journal.together():
            return self._open_account(signature_type=signature_type, index=index, address=address)

    def _open_account(self, *, signature_type: int, index: int | None, address: str | None) -> Account:
        private_key, number = "", None
        if address is None:
            number = len(self.accounts.everyone) if index is None else index
            key = key_from_seed(seed=self.settings.seed, index=number)
            address, private_key = address_of_key(key), "0x" + key.secret.hex()
        account = self.accounts.find(address)
        if account is None:
            account = self.accounts.add(
                Account(
                    address=address,
                    wallet=wallet_for(address, signature_type=signature_type),
                    signature_type=signature_type,
                    private_key=private_key,
                )
            )
            self.journal.write("account", **account_fact(account, number=number))
        known = len(account.activity)
        account.deposit(self.settings.bankroll_usd * MICRO, now_ns=self.clock.now_ns())
        self.exchange.note_history(account, since=known)
        if not self.keys.of_address(address):
            self.keys.issue(address)
        return account

    def change_scenario(self, changes: dict[str, float]) -> Scenario:
        """Change numeric knobs of the running scenario; `order_path_ms` sets the median.

        Raises KeyError on unknown names.
        """
        known = {field.name for field in fields(Scenario)}
        values: dict[str, object] = {}
        for name, value in changes.items():
            if name not in known:
                raise KeyError(name)
            current = getattr(self.scenario, name)
            if isinstance(current, Lognormal):
                values[name] = replace(current, median=float(value))
            elif not isinstance(current, bool | int | float):
                raise KeyError(name)
            else:
                values[name] = bool(value) if isinstance(current, bool) else float(value)
        self.scenario = replace(self.scenario, **values)  # type: ignore[arg-type]
        priced = (self.rtds, self.polybolt, self.spot, self.coinbase)
        for part in (self.feeds, self.gateway, self.house, self.settlement, *priced):
            part.scenario = self.scenario
        self._tell_exchange()
        return self.scenario

    def _tell_exchange(self) -> None:
        """The rules of the exchange that a scenario may change."""
        self.balances.stale = self.scenario.stale_balances
        self.exchange.bucket_fills = max(1, int(self.scenario.bucket_fills))

    def start(self) -> None:
        """Begin at the anchor, so that a slow start changes nothing; an old anchor is caught up with in part.

        A run that goes on begins at the present: nobody traded while it was down.
        """
        first_ns = self.clock.now_ns()
        if self.journal.past:
            self.settlement.catch_up(first_ns)
        else:
            first_ns = min(first_ns, max(self.settings.origin_ns, first_ns - BACKLOG_MAX_S * SECOND_NS))
        self.clock.stand_at(first_ns)
        self.settlement.step(first_ns)
        self.polybolt.begin(first_ns // SECOND_NS)
        if self.player is None:
            self.rtds.begin(first_ns // SECOND_NS)
            self.house.step(first_ns)
        else:
            self.player.start()
        self.clock.go_on()
        self.clock.reach = self.agenda.reach
        loops: tuple[tuple[int, Callable[[int], None]], ...] = (
            (STEP_NS, self._step_house),
            (TRADES_NS, self._step_trades),
            (SECOND_NS, self._step_second),
            (SPOT_STEP_NS, self._step_spot),
            (HEARTBEAT_CHECK_S * SECOND_NS, self._step_heartbeats),
        )
        for step_ns, work in loops:
            # At high speeds steps are spread over real time, so that the loop never spins.
            slowest_ns = int(MIN_REAL_STEP_S * self.clock.speed * SECOND_NS)
            self.agenda.every(max(step_ns, slowest_ns), work, first_ns=first_ns + 1)
        self.mischief.schedule(self.scenario.faults, start_ns=first_ns)
        self._tasks = [asyncio.create_task(self.agenda.run())]
        self._tasks[0].add_done_callback(self._on_loop_end)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for hub in self._hubs().values():
            await hub.close()

    def _hubs(self) -> dict[str, Hub[Any]]:
        """Every channel by the name that faults give it."""
        return {
            "market": self.feeds.market_hub,
            "user": self.feeds.user_hub,
            "rtds": self.rtds.hub,
            "bolt": self.polybolt.hub,
            "spot": self.spot.hub,
            "coinbase": self.coinbase.hub,
            "sports": self.sports.hub,
        }

    def _carry_faults(self) -> None:
        """Let the faults of frames see what each channel sends."""
        for channel, hub in self._hubs().items():
            hub.carry = partial(self.faults.carry, channel)

    def _on_loop_end(self, task: asyncio.Task[None]) -> None:
        """A loop ends only by cancellation; anything else is a defect, and a half-alive venue would hide it."""
        if task.cancelled():
            return
        self.failure = task.exception()
        log_event("loop_failed", level="error", error=repr(self.failure))
        self.on_failure()

    def _step_spot(self, now_ns: int) -> None:
        if self.player is None:
            self.spot.step(now_ns)
            self.coinbase.step(now_ns)

    def _step_house(self, now_ns: int) -> None:
        if self.player is None:
            self.house.step(now_ns)

    def _step_trades(self, now_ns: int) -> None:
        self.settlement.step_trades(now_ns)
        self.relayer.step(now_ns)

    def _step_second(self, now_ns: int) -> None:
        self.settlement.step(now_ns)
        if self.player is None:
            self.rtds.step(now_ns // SECOND_NS)
            self.coinbase.beat(now_ns)
        self.polybolt.step(now_ns // SECOND_NS)
        self.sports.step(now_ns // SECOND_NS)

    def _step_heartbeats(self, now_ns: int) -> None:
        for api_key in self.heartbeats.silent(now_ns):
            orders = [
                order
                for account in self.accounts.everyone
                for order in account.open_orders.values()
                if order.api_key == api_key and order.resting
            ]
            if orders:
                self.exchange.cancel_where(orders)
                log_event("heartbeat_lost", api_key=api_key, canceled=len(orders))

    def _make_house(self) -> House:
        parties = [
            self.accounts.add(
                Account(
                    address=derived_address(label=f"house:{name}"),
                    wallet=derived_address(label=f"house:{name}"),
                    signature_type=0,
                    house=True,
                )
            )
            for name in ("makers", "takers")
        ]
        for party in parties:
            party.deposit(HOUSE_CASH, now_ns=self.clock.now_ns())
        return House(
            exchange=self.exchange,
            makers=parties[0],
            takers=parties[1],
            values=self.values,
            scenario=self.scenario,
            seed=self.settings.seed,
        )
