"""The hash and the signature of an order: EIP-712 with nothing generic in it (venue.md 2.4).

The official client builds the order; its generic typed-data encoder takes a millisecond for what are three hashes. The
bytes made here are the same, which a contract test holds for every signature type, and the sandbox verifies with code
of its own.
"""

from typing import Final, Protocol

from coincurve import PrivateKey
from Crypto.Hash import keccak as _keccak

CHAIN_ID: Final = 137
DEPOSIT_WALLET: Final = 3
"""The signature type whose wallet checks a nested signature (ERC-7739)."""

_ORDER_TYPE: Final = (
    b"Order(uint256 salt,address maker,address signer,uint256 tokenId,uint256 makerAmount,uint256 takerAmount,"
    b"uint8 side,uint8 signatureType,uint256 timestamp,bytes32 metadata,bytes32 builder)"
)
_DOMAIN_TYPE: Final = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
_NESTED_TYPE: Final = (
    b"TypedDataSign(Order contents,string name,string version,uint256 chainId,address verifyingContract,bytes32 salt)"
)


class UnsignedOrder(Protocol):
    """The fields that are signed, as the official client names them."""

    salt: int
    maker: str
    signer: str
    token_id: str
    maker_amount: int
    taker_amount: int
    side: str
    signature_type: int
    timestamp: int
    metadata: str
    builder: str


def keccak(data: bytes) -> bytes:
    return _keccak.new(digest_bits=256, data=data).digest()


_ORDER_HASH: Final = keccak(_ORDER_TYPE)
_NESTED_HASH: Final = keccak(_NESTED_TYPE + _ORDER_TYPE)
_WALLET_NAME_AND_VERSION: Final = keccak(b"DepositWallet") + keccak(b"1")
_NO_SALT: Final = bytes(32)


def domain_separator(*, exchange: str, version: str) -> bytes:
    """The domain of an exchange contract; worth keeping, it never changes."""
    names = keccak(_DOMAIN_TYPE) + keccak(b"Polymarket CTF Exchange") + keccak(version.encode())
    return keccak(names + _number(CHAIN_ID) + _address(exchange))


def contents_hash(order: UnsignedOrder) -> bytes:
    """The hash of the order itself, without its domain."""
    return keccak(
        b"".join(
            (
                _ORDER_HASH,
                _number(order.salt),
                _address(order.maker),
                _address(order.signer),
                _number(int(order.token_id)),
                _number(order.maker_amount),
                _number(order.taker_amount),
                _number(("BUY", "SELL").index(order.side)),
                _number(order.signature_type),
                _number(order.timestamp),
                _word(order.metadata),
                _word(order.builder),
            )
        )
    )


def address(key: PrivateKey) -> str:
    """Whose signatures `key` makes."""
    return "0x" + keccak(key.public_key.format(compressed=False)[1:])[12:].hex()


def order_hash(domain: bytes, contents: bytes) -> str:
    """The venue's id of the order, the same for every signature type."""
    return "0x" + keccak(b"\x19\x01" + domain + contents).hex()


def signature(key: PrivateKey, order: UnsignedOrder, *, domain: bytes, contents: bytes) -> str:
    """The signature the venue expects for the order's signature type, hex with 0x."""
    if order.signature_type != DEPOSIT_WALLET:
        return "0x" + _signed(key, keccak(b"\x19\x01" + domain + contents)).hex()
    wallet = _number(CHAIN_ID) + _address(order.signer) + _NO_SALT
    nested = keccak(_NESTED_HASH + contents + _WALLET_NAME_AND_VERSION + wallet)
    signed = _signed(key, keccak(b"\x19\x01" + domain + nested))
    return "0x" + (signed + domain + contents + _ORDER_TYPE + len(_ORDER_TYPE).to_bytes(2, "big")).hex()


def _signed(key: PrivateKey, digest: bytes) -> bytes:
    raw = key.sign_recoverable(digest, hasher=None)
    return raw[:64] + bytes((raw[64] + 27,))


def _number(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _address(value: str) -> bytes:
    return bytes.fromhex(value[2:]).rjust(32, b"\0")


def _word(value: str) -> bytes:
    return bytes.fromhex(value[2:])
