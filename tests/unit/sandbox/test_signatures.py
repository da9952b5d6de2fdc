"""Order hashes and signatures against the official client's own encoding."""

from typing import Any

import pytest

from services.sandbox.accounts import Account
from services.sandbox.auth import ApiKey
from services.sandbox.eip712 import EXCHANGE, SignedFields, order_id
from services.sandbox.gateway import require_party, verify_signature
from services.sandbox.refusals import INVALID_SIGNATURE, INVALID_VERSION, NOT_ALLOWED, NOT_SIGNER, Refusal
from services.sandbox.wallets import address_of_key, deposit_wallet, key_from_seed

KEY = key_from_seed(seed=9, index=0)
ADDRESS = address_of_key(KEY)
TOKEN = (1 << 256) // 3


def fields(signature_type: int, **changes) -> SignedFields:
    maker = {0: ADDRESS, 3: deposit_wallet(ADDRESS)}.get(signature_type, "0x" + "11" * 20)
    values: dict[str, Any] = {
        "salt": 77,
        "maker": maker,
        "signer": maker if signature_type == 3 else ADDRESS,
        "token_id": TOKEN,
        "maker_amount": 5_000_000,
        "taker_amount": 10_000_000,
        "side": 0,
        "signature_type": signature_type,
        "timestamp": 1_795_000_000_000,
        "metadata": bytes(32),
        "builder": bytes(32),
    }
    return SignedFields(**(values | changes))


def sign(order: SignedFields, *, version: str = "2", exchange: str = EXCHANGE) -> bytes:
    """Signed by the official client's functions, not by ours."""
    typed_data = pytest.importorskip("polymarket._internal.actions.orders.typed_data")
    from eth_account import Account

    unsigned = unsigned_of(order, version=version, exchange=exchange)
    data = typed_data.build_order_typed_data(unsigned)
    signed = Account.from_key(KEY.secret).sign_typed_data(full_message=data)
    return bytes.fromhex(typed_data.build_order_signature(unsigned, "0x" + signed.signature.hex())[2:])


def unsigned_of(order: SignedFields, *, version: str = "2", exchange: str = EXCHANGE):
    types = pytest.importorskip("polymarket._internal.actions.orders.types")
    return types.UnsignedOrder(
        builder="0x" + order.builder.hex(),
        chain_id=137,
        exchange_address=exchange,
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


def verdict(order: SignedFields, signature: bytes) -> str:
    with pytest.raises(Refusal) as caught:
        verify_signature(order, signature=signature, address=ADDRESS, neg_risk=False)
    return caught.value.text


@pytest.mark.parametrize("signature_type", [0, 1, 2, 3])
def test_a_true_signature_is_accepted(signature_type):
    order = fields(signature_type)
    verify_signature(order, signature=sign(order), address=ADDRESS, neg_risk=False)


@pytest.mark.parametrize("signature_type", [0, 3])
@pytest.mark.parametrize("version", ["1", "3"])
def test_another_domain_version_is_named(signature_type, version):
    order = fields(signature_type)
    assert verdict(order, sign(order, version=version)) == INVALID_VERSION


@pytest.mark.parametrize("signature_type", [0, 3])
def test_another_exchange_another_order_or_cut_bytes_are_invalid(signature_type):
    order = fields(signature_type)
    good = sign(order)
    other = sign(order, exchange="0xe2222d279d744050d28e00520010520000310F59")
    assert verdict(order, other) == INVALID_SIGNATURE
    assert verdict(fields(signature_type, taker_amount=11_000_000), good) == INVALID_SIGNATURE
    assert verdict(order, good[:-1]) == INVALID_SIGNATURE
    assert verdict(order, good + b"\0") == INVALID_SIGNATURE
    assert verdict(order, b"") == INVALID_SIGNATURE


def test_a_neg_risk_market_has_its_own_exchange():
    order = fields(0)
    signature = sign(order, exchange="0xe2222d279d744050d28e00520010520000310F59")
    verify_signature(order, signature=signature, address=ADDRESS, neg_risk=True)
    assert order_id(order, neg_risk=True) != order_id(order, neg_risk=False)


def test_a_type_3_signature_has_the_published_length():
    assert len(sign(fields(3)).hex()) + 2 == 636


def test_the_order_id_is_the_hash_that_an_eoa_signs():
    messages = pytest.importorskip("eth_account.messages")
    typed_data = pytest.importorskip("polymarket._internal.actions.orders.typed_data")
    from eth_utils.crypto import keccak

    order = fields(0)
    data = typed_data._build_standard_typed_data(unsigned_of(order), protocol_version="2")
    signable = messages.encode_typed_data(full_message=data)
    assert order_id(order, neg_risk=False) == "0x" + keccak(b"\x19\x01" + signable.header + signable.body).hex()


def test_signer_and_maker_must_be_those_of_the_api_key():
    key = ApiKey(key="k", secret="s", passphrase="p", address=ADDRESS)
    wallet = deposit_wallet(ADDRESS)
    account = Account(wallet=wallet, address=ADDRESS, signature_type=3)
    require_party(fields(3), account=account, key=key)
    for order, text in (
        (fields(3, signer=ADDRESS), NOT_SIGNER),
        (fields(0), NOT_ALLOWED),
        (fields(3, maker=ADDRESS), INVALID_SIGNATURE),
    ):
        with pytest.raises(Refusal) as caught:
            require_party(order, account=account, key=key)
        assert caught.value.text == text
