"""HTTP of the relayer and of a chain node: only the calls that the official clients make (venue.md 7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from services.sandbox.abi import MalformedCall, rlp_items, rlp_list
from services.sandbox.accounts import Account
from services.sandbox.chain import Call
from services.sandbox.eip712 import CHAIN_ID, recover
from services.sandbox.http import parse_json, reply_json
from services.sandbox.keccak import checksum_address, keccak256
from services.sandbox.positions import ChainError
from services.sandbox.refusals import UNAUTHORIZED, Refusal
from services.sandbox.relayer import RELAY_ADDRESS, Submission
from services.sandbox.world import World

BLOCK_S = 2
GAS = 250_000
GAS_PRICE = 30_000_000_000
UNSUPPORTED, REVERTED = -32601, 3


class RelayerApi:
    """Handlers of the relayer."""

    def __init__(self, world: World) -> None:
        self.world = world

    def router(self) -> APIRouter:
        router = APIRouter(prefix="/relayer")
        for method, path, handler in (
            ("GET", "/deployed", self.deployed),
            ("GET", "/v1/account/transactions/params", self.params),
            ("GET", "/relay-payload", self.params),
            ("GET", "/nonce", self.nonce),
            ("POST", "/submit", self.submit),
            ("GET", "/v1/account/transactions/{transaction_id}", self.transaction),
            ("GET", "/transaction", self.transaction_by_query),
        ):
            router.add_api_route(path, handler, methods=[method])
        return router

    async def deployed(self, address: str = "") -> Response:
        """A wallet exists once its account does."""
        account = self.world.accounts.find(address)
        known = account is not None and account.wallet.lower() == address.lower()
        return reply_json({"deployed": known})

    async def params(self, request: Request) -> Response:
        address = request.query_params.get("address", "")
        kind = request.query_params.get("type", "")
        if self.world.accounts.find(address) is None:
            raise Refusal("invalid address")
        who = RELAY_ADDRESS if kind == "PROXY" else address
        return reply_json({"address": who, "nonce": str(self.world.relayer.nonce(address))})

    async def nonce(self, address: str = "") -> Response:
        return reply_json({"nonce": str(self.world.relayer.nonce(address))})

    async def submit(self, request: Request) -> Response:
        """Needs a builder key (HMAC) or a relayer key that names the signer's address."""
        payload = await relayed(self.world, request, path="/submit")
        made = self.world.relayer.submit(payload)
        return reply_json({"transactionID": made.id, "transactionHash": made.hash, "state": made.state})

    async def transaction(self, transaction_id: str) -> Response:
        return reply_json(self._row(transaction_id))

    async def transaction_by_query(self, request: Request) -> Response:
        return reply_json([self._row(request.query_params.get("id", ""))])

    def _row(self, transaction_id: str) -> dict[str, Any]:
        found = self.world.relayer.submissions.get(transaction_id)
        if found is None:
            raise Refusal("transaction not found", status=404)
        return transaction_row(found)


async def relayed(world: World, request: Request, *, path: str) -> dict[str, Any]:
    """Body of an authenticated call of the relayer, whose own `path` was signed. Raises Refusal 400 or 401."""
    body = await request.body()
    headers = {name.replace("-", "_"): value for name, value in request.headers.items()}
    if not world.keys.is_relayer_call(method="POST", path=path, body=body, headers=headers):
        raise Refusal(UNAUTHORIZED, status=401)
    payload = parse_json(body)
    if not isinstance(payload, dict):
        raise Refusal("invalid request payload")
    return payload


def transaction_row(submission: Submission) -> dict[str, Any]:
    started = submission.state != "STATE_NEW"
    return {
        "transaction_id": submission.id,
        "transaction_hash": submission.hash if started else "",
        "type": submission.kind,
        "from": submission.account.address,
        "proxy_address": submission.account.wallet,
        "state": submission.state,
        "error_msg": submission.error or None,
    }


