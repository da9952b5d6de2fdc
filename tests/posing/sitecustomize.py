"""In front of PYTHONPATH it lets a sandbox pose as Polymarket, which offers no test venue: by address and clock.

`POSING` is what the sandbox printed when it was ready. Every program of ours then runs as it would for real money.
"""

import json
import os
from typing import Any

from pmarb.clock import ScaledClock
from pmarb.settings import Settings
from pmarb.venue import public, sdk


def pose(ready: dict[str, Any]) -> None:
    spot = str(ready["spot"])
    names = ("gamma", "clob", "ws_market", "ws_user", "rtds")
    urls: dict[str, str] = {name: ready[name] for name in names}
    public.POLYMARKET = public.VenueUrls(**urls, spot_ws=spot, spot_rest=spot.replace("ws", "http", 1))  # type: ignore[misc]
    public.GEOBLOCK = f"{ready['web']}/api/geoblock"  # type: ignore[misc]
    private = ("data", "relayer", "rpc")
    sdk.PRODUCTION = sdk.Urls(**urls, **{name: ready[name] for name in private})  # type: ignore[misc]
    clock = ScaledClock(speed=ready["clock"]["speed"], anchor=ready["clock"]["anchor_ns"])
    Settings.clock = lambda self: clock  # type: ignore[method-assign]


pose(json.loads(os.environ["POSING"]))
