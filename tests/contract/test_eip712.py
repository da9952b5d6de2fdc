"""Our hash and signature against the official client's own, for every signature type and both exchanges."""

from typing import Any, Literal

import pytest
from coincurve import PrivateKey
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st
from polymarket._internal.actions.orders.typed_data import build_order_signature, build_order_typed_data
from polymarket._internal.actions.orders.types import BYTES32_ZERO, UnsignedOrder
from polymarket._internal.environment import PRODUCTION_CONFIG
from polymarket.models.types import TokenId
from polymarket.types import EvmAddress, HexString

from pmarb.venue import eip712

SECRET = "0x" + "4c" * 32
OWNER = Account.from_key(SECRET).address
WALLET = "0x00000000000Fb5C9ADea0298D729A0CB3823Cc07"
EXCHANGES = [PRODUCTION_CONFIG.standard_exchange, PRODUCTION_CONFIG.neg_risk_exchange, PRODUCTION_CONFIG.exchange_v3]
UINT = st.integers(0, 2**256 - 1)


def an_order(**changes: Any) -> UnsignedOrder:
    fields: dict[str, Any] = {
        "chain_id": 137,
        "builder": BYTES32_ZERO,
        "exchange_address": EvmAddress(PRODUCTION_CONFIG.standard_exchange),
        "expiration": 0,
        "maker": EvmAddress(WALLET),
        "maker_amount": 3_000_000,
        "metadata": BYTES32_ZERO,
        "order_type": "FAK",
        "salt": 7,
        "side": "BUY",
        "signature_type": 0,
        "signer": EvmAddress(OWNER),
        "taker_amount": 6_000_000,
        "timestamp": 1_795_000_000_000,
        "token_id": TokenId("1001"),
    }
    return UnsignedOrder(**(fields | changes))


def theirs(order: UnsignedOrder) -> str:
    message = build_order_typed_data(order)
    signed = Account.from_key(SECRET).sign_typed_data(full_message=message)
    return str(build_order_signature(order, HexString("0x" + signed.signature.hex().removeprefix("0x"))))


def ours(order: Any) -> str:
    domain = eip712.domain_separator(exchange=str(order.exchange_address), version=order.protocol_version)
    contents = eip712.contents_hash(order)
    key = PrivateKey.from_hex(SECRET.removeprefix("0x"))
    return eip712.signature(key, order, domain=domain, contents=contents)


@pytest.mark.parametrize("exchange", EXCHANGES)
@pytest.mark.parametrize("version", ["2", "3"])
@pytest.mark.parametrize("signature_type", [0, 1, 2, 3])
def test_our_signature_is_the_official_clients(
    signature_type: int, version: Literal["2", "3"], exchange: EvmAddress
) -> None:
    signer = WALLET if signature_type == eip712.DEPOSIT_WALLET else OWNER
    order = an_order(
        signature_type=signature_type,
        signer=EvmAddress(signer),
        exchange_address=exchange,
        protocol_version=version,
    )
    assert ours(order) == theirs(order)


@settings(max_examples=40)
@given(UINT, UINT, st.integers(1, 2**128), st.integers(1, 2**128), st.sampled_from(["BUY", "SELL"]), UINT)
def test_for_any_numbers(salt: int, token: int, maker: int, taker: int, side: str, timestamp: int) -> None:
    order = an_order(
        salt=salt,
        token_id=TokenId(str(token)),
        maker_amount=maker,
        taker_amount=taker,
        side=side,
        timestamp=timestamp,
        signature_type=3,
        signer=EvmAddress(WALLET),
    )
    assert ours(order) == theirs(order)
