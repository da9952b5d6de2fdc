"""Is this service alive? Exit 0 if so. Run inside its container; standard library only.

A service touches HEARTBEAT_FILE about once a second from its main loop, and this check removes the file: a loop that
stands still does not bring it back. With an address as argument it asks that address instead.
"""

import http.client
import os
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

MAX_AGE = 10.0  # Seconds
PATIENCE = 2.0  # Seconds, for an answer


def beating(path: Path, now: float) -> bool:
    try:
        touched = path.stat().st_mtime
        path.unlink()
    except FileNotFoundError:
        return False
    return now - touched <= MAX_AGE


def answering(url: str) -> bool:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "127.0.0.1", address.port, timeout=PATIENCE)
    try:
        connection.request("GET", address.path or "/")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def main() -> int:
    if len(sys.argv) > 1:
        healthy, what = answering(sys.argv[1]), sys.argv[1]
    else:
        path = Path(os.environ.get("HEARTBEAT_FILE", "/tmp/heartbeat"))  # noqa: S108 - the container's own
        healthy, what = beating(path, time.time()), str(path)
    print("alive" if healthy else f"no sign of life: {what}")
    return 0 if healthy else 1


if __name__ == "__main__":
    sys.exit(main())
