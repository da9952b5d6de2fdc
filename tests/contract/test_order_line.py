"""On the connections for orders nothing leaves before it may, nothing leaves twice, and no answer reaches another."""

import asyncio
import contextlib
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from pmarb.clock import ScaledClock
from pmarb.venue import orderline
from pmarb.venue.departure import Departure, Withheld, hold
from pmarb.venue.orderline import OrderLine

CLOCK = ScaledClock(speed=1, anchor=0)
ORDER = b'{"order":"one"}'
TAKEN = b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"took":"it  "}'
CHUNKED = (
    b"HTTP/1.1 100 Continue\r\n\r\n"
    b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nf\r\n{"took":"it  "}\r\n0\r\n\r\n'
)
CLOSE = b""
"""In place of an answer: the venue hangs up."""


async def yes() -> bool:
    return True


async def no() -> bool:
    return False


@dataclass
class Venue:
    """A server that answers each request by the next of `answers`, the last one for ever, and keeps what it was sent.

    `greeting` is what it says to a connection of which nobody asked anything, after the first answer.
    """

    answers: list[bytes]
    greeting: bytes = b""
    connections: int = 0
    ended: int = 0
    received: bytes = b""
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.received += head + await reader.readexactly(length)
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if answer == CLOSE:
                    break
                writer.write(answer)
                if self.greeting:
                    await asyncio.sleep(0.05)
                    writer.write(self.greeting)
        writer.close()
        self.ended += 1

    def hang_up(self) -> None:
        for writer in self.writers:
            writer.close()

    @property
    def orders(self) -> int:
        return self.received.count(ORDER)