class NodeApi:
    """JSON-RPC of a chain node: views of balances and allowances, and transactions of EOA accounts."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._methods: dict[str, Callable[[list[Any]], object]] = {
            "eth_chainId": lambda _: hex(CHAIN_ID),
            "net_version": lambda _: str(CHAIN_ID),
            "eth_blockNumber": lambda _: hex(world.clock.now_s() // BLOCK_S),
            "eth_getBlockByNumber": lambda _: self._block(),
            "eth_call": self._view,
            "eth_gasPrice": lambda _: hex(GAS_PRICE),
            "eth_estimateGas": lambda _: hex(GAS),
            "eth_getBalance": lambda _: hex(10**18),
            "eth_getTransactionCount": lambda given: hex(world.chain.sent.get(str(given[0]).lower(), 0)),
            "eth_sendRawTransaction": self._send,
            "eth_getTransactionReceipt": self._receipt,
        }

    def router(self) -> APIRouter:
        router = APIRouter()
        router.add_api_route("/rpc", self.rpc, methods=["POST"])
        return router

    async def rpc(self, request: Request) -> Response:
        body = parse_json(await request.body())
        if isinstance(body, list):
            return reply_json([self._answer(call) for call in body])
        return reply_json(self._answer(body))

    def _answer(self, call: object) -> dict[str, Any]:
        if not isinstance(call, dict):
            raise Refusal("invalid request")
        base = {"jsonrpc": "2.0", "id": call.get("id")}
        method = self._methods.get(str(call.get("method")))
        if method is None:
            return {**base, "error": {"code": UNSUPPORTED, "message": "the sandbox has no such method"}}
        try:
            return {**base, "result": method(list(call.get("params") or []))}
        except (ChainError, MalformedCall, IndexError, KeyError, ValueError) as error:
            return {**base, "error": {"code": REVERTED, "message": f"execution reverted: {error}"}}

    def _block(self) -> dict[str, str]:
        now_s = self.world.clock.now_s()
        return {"number": hex(now_s // BLOCK_S), "timestamp": hex(now_s)}

    def _view(self, given: list[Any]) -> str:
        call = given[0]
        data = bytes.fromhex(str(call["data"]).removeprefix("0x"))
        return self.world.chain.view(target=str(call["to"]), data=data)

    def _send(self, given: list[Any]) -> str:
        raw = bytes.fromhex(str(given[0]).removeprefix("0x"))
        account, call = self._signed_call(raw)
        digest = "0x" + keccak256(raw).hex()
        self.world.chain.send(account, call, transaction=digest)
        return digest

    def _signed_call(self, raw: bytes) -> tuple[Account, Call]:
        """Sender and call of a legacy transaction. Raises ChainError for anything unsigned or foreign."""
        items = rlp_items(raw)
        if len(items) != 9:
            raise ChainError("only legacy transactions are understood")
        numbers = [int.from_bytes(item, "big") for item in items]
        parity = numbers[6] - 35 - 2 * CHAIN_ID
        if parity not in (0, 1):
            raise ChainError("invalid chain id for signer")
        unsigned = rlp_list([*items[:6], CHAIN_ID.to_bytes(1, "big"), b"", b""])
        signature = items[7].rjust(32, b"\0") + items[8].rjust(32, b"\0") + bytes([parity])
        sender = recover(digest=keccak256(unsigned), signature=signature)
        account = self.world.accounts.find(sender or "")
        if account is None or account.signature_type != 0:
            raise ChainError("insufficient funds for gas")
        if numbers[0] != self.world.chain.sent.get(account.address.lower(), 0):
            raise ChainError("nonce too low")
        return account, Call(target=checksum_address(items[3]), value=numbers[4], data=items[5])

    def _receipt(self, given: list[Any]) -> dict[str, str] | None:
        outcome = self.world.chain.receipts.get(str(given[0]).lower())
        if outcome is None:
            return None
        return {"transactionHash": str(given[0]), "status": "0x1" if outcome else "0x0"}
