"""Keccak-256 as Ethereum uses it, and EIP-55 address text."""

from __future__ import annotations

from Crypto.Hash import keccak


def keccak256(data: bytes) -> bytes:
    return keccak.new(digest_bits=256, data=data).digest()


def checksum_address(raw: bytes) -> str:
    """EIP-55 text of a 20-byte address."""
    plain = raw.hex()
    mask = keccak256(plain.encode()).hex()
    return "0x" + "".join(c.upper() if int(m, 16) >= 8 else c for c, m in zip(plain, mask, strict=False))


def address_bytes(address: str) -> bytes:
    """The 20 bytes of `0x...` text. Raises ValueError when it is no address."""
    if not address.startswith(("0x", "0X")) or len(address) != 42:
        raise ValueError(f"not an address: {address!r}")
    return bytes.fromhex(address[2:])
