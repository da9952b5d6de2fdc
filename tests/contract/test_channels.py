"""Channels as Apprise speaks to them, over real sockets: nothing that an alert says is refused, swallowed or cut."""

import asyncio
import email
import html
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from pmarb.domain.messages import Alert, AlertKind, Priority
from services.alerter.channels import ChannelFailed, channels

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ALERT = Alert(
    kind=AlertKind.TEST,
    priority=Priority.CRITICAL,
    dedupe_key="one",
    title="KILLED: <html>",
    body="3 < 5 & P&L\n<b>502</b> Bad Gateway",
    ts_event=0,
    ts_init=0,
)


class Mailbox:
    """A mail server for one connection after another."""

    def __init__(self) -> None:
        self.mails: list[Message] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        while line := (await reader.readline()).strip().upper():
            if line.startswith(b"DATA"):
                writer.write(b"354 go on\r\n")
                text = (await reader.readuntil(b"\r\n.\r\n")).removesuffix(b".\r\n")
                self.mails.append(email.message_from_bytes(text))
            writer.write(b"221 bye\r\n" if line.startswith(b"QUIT") else b"250 done\r\n")
            if line.startswith(b"QUIT"):
                break
        writer.close()


async def test_what_looks_like_a_tag_is_read_as_it_was_written() -> None:
    mailbox = Mailbox()
    async with await asyncio.start_server(mailbox.serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        for form in ("html", "text"):
            (channel,) = channels(
                (f"mailto://127.0.0.1:{port}?from=a@example.com&to=b@example.com&mode=insecure&format={form}",)
            )
            await asyncio.to_thread(channel.send, ALERT)
    as_html, as_text = ({part.get_content_type(): _text(part) for part in mail.walk()} for mail in mailbox.mails)
    shown = html.unescape(as_html["text/html"].replace("<br/>", "\n")).replace("\xa0", " ")
    assert shown == ALERT.body
    assert "<b>" not in as_html["text/html"]
    assert as_text["text/plain"].splitlines() == ALERT.body.splitlines()
    assert [mail["Subject"] for mail in mailbox.mails] == [ALERT.title] * 2


def _text(part: Message) -> str:
    content = part.get_payload(decode=True)
    return content.decode() if isinstance(content, bytes) else ""


@pytest.fixture
def told() -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """The port of a server that takes JSON, and what it was told."""
    bodies: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], bodies
        server.shutdown()


def test_more_than_a_channel_takes_at_once_comes_in_parts(told: tuple[int, list[dict[str, Any]]]) -> None:
    port, bodies = told
    words = " ".join(str(number) for number in range(3000))
    (channel,) = channels((f"ntfy://127.0.0.1:{port}/topic",))
    channel.send(replace(ALERT, body=words))
    assert len(bodies) == 2
    assert all(len(body["message"]) <= 7800 for body in bodies)
    assert " ".join(body["message"] for body in bodies).split() == words.split()
    bodies.clear()
    (cut,) = channels((f"ntfy://127.0.0.1:{port}/topic?overflow=truncate",))
    cut.send(replace(ALERT, body=words))
    assert len(bodies) == 1


def test_a_channel_that_is_away_has_failed() -> None:
    (channel,) = channels(("ntfy://127.0.0.1:1/topic",))
    with pytest.raises(ChannelFailed):
        channel.send(ALERT)
