"""EIP-712 hashing of orders and of the L1 login, and recovery of the signer (venue.md 2.1 to 2.4).

Written from the standard; shares no code with any client. Hashes are 32 bytes, signatures 65 bytes r, s, v.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from coincurve import PublicKey

from services.sandbox.abi import Arguments, MalformedCall
from services.sandbox.keccak import address_bytes, keccak256
from services.sandbox.wallets import address_of

CHAIN_ID = 137
EXCHANGE = "0xE111180000d2663C0091e4f400237545B87B996B"
NEG_RISK_EXCHANGE = "0xe2222d279d744050d28e00520010520000310F59"
EXCHANGE_NAME = "Polymarket CTF Exchange"
POSITIONS_EXCHANGE = "0xe3333700cA9d93003F00f0F71f8515005F6c00Aa"
VERSIONS = ("1", "2", "3")
# An id whose bits 40 to 103 are zero is a position of the newer protocol and trades on an exchange of its own.
POSITION_MASK = ((1 << 64) - 1) << 40
# Signatures with s in the upper half are the mirror image of another one; contracts refuse them.
HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
LOGIN_TEXT = "This message attests that I control the given wallet"

DOMAIN_TYPE = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
LOGIN_DOMAIN_TYPE = b"EIP712Domain(string name,string version,uint256 chainId)"
LOGIN_TYPE = b"ClobAuth(address address,string timestamp,uint256 nonce,string message)"
ORDER_TYPE = (
    b"Order(uint256 salt,address maker,address signer,uint256 tokenId,uint256 makerAmount,uint256 takerAmount,"
    b"uint8 side,uint8 signatureType,uint256 timestamp,bytes32 metadata,bytes32 builder)"
)
NESTED_TYPE = (
    b"TypedDataSign(Order contents,string name,string version,uint256 chainId,address verifyingContract,bytes32 salt)"
    + ORDER_TYPE
)
SIGNATURE_LENGTH = 65
# Behind the signature of a session key: 32 bytes in the manner of ERC-6492.
SESSION_MAGIC = bytes.fromhex("6492" * 16)


@dataclass(frozen=True, kw_only=True, slots=True)
class SignedFields:
    """The eleven signed fields of an order, as integers, addresses and 32-byte words."""

    salt: int
    maker: str
    signer: str
    token_id: int
    maker_amount: int
    taker_amount: int
    side: int
    signature_type: int
    timestamp: int
    metadata: bytes
    builder: bytes


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _address_word(address: str) -> bytes:
    return address_bytes(address).rjust(32, b"\0")


def domain_separator(*, version: str, exchange: str) -> bytes:
    return keccak256(
        keccak256(DOMAIN_TYPE)
        + keccak256(EXCHANGE_NAME.encode())
        + keccak256(version.encode())
        + _word(CHAIN_ID)
        + _address_word(exchange)
    )


def order_struct_hash(order: SignedFields) -> bytes:
    return keccak256(
        keccak256(ORDER_TYPE)
        + _word(order.salt)
        + _address_word(order.maker)
        + _address_word(order.signer)
        + _word(order.token_id)
        + _word(order.maker_amount)
        + _word(order.taker_amount)
        + _word(order.side)
        + _word(order.signature_type)
        + _word(order.timestamp)
        + order.metadata
        + order.builder
    )


def typed_digest(*, domain: bytes, struct: bytes) -> bytes:
    return keccak256(b"\x19\x01" + domain + struct)


def nested_digest(*, domain: bytes, contents: bytes, wallet: str) -> bytes:
    """What the owner of a deposit wallet signs: the order wrapped in TypedDataSign (ERC-7739)."""
    struct = keccak256(
        keccak256(NESTED_TYPE)
        + contents
        + keccak256(b"DepositWallet")
        + keccak256(b"1")
        + _word(CHAIN_ID)
        + _address_word(wallet)
        + bytes(32)
    )
    return typed_digest(domain=domain, struct=struct)


def nested_trailer(*, domain: bytes, contents: bytes) -> bytes:
    """What must follow the 65 signature bytes of a type 3 order."""
    return domain + contents + ORDER_TYPE + len(ORDER_TYPE).to_bytes(2, "big")


def login_digest(*, address: str, timestamp: str, nonce: int) -> bytes:
    domain = keccak256(keccak256(LOGIN_DOMAIN_TYPE) + keccak256(b"ClobAuthDomain") + keccak256(b"1") + _word(CHAIN_ID))
    struct = keccak256(
        keccak256(LOGIN_TYPE)
        + _address_word(address)
        + keccak256(timestamp.encode())
        + _word(nonce)
        + keccak256(LOGIN_TEXT.encode())
    )
    return typed_digest(domain=domain, struct=struct)


def recover(*, digest: bytes, signature: bytes) -> str | None:
    """Checksum address that made a 65-byte signature, or None when the bytes are no signature."""
    if len(signature) != SIGNATURE_LENGTH or signature[64] not in (0, 1, 27, 28):
        return None
    if int.from_bytes(signature[32:64], "big") > HALF_ORDER:
        return None
    recoverable = signature[:64] + bytes([signature[64] % 27])
    try:
        key = PublicKey.from_signature_and_message(recoverable, digest, hasher=None)
    except ValueError:
        return None
    return address_of(key.format(compressed=False))


def domain_of(token_id: int, *, neg_risk: bool) -> tuple[str, str]:
    """(version, verifying contract) of the exchange that trades a token (venue.md 2.4)."""
    if not token_id & POSITION_MASK:
        return "3", POSITIONS_EXCHANGE
    return "2", NEG_RISK_EXCHANGE if neg_risk else EXCHANGE


def order_id(order: SignedFields, *, neg_risk: bool) -> str:
    """The venue's id of an order: its EIP-712 hash under the exchange domain, for every signature type."""
    version, exchange = domain_of(order.token_id, neg_risk=neg_risk)
    domain = domain_separator(version=version, exchange=exchange)
    return "0x" + typed_digest(domain=domain, struct=order_struct_hash(order)).hex()


