"""The moment at which an order leaves, and whether it may.

The official client takes as long to prepare a request as the ledger to write the order down. So both happen at the
same time, and the body of the request, which is the order, waits here until it is written.
"""

from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Self, cast

import httpx

from pmarb.clock import Clock
from pmarb.venue.port import Permit

_current: ContextVar["Departure | None"] = ContextVar("departure", default=None)


class Withheld(Exception):
    """The permit was not given: nothing of the order left, and the connection is closed."""


class Departure:
    """One order's way out, for the one request made within it. `sent_real` is when its body left, 0 if it did not."""

    def __init__(self, permit: Permit, clock: Clock) -> None:
        self._permit = permit
        self._clock = clock
        self.sent_real = 0

    def __enter__(self) -> Self:
        self._token = _current.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)

    async def leave(self) -> None:
        """Returns when the body may be sent, at once and once.

        Raises:
            Withheld: it must not, or was sent already.
        """
        _current.set(None)  # What the permit asks the venue is no order
        if self.sent_real or not await self._permit():
            raise Withheld
        self.sent_real = self._clock.real()


class _Body(httpx.AsyncByteStream):
    def __init__(self, body: httpx.AsyncByteStream, departure: Departure) -> None:
        self._body = body
        self._departure = departure

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await self._departure.leave()
        async for part in self._body:
            yield part


async def hold(request: httpx.Request) -> None:
    """A hook of the HTTP client: the body of a request that is made within a Departure waits for it."""
    departure = _current.get()
    if departure is not None:
        request.stream = _Body(cast(httpx.AsyncByteStream, request.stream), departure)


def within() -> bool:
    """Whether the request that is being made is an order's."""
    return _current.get() is not None
