"""Where the executor trades and with which wallet, from its settings and from what a sandbox says of itself."""

import sys
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import SecretStr

from pmarb.clock import ScaledClock
from pmarb.settings import WrongSettings
from pmarb.venue import sdk
from pmarb.venue.port import VenueUnavailable
from pmarb.venue.trading import Wallet
from services.executor.settings import ExecutorSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where to trade: addresses, the clock that holds there, and the account a sandbox lends."""

    urls: sdk.Urls
    clock: ScaledClock
    lent: Wallet | None


async def find(settings: ExecutorSettings, http: httpx.AsyncClient) -> Place:
    """Where these settings trade.

    Raises:
        VenueUnavailable: the sandbox does not say where it is.
    """
    if settings.venue == "polymarket":
        return Place(urls=sdk.PRODUCTION, clock=settings.clock(), lent=None)
    url = f"{settings.sandbox_url.rstrip('/')}/sandbox/ready"
    try:
        reply = await http.get(url)
        reply.raise_for_status()
        ready: dict[str, Any] = reply.json()
        return Place(urls=_sandbox_urls(ready), clock=_sandbox_clock(ready), lent=_lent(ready))
    except (httpx.HTTPError, KeyError, IndexError, TypeError, ValueError) as error:
        raise VenueUnavailable(f"{url}: {str(error) or type(error).__name__}") from error


def _sandbox_urls(ready: dict[str, Any]) -> sdk.Urls:
    names = ("clob", "gamma", "data", "relayer", "rpc", "ws_market", "ws_user", "rtds")
    return sdk.Urls(**{name: str(ready[name]) for name in names})


def _sandbox_clock(ready: dict[str, Any]) -> ScaledClock:
    clock = ready["clock"]
    return ScaledClock(speed=float(clock["speed"]), anchor=int(clock["anchor_ns"]))


def _lent(ready: dict[str, Any]) -> Wallet:
    """The first throw-away account: sandbox money only."""
    account = ready["accounts"][0]
    return Wallet(
        private_key=SecretStr(account["private_key"]),
        funder=account["wallet"],
        signature_type=int(account["signature_type"]),
        api_key=SecretStr(account["api_key"]),
        api_secret=SecretStr(account["secret"]),
        api_passphrase=SecretStr(account["passphrase"]),
        relayer_key=SecretStr("sandbox"),
    )


def wallet_of(settings: ExecutorSettings, place: Place) -> Wallet:
    """The wallet of the settings, else the one the sandbox lends.

    Raises:
        WrongSettings: there is neither.
    """
    if settings.wallet_private_key is not None:
        return Wallet(
            private_key=settings.wallet_private_key,
            funder=settings.wallet_address,
            signature_type=settings.signature_type,
            api_key=settings.clob_api_key,
            api_secret=settings.clob_api_secret,
            api_passphrase=settings.clob_api_passphrase,
            relayer_key=settings.relayer_api_key,
        )
    if place.lent is None:
        sys.stderr.write("error: WALLET_PRIVATE_KEY is not set: the venue's orders belong to a wallet\n")
        raise WrongSettings(2)
    return place.lent
