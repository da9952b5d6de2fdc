"""An executor that ends itself with SIGKILL at the point that `CHAOS_DIE_AT=point:nth` names.

The points lie before and after each step of an order's life. Nothing of the executor is replaced: the methods of its
own parts are wrapped, so that the process is gone the moment it enters, or leaves, the step for the nth time.
"""

import asyncio
import functools
import inspect
import os
import signal
from collections.abc import Callable
from typing import Any, Final

from pmarb.bus.consumer import StreamConsumer
from pmarb.db.ledger import LedgerBook
from pmarb.db.orders import Orders
from pmarb.runtime import main
from pmarb.settings import load
from pmarb.venue.departure import Departure
from pmarb.venue.trading import SdkVenue
from services.executor.service import Executor
from services.executor.settings import ExecutorSettings
from services.executor.shop import Shop
from services.executor.wiring import build

STEPS: Final[dict[str, tuple[type, str]]] = {
    "plan": (SdkVenue, "draft"),
    "write": (Orders, "insert"),
    "sign": (SdkVenue, "seal"),
    "post": (SdkVenue, "post"),
    "leave": (Departure, "leave"),
    "fold": (Shop, "record"),
    "publish_and_ack": (StreamConsumer, "forward"),
    "settle": (LedgerBook, "settle"),
}
POINTS: Final = (*(f"{when}_{step}" for step in STEPS for when in ("before", "after")), "during_post")


class Fate:
    """Dies at the nth passage of its point."""

    def __init__(self, point: str, nth: int) -> None:
        self._point = point
        self._left = nth

    def pass_by(self, point: str) -> None:
        if point == self._point:
            self._left -= 1
            if self._left == 0:
                die()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wrap(fate: Fate) -> None:
    """Put the points around the steps."""
    for step, (owner, name) in STEPS.items():
        setattr(owner, name, _around(step, getattr(owner, name), fate))


def _around(step: str, method: Callable[..., Any], fate: Fate) -> Callable[..., Any]:
    @functools.wraps(method)
    async def waited_for(*args: Any, **kwargs: Any) -> Any:
        fate.pass_by(f"before_{step}")
        asyncio.get_running_loop().call_later(0.01, fate.pass_by, f"during_{step}")
        result = await method(*args, **kwargs)
        fate.pass_by(f"after_{step}")
        return result

    @functools.wraps(method)
    def called(*args: Any, **kwargs: Any) -> Any:
        fate.pass_by(f"before_{step}")
        result = method(*args, **kwargs)
        fate.pass_by(f"after_{step}")
        return result

    return waited_for if inspect.iscoroutinefunction(method) else called


if __name__ == "__main__":
    point, _, nth = os.environ.get("CHAOS_DIE_AT", "never:1").partition(":")
    wrap(Fate(point, int(nth)))
    settings = load(ExecutorSettings)

    async def start() -> Executor:
        return await build(settings)

    main("executor", settings, start)
