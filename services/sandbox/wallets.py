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
    return checksum_address(keccak256(b"\xff" + factory + keccak256(arguments) + keccak256(code))[12:])


def derived_address(*, label: str) -> str:
    """A deterministic address for parties without a key (house accounts, proxy and safe wallets)."""
    return checksum_address(keccak256(label.encode())[12:])