@contextlib.asynccontextmanager
async def running(venue: Venue, tls: ssl.SSLContext | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """The venue, and a client whose orders go by an OrderLine and everything else by httpx."""
    server = await asyncio.start_server(venue.serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    line = OrderLine(httpx.AsyncHTTPTransport())
    async with httpx.AsyncClient(base_url=url, transport=line, event_hooks={"request": [hold]}) as client:
        yield client
    server.close()
    venue.hang_up()


async def send(client: httpx.AsyncClient, permit: Callable[[], object] = yes) -> tuple[httpx.Response, Departure]:
    with Departure(permit, CLOCK) as departure:  # type: ignore[arg-type]
        response = await client.post("/order", content=ORDER, headers={"POLY_SIGNATURE": "abc="})
    return response, departure


async def test_nothing_leaves_before_it_may_and_then_all_at_once() -> None:
    venue, asked, may = Venue([TAKEN]), asyncio.Event(), asyncio.Event()

    async def permit() -> bool:
        asked.set()
        await may.wait()
        return True

    async with running(venue) as client:
        sending = asyncio.create_task(send(client, permit))
        await asyncio.wait_for(asked.wait(), 5)
        await asyncio.sleep(0.05)
        assert (venue.connections, venue.received) == (1, b"")
        before = CLOCK.real()
        may.set()
        response, departure = await sending
        assert before <= departure.sent_real <= CLOCK.real()
    assert response.json() == {"took": "it  "}
    head, _, body = venue.received.partition(b"\r\n\r\n")
    assert body == ORDER
    assert head.startswith(b"POST /order HTTP/1.1\r\n")
    assert b"POLY_SIGNATURE: abc=" in head
    assert f"Host: 127.0.0.1:{response.request.url.port}".encode() in head


async def test_without_a_permit_nothing_leaves() -> None:
    venue = Venue([TAKEN])
    async with running(venue) as client:
        with pytest.raises(Withheld):
            await send(client, no)
        assert venue.received == b""
        await send(client)
    assert venue.orders == 1


async def test_an_order_leaves_once() -> None:
    departure = Departure(yes, CLOCK)
    await departure.leave()
    with pytest.raises(Withheld):
        await departure.leave()


async def test_a_redirected_order_is_not_sent_again() -> None:
    venue = Venue([b"HTTP/1.1 307 Elsewhere\r\nLocation: /order\r\nContent-Length: 0\r\n\r\n"])
    async with running(venue) as client:
        client.follow_redirects = True
        with pytest.raises((Withheld, httpx.StreamConsumed)):
            await send(client)
    assert venue.orders == 1


@pytest.mark.parametrize(
    "answer",
    [
        TAKEN,
        CHUNKED,
        b'HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nContent-Length: 15\r\n\r\n{"took":"it  "}',
    ],
    ids=["plain", "chunked", "refused"],
)
async def test_a_connection_is_kept_for_the_next_order(answer: bytes) -> None:
    venue = Venue([answer])
    async with running(venue) as client:
        for _ in range(3):
            response, _ = await send(client)
            assert response.json() == {"took": "it  "}
            assert response.status_code == int(answer.rpartition(b"HTTP/1.1 ")[2][:3])
    assert (venue.connections, venue.orders) == (1, 3)


async def test_two_orders_at_once_take_two_connections() -> None:
    venue = Venue([TAKEN])
    async with running(venue) as client:
        await asyncio.gather(send(client), send(client))
        await asyncio.gather(send(client), send(client))
    assert (venue.connections, venue.orders) == (2, 4)


async def test_a_connection_that_the_venue_closed_is_not_used_again() -> None:
    for answer in (TAKEN.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"), TAKEN):
        venue = Venue([answer])
        async with running(venue) as client:
            await send(client)
            venue.writers[0].close()
            await asyncio.sleep(0.05)
            await send(client)
        assert (venue.connections, venue.orders) == (2, 2)


async def test_a_connection_that_has_rested_for_long_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    venue = Venue([TAKEN])
    async with running(venue) as client:
        await send(client)
        await send(client)
        assert venue.connections == 1
        monkeypatch.setattr(orderline, "KEPT_FOR", 0.0)
        await send(client)
        await asyncio.sleep(0.05)
    assert (venue.connections, venue.orders) == (2, 3)


async def test_what_nobody_asked_for_answers_no_order() -> None:
    venue = Venue([TAKEN], greeting=b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
    async with running(venue) as client:
        await send(client)
        await asyncio.sleep(0.1)
        response, _ = await send(client)
        assert response.status_code == 200
    assert venue.connections == 2


CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"


@pytest.mark.parametrize("answer", [CLOSE, b"nonsense\r\n\r\n", CUT], ids=["none", "odd", "cut"])
async def test_an_order_that_left_and_was_not_answered_left(answer: bytes) -> None:
    venue = Venue([answer, TAKEN])
    async with running(venue) as client:
        departure = Departure(yes, CLOCK)
        if answer == CUT:
            asyncio.get_running_loop().call_later(0.2, venue.hang_up)
        with pytest.raises(httpx.HTTPError):
            await _within(departure, client)
        assert departure.sent_real > 0
        assert venue.orders == 1
        response, _ = await send(client)
        assert response.status_code == 200


async def _within(departure: Departure, client: httpx.AsyncClient) -> None:
    with departure:
        await client.post("/order", content=ORDER)


async def test_where_nobody_listens_the_permit_is_not_asked() -> None:
    async def never() -> bool:
        raise AssertionError("asked")

    venue = Venue([TAKEN])
    async with running(venue) as client:
        client.base_url = httpx.URL("http://127.0.0.1:9")
        departure = Departure(never, CLOCK)
        with pytest.raises(httpx.ConnectError):
            await _within(departure, client)
        assert departure.sent_real == 0


async def test_a_cancelled_order_closes_its_connection() -> None:
    venue = Venue([b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n"])
    async with running(venue) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await send(client)
        await asyncio.sleep(0.05)
        assert venue.ended == 1
        venue.answers = [TAKEN]
        response, _ = await send(client)
        assert response.json() == {"took": "it  "}
    assert venue.connections == 2


async def test_a_connection_is_open_before_it_is_needed() -> None:
    venue = Venue([TAKEN])
    async with running(venue) as client:
        line = client._transport
        assert isinstance(line, OrderLine)
        for _ in range(3):
            await line.ready(client.base_url)
        await asyncio.sleep(0.05)
        assert venue.connections == 1
        venue.writers[0].close()
        await asyncio.sleep(0.05)
        await line.ready(client.base_url)
        await send(client)
        await line.ready(httpx.URL("http://127.0.0.1:9"))
    assert venue.connections == 2


async def test_what_is_no_order_goes_the_clients_own_way() -> None:
    venue = Venue([TAKEN])
    async with running(venue) as client:
        await client.post("/other", content=b"{}")
        await send(client)
    assert venue.connections == 2


async def test_orders_leave_over_tls_to_whom_they_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {cert} -days 1 -subj /CN=venue"
    made = [*command.split(), "-addext", "subjectAltName=IP:127.0.0.1"]
    await asyncio.to_thread(subprocess.run, made, check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    venue = Venue([TAKEN])
    async with running(venue, tls) as client:
        with pytest.raises(httpx.ConnectError):
            await send(client)
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    async with running(venue, tls) as client:
        for _ in range(2):
            response, _ = await send(client)
            assert response.json() == {"took": "it  "}
    assert venue.orders == 2
