"""The sandbox: a Polymarket look-alike over HTTP and WebSocket on one port, the testnet that Polymarket does not offer.

    clob       /                 orders, books, account          gamma   /gamma      markets, events, search
    data       /data-api         positions, trades, activity     web     /web        geoblock, price to beat
    ws market  /ws/market        ws user  /ws/user               rtds    /rtds       index, oracle, TWAP
    relayer    /relayer          split, merge, redeem            rpc     /rpc        a few calls of a chain node
    polybolt   /polybolt         authenticated prices            control /sandbox    accounts, faults, knobs
    spot       /spot             Binance-like streams, klines    sports  /sports     scores of games
    coinbase   /coinbase         Coinbase-like matches

Markets of the chosen families roll over a seeded price path; simulated makers and takers trade them; orders must be
signed for real; settlement and redemption follow the venue's rules. Nothing here is shared with the code it examines.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from services.sandbox.api_account import AccountApi
from services.sandbox.api_analytics import Analytics
from services.sandbox.api_chain import NodeApi, RelayerApi
from services.sandbox.api_clob import PublicClob
from services.sandbox.api_control import Control
from services.sandbox.api_data import Data
from services.sandbox.api_faults import FaultControl
from services.sandbox.api_gamma import Gamma
from services.sandbox.api_lists import Lists
from services.sandbox.api_outside import Outside
from services.sandbox.api_sessions import SessionApi
from services.sandbox.api_trading import Trading
from services.sandbox.faultgate import FaultGate
from services.sandbox.http import refusal_response
from services.sandbox.refusals import INVALID_PAYLOAD, Refusal
from services.sandbox.world import World


def build_app(world: World) -> FastAPI:
    """The ASGI application of one world; its lifespan starts and stops the world."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        world.start()
        yield
        await world.stop()

    app = FastAPI(title="Polymarket sandbox", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    parts = (PublicClob, Lists, Trading, AccountApi, Gamma, Data, Analytics, Outside, RelayerApi, NodeApi)
    for part in (*parts, SessionApi, Control, FaultControl):
        app.include_router(part(world).router())
    app.add_exception_handler(Refusal, on_refusal)
    app.add_exception_handler(RequestValidationError, on_malformed)
    add_sockets(app, world)
    app.add_middleware(FaultGate, world=world)
    return app


def add_sockets(app: FastAPI, world: World) -> None:
    async def spot_single(socket: WebSocket, stream: str) -> None:
        await world.spot.serve(socket, streams=stream, combined=False)

    async def spot_bare(socket: WebSocket) -> None:
        await world.spot.serve(socket, streams="", combined=False)

    async def spot_combined(socket: WebSocket, streams: str = "") -> None:
        await world.spot.serve(socket, streams=streams, combined=True)

    app.add_api_websocket_route("/ws/market", world.feeds.serve_market)
    app.add_api_websocket_route("/ws/user", world.feeds.serve_user)
    app.add_api_websocket_route("/rtds", world.rtds.serve)
    app.add_api_websocket_route("/polybolt", world.polybolt.serve)
    app.add_api_websocket_route("/sports", world.sports.serve)
    app.add_api_websocket_route("/coinbase", world.coinbase.serve)
    app.add_api_websocket_route("/spot/ws", spot_bare)
    app.add_api_websocket_route("/spot/ws/{stream:path}", spot_single)
    app.add_api_websocket_route("/spot/stream", spot_combined)


async def on_refusal(_: Request, error: Exception) -> Response:
    if not isinstance(error, Refusal):
        raise error
    return refusal_response(error)


async def on_malformed(_: Request, __: Exception) -> Response:
    """Query parameters of the wrong type."""
    return refusal_response(Refusal(INVALID_PAYLOAD))
