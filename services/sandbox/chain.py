"""The few contracts that clients call: adapters and router for pairs, allowances, balances (venue.md 2.5 and 7).

Approvals always stand: `approve` and `setApprovalForAll` succeed and change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from services.sandbox import positions
from services.sandbox.abi import Arguments, MalformedCall, selector, words
from services.sandbox.accounts import Account
from services.sandbox.exchange import Exchange
from services.sandbox.markets import Market
from services.sandbox.positions import ChainError
from services.sandbox.sessions import Sessions
from services.sandbox.wallets import DEPOSIT_WALLET_BEACON

COLLATERAL = "0xc011a7e12a19f7b1f670d46f03b03f3342e82dfb"
ADAPTER = "0xada100db00ca00073811820692005400218fce1f"
NEG_RISK_ADAPTER = "0xada2005600dec949baf300f4c6120000bdb6eaab"
ROUTER = "0x12121212006e4cd160d18e3f00711da5c3372600"
UNLIMITED = 2**256 - 1

SPLIT = selector("splitPosition(address,bytes32,bytes32,uint256[],uint256)")
MERGE = selector("mergePositions(address,bytes32,bytes32,uint256[],uint256)")
REDEEM = selector("redeemPositions(address,bytes32,bytes32,uint256[])")
CONVERT = selector("convertPositions(bytes32,uint256,uint256)")
ROUTER_SPLIT = selector("split(bytes31,uint256)")
ROUTER_MERGE = selector("merge(bytes31,uint256)")
ROUTER_REDEEM = selector("redeem(bytes31,uint256,uint256)")
APPROVALS = (selector("approve(address,uint256)"), selector("setApprovalForAll(address,bool)"))
ALLOWANCE = selector("allowance(address,address)")
APPROVED_FOR_ALL = selector("isApprovedForAll(address,address)")
AUTHORIZE_SESSION = selector("authorizeSessionSigner(address,uint256)")
REVOKE_SESSION = selector("revokeSessionSigner(address)")
BALANCE_OF = selector("balanceOf(address)")
SHARES_OF = selector("balanceOf(address,uint256)")
SHARES_OF_BATCH = selector("balanceOfBatch(address[],uint256[])")
BEACON = selector("beacon()")


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One contract call; `data` includes the selector."""

    target: str
    value: int
    data: bytes


