"""The control API's faults: asked for, listed and cleared while the venue runs."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from services.sandbox.fault_specs import parse_spec
from services.sandbox.http import reply_json
from services.sandbox.private import json_object, require_private
from services.sandbox.refusals import Refusal
from services.sandbox.world import World


class FaultControl:
    """Handlers under /sandbox/faults."""

    def __init__(self, world: World) -> None:
        self.world = world

    def router(self) -> APIRouter:
        router = APIRouter(prefix="/sandbox/faults", dependencies=[Depends(require_private)])
        router.add_api_route("", self.begin, methods=["POST"])
        router.add_api_route("", self.list, methods=["GET"])
        router.add_api_route("", self.clear_all, methods=["DELETE"])
        router.add_api_route("/clear", self.clear, methods=["POST"])
        router.add_api_route("/{which}", self.clear_some, methods=["DELETE"])
        return router

    async def begin(self, request: Request) -> Response:
        """One fault, see `fault_specs.Spec`; its id and everything that is armed come back."""
        body = await json_object(request)
        try:
            armed = self.world.mischief.do(parse_spec(body))
        except ValueError as error:
            raise Refusal(str(error)) from error
        return reply_json({"id": armed.id, **self._state()})

    async def list(self) -> Response:
        return reply_json(self._state())

    async def clear_all(self) -> Response:
        return self._clear("")

    async def clear_some(self, which: str) -> Response:
        """By id or by kind. A fault that has ended by itself is no mistake: nothing is cleared."""
        return self._clear(which)

    async def clear(self, request: Request) -> Response:
        """`{"id"}`, `{"kind"}` or nothing for all."""
        body = await json_object(request)
        if set(body) - {"id", "kind"} or len(body) > 1:
            raise Refusal("state an id, a kind, or nothing to clear all")
        return self._clear(str(next(iter(body.values()), "")))

    def _clear(self, which: str) -> Response:
        cleared = self.world.mischief.undo(which)
        return reply_json({"cleared": cleared, **self._state()})

    def _state(self) -> dict[str, Any]:
        faults = self.world.faults
        listed = faults.table()
        return {"armed": faults.shots(), "struck": faults.struck, "faults": listed, "ended": faults.ended()}