def signed_by(order: SignedFields, *, signature: bytes, version: str, exchange: str) -> str | None:
    """Address whose key signed `order` under the given domain; None when the signature does not fit it."""
    domain = domain_separator(version=version, exchange=exchange)
    contents = order_struct_hash(order)
    if order.signature_type != 3:
        return recover(digest=typed_digest(domain=domain, struct=contents), signature=signature)
    if signature[SIGNATURE_LENGTH:] != nested_trailer(domain=domain, contents=contents):
        return None
    digest = nested_digest(domain=domain, contents=contents, wallet=order.signer)
    return recover(digest=digest, signature=signature[:SIGNATURE_LENGTH])


def session_signature(signature: bytes) -> tuple[str, bytes] | None:
    """(session signer, its own signature) of a wrapped one; None when it is not wrapped, or badly."""
    if not signature.endswith(SESSION_MAGIC):
        return None
    wrapped = Arguments(signature[: -len(SESSION_MAGIC)])
    try:
        signer, nothing, inner = wrapped.address(0), wrapped.number(1), wrapped.blob(2)
    except MalformedCall:
        return None
    return None if nothing else (signer, inner)


def parse_fields(order: Mapping[str, object]) -> SignedFields:
    """Signed fields of the `order` object of a POST /order body. Raises ValueError or KeyError when malformed."""
    side = {"BUY": 0, "SELL": 1}[str(order["side"])]
    fields = SignedFields(
        salt=int(str(order["salt"])),
        maker=str(order["maker"]),
        signer=str(order["signer"]),
        token_id=int(str(order["tokenId"])),
        maker_amount=int(str(order["makerAmount"])),
        taker_amount=int(str(order["takerAmount"])),
        side=side,
        signature_type=int(str(order["signatureType"])),
        timestamp=int(str(order["timestamp"])),
        metadata=bytes.fromhex(str(order["metadata"]).removeprefix("0x")),
        builder=bytes.fromhex(str(order["builder"]).removeprefix("0x")),
    )
    _require_encodable(fields)
    return fields


def _require_encodable(fields: SignedFields) -> None:
    address_bytes(fields.maker)
    address_bytes(fields.signer)
    words = (fields.salt, fields.token_id, fields.maker_amount, fields.taker_amount, fields.timestamp)
    if any(not 0 <= word < 2**256 for word in words):
        raise ValueError("number was outside uint256")
    if not 0 <= fields.signature_type <= 3:
        raise ValueError("unknown signature type")
    if len(fields.metadata) != 32 or len(fields.builder) != 32:
        raise ValueError("metadata and builder must be 32 bytes")