class Chain:
    """Executes calls for a wallet and answers views. Raises ChainError where a contract would revert."""

    def __init__(self, exchange: Exchange, sessions: Sessions) -> None:
        self._exchange = exchange
        self._sessions = sessions
        # Of transactions of EOA accounts: was it carried out, by hash; and how many there were, by address.
        self.receipts: dict[str, bool] = {}
        self.sent: dict[str, int] = {}
        self._actions: dict[bytes, Callable[[Account, Arguments, str, str], None]] = {
            SPLIT: self._split,
            MERGE: self._merge,
            REDEEM: self._redeem,
            CONVERT: self._convert,
            ROUTER_SPLIT: self._split,
            ROUTER_MERGE: self._merge,
            ROUTER_REDEEM: self._redeem_position,
            AUTHORIZE_SESSION: self._authorize,
            REVOKE_SESSION: self._revoke,
        }

    def execute(self, account: Account, calls: Sequence[Call], *, transaction: str) -> None:
        """All calls in order, or none of them."""
        restore, known = self._remember(account), len(account.activity)
        try:
            for call in calls:
                if call.data[:4] not in APPROVALS:
                    self._act(account, call, transaction)
        except ChainError:
            restore()
            raise
        self._exchange.note_history(account, since=known)
        self._exchange.cancel_uncovered(account)

    def send(self, account: Account, call: Call, *, transaction: str) -> None:
        """A transaction that an EOA signed itself: it counts and leaves a receipt whether it was reverted or not."""
        with self._exchange.journal.together():
            try:
                self.execute(account, [call], transaction=transaction)
            except ChainError:
                ok = False
            else:
                ok = True
            self.note(account, transaction, ok=ok)
            self._exchange.journal.write("sent", wallet=account.wallet, transaction=transaction, ok=ok)

    def note(self, account: Account, transaction: str, *, ok: bool) -> None:
        """Count a transaction of an EOA and keep its receipt."""
        self.receipts[transaction] = ok
        self.sent[account.address.lower()] = self.sent.get(account.address.lower(), 0) + 1

    def _act(self, account: Account, call: Call, transaction: str) -> None:
        action = self._actions.get(call.data[:4])
        if action is None:
            raise ChainError("execution reverted")
        try:
            action(account, Arguments(call.data[4:]), call.target.lower(), transaction)
        except MalformedCall as error:
            raise ChainError(str(error)) from error

    def _remember(self, account: Account) -> Callable[[], None]:
        """Everything that calls can change; the result puts it back."""
        cash, redeemed, lines = account.cash, account.redeemed, len(account.activity)
        holdings = {token: replace(held) for token, held in account.holdings.items()}
        locked = {market.slug: market.collateral for market in self._exchange.markets.by_slug.values()}

        def restore() -> None:
            account.cash, account.redeemed, account.holdings = cash, redeemed, holdings
            del account.activity[lines:]
            for slug, collateral in locked.items():
                self._exchange.markets.by_slug[slug].collateral = collateral

        return restore

    def view(self, *, target: str, data: bytes) -> str:
        """Return data of an eth_call."""
        name, arguments = data[:4], Arguments(data[4:])
        if name in (ALLOWANCE, APPROVED_FOR_ALL):
            return words(UNLIMITED if name == ALLOWANCE else 1)
        if name == BALANCE_OF:
            account = self._exchange.accounts.find(arguments.address(0))
            known = account is not None and target.lower() == COLLATERAL
            return words(account.cash if account is not None and known else 0)
        if name == SHARES_OF:
            return words(self._shares(arguments.address(0), arguments.number(1)))
        if name == SHARES_OF_BATCH:
            owners, tokens = arguments.numbers(0), arguments.numbers(1)
            held = [self._shares(f"0x{owner:040x}", token) for owner, token in zip(owners, tokens, strict=False)]
            return words(32, len(held), *held)
        # The deposit wallet factory is asked for the beacon of its proxies.
        return words(int(DEPOSIT_WALLET_BEACON, 16))

    def _shares(self, wallet: str, token: int) -> int:
        account = self._exchange.accounts.find(wallet)
        return account.shares(str(token)) if account is not None else 0

    def _split(self, account: Account, arguments: Arguments, target: str, transaction: str) -> None:
        market, amount = self._market_and_amount(arguments, target)
        positions.split(account, market, amount, now_ns=self._exchange.clock.now_ns(), transaction=transaction)

    def _merge(self, account: Account, arguments: Arguments, target: str, transaction: str) -> None:
        market, amount = self._market_and_amount(arguments, target)
        if not self._exchange.merges(account, market):
            return
        positions.merge(account, market, amount, now_ns=self._exchange.clock.now_ns(), transaction=transaction)

    def _redeem(self, account: Account, arguments: Arguments, target: str, transaction: str) -> None:
        market, now_ns = self._market(arguments.word(2).hex(), target), self._exchange.clock.now_ns()
        if market.closed and not self._exchange.pays(account, market):
            return
        for outcome in (0, 1):
            positions.redeem(account, market, outcome, now_ns=now_ns, transaction=transaction)

    def _redeem_position(self, account: Account, arguments: Arguments, target: str, transaction: str) -> None:
        market, outcome = self._market(arguments.word(0)[:31].hex(), target), arguments.number(1)
        if outcome > 1:
            raise ChainError("invalid outcome")
        if market.closed and not self._exchange.pays(account, market):
            return
        now_ns, shares = self._exchange.clock.now_ns(), arguments.number(2)
        positions.redeem(account, market, outcome, now_ns=now_ns, transaction=transaction, shares=shares)

    def _convert(self, account: Account, arguments: Arguments, target: str, transaction: str) -> None:
        """Of a neg-risk event by its id, with a bit for each of its questions."""
        wanted, bits = "0x" + arguments.word(0).hex(), arguments.number(1)
        events = self._exchange.markets.by_event.values()
        event = next((each for each in events if each[0].neg_risk and each[0].terms.neg_risk_id == wanted), None)
        if event is None or target != NEG_RISK_ADAPTER:
            raise ChainError("execution reverted: unknown event for this adapter")
        chosen = [number for number in range(len(event)) if bits >> number & 1]
        if not chosen or bits >> len(event):
            raise ChainError("invalid index set")
        now_ns, amount = self._exchange.clock.now_ns(), arguments.number(2)
        positions.convert(account, event, chosen, amount, now_ns=now_ns, transaction=transaction)

    def _authorize(self, account: Account, arguments: Arguments, target: str, _: str) -> None:
        _require_own_wallet(account, target)
        self._sessions.confirm(account, arguments.address(0), until_s=arguments.number(1))

    def _revoke(self, account: Account, arguments: Arguments, target: str, _: str) -> None:
        _require_own_wallet(account, target)
        self._sessions.revoke(account, arguments.address(0))

    def _market_and_amount(self, arguments: Arguments, target: str) -> tuple[Market, int]:
        if target == ROUTER:
            return self._market(arguments.word(0)[:31].hex(), target), arguments.number(1)
        return self._market(arguments.word(2).hex(), target), arguments.number(4)

    def _market(self, condition: str, target: str) -> Market:
        """Market of a condition; each kind has its own contract, and the wrong one reverts."""
        market = self._exchange.markets.by_condition.get("0x" + condition)
        if market is None:
            raise ChainError("condition not prepared")
        expected = ROUTER if market.is_position else NEG_RISK_ADAPTER if market.neg_risk else ADAPTER
        if target != expected:
            raise ChainError("execution reverted: wrong adapter for this condition")
        return market


def _require_own_wallet(account: Account, target: str) -> None:
    if account.signature_type != 3 or target != account.wallet.lower():
        raise ChainError("execution reverted: not the wallet of the signer")
