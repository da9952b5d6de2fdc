"""The relayer: signed batches of contract calls for proxy, Safe and deposit wallets (venue.md 7).

Each wallet kind signs in its own way; the signer, the nonce and the deadline are checked before anything happens.
A submit is executed after a delay and walks STATE_NEW, STATE_EXECUTED, STATE_MINED, STATE_CONFIRMED in venue time.
"""

from __future__ import annotations

import hashlib
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.sandbox.abi import Arguments, MalformedCall, selector
from services.sandbox.accounts import Account, Accounts
from services.sandbox.chain import Call, Chain
from services.sandbox.clock import SECOND_NS, VenueClock, wall_seconds
from services.sandbox.eip712 import CHAIN_ID, recover, typed_digest
from services.sandbox.journal import Journal
from services.sandbox.keccak import address_bytes, checksum_address, keccak256
from services.sandbox.positions import ChainError
from services.sandbox.refusals import Refusal
from services.sandbox.wallets import PROXY_FACTORY, deposit_wallet

SUBMITS_A_MINUTE = 25
EXECUTED_AFTER_S = 1.0
MINED_AFTER_S = 2.0
CONFIRMED_AFTER_S = 4.0
RELAY_ADDRESS = checksum_address(keccak256(b"sandbox relay")[12:])
CREATION = "WALLET-CREATE"
KIND_OF_TYPE = {1: "PROXY", 2: "SAFE", 3: "WALLET"}

BATCH_TYPE = b"Batch(address wallet,uint256 nonce,uint256 deadline,Call[] calls)"
CALL_TYPE = b"Call(address target,uint256 value,bytes data)"
WALLET_DOMAIN = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
SAFE_DOMAIN = b"EIP712Domain(uint256 chainId,address verifyingContract)"
SAFE_TYPE = (
    b"SafeTx(address to,uint256 value,bytes data,uint8 operation,uint256 safeTxGas,uint256 baseGas,uint256 gasPrice,"
    b"address gasToken,address refundReceiver,uint256 nonce)"
)
PROXY_CALL = selector("proxy((uint8,address,uint256,bytes)[])")
MULTISEND = selector("multiSend(bytes)")
SIGNED_MESSAGE = b"\x19Ethereum Signed Message:\n32"


@dataclass(slots=True)
class Submission:
    """One batch on its way."""

    id: str
    account: Account
    kind: str
    calls: list[Call]
    at_ns: int
    hash: str
    state: str = "STATE_NEW"
    error: str = ""


