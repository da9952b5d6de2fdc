"""Calls of a deposit wallet, signed with `eth_account` and sent to the relayer without any venue client."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from eth_abi.abi import encode
from eth_account import Account
from eth_utils.crypto import keccak

CHAIN_ID = 137
NOTHING = bytes(32)
COLLATERAL = "0xC011a7E12a19f7B1f670d46F03B03f3342E82DFB"
ADAPTER = "0xAdA100Db00Ca00073811820692005400218FcE1f"
NEG_RISK_ADAPTER = "0xadA2005600Dec949baf300f4C6120000bDB6eAab"
TYPES = {
    "Batch": [
        {"name": "wallet", "type": "address"},
        {"name": "nonce", "type": "uint256"},
        {"name": "deadline", "type": "uint256"},
        {"name": "calls", "type": "Call[]"},
    ],
    "Call": [
        {"name": "target", "type": "address"},
        {"name": "value", "type": "uint256"},
        {"name": "data", "type": "bytes"},
    ],
}


def call(target: str, signature: str, *arguments: Any) -> dict[str, Any]:
    """A contract call by the text of its function."""
    kinds = signature[signature.index("(") + 1 : -1].split(",")
    data = keccak(text=signature)[:4] + encode(kinds, arguments)
    return {"target": target, "value": 0, "data": data}


def submit(ready: Any, account: Mapping[str, Any], builder: Mapping[str, str], calls: Sequence[dict[str, Any]]) -> str:
    """State of the transaction once it has ended."""
    with httpx.Client(base_url=ready["relayer"]) as http:
        nonce = http.get("/nonce", params={"address": account["address"]}).json()["nonce"]
        deadline = int(time.time()) + 600
        signed = Account.sign_typed_data(
            account["private_key"],
            domain_data={
                "name": "DepositWallet",
                "version": "1",
                "chainId": CHAIN_ID,
                "verifyingContract": account["wallet"],
            },
            message_types=TYPES,
            message_data={"wallet": account["wallet"], "nonce": int(nonce), "deadline": deadline, "calls": calls},
        )
        written = [{**each, "value": "0", "data": "0x" + each["data"].hex()} for each in calls]
        body = json.dumps(
            {
                "type": "WALLET",
                "from": account["address"],
                "nonce": nonce,
                "signature": signed.signature.hex(),
                "depositWalletParams": {
                    "depositWallet": account["wallet"],
                    "deadline": str(deadline),
                    "calls": written,
                },
            }
        )
        reply = http.post("/submit", content=body, headers=_headers(builder, "/submit", body)).raise_for_status()
        for _ in range(200):
            row = http.get("/transaction", params={"id": reply.json()["transactionID"]}).json()[0]
            if row["state"] in ("STATE_CONFIRMED", "STATE_FAILED"):
                return str(row["state"])
            time.sleep(0.05)
    raise TimeoutError("the relayer has not ended it")


def _headers(builder: Mapping[str, str], path: str, body: str) -> dict[str, str]:
    stamp = str(int(time.time()))
    secret = base64.urlsafe_b64decode(builder["secret"])
    signature = hmac.new(secret, f"{stamp}POST{path}{body}".encode(), hashlib.sha256).digest()
    return {
        "POLY_BUILDER_API_KEY": builder["key"],
        "POLY_BUILDER_PASSPHRASE": builder["passphrase"],
        "POLY_BUILDER_TIMESTAMP": stamp,
        "POLY_BUILDER_SIGNATURE": base64.urlsafe_b64encode(signature).decode(),
    }
