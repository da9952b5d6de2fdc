"""`pm-arb record [--out DIR] [--seconds N]`: everything the public feeds say, onto tapes that `pm-arb replay` reads.

Markets of FAMILIES on ASSETS, two spot exchanges, the candles that markets compare with, and the oracle; with
POLYBOLT_API_KEY, _SECRET and _PASSPHRASE its averages too. Credentials reach no tape. Needs no other key, no Redis and
no database. Where the venue is comes from VENUE and SANDBOX_URL. Ctrl-C finishes the tape.
"""

import argparse
from pathlib import Path

import httpx

from pmarb.clock import ScaledClock
from pmarb.runtime import Backoff, main
from pmarb.settings import load
from pmarb.venue.port import VenueUnavailable
from pmarb.venue.public import POLYMARKET, VenueUrls, sandbox
from services.recorder.service import RecorderService
from services.recorder.settings import RecorderSettings
from services.recorder.spool import Spool

MEGABYTE = 1 << 20


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="pm-arb record", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=None, metavar="DIR", help="where the tapes go (RECORD_DIR)")
    parser.add_argument("--seconds", type=float, default=None, help="stop after so much venue time")
    parser.add_argument("--rotate-minutes", type=float, default=None, help="length of a tape (RECORD_ROTATE_MIN)")
    return parser.parse_args()


async def venue(settings: RecorderSettings, http: httpx.AsyncClient) -> tuple[VenueUrls, ScaledClock]:
    """Where the venue is, and its clock; waits for a sandbox that is not up yet."""
    if settings.venue == "polymarket":
        return POLYMARKET, settings.clock()
    backoff = Backoff("sandbox")
    while True:
        try:
            return await sandbox(http, settings.sandbox_url)
        except VenueUnavailable as error:
            await backoff.wait(error)


if __name__ == "__main__":
    asked = options()
    settings = load(RecorderSettings)

    async def build() -> RecorderService:
        http = httpx.AsyncClient(timeout=httpx.Timeout(5.0))
        urls, clock = await venue(settings, http)
        spool = Spool(
            asked.out or settings.record_dir,
            venue=settings.venue,
            rotate_s=60 * (asked.rotate_minutes or settings.record_rotate_min),
            rotate_bytes=settings.record_rotate_mb * MEGABYTE,
        )
        return RecorderService(
            urls=urls,
            clock=clock,
            http=http,
            spool=spool,
            assets=settings.asset_list,
            families=settings.family_list,
            keys=await settings.price_keys(http),
            seconds=asked.seconds,
            heartbeat_file=settings.heartbeat_file,
        )

    main("recorder", settings, build)
