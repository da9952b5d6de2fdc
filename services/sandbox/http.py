"""Plain JSON replies and the two refusals every API shares."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.sandbox.refusals import INVALID_PAYLOAD, Refusal


def reply_json(body: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status_code=status, headers=headers, media_type="application/json")


def refusal_response(refusal: Refusal) -> Response:
    return reply_json(refusal.body(), status=refusal.status, headers=refusal.headers)


def parse_json(raw: bytes) -> object:
    """Body of a request. Raises Refusal 400 when it is no JSON."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Refusal(INVALID_PAYLOAD) from error


def query_list(request: Request, name: str) -> list[str]:
    """A repeated or comma-separated query parameter."""
    return [part for value in request.query_params.getlist(name) for part in value.split(",") if part]


def query_int(request: Request, name: str, default: int) -> int:
    """A whole number from the query. Raises Refusal 400 when it is none."""
    raw = request.query_params.get(name) or str(default)
    try:
        return int(raw)
    except ValueError as error:
        raise Refusal(f"invalid {name}") from error


class BrokenReply(Response):
    """Announces a body and never sends it: the server then closes the connection and the client loses the reply."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the ASGI signature
        headers = [(b"content-type", b"application/json"), (b"content-length", b"400")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
