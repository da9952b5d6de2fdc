"""Session keys over HTTP: authorised and revoked through the relayer, listed by the CLOB (venue.md 2.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.sandbox.abi import words
from services.sandbox.accounts import Account
from services.sandbox.api_account import authenticate
from services.sandbox.api_chain import relayed
from services.sandbox.chain import AUTHORIZE_SESSION, REVOKE_SESSION
from services.sandbox.http import reply_json
from services.sandbox.keccak import address_bytes, checksum_address
from services.sandbox.refusals import Refusal
from services.sandbox.relayer import Submission
from services.sandbox.sessions import Session
from services.sandbox.world import World


class SessionApi:
    """Handlers of session signers."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._answers: dict[str, dict[str, Any]] = {}

    def router(self) -> APIRouter:
        router = APIRouter()
        router.add_api_route("/relayer/v1/session-signers/authorizations", self.authorize, methods=["POST"])
        router.add_api_route("/relayer/v1/session-signers/revocations", self.revoke, methods=["POST"])
        router.add_api_route("/v1/user/session-signers", self.list, methods=["GET"])
        return router

    async def authorize(self, request: Request) -> Response:
        """The owner's signed batch with one call on the wallet. An idempotency key gets its first answer again."""
        payload = await relayed(self.world, request, path="/v1/session-signers/authorizations")
        key = request.headers.get("idempotency-key") or f"request {len(self._answers)}"
        if key not in self._answers:
            owner, signer = self._parties(payload)
            scopes = tuple(str(scope) for scope in payload.get("scopes") or ())
            if not scopes or ("ALL" in scopes and len(scopes) > 1):
                raise Refusal("invalid scopes")
            data = AUTHORIZE_SESSION + _argument(signer) + bytes.fromhex(words(_whole(payload, "validUntil"))[2:])
            made = self._submit(payload, owner, data)
            self.world.sessions.propose(Session(signer=signer, owner=owner, scopes=scopes))
            self._answers[key] = {"status": "SUBMITTED", "transactionHash": None, "transactionId": made.id}
        return reply_json(self._answers[key])

    async def revoke(self, request: Request) -> Response:
        """The signer is fenced off and its orders are cancelled at once; the chain follows."""
        payload = await relayed(self.world, request, path="/v1/session-signers/revocations")
        key = request.headers.get("idempotency-key") or f"request {len(self._answers)}"
        if key not in self._answers:
            owner, signer = self._parties(payload)
            if not self.world.sessions.knows(owner, signer):
                raise Refusal("session signer not found", status=404)
            made = self._submit(payload, owner, REVOKE_SESSION + _argument(signer))
            self.world.sessions.revoke(owner, signer)
            keys = {each.key for each in self.world.keys.of_address(signer)}
            orders = [order for order in owner.open_orders.values() if order.api_key in keys and order.resting]
            self.world.exchange.cancel_where(orders)
            self._answers[key] = {"status": "SWEPT", "fenced": True, "transactionId": made.id}
        return reply_json(self._answers[key])

    async def list(self, request: Request) -> Response:
        account, _, _ = await authenticate(self.world, request)
        signers = [
            {"address": session.signer, "scopes": list(session.scopes), "valid_until": session.until_s}
            for session in self.world.sessions.of(account)
        ]
        return reply_json({"signers": signers, "wallet": account.wallet})

    def _parties(self, payload: Mapping[str, Any]) -> tuple[Account, str]:
        owner = self.world.accounts.find(str(payload.get("walletAddress", "")))
        if owner is None or owner.signature_type != 3:
            raise Refusal("unknown deposit wallet")
        try:
            return owner, checksum_address(address_bytes(str(payload.get("sessionSignerAddress"))))
        except ValueError as error:
            raise Refusal("invalid session signer address") from error

    def _submit(self, payload: Mapping[str, Any], owner: Account, data: bytes) -> Submission:
        """The batch that the owner must have signed for this."""
        call = {"target": owner.wallet, "value": "0", "data": "0x" + data.hex()}
        wallet = {"depositWallet": owner.wallet, "deadline": payload.get("deadline"), "calls": [call]}
        signed = {"nonce": payload.get("nonce"), "signature": payload.get("signature"), "depositWalletParams": wallet}
        return self.world.relayer.submit({"from": owner.address, "type": "WALLET", **signed})


def _argument(address: str) -> bytes:
    return address_bytes(address).rjust(32, b"\0")


def _whole(payload: Mapping[str, Any], name: str) -> int:
    try:
        return int(str(payload.get(name)))
    except ValueError as error:
        raise Refusal(f"invalid {name}") from error