class Relayer:
    """Accepts submissions; `step` moves them on."""

    def __init__(self, *, clock: VenueClock, accounts: Accounts, chain: Chain, run_tag: str, journal: Journal) -> None:
        self._clock = clock
        self._accounts = accounts
        self._chain = chain
        self._run_tag = run_tag
        self._journal = journal
        self._nonces: dict[str, int] = {}
        self._recent: dict[str, deque[int]] = {}
        self._waiting: list[Submission] = []
        self.submissions: dict[str, Submission] = {}

    def nonce(self, address: str) -> int:
        """Next nonce of the wallet of a signer."""
        account = self._accounts.find(address)
        return 0 if account is None else self._nonces.get(account.address, 0)

    def submit(self, payload: Mapping[str, Any]) -> Submission:
        """Check one envelope and queue it. Raises Refusal 400, 401 or 429."""
        signer, kind = str(payload.get("from", "")), str(payload.get("type", ""))
        account = self._accounts.find(signer)
        if account is None:
            raise Refusal("unknown signer")
        self._spend(signer)
        if kind == CREATION:
            return self._queue(account, kind, [])
        if kind != KIND_OF_TYPE.get(account.signature_type):
            raise Refusal(f"invalid transaction type for this wallet: {kind}")
        try:
            calls, digest, signature = self._read(payload, account, kind)
        except (KeyError, ValueError, TypeError) as error:
            raise Refusal(f"invalid request payload: {error}") from error
        expected, sent = self.nonce(signer), int(str(payload["nonce"]))
        if sent != expected:
            raise Refusal(f"batch nonce {sent} does not match on-chain nonce {expected}")
        who = recover(digest=digest, signature=signature)
        if who is None or who.lower() != account.address.lower():
            raise Refusal("invalid signature", status=401)
        return self._queue(account, kind, calls)

    def step(self, now_ns: int) -> None:
        for submission in list(self._waiting):
            age_s = (now_ns - submission.at_ns) / SECOND_NS
            if submission.state == "STATE_NEW" and age_s >= EXECUTED_AFTER_S:
                self._execute(submission)
            if submission.state == "STATE_EXECUTED" and age_s >= MINED_AFTER_S:
                submission.state = "STATE_MINED"
            if submission.state == "STATE_MINED" and age_s >= CONFIRMED_AFTER_S:
                submission.state = "STATE_CONFIRMED"
            if submission.state in ("STATE_CONFIRMED", "STATE_FAILED"):
                self._waiting.remove(submission)

    def _execute(self, submission: Submission) -> None:
        with self._journal.together():
            try:
                self._chain.execute(submission.account, submission.calls, transaction=submission.hash)
            except ChainError as error:
                submission.state, submission.error = "STATE_FAILED", str(error)
            else:
                submission.state = "STATE_EXECUTED"
            self._journal.write("executed", id=submission.id, state=submission.state, error=submission.error)

    def _queue(self, account: Account, kind: str, calls: list[Call]) -> Submission:
        now_ns = self._clock.now_ns()
        digest = hashlib.sha256(f"{self._run_tag}:relay:{len(self.submissions)}".encode()).digest()
        made = Submission(
            id=str(uuid.UUID(bytes=digest[:16], version=4)),
            account=account,
            kind=kind,
            calls=calls,
            at_ns=now_ns,
            hash="0x" + digest.hex(),
        )
        self.enter(made)
        self._journal.write(
            "submitted",
            id=made.id,
            wallet=account.wallet,
            kind=kind,
            calls=[(call.target, str(call.value), call.data.hex()) for call in calls],
            at=now_ns,
            hash=made.hash,
        )
        return made

    def enter(self, submission: Submission) -> None:
        """Put a checked batch on its way; its nonce is used up."""
        self.submissions[submission.id] = submission
        self._waiting.append(submission)
        if submission.kind != CREATION:
            address = submission.account.address
            self._nonces[address] = self._nonces.get(address, 0) + 1

    def _spend(self, signer: str) -> None:
        """25 submits in any venue minute. Raises Refusal 429."""
        now_ns = self._clock.now_ns()
        recent = self._recent.setdefault(signer.lower(), deque())
        while recent and now_ns - recent[0] >= 60 * SECOND_NS:
            recent.popleft()
        if len(recent) >= SUBMITS_A_MINUTE:
            wait_s = (recent[0] + 60 * SECOND_NS - now_ns) / SECOND_NS
            raise Refusal("Too Many Requests", status=429, headers={"Retry-After": str(int(wait_s) + 1)})
        recent.append(now_ns)

    def _read(self, payload: Mapping[str, Any], account: Account, kind: str) -> tuple[list[Call], bytes, bytes]:
        """(calls, signed digest, 65 signature bytes). Raises KeyError, TypeError or ValueError when malformed."""
        raw = bytes.fromhex(str(payload["signature"]).removeprefix("0x"))
        if kind == "WALLET":
            calls, digest = _wallet_batch(payload, account, now_s=max(self._clock.now_s(), int(wall_seconds())))
            return calls, digest, raw
        if kind == "SAFE":
            # A Safe marks a signature over the prefixed hash by adding 4 to its last byte.
            raw = raw[:64] + bytes([raw[64] - 4]) if len(raw) == 65 and raw[64] > 30 else b""
            return *_safe_transaction(payload, account), raw
        return *_proxy_transaction(payload), raw


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _address_word(address: str) -> bytes:
    return address_bytes(address).rjust(32, b"\0")


def _hex(text: object) -> bytes:
    return bytes.fromhex(str(text).removeprefix("0x"))


