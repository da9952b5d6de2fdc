"""`python -m services.executor.doctor`: the wallet's side of `pm-arb doctor`, as JSON: {"ok", "checks": [...]}.

It logs in and reads; it signs no order and sends none. What it found is left on the bus for an hour, for the doctor
and the gate of a `pm-arb` that has not the executor's packages.
"""

import asyncio
import contextlib
import sys
from importlib.metadata import version
from typing import Final

import httpx

from pmarb import codec
from pmarb.bus.port import BusUnavailable
from pmarb.bus.streams import RedisBus
from pmarb.domain.checks import KEPT_S, WALLET, Check, WalletLook
from pmarb.settings import read
from pmarb.venue import sdk
from pmarb.venue.port import VenueUnavailable
from pmarb.venue.trading import SdkVenue, WrongWallet
from services.executor.place import find, wallet_of
from services.executor.settings import ExecutorSettings

AGAIN: Final = "try again; see the check `venue`"
KINDS: Final = ("EOA", "proxy", "Safe", "deposit wallet")
LEAST_CASH: Final = 1
"""Dollars: less buys nothing."""


async def examine(settings: ExecutorSettings) -> list[Check]:
    """SDK first: with another release nothing else is worth asking."""
    checks = [_release()]
    try:
        async with httpx.AsyncClient(timeout=5.0) as http:
            place = await find(settings, http)
        venue = await SdkVenue.connect(place.urls, wallet_of(settings, place), place.clock)
    except WrongWallet as error:
        fix = "WALLET_PRIVATE_KEY, WALLET_ADDRESS and SIGNATURE_TYPE must be of one account"
        return [*checks, Check(name="credentials", ok=False, detail=str(error), fix=fix)]
    except VenueUnavailable as error:
        return [
            *checks,
            Check(name="credentials", ok=False, detail=str(error), fix=AGAIN),
        ]
    try:
        return [*checks, *await _account(settings, venue)]
    except VenueUnavailable as error:
        return [
            *checks,
            Check(name="account", ok=False, detail=str(error), fix=AGAIN),
        ]
    finally:
        await venue.close()


def _release() -> Check:
    found = version("polymarket-client")
    ok = found == sdk.PINNED
    fix = "" if ok else f"pip install polymarket-client=={sdk.PINNED}: another release may sign other fields"
    return Check(name="sdk", ok=ok, detail=f"polymarket-client {found}", fix=fix)


async def _account(settings: ExecutorSettings, venue: SdkVenue) -> list[Check]:
    kind = KINDS[venue.signature_type]
    cash, allowances = await venue.cash(), await venue.allowances()
    missing = [spender for spender, amount in allowances.items() if amount <= 0]
    closed, orders = await venue.closed_only(), await venue.open_orders()
    redeems = venue.signature_type == 0 or settings.relayer_api_key is not None or settings.venue == "sandbox"
    return [
        Check(name="credentials", ok=True, detail="the venue accepts them"),
        Check(name="wallet", ok=True, detail=f"{kind} {venue.wallet}"),
        Check(
            name="closed_only",
            ok=not closed,
            detail="the account may only reduce" if closed else "the account may open",
            fix="the venue says so, mostly for where you are: EXECUTION=paper" if closed else "",
        ),
        Check(
            name="balance",
            ok=cash >= LEAST_CASH,
            detail=f"${cash:f} pUSD",
            fix="" if cash >= LEAST_CASH else f"send pUSD to {venue.wallet}",
        ),
        Check(
            name="allowances",
            ok=bool(allowances) and not missing,
            detail=f"missing for {', '.join(missing)}" if missing else f"{len(allowances)} spenders may take pUSD",
            fix="approve them by hand, once, at the venue's own site: nothing here ever does" if missing else "",
        ),
        Check(
            name="venue_orders",
            ok=not orders,
            detail=f"{len(orders)} orders are open at the venue",
            fix="a running executor settles its own; pm-arb kill --direct cancels all" if orders else "",
        ),
        Check(
            name="relayer",
            ok=True,
            detail="winnings can be redeemed" if redeems else "no key: winnings wait for the venue's redeemer",
            fix="" if redeems else "RELAYER_API_KEY",
        ),
    ]


async def _examined(settings: ExecutorSettings) -> list[Check]:
    checks = await examine(settings)
    look = codec.encode_value(WalletLook(venue=settings.venue, at_real=settings.clock().real(), checks=tuple(checks)))
    bus = RedisBus(settings.redis_url)
    with contextlib.suppress(BusUnavailable):  # Whoever asked has the answer all the same
        await bus.beat(service=WALLET, member="doctor", ttl_ms=KEPT_S * 1000, says=look)
    await bus.close()
    return checks


def main() -> int:
    """The exit code: 0 when every check is well."""
    settings = read(ExecutorSettings)
    checks = asyncio.run(_examined(settings))
    ok = all(check.ok for check in checks)
    sys.stdout.write(codec.encode_value({"ok": ok, "checks": checks}).decode() + "\n")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
