"""Orders signed by each official client and each signature type verify; each of thirty changes is refused."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import pytest

from services.sandbox.accounts import Account
from services.sandbox.auth import ApiKey
from services.sandbox.eip712 import (
    EXCHANGE,
    EXCHANGE_NAME,
    NEG_RISK_EXCHANGE,
    POSITIONS_EXCHANGE,
    SignedFields,
    parse_fields,
)
from services.sandbox.gateway import require_party, verify_signature
from services.sandbox.refusals import Refusal
from services.sandbox.wallets import address_of_key, key_from_seed, wallet_for

KEY, STRANGER = key_from_seed(seed=9, index=0), key_from_seed(seed=9, index=1)
ADDRESS, OTHER = address_of_key(KEY), address_of_key(STRANGER)
TOKEN = (1 << 256) // 3
# A binary outcome of the newer protocol: module 1, bits 40 to 103 zero.
POSITION = (1 << 248) | (0xABCDEF << 104) | 1
GROUP_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
CLIENTS = ["unified", "v2"]
TYPES = [0, 1, 2, 3]


def truth(signature_type: int, **changes: Any) -> SignedFields:
    wallet = wallet_for(ADDRESS, signature_type=signature_type)
    order = SignedFields(
        salt=77,
        maker=wallet,
        signer=wallet if signature_type == 3 else ADDRESS,
        token_id=TOKEN,
        maker_amount=5_000_000,
        taker_amount=10_000_000,
        side=0,
        signature_type=signature_type,
        timestamp=1_795_000_000_000,
        metadata=bytes(32),
        builder=bytes(32),
    )
    return replace(order, **changes)


def body(order: SignedFields) -> dict[str, Any]:
    """The `order` object of a POST /order body, without its signature."""
    return {
        "salt": order.salt,
        "maker": order.maker,
        "signer": order.signer,
        "tokenId": str(order.token_id),
        "makerAmount": str(order.maker_amount),
        "takerAmount": str(order.taker_amount),
        "side": "SELL" if order.side else "BUY",
        "signatureType": order.signature_type,
        "timestamp": str(order.timestamp),
        "metadata": "0x" + order.metadata.hex(),
        "builder": "0x" + order.builder.hex(),
        "expiration": "0",
    }


def signed_by_unified(order: SignedFields, *, domain: dict[str, Any], secret: bytes) -> bytes:
    typed_data = pytest.importorskip("polymarket._internal.actions.orders.typed_data")
    types = pytest.importorskip("polymarket._internal.actions.orders.types")
    from eth_account import Account as Eth

    version: Literal["2"] = domain["version"]
    unsigned = types.UnsignedOrder(
        builder="0x" + order.builder.hex(),
        chain_id=domain["chainId"],
        exchange_address=domain["verifyingContract"],
        expiration=0,
        maker=order.maker,
        maker_amount=order.maker_amount,
        metadata="0x" + order.metadata.hex(),
        order_type="GTC",
        salt=order.salt,
        side="SELL" if order.side else "BUY",
        signature_type=order.signature_type,
        signer=order.signer,
        taker_amount=order.taker_amount,
        timestamp=order.timestamp,
        token_id=str(order.token_id),
        protocol_version=version,
    )
    data = typed_data.build_order_typed_data(unsigned)
    data["domain"]["name"] = domain["name"]
    signed = Eth.from_key(secret).sign_typed_data(full_message=data)
    return bytes.fromhex(typed_data.build_order_signature(unsigned, "0x" + signed.signature.hex())[2:])


def signed_by_v2(order: SignedFields, *, domain: dict[str, Any], secret: bytes) -> bytes:
    builders = pytest.importorskip("py_clob_client_v2.order_utils.exchange_order_builder_v2")
    models = pytest.importorskip("py_clob_client_v2.order_utils.model.order_data_v2")
    signers = pytest.importorskip("py_clob_client_v2.signer")
    from eth_abi.abi import encode

    chain, contract = domain["chainId"], domain["verifyingContract"]
    signer = signers.Signer("0x" + secret.hex(), chain)
    builder = builders.ExchangeOrderBuilderV2(contract, chain, signer, domain_version=domain["version"])
    types = ["bytes32", "bytes32", "bytes32", "uint256", "address"]
    hashes = [builders._keccak(text=domain[name]) for name in ("name", "version")]
    builder.app_domain_separator = builders._keccak(
        primitive=encode(types, [builders.DOMAIN_TYPE_HASH, *hashes, chain, contract])
    )
    fields = body(order) | {"side": order.side, "salt": str(order.salt)}
    data = builder.build_order_typed_data(models.OrderV2(**fields))
    data["domain"]["name"] = domain["name"]
    return bytes.fromhex(builder.build_order_signature(data)[2:])


SIGNERS = {"unified": signed_by_unified, "v2": signed_by_v2}


def sign(client: str, order: SignedFields, *, secret: bytes = KEY.secret, **changes: Any) -> bytes:
    domain = {"name": EXCHANGE_NAME, "version": "2", "chainId": 137, "verifyingContract": EXCHANGE} | changes
    return SIGNERS[client](order, domain=domain, secret=secret)


def judge(order: dict[str, Any], signature: bytes, *, signature_type: int, neg_risk: bool = False) -> None:
    """What the venue does with an order that arrived. Raises when it is refused."""
    fields = parse_fields(order)
    wallet = wallet_for(ADDRESS, signature_type=signature_type)
    account = Account(address=ADDRESS, wallet=wallet, signature_type=signature_type)
    require_party(fields, account=account, key=ApiKey(key="k", secret="s", passphrase="p", address=ADDRESS))
    verify_signature(fields, signature=signature, address=ADDRESS, neg_risk=neg_risk)


def flip(signature: bytes, position: int) -> bytes:
    return signature[:position] + bytes([signature[position] ^ 1]) + signature[position + 1 :]


def mirrored(signature: bytes) -> bytes:
    """The other signature of the same message and key: n - s with the parity turned."""
    s = GROUP_ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]]) + signature[65:]


WORD = "0x" + "00" * 31 + "01"
FIELD_CHANGES: dict[str, dict[str, Any]] = {
    "salt": {"salt": 78},
    "maker": {"maker": OTHER},
    "signer": {"signer": OTHER},
    "token": {"tokenId": str(TOKEN + 1)},
    "token_of_the_newer_protocol": {"tokenId": str(POSITION)},
    "maker_amount": {"makerAmount": "5000001"},
    "taker_amount": {"takerAmount": "10000001"},
    "side": {"side": "SELL"},
    "signature_type": {"signatureType": "next"},
    "timestamp": {"timestamp": "1795000000001"},
    "metadata": {"metadata": WORD},
    "builder": {"builder": WORD},
}
DOMAIN_CHANGES: dict[str, dict[str, Any]] = {
    "name": {"name": "ClobAuthDomain"},
    "version_1": {"version": "1"},
    "version_3": {"version": "3"},
    "version_empty": {"version": ""},
    "chain_1": {"chainId": 1},
    "chain_amoy": {"chainId": 80002},
    "exchange_neg_risk": {"verifyingContract": NEG_RISK_EXCHANGE},
    "exchange_positions": {"verifyingContract": POSITIONS_EXCHANGE},
    "exchange_none": {"verifyingContract": "0x" + "00" * 20},
}
SIGNATURE_CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "r": lambda raw: flip(raw, 7),
    "s": lambda raw: flip(raw, 40),
    "v": lambda raw: raw[:64] + bytes([55 - raw[64]]) + raw[65:],
    "v_unknown": lambda raw: raw[:64] + b"\x05" + raw[65:],
    "mirrored": mirrored,
    "empty": lambda raw: b"",
    "cut": lambda raw: raw[:-1],
    "longer": lambda raw: raw + b"\0",
}
MUTATIONS = [*FIELD_CHANGES, *DOMAIN_CHANGES, *SIGNATURE_CHANGES, "another_key"]


def test_there_are_thirty():
    assert len(MUTATIONS) == len(set(MUTATIONS)) == 30


@pytest.mark.parametrize("signature_type", TYPES)
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(("token", "neg_risk", "version", "exchange"), [
    (TOKEN, False, "2", EXCHANGE),
    (TOKEN, True, "2", NEG_RISK_EXCHANGE),
    (POSITION, False, "3", POSITIONS_EXCHANGE),
])  # fmt: skip
def test_a_true_order_verifies(client, signature_type, token, neg_risk, version, exchange):
    order = truth(signature_type, token_id=token)
    signature = sign(client, order, version=version, verifyingContract=exchange)
    judge(body(order), signature, signature_type=signature_type, neg_risk=neg_risk)


@pytest.mark.parametrize("name", MUTATIONS)
@pytest.mark.parametrize("signature_type", TYPES)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_changed_order_is_refused(client, signature_type, name):
    order = truth(signature_type)
    sent, signature = body(order), b""
    if name in FIELD_CHANGES:
        signature = sign(client, order)
        sent |= FIELD_CHANGES[name]
        if name == "signature_type":
            sent["signatureType"] = (signature_type + 1) % 4
    elif name in DOMAIN_CHANGES:
        signature = sign(client, order, **DOMAIN_CHANGES[name])
    elif name in SIGNATURE_CHANGES:
        signature = SIGNATURE_CHANGES[name](sign(client, order))
    else:
        signature = sign(client, order, secret=STRANGER.secret)
    with pytest.raises(Refusal):
        judge(sent, signature, signature_type=signature_type)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("position", [64 + 1, 64 + 33, 64 + 65, -1])
def test_the_tail_of_a_wallet_signature_must_be_exact(client, position):
    order = truth(3)
    raw = sign(client, order)
    with pytest.raises(Refusal):
        judge(body(order), flip(raw, position % len(raw)), signature_type=3)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_wallet_order_needs_the_nested_form(client):
    order = truth(3)
    plain = sign(client, replace(order, signature_type=0))[:65]
    with pytest.raises(Refusal):
        judge(body(order), plain + sign(client, order)[65:], signature_type=3)
