"""The console's HTTP face. Reading needs no token and changes nothing; stopping and starting need one."""

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import psycopg
from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field
from starlette.middleware.trustedhost import TrustedHostMiddleware

from pmarb import codec
from pmarb.bus.port import BusUnavailable
from pmarb.bus.streams import RedisBus
from pmarb.clock import Clock
from pmarb.db import control, delivered, foreign, trace, views
from pmarb.domain.messages import Halt, Kill, Resume
from pmarb.domain.scanners import ScannerReport, scanners_needed
from services.console.settings import ConsoleSettings

PAGE: Final = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
SCRIPT: Final = (Path(__file__).parent / "page.js").read_text(encoding="utf-8")
RECEIPT_WITHIN: Final = 25.0  # Seconds, real: longer than an executor tries before it writes what it could not verify
RECEIPT_POLL: Final = 0.2
Limit = Annotated[int, Query(ge=1, le=500)]


class Reason(BaseModel):
    """Why a person stops or starts trading."""

    reason: str = Field(min_length=3, max_length=500)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What the handlers work with."""

    settings: ConsoleSettings
    bus: RedisBus
    clock: Clock


def make_app(tools: Tools) -> FastAPI:
    """The application over these tools."""
    app = FastAPI(title="pm-arb console", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=tools.settings.allowed_hosts)
    app.add_exception_handler(psycopg.OperationalError, _postgres_away)
    app.add_exception_handler(BusUnavailable, _redis_away)
    _add_page(app)
    _add_health(app, tools)
    _add_views(app, tools)
    _add_control(app, tools)
    return app


def _json(value: object, status: int = 200) -> Response:
    """JSON with exact decimals, as strings."""
    return Response(codec.encode_value(value), status_code=status, media_type="application/json", headers=HEADERS)


def _postgres_away(_request: Request, _error: Exception) -> Response:
    return _json({"error": "PostgreSQL does not answer; nothing can be said about the ledger right now"}, 503)


def _redis_away(_request: Request, _error: Exception) -> Response:
    return _json({"error": "Redis does not answer; the services hear of it when it is back"}, 503)


def _add_page(app: FastAPI) -> None:
    @app.get("/")
    async def page() -> HTMLResponse:
        return HTMLResponse(PAGE, headers=HEADERS)

    @app.get("/page.js")
    async def script() -> Response:
        return Response(SCRIPT, media_type="text/javascript", headers=HEADERS)


def _add_health(app: FastAPI, tools: Tools) -> None:
    @app.get("/live")
    async def live() -> Response:
        return _json({"ok": True})

    @app.get("/health")
    async def health() -> Response:
        services, redis = await _services(tools)
        state = await _trading_state(tools)
        ok = redis == "ok" and state is not None and all(services.values())
        body = {
            "ok": ok,
            "redis": redis,
            "postgres": "ok" if state else "does not answer",
            "services": services,
            "trading": state.state if state else "unknown",
        }
        return _json(body, 200 if ok else 503)


async def _services(tools: Tools) -> tuple[dict[str, list[str]], str]:
    expected = tools.settings.expected
    try:
        return {name: await tools.bus.members(name) for name in expected}, "ok"
    except BusUnavailable:
        return {name: [] for name in expected}, "does not answer"


async def _trading_state(tools: Tools) -> views.State | None:
    def read() -> views.State:
        with views.connect(tools.settings.dsn) as connection:
            return views.state(connection)

    try:
        return await asyncio.to_thread(read)
    except psycopg.OperationalError:
        return None


def _add_views(app: FastAPI, tools: Tools) -> None:
    def view(path: str, read: Callable[..., Any]) -> None:
        def handler(limit: Limit = 50) -> Response:
            with views.connect(tools.settings.dsn) as connection:
                return _json(read(connection, limit))

        app.get(path)(handler)

    @app.get("/status")
    async def status() -> Response:
        return _json(await asyncio.to_thread(_status_of, tools) | {"scanners": await _scanners(tools)})

    view("/positions", lambda connection, _limit: views.positions(connection))
    view("/orders", lambda connection, limit: views.orders(connection, limit=limit))
    view("/trades", lambda connection, limit: views.trades(connection, limit=limit))
    view("/opportunities", lambda connection, limit: views.verdicts(connection, limit=limit))
    view("/foreign", lambda connection, limit: foreign.listed(connection, limit=limit))
    view("/pnl", lambda connection, _limit: views.pnl(connection))
    view("/rejections", lambda connection, _limit: views.rejection_counts(connection))
    view("/receipts", lambda connection, limit: views.receipts(connection, limit=limit))
    view("/alerts", lambda connection, limit: delivered.deliveries(connection, limit=limit))

    @app.get("/trace/{opportunity_id}")
    def life(opportunity_id: str) -> Response:
        with views.connect(tools.settings.dsn) as connection:
            found = trace.trace(connection, opportunity_id)
        return _json(found) if found else _json({"error": f"no opportunity {opportunity_id}"}, 404)


def _status_of(tools: Tools) -> dict[str, object]:
    with views.connect(tools.settings.dsn) as connection:
        return _status(connection)


async def _scanners(tools: Tools) -> dict[str, object]:
    """How busy each scanner is, how far its prices to beat are off, and how many the load needs."""
    found = {}
    try:
        said = await tools.bus.said("scanner")
    except BusUnavailable:
        said = {}
    for member, raw in said.items():
        with contextlib.suppress(codec.Undecodable):  # Nothing said yet, or by another version
            found[member] = codec.decode_value(raw, ScannerReport)
    return {"alive": len(said), "needed": scanners_needed(found.values()), "members": found}


def _status(connection: views.Connection) -> dict[str, object]:
    return {
        "state": views.state(connection),
        "balances": views.balances(connection),
        "pnl": views.pnl(connection),
        "verdicts": views.verdict_counts(connection),
        "orders": views.order_counts(connection),
        "fills": views.fills(connection),
        "open_orders": len(views.open_orders(connection)),
        "positions": len(views.positions(connection)),
        "tick_to_wire_ms": views.tick_to_wire(connection),
    }


def _add_control(app: FastAPI, tools: Tools) -> None:
    def authorised(authorization: Annotated[str, Header()] = "") -> None:
        token = tools.settings.console_token.get_secret_value()
        if not token:
            raise HTTPException(403, "set CONSOLE_TOKEN to allow this; meanwhile: pm-arb stop, kill, resume")
        given = authorization.removeprefix("Bearer ")
        if not secrets.compare_digest(given.encode(), token.encode()):
            raise HTTPException(401, "the bearer token was wrong", {"WWW-Authenticate": "Bearer"})

    @app.post("/halt", dependencies=[Depends(authorised)])
    async def halt(body: Reason) -> Response:
        return await _halt(tools, body.reason)

    @app.post("/kill", dependencies=[Depends(authorised)])
    async def kill(body: Reason) -> Response:
        return await _kill(tools, body.reason)

    @app.post("/resume", dependencies=[Depends(authorised)])
    async def resume(body: Reason) -> Response:
        return await _resume(tools, body.reason)


async def _halt(tools: Tools, why: str) -> Response:
    now = tools.clock.now()
    changed = await _write(lambda: control.halt(tools.settings.dsn, who="console", why=why, now=now))
    if not changed:
        return _json({"state": "KILLED", "note": "trading was killed already"})
    await tools.bus.publish(Halt(who="console", why=why, clears_at=0, ts_event=now, ts_init=now))
    return _json({"state": "HALTED"})


async def _kill(tools: Tools, why: str) -> Response:
    """Latch, spread, and wait for the proof: the same path as `pm-arb kill`."""
    now, asked = tools.clock.now(), tools.clock.real()
    await _write(lambda: control.kill(tools.settings.dsn, who="console", why=why, now=now))
    with contextlib.suppress(BusUnavailable):  # The row holds already, and the executor reads it by itself
        await tools.bus.publish(Kill(who="console", why=why, ts_event=now, ts_init=now))
    receipt = await _receipt_since(tools, asked)
    if receipt is None:
        note = "KILLED is latched, but no executor wrote a receipt: nothing is verified. See pm-arb kill --direct."
    elif receipt.open_after or not receipt.verified_real:
        note = f"KILLED, but zero open orders are not verified yet: {receipt.unverified}. The executor keeps trying."
    else:
        note = f"KILLED. {len(receipt.cancelled)} orders cancelled, none open afterwards (receipt {receipt.id})."
    return _json({"state": "KILLED", "receipt": receipt, "note": note})


async def _receipt_since(tools: Tools, asked: int) -> views.Receipt | None:
    def read() -> views.Receipt | None:
        with views.connect(tools.settings.dsn) as connection:
            return next(iter(views.receipts(connection, limit=1, since_real=asked)), None)

    for _ in range(int(RECEIPT_WITHIN / RECEIPT_POLL)):
        found = await asyncio.to_thread(read)
        if found is not None:
            return found
        await asyncio.sleep(RECEIPT_POLL)
    return None


async def _resume(tools: Tools, why: str) -> Response:
    now = tools.clock.now()
    await _write(lambda: control.resume(tools.settings.dsn, who="console", why=why, now=now))
    await tools.bus.publish(Resume(who="console", why=why, ts_event=now, ts_init=now))
    return _json({"state": "ACTIVE"})


async def _write(action: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(action)
