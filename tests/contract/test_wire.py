"""Frames cut out of the byte stream: the same messages in the same order as the library reads, however they are cut."""

import asyncio
import shutil
import ssl
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, ConnectionClosedError

from pmarb.venue import wire
from pmarb.venue.wire import QuickConnection
from tests.waiting import PATIENCE_S

SIZES = (0, 1, 125, 126, 127, 128, 65_535, 65_536, 300_000)
MESSAGES = [bytes([n % 251]) * size for n, size in enumerate(SIZES * 12)]


async def read_all(connection: QuickConnection) -> tuple[list[bytes], ConnectionClosed | None]:
    """Everything until the end, and how it ended."""
    found: list[bytes] = []

    def take(raw: bytes, received: int) -> None:
        assert 0 <= time.time_ns() - received < PATIENCE_S * 1e9
        found.append(bytes(raw))

    try:
        async with asyncio.timeout(PATIENCE_S):
            await connection.read(take)
    except ConnectionClosed as error:
        return found, error


async def heard(
    handler: Any, *, tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None, **options: Any
) -> tuple[list[bytes], ConnectionClosed | None]:
    """`tls` has the server's side and the client's."""
    quick = cast("type[ClientConnection]", partial(QuickConnection, real=time.time_ns))
    ours, theirs = tls or (None, None)
    async with serve(handler, "127.0.0.1", 0, compression=None, ssl=ours) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        url = f"{'wss' if tls else 'ws'}://127.0.0.1:{port}"
        async with connect(
            url, compression=None, create_connection=quick, close_timeout=1, ssl=theirs, **options
        ) as connection:
            assert isinstance(connection, QuickConnection)
            return await read_all(connection)


@pytest.fixture
def certified(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's certificate for this machine, and a client that trusts it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here to make a certificate with")
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=here"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(certificate, key)
    return ours, ssl.create_default_context(cafile=str(certificate))


async def send_all(connection: ServerConnection) -> None:
    for message in MESSAGES:
        await connection.send(message, text=False)


async def test_the_same_over_tls(certified: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    found, error = await heard(send_all, tls=certified, max_size=wire.LARGEST_FRAME)
    assert found == MESSAGES
    assert error is not None


async def test_messages_of_every_length_arrive_whole_and_in_order() -> None:
    found, error = await heard(send_all, max_size=wire.LARGEST_FRAME)
    assert found == MESSAGES
    assert error is not None
    assert error.rcvd is not None
    assert error.rcvd.code == 1000


async def test_pings_are_answered_and_fragments_assembled_between_whole_messages() -> None:
    answered = []

    async def handler(connection: ServerConnection) -> None:
        await connection.send(b"first", text=False)
        waiter = await connection.ping()
        await connection.send([b"in ", b"three ", b"parts"], text=False)
        answered.append(await waiter)
        await connection.send(b"last", text=False)

    found, _ = await heard(handler)
    assert found == [b"first", b"in three parts", b"last"]
    assert len(answered) == 1


async def test_bytes_may_come_one_by_one() -> None:
    async def handler(connection: ServerConnection) -> None:
        sent = connection.transport.write

        def dripping(data: bytes) -> None:
            for byte in bytes(data):
                sent(bytes([byte]))

        connection.transport.write = dripping  # type: ignore[method-assign, assignment]
        for message in (b"a" * 130, b"", b"b" * 3):
            await connection.send(message, text=False)
            await asyncio.sleep(0.01)

    found, _ = await heard(handler)
    assert found == [b"a" * 130, b"", b"b" * 3]


async def test_a_frame_too_large_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "LARGEST_FRAME", 1000)

    async def handler(connection: ServerConnection) -> None:
        await connection.send(b"x" * 999, text=False)
        await connection.send(b"x" * 5000, text=False)
        await connection.wait_closed()

    found, error = await heard(handler, max_size=1000)
    assert found == [b"x" * 999]
    assert isinstance(error, ConnectionClosedError)
    assert error.sent is not None
    assert error.sent.code == 1009


async def test_what_the_reader_raises_is_raised_and_it_is_called_no_more() -> None:
    async def handler(connection: ServerConnection) -> None:
        for number in range(5):
            await connection.send(b"%d" % number, text=False)
        await connection.wait_closed()

    seen: list[bytes] = []

    def choke(raw: bytes, _received: int) -> None:
        seen.append(bytes(raw))
        if raw == b"2":
            raise ZeroDivisionError("a frame that broke its reader")

    quick = cast("type[ClientConnection]", partial(QuickConnection, real=time.time_ns))
    async with serve(handler, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}", compression=None, create_connection=quick) as connection:
            assert isinstance(connection, QuickConnection)
            async with asyncio.timeout(PATIENCE_S):
                with pytest.raises(ZeroDivisionError, match="broke its reader"):
                    await connection.read(choke)
    assert seen == [b"0", b"1", b"2"]


async def test_a_refused_handshake_says_so() -> None:
    async def refuse(connection: ServerConnection, _request: Any) -> Any:
        return connection.respond(403, "not you\n")

    quick = cast("type[ClientConnection]", partial(QuickConnection, real=time.time_ns))
    async with serve(lambda _c: asyncio.sleep(0), "127.0.0.1", 0, process_request=refuse) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        with pytest.raises(Exception, match="403"):
            await connect(f"ws://127.0.0.1:{port}", create_connection=quick)
