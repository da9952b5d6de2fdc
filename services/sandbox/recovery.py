"""A run goes on where its journal ends: the same terms, then every fact once more, in order.

Money and shares are moved by the functions that moved them first, with the amounts and times that were written down,
so that costs, fees and history come out the same. What the house traded with itself is not in the journal and did not
happen: each such trade balanced by itself. Resting orders are gone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from services.sandbox import positions
from services.sandbox.accounts import Account
from services.sandbox.chain import Call
from services.sandbox.eventlog import log_event
from services.sandbox.facts import made_trade
from services.sandbox.journal import Fact, FileJournal, Journal, JournalError
from services.sandbox.markets import Market, MarketState
from services.sandbox.relayer import Submission
from services.sandbox.sessions import Session
from services.sandbox.trades import TradeStatus
from services.sandbox.wallets import address_of_key, key_from_seed

if TYPE_CHECKING:
    from services.sandbox.world import RunSettings, World

VERSION = 1
FINAL = (TradeStatus.CONFIRMED, TradeStatus.FAILED)


def terms_of(run: RunSettings) -> dict[str, Any]:
    """What must stay the same for a run to go on, by the variable that sets it."""
    return {
        "SANDBOX_SEED": run.seed,
        "SANDBOX_SCENARIO": run.scenario.name,
        "SANDBOX_FAMILIES": sorted(run.families),
        "CLOCK_SPEED": run.speed,
        "BANKROLL_USD": run.bankroll_usd,
        "CLOCK_ANCHOR_NS": run.anchor_ns,
    }


def continued(run: RunSettings, journal: FileJournal, *, anchor_stated: bool) -> RunSettings:
    """The settings of this start with the anchor of the journal's run; an empty journal takes them as they are.

    Raises:
        JournalError: the journal is of a run with other terms, or of a tape.
    """
    if run.tape is not None:
        raise JournalError("SANDBOX_STATE: a tape leaves no state; unset SANDBOX_STATE or SANDBOX_TAPE")
    if not journal.past:
        return run
    first = journal.past[0].facts[0]
    if first["is"] != "run" or first.get("version") != VERSION:
        raise journal.damaged(1, f"it does not begin a run of version {VERSION}")
    before: dict[str, Any] = first["terms"]
    for name, now in terms_of(run).items():
        if before[name] != now and (name != "CLOCK_ANCHOR_NS" or anchor_stated):
            raise JournalError(
                f"{name} is {_shown(now)}, but {journal.path} holds a run with {_shown(before[name])}: set it back, "
                "or delete that file to begin a new run (with compose: docker compose down --volumes)"
            )
    return replace(run, anchor_ns=before["CLOCK_ANCHOR_NS"])


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return ",".join(value) if isinstance(value, list) else str(value)


def run_tag(run: RunSettings, journal: Journal) -> str:
    """What ids of trades follow from: they differ between runs and between lives of a run, for clients keep them."""
    life = sum(fact["is"] == "begun" for entry in journal.past for fact in entry.facts)
    return f"{run.seed}:{run.anchor_ns}" + (f":{life}" if life else "")


def first_facts(world: World) -> list[dict[str, Any]]:
    """What a life begins with: the terms of a new run, and the moment."""
    begun: dict[str, Any] = {"is": "begun", "at": world.clock.now_ns()}
    if world.journal.past:
        return [begun]
    return [{"is": "run", "version": VERSION, "terms": terms_of(world.settings)}, begun]


def recover(world: World) -> None:
    """Bring a new world to where the past of its journal ends.

    Raises:
        JournalError: a fact does not fit what came before it; the text names its line.
    """
    journal = world.journal
    if not isinstance(journal, FileJournal) or not journal.past:
        return
    replay = Replay(world)
    for entry in journal.past:
        try:
            for fact in entry.facts:
                replay.take(fact)
        except (LookupError, ValueError, TypeError, positions.ChainError) as error:
            raise journal.damaged(entry.line, f"{type(error).__name__}: {error}") from error
    world.settlement.settled = len(world.exchange.trades)
    log_event("recovered", path=journal.path, lines=len(journal.past), trades=len(world.exchange.trades))


class Replay:
    """Does again what facts say. Nothing is told and nothing is written meanwhile."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._kinds: dict[str, Callable[[Fact], None]] = {
            "run": lambda _: None,
            "begun": lambda _: None,
            "rolled": lambda fact: self._roll(fact["at"]),
            "account": self._open,
            "moved": self._move,
            "posted": self._post,
            "accepted": lambda fact: world.exchange.past_orders.add(fact["order"]),
            "trade": self._trade,
            "failed": self._fail,
            "status": self._settle,
            "closed": self._close,
            "redeemed": self._redeem,
            "key": lambda fact: _ignore(world.keys.issue(fact["address"], fact["nonce"])),
            "key_deleted": lambda fact: world.keys.delete_named(fact["key"]),
            "builder": lambda fact: _ignore(world.keys.issue_builder(fact["address"])),
            "builder_revoked": lambda fact: world.keys.revoke_builder(fact["key"]),
            "read_only": lambda fact: _ignore(world.keys.issue_read_only(fact["address"])),
            "read_only_deleted": lambda fact: world.keys.delete_read_only(fact["address"], fact["key"]),
            "session": self._propose,
            "session_confirmed": self._confirm,
            "session_revoked": lambda fact: world.sessions.revoke(self._account(fact["wallet"]), fact["signer"]),
            "submitted": self._submit,
            "executed": self._execute,
            "sent": lambda fact: world.chain.note(self._account(fact["wallet"]), fact["transaction"], ok=fact["ok"]),
        }

    def take(self, fact: Fact) -> None:
        """Raises LookupError, ValueError, TypeError or ChainError when the fact cannot have happened."""
        self._kinds[fact["is"]](fact)

    # --- parties and markets ----------------------------------------------------------------------------------------

    def _account(self, wallet: str) -> Account:
        found = self._world.accounts.find(wallet)
        if found is None:
            raise LookupError(f"no account {wallet}")
        return found

    def _of(self, fact: Fact) -> Market:
        return self._world.markets.by_slug[fact["market"]]

    def _roll(self, at_ns: int) -> None:
        self._world.settlement.roll(at_ns)

    def _open(self, fact: Fact) -> None:
        """Private keys are not written down: they follow from the seed and a number."""
        private_key = ""
        if fact["number"] is not None:
            key = key_from_seed(seed=self._world.settings.seed, index=fact["number"])
            if address_of_key(key) != fact["address"]:
                raise ValueError(f"key {fact['number']} is not that of {fact['address']}")
            private_key = "0x" + key.secret.hex()
        account = Account(
            address=fact["address"],
            wallet=fact["wallet"],
            signature_type=fact["signature_type"],
            private_key=private_key,
        )
        self._world.accounts.add(account)

    def _close(self, fact: Fact) -> None:
        market = self._of(fact)
        market.winner, market.even = fact["winner"], fact["even"]
        market.price_to_beat, market.final_price = fact["price_to_beat"], fact["final_price"]
        market.state, market.closed_ns = MarketState.CLOSED, fact["at"]
        self._world.settlement.unredeemed.append(market)

    def _redeem(self, fact: Fact) -> None:
        """Clients' redemptions are facts of their own; the house's follow from what it holds."""
        market = self._of(fact)
        self._world.settlement.unredeemed.remove(market)
        for account in self._world.accounts.everyone:
            if account.house:
                for outcome in (0, 1):
                    positions.redeem(account, market, outcome, now_ns=fact["at"])

    # --- orders and trades --------------------------------------------------------------------------------------------

    def _post(self, fact: Fact) -> None:
        self._account(fact["wallet"]).count_post(fact["order"])

    def _trade(self, fact: Fact) -> None:
        self._world.exchange.enter(made_trade(fact, markets=self._world.markets, account_of=self._account))

    def _fail(self, fact: Fact) -> None:
        exchange = self._world.exchange
        exchange.undo(exchange.trades[fact["trade"]])
        for doomed in fact["doomed"]:
            exchange.trades[doomed].will_fail = True

    def _settle(self, fact: Fact) -> None:
        trade = self._world.exchange.trades[fact["trade"]]
        trade.status, trade.updated_ns = TradeStatus(fact["status"]), fact["at"]
        if trade.status in FINAL:
            self._world.exchange.unsettled.remove(trade)

    # --- the chain ----------------------------------------------------------------------------------------------------

    def _move(self, fact: Fact) -> None:
        account = self._account(fact["wallet"])
        for line in fact["lines"]:
            self._repeat(account, line)

    def _repeat(self, account: Account, line: Fact) -> None:
        """One line of a wallet's history."""
        kind, now_ns, transaction = line["kind"], line["at"], line.get("transaction", "")
        if kind == "DEPOSIT":
            account.deposit(line["dollars"], now_ns=now_ns)
        elif kind == "SPLIT":
            positions.split(account, self._of(line), line["shares"], now_ns=now_ns, transaction=transaction)
        elif kind == "MERGE":
            positions.merge(account, self._of(line), line["shares"], now_ns=now_ns, transaction=transaction)
        elif kind == "CONVERSION":
            event = self._world.markets.by_event[self._of(line).terms.event_slug]
            positions.convert(account, event, line["chosen"], line["shares"], now_ns=now_ns, transaction=transaction)
        elif kind == "REDEEM":
            outcome, shares = line["outcome"], line["shares"]
            positions.redeem(account, self._of(line), outcome, now_ns=now_ns, transaction=transaction, shares=shares)
        else:
            raise ValueError(f"unknown kind {kind}")

    def _submit(self, fact: Fact) -> None:
        calls = [
            Call(target=target, value=int(value), data=bytes.fromhex(data)) for target, value, data in fact["calls"]
        ]
        self._world.relayer.enter(
            Submission(
                id=fact["id"],
                account=self._account(fact["wallet"]),
                kind=fact["kind"],
                calls=calls,
                at_ns=fact["at"],
                hash=fact["hash"],
            )
        )

    def _execute(self, fact: Fact) -> None:
        submission = self._world.relayer.submissions[fact["id"]]
        submission.state, submission.error = fact["state"], fact["error"]

    def _propose(self, fact: Fact) -> None:
        owner = self._account(fact["wallet"])
        self._world.sessions.propose(Session(signer=fact["signer"], owner=owner, scopes=tuple(fact["scopes"])))

    def _confirm(self, fact: Fact) -> None:
        owner = self._account(fact["wallet"])
        self._world.sessions.confirm(owner, fact["signer"], until_s=fact["until_s"])


def _ignore(_: object) -> None:
    """What a replayed call returns is known already."""
