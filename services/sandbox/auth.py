"""Authentication: L1 (EIP-712 login that makes API keys) and L2 (HMAC of every private call), venue.md 2.1 and 2.2."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from services.sandbox.accounts import Account, Accounts
from services.sandbox.clock import SECOND_NS, VenueClock, wall_seconds
from services.sandbox.eip712 import login_digest, recover
from services.sandbox.facts import account_fact
from services.sandbox.journal import Journal
from services.sandbox.refusals import INVALID_L1, UNAUTHORIZED, Refusal
from services.sandbox.sessions import Sessions
from services.sandbox.wallets import deposit_wallet

# Clients stamp with their own clock, so a timestamp may be near the real clock or near the venue's.
TIMESTAMP_TOLERANCE_S = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiKey:
    """L2 credentials. `secret` is URL-safe base64."""

    key: str
    secret: str
    passphrase: str
    address: str

    def public(self) -> dict[str, str]:
        return {"apiKey": self.key, "secret": self.secret, "passphrase": self.passphrase}


class Keys:
    """API keys by (address, nonce) and by key; deterministic for a seed."""

    def __init__(
        self, *, seed: int, clock: VenueClock, accounts: Accounts, sessions: Sessions, journal: Journal
    ) -> None:
        self._seed = seed
        self._clock = clock
        self._accounts = accounts
        self._sessions = sessions
        self._journal = journal
        self._by_key: dict[str, ApiKey] = {}
        self._by_login: dict[tuple[str, int], ApiKey] = {}
        self._builders: dict[str, ApiKey] = {}
        self._read_only: dict[str, ApiKey] = {}

    def issue(self, address: str, nonce: int = 0) -> ApiKey:
        key = self._make(str(nonce), address)
        self._by_key[key.key] = key
        self._by_login[(address.lower(), nonce)] = key
        self._journal.write("key", address=address, nonce=nonce)
        return key

    def _make(self, label: str, address: str) -> ApiKey:
        material = hashlib.sha512(f"{self._seed}:api:{address.lower()}:{label}".encode()).digest()
        return ApiKey(
            key=str(uuid.UUID(bytes=material[:16], version=4)),
            secret=base64.urlsafe_b64encode(material[16:48]).decode(),
            passphrase=hashlib.sha256(material).hexdigest(),
            address=address,
        )

    def create(self, headers: Mapping[str, str]) -> ApiKey:
        """POST /auth/api-key: refused with 400 when the key exists, as the venue does; clients then derive."""
        address, nonce = self.login(headers)
        if (address.lower(), nonce) in self._by_login:
            raise Refusal("Could not create api key")
        return self.issue(address, nonce)

    def derive(self, headers: Mapping[str, str]) -> ApiKey:
        address, nonce = self.login(headers)
        found = self._by_login.get((address.lower(), nonce))
        if found is None:
            raise Refusal("Could not derive api key!")
        return found

    def of_address(self, address: str) -> list[ApiKey]:
        return [key for (owner, _), key in self._by_login.items() if owner == address.lower()]

    def delete(self, key: ApiKey) -> None:
        self._by_key.pop(key.key, None)
        for login in [login for login, other in self._by_login.items() if other is key]:
            del self._by_login[login]
        self._journal.write("key_deleted", key=key.key)

    def delete_named(self, key: str) -> None:
        """As `delete`. Raises KeyError for an unknown key."""
        self.delete(self._by_key[key])

    def login(self, headers: Mapping[str, str]) -> tuple[str, int]:
        """Verified (address, nonce) of L1 headers. Raises Refusal 401."""
        address, signature = headers.get("poly_address", ""), headers.get("poly_signature", "")
        timestamp, nonce = headers.get("poly_timestamp", ""), headers.get("poly_nonce", "0")
        try:
            digest = login_digest(address=address, timestamp=timestamp, nonce=int(nonce))
            signer = recover(digest=digest, signature=bytes.fromhex(signature.removeprefix("0x")))
        except (ValueError, OverflowError) as error:
            raise Refusal(INVALID_L1, status=401) from error
        if signer is None or signer.lower() != address.lower() or not self._fresh(timestamp):
            raise Refusal(INVALID_L1, status=401)
        self._ensure_account(signer)
        return signer, int(nonce)

    def verify(self, *, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[Account, ApiKey]:
        """Account and key of a private call. Raises Refusal 401 for anything that does not fit."""
        key = self._by_key.get(headers.get("poly_api_key", ""))
        timestamp = headers.get("poly_timestamp", "")
        if key is None or not self._fresh(timestamp):
            raise Refusal(UNAUTHORIZED, status=401)
        expected = hmac_signature(secret=key.secret, text=f"{timestamp}{method}{path}".encode() + body)
        known = (
            hmac.compare_digest(expected, headers.get("poly_signature", "").encode())
            and headers.get("poly_passphrase", "") == key.passphrase
            and headers.get("poly_address", "").lower() == key.address.lower()
        )
        account = self.account_of(key)
        if not known or account is None:
            raise Refusal(UNAUTHORIZED, status=401)
        return account, key

    def check(self, *, key: str, secret: str, passphrase: str) -> ApiKey | None:
        """Credentials of a user-channel subscription."""
        found = self._by_key.get(key)
        if found is None or found.secret != secret or found.passphrase != passphrase:
            return None
        return found

    def account_of(self, key: ApiKey) -> Account | None:
        return self.acts_for(key.address)

    def acts_for(self, signer: str) -> Account | None:
        """The account of a signer: as a session key that of another, else its own."""
        return self._sessions.trades_for(signer) or self._accounts.find(signer)

    # --- builder, relayer and read-only keys --------------------------------------------------------------------------

    def issue_builder(self, address: str) -> ApiKey:
        """A key that signs calls of the relayer."""
        made = self._make(f"builder:{len(self._builders)}", address)
        self._builders[made.key] = made
        self._journal.write("builder", address=address)
        return made

    def builders_of(self, address: str) -> list[ApiKey]:
        return [key for key in self._builders.values() if key.address.lower() == address.lower()]

    def revoke_builder(self, key: str) -> None:
        if self._builders.pop(key, None) is not None:
            self._journal.write("builder_revoked", key=key)

    def issue_read_only(self, address: str) -> str:
        made = self._make(f"readonly:{len(self._read_only)}", address)
        self._read_only[made.key] = made
        self._journal.write("read_only", address=address)
        return made.key

    def read_only_of(self, address: str) -> list[str]:
        return [key.key for key in self._read_only.values() if key.address.lower() == address.lower()]

    def delete_read_only(self, address: str, key: str) -> None:
        if key in self.read_only_of(address):
            del self._read_only[key]
            self._journal.write("read_only_deleted", address=address, key=key)

    def is_relayer_call(self, *, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> bool:
        """Signed by a builder key, or carrying a relayer key and the address of a known account."""
        builder = self._builders.get(headers.get("poly_builder_api_key", ""))
        if builder is None:
            owner = self._accounts.find(headers.get("relayer_api_key_address", ""))
            return bool(headers.get("relayer_api_key")) and owner is not None
        timestamp = headers.get("poly_builder_timestamp", "")
        expected = hmac_signature(secret=builder.secret, text=f"{timestamp}{method}{path}".encode() + body)
        sent = headers.get("poly_builder_signature", "").encode()
        fits = headers.get("poly_builder_passphrase", "") == builder.passphrase
        return fits and self._fresh(timestamp) and hmac.compare_digest(expected, sent)

    def _ensure_account(self, address: str) -> None:
        """A stranger gets an empty account with a deposit wallet: the venue gives keys to anybody."""
        if self.acts_for(address) is None:
            account = self._accounts.add(Account(address=address, wallet=deposit_wallet(address), signature_type=3))
            self._journal.write("account", **account_fact(account, number=None))

    def _fresh(self, timestamp: str) -> bool:
        if not timestamp.isdecimal():
            return False
        stamp = int(timestamp)
        clocks = (wall_seconds(), self._clock.now_ns() / SECOND_NS)
        return any(abs(stamp - now) <= TIMESTAMP_TOLERANCE_S for now in clocks)


def hmac_signature(*, secret: str, text: bytes) -> bytes:
    try:
        raw = base64.urlsafe_b64decode(secret)
    except binascii.Error as error:
        raise Refusal(UNAUTHORIZED, status=401) from error
    return base64.urlsafe_b64encode(hmac.new(raw, text, hashlib.sha256).digest())
