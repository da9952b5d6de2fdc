"""Who may use the control API: this machine and its private networks, by address or by a name without a dot."""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request

from services.sandbox.http import parse_json
from services.sandbox.refusals import Refusal

# Besides names without a dot, such as those of containers.
LOCAL_SUFFIXES = (".localhost", ".local", ".internal", ".lan", ".home.arpa")


def require_private(request: Request) -> None:
    """Raises Refusal 403 unless the caller, the host it asked for, and the page it came from are all private.

    The host is looked at because a tunnel or a rebound name makes a public caller look local.
    """
    peer = request.client.host if request.client else ""
    hosts = [urlsplit(f"//{request.headers.get('host', '')}").hostname or ""]
    if "origin" in request.headers:
        hosts.append(urlsplit(request.headers["origin"]).hostname or "null.invalid")
    if not is_private_address(peer) or not all(is_private_host(host) for host in hosts):
        raise Refusal("the control API answers private addresses only, by an address or a local name", status=403)


def is_private_address(text: str) -> bool:
    """False for what is no address at all."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.is_loopback or address.is_private


def is_private_host(host: str) -> bool:
    """A private address, or a name that no public server can have."""
    if ":" in host or host.replace(".", "").isdecimal():
        return is_private_address(host)
    name = host.lower().rstrip(".")
    return bool(name) and ("." not in name or name.endswith(LOCAL_SUFFIXES))


async def json_object(request: Request) -> dict[str, Any]:
    """Body of a control request; an empty body is an empty object. Raises Refusal 400."""
    raw = await request.body()
    body = parse_json(raw) if raw else {}
    if not isinstance(body, dict):
        raise Refusal("body must be a JSON object")
    return body
