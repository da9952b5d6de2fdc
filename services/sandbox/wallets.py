"""Keys and wallets: deterministic keys from a seed, and the deposit wallet that belongs to a signer.

The deposit wallet is a CREATE2 beacon proxy (venue.md 2.3); its address is computed as the factory would, so that a
client that derives the wallet itself arrives at the same one.
"""

from __future__ import annotations

import hashlib

from coincurve import PrivateKey

from services.sandbox.keccak import address_bytes, checksum_address, keccak256

DEPOSIT_WALLET_FACTORY = "0x00000000000Fb5C9ADea0298D729A0CB3823Cc07"
DEPOSIT_WALLET_BEACON = "0x7A18EDfe055488A3128f01F563e5B479D92ffc3a"
# Creation code of an ERC1967 beacon proxy with immutable arguments: prefix, beacon, these three pieces, arguments.
BEACON_PROXY_PREFIX = 0x6100523D8160233D3973
BEACON_PROXY_CODE = bytes.fromhex(
    "60195155f3363d3d373d3d363d602036600436635c60da"
    "1b60e01b36527fa3f0ad74e5423aebfd80d3ef4346578335a9a72aeaee59ff6c"
    "b3582b35133d50545afa5036515af43d6000803e604d573d6000fd5b3d6000f3"
)


PROXY_FACTORY = "0xaB45c5A4B0c941a2F231C04C3f49182e1A254052"
PROXY_IMPLEMENTATION = "0x44e999d5c2F66Ef0861317f9A4805AC2e90aEB4f"
# Creation code of the clone that the proxy factory makes: head, factory, middle, implementation, tail.
PROXY_HEAD = bytes.fromhex("3d3d606380380380913d393d73")
PROXY_MIDDLE = bytes.fromhex("5af4602a57600080fd5b602d8060366000396000f3363d3d373d3d3d363d73")
PROXY_TAIL = bytes.fromhex("5af43d82803e903d91602b57fd5bf352e831dd") + (32).to_bytes(32, "big") + bytes(32)
SAFE_FACTORY = "0xaacFeEa03eb1561C4e67d661e40682Bd20E3541b"
SAFE_CODE_HASH = bytes.fromhex("2bce2127ff07fb632d16c8347c4ebf501f4841168bed00d9e6ef715ddb6fcecf")


def key_from_seed(*, seed: int, index: int) -> PrivateKey:
    return PrivateKey(hashlib.sha256(f"sandbox-key:{seed}:{index}".encode()).digest())


def address_of(public_key_uncompressed: bytes) -> str:
    return checksum_address(keccak256(public_key_uncompressed[1:])[12:])


def address_of_key(key: PrivateKey) -> str:
    return address_of(key.public_key.format(compressed=False))


def deposit_wallet(owner: str) -> str:
    """Checksum address of the deposit wallet of `owner`."""
    factory = address_bytes(DEPOSIT_WALLET_FACTORY)
    arguments = factory.rjust(32, b"\0") + address_bytes(owner).rjust(32, b"\0")
    prefix = BEACON_PROXY_PREFIX + (len(arguments) << 56)
    code = prefix.to_bytes(10, "big") + address_bytes(DEPOSIT_WALLET_BEACON) + BEACON_PROXY_CODE + arguments
    return _create2(factory, salt=keccak256(arguments), code_hash=keccak256(code))


def proxy_wallet(owner: str) -> str:
    """Checksum address of the e-mail proxy wallet of `owner` (signature type 1)."""
    factory, implementation = address_bytes(PROXY_FACTORY), address_bytes(PROXY_IMPLEMENTATION)
    code = PROXY_HEAD + factory + PROXY_MIDDLE + implementation + PROXY_TAIL
    return _create2(factory, salt=keccak256(address_bytes(owner)), code_hash=keccak256(code))


def safe_wallet(owner: str) -> str:
    """Checksum address of the Safe of `owner` (signature type 2)."""
    salt = keccak256(address_bytes(owner).rjust(32, b"\0"))
    return _create2(address_bytes(SAFE_FACTORY), salt=salt, code_hash=SAFE_CODE_HASH)


def wallet_for(owner: str, *, signature_type: int) -> str:
    """Where the money of `owner` lies: 0 EOA, 1 proxy, 2 Safe, 3 deposit wallet."""
    return (str, proxy_wallet, safe_wallet, deposit_wallet)[signature_type](owner)


def _create2(factory: bytes, *, salt: bytes, code_hash: bytes) -> str:
    return checksum_address(keccak256(b"\xff" + factory + salt + code_hash)[12:])


def derived_address(*, label: str) -> str:
    """A deterministic address for parties without a key."""
    return checksum_address(keccak256(label.encode())[12:])
