"""Signed orders for a sandbox in this process or behind a port, without an official client."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

from coincurve import PrivateKey

from services.sandbox.eip712 import domain_of, domain_separator, order_struct_hash, parse_fields, typed_digest

MICRO = 1_000_000
NOTHING = "0x" + "0" * 64


def signed_order(
    account: Mapping[str, Any],
    token: str,
    *,
    price: int,
    shares: int,
    side: str = "BUY",
    order_type: str = "FAK",
    salt: int = 1,
    neg_risk: bool = False,
    post_only: bool = False,
) -> dict[str, Any]:
    """Body of POST /order from an EOA of the ready line; price and shares in micro-units."""
    dollars = shares * price // MICRO
    maker, taker = (dollars, shares) if side == "BUY" else (shares, dollars)
    order = {
        "salt": salt,
        "maker": account["address"],
        "signer": account["address"],
        "tokenId": token,
        "makerAmount": str(maker),
        "takerAmount": str(taker),
        "side": side,
        "signatureType": 0,
        "timestamp": "1795000000000",
        "metadata": NOTHING,
        "builder": NOTHING,
        "expiration": "0",
    }
    fields = parse_fields(order)
    version, exchange = domain_of(fields.token_id, neg_risk=neg_risk)
    digest = typed_digest(domain=domain_separator(version=version, exchange=exchange), struct=order_struct_hash(fields))
    raw = PrivateKey.from_hex(account["private_key"].removeprefix("0x")).sign_recoverable(digest, hasher=None)
    order["signature"] = "0x" + (raw[:64] + bytes([raw[64] + 27])).hex()
    return {"order": order, "orderType": order_type, "owner": account["api_key"], "postOnly": post_only}


def headers(account: Mapping[str, Any], method: str, path: str, body: str = "") -> dict[str, str]:
    """L2 headers of one call."""
    stamp = str(int(time.time()))
    secret = base64.urlsafe_b64decode(account["secret"])
    signature = hmac.new(secret, f"{stamp}{method}{path}{body}".encode(), hashlib.sha256).digest()
    return {
        "POLY_ADDRESS": account["address"],
        "POLY_API_KEY": account["api_key"],
        "POLY_PASSPHRASE": account["passphrase"],
        "POLY_TIMESTAMP": stamp,
        "POLY_SIGNATURE": base64.urlsafe_b64encode(signature).decode(),
        "content-type": "application/json",
    }


def call(account: Mapping[str, Any], method: str, path: str, payload: object = None) -> dict[str, Any]:
    """Arguments of an httpx request, signed."""
    body = "" if payload is None else json.dumps(payload)
    return {"method": method, "url": path, "content": body, "headers": headers(account, method, path, body)}
