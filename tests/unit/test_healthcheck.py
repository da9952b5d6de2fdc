"""The health check notices a loop that stands still."""

import importlib.util
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def healthcheck() -> ModuleType:
    spec = importlib.util.spec_from_file_location("healthcheck", Path(__file__).parents[2] / "infra/healthcheck.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def address() -> Iterator[str]:
    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else 503)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_loop_that_beats_is_alive_and_one_that_stopped_is_not(healthcheck: ModuleType, tmp_path: Path) -> None:
    heartbeat = tmp_path / "heartbeat"
    heartbeat.touch()
    now = heartbeat.stat().st_mtime
    assert healthcheck.beating(heartbeat, now)
    assert not healthcheck.beating(heartbeat, now)
    heartbeat.touch()
    assert healthcheck.beating(heartbeat, now + 1)


def test_an_old_heartbeat_is_no_sign_of_life(healthcheck: ModuleType, tmp_path: Path) -> None:
    heartbeat = tmp_path / "heartbeat"
    heartbeat.touch()
    assert not healthcheck.beating(heartbeat, heartbeat.stat().st_mtime + 60)


def test_an_address_is_healthy_when_it_answers_200(healthcheck: ModuleType, address: str) -> None:
    assert healthcheck.answering(f"{address}/health")
    assert not healthcheck.answering(f"{address}/elsewhere")
    assert not healthcheck.answering("http://127.0.0.1:9")
