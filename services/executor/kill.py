"""`python -m services.executor.kill`: the brake without an executor, a bus or a ledger.

Latches KILLED where the database answers, cancels everything at the venue, looks until nothing is open, and says what
it could not verify. While the venue cannot be reached it keeps trying. Exit code 0 only with zero open orders verified.
"""

import argparse
import asyncio
import getpass
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import httpx

from pmarb import codec, logs
from pmarb.clock import Clock
from pmarb.db import control
from pmarb.db.pool import Unavailable, open_pool
from pmarb.db.receipts import Receipt, Receipts
from pmarb.settings import WrongSettings, read
from pmarb.venue.port import TradingVenue, VenueUnavailable
from pmarb.venue.trading import SdkVenue, WrongWallet
from services.executor.flatten import flatten, log_receipt
from services.executor.place import Place, find, wallet_of
from services.executor.settings import ExecutorSettings

log = logs.get(__name__)

ONE_TRY: Final = 10.0  # Seconds
PAUSE: Final = 1.0
NOT_VERIFIED: Final = 1


async def kill(settings: ExecutorSettings, *, who: str, why: str, deadline: float) -> Receipt:
    """Latch, cancel, verify, until nothing is open or `deadline` (monotonic seconds) has passed."""
    latched = await asyncio.to_thread(_latch, settings, who, why)
    async with httpx.AsyncClient(timeout=5.0) as http:
        receipt = await _until_flat(settings, http, who=who, why=why, deadline=deadline)
    return await _store(settings, receipt if latched else _not_latched(receipt))


def _not_latched(receipt: Receipt) -> Receipt:
    words = "KILLED is not latched: the database does not answer"
    return replace(receipt, unverified="; ".join(filter(None, (receipt.unverified, words))))


def _latch(settings: ExecutorSettings, who: str, why: str) -> bool:
    try:
        control.kill(settings.dsn, who=who, why=why, now=settings.clock().now())
    except Unavailable as error:
        log.error("kill_not_latched", error=str(error).strip(), next="a running executor may go on: stop it")
        return False
    return True


async def _until_flat(
    settings: ExecutorSettings, http: httpx.AsyncClient, *, who: str, why: str, deadline: float
) -> Receipt:
    clock = settings.clock()
    receipt = _nothing_read(clock, who, why, "nothing was read from the venue")
    while True:
        try:
            place = await find(settings, http)
            venue = await _connect(settings, place)
            clock = place.clock
            try:
                receipt = await flatten(venue, clock, who=who, why=why, give_up=ONE_TRY)
            finally:
                await venue.close()
        except VenueUnavailable as error:
            receipt = replace(receipt, unverified=f"venue unavailable: {error}", ts_event=clock.now())
        if receipt.verified_real or time.monotonic() >= deadline:
            return receipt
        log.error("kill_not_verified", why=receipt.unverified, next="tries again")
        await asyncio.sleep(PAUSE)


async def _connect(settings: ExecutorSettings, place: Place) -> TradingVenue:
    try:
        return await SdkVenue.connect(place.urls, wallet_of(settings, place), place.clock)
    except WrongWallet as error:
        sys.stderr.write(f"error: the venue cannot use this wallet: {error} (WALLET_PRIVATE_KEY, WALLET_ADDRESS)\n")
        raise WrongSettings(2) from None


async def _store(settings: ExecutorSettings, receipt: Receipt) -> Receipt:
    try:
        pool = await open_pool(settings.dsn, size=1)
        try:
            await Receipts(pool).add(receipt)
        finally:
            await pool.close()
    except Unavailable as error:
        words = f"receipt not stored: {str(error).strip()}"
        return replace(receipt, unverified="; ".join(filter(None, (receipt.unverified, words))))
    return receipt


def _nothing_read(clock: Clock, who: str, why: str, trouble: str) -> Receipt:
    return Receipt(
        who=who,
        why=why,
        open_before=(),
        cancelled={},
        open_after=(),
        unverified=trouble,
        started_real=clock.real(),
        verified_real=0,
        ts_event=clock.now(),
    )


def _who() -> str:
    try:
        return f"{getpass.getuser()} (direct)"
    except (OSError, KeyError):
        return "operator (direct)"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 with zero open orders verified, 1 without."""
    parser = argparse.ArgumentParser(prog="python -m services.executor.kill", description=__doc__)
    parser.add_argument("--reason", default="killed directly", help="goes into the receipt")
    parser.add_argument("--give-up", type=float, default=float("inf"), help="seconds to keep trying (default: forever)")
    given = parser.parse_args(arguments)
    settings = read(ExecutorSettings)
    logs.configure(service="kill", level=settings.log_level, fmt=settings.log_format)
    if settings.execution == "paper":
        sys.stderr.write("EXECUTION=paper: nothing is at the venue; `pm-arb kill` latches without --direct.\n")
        return 2
    deadline = time.monotonic() + given.give_up
    try:
        receipt = asyncio.run(kill(settings, who=_who(), why=given.reason, deadline=deadline))
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted: zero open orders are NOT verified. Look at the venue yourself.\n")
        return 130
    log_receipt(receipt)
    sys.stdout.write(codec.encode_value(receipt).decode() + "\n")
    return 0 if receipt.verified_real and not receipt.open_after else NOT_VERIFIED


if __name__ == "__main__":
    sys.exit(main())