def _wallet_batch(payload: Mapping[str, Any], account: Account, *, now_s: int) -> tuple[list[Call], bytes]:
    """Deposit wallet: EIP-712 `Batch` under the wallet's own domain."""
    given = payload["depositWalletParams"]
    wallet, deadline = str(given["depositWallet"]), int(str(given["deadline"]))
    if wallet.lower() != deposit_wallet(account.address).lower():
        raise ValueError("deposit wallet is not that of the signer")
    if deadline < now_s:
        raise ValueError("deadline has passed")
    calls = [
        Call(target=str(each["target"]), value=int(str(each["value"])), data=_hex(each["data"]))
        for each in given["calls"]
    ]
    hashes = b"".join(
        keccak256(keccak256(CALL_TYPE) + _address_word(call.target) + _word(call.value) + keccak256(call.data))
        for call in calls
    )
    struct = keccak256(
        keccak256(BATCH_TYPE + CALL_TYPE)
        + _address_word(wallet)
        + _word(int(str(payload["nonce"])))
        + _word(deadline)
        + keccak256(hashes)
    )
    domain = keccak256(
        keccak256(WALLET_DOMAIN)
        + keccak256(b"DepositWallet")
        + keccak256(b"1")
        + _word(CHAIN_ID)
        + _address_word(wallet)
    )
    return calls, typed_digest(domain=domain, struct=struct)


def _safe_transaction(payload: Mapping[str, Any], account: Account) -> tuple[list[Call], bytes]:
    """Safe: the hash of a SafeTx, signed as a personal message; several calls come as one multiSend."""
    target, data, given = str(payload["to"]), _hex(payload["data"]), payload["signatureParams"]
    value, operation = int(str(payload.get("value", "0"))), int(str(given["operation"]))
    struct = keccak256(
        keccak256(SAFE_TYPE)
        + _address_word(target)
        + _word(value)
        + keccak256(data)
        + _word(operation)
        + bytes(5 * 32)
        + _word(int(str(payload["nonce"])))
    )
    domain = keccak256(keccak256(SAFE_DOMAIN) + _word(CHAIN_ID) + _address_word(account.wallet))
    digest = keccak256(SIGNED_MESSAGE + typed_digest(domain=domain, struct=struct))
    if operation == 1 and data[:4] == MULTISEND:
        return _multisend(Arguments(data[4:]).blob(0)), digest
    return [Call(target=target, value=value, data=data)], digest


def _multisend(packed: bytes) -> list[Call]:
    """Packed calls: operation, target, value, length, data."""
    calls, position = [], 0
    while position < len(packed):
        target = checksum_address(packed[position + 1 : position + 21])
        value = int.from_bytes(packed[position + 21 : position + 53], "big")
        length = int.from_bytes(packed[position + 53 : position + 85], "big")
        end = position + 85 + length
        if end > len(packed):
            raise MalformedCall("multiSend was cut short")
        calls.append(Call(target=target, value=value, data=packed[position + 85 : end]))
        position = end
    return calls


def _proxy_transaction(payload: Mapping[str, Any]) -> tuple[list[Call], bytes]:
    """E-mail proxy: a packed hash with the relay's terms, signed as a personal message."""
    data, given = _hex(payload["data"]), payload["signatureParams"]
    if data[:4] != PROXY_CALL or str(payload["to"]).lower() != PROXY_FACTORY.lower():
        raise ValueError("not a call of the proxy factory")
    packed = b"rlx:" + address_bytes(str(payload["from"])) + address_bytes(str(payload["to"])) + data
    for name in ("relayerFee", "gasPrice", "gasLimit"):
        packed += _word(int(str(given[name])))
    packed += _word(int(str(payload["nonce"])))
    packed += address_bytes(str(given["relayHub"])) + address_bytes(str(given["relay"]))
    calls = [
        Call(target=each.address(1), value=each.number(2), data=each.blob(3)) for each in Arguments(data[4:]).tuples(0)
    ]
    return calls, keccak256(SIGNED_MESSAGE + keccak256(packed))
