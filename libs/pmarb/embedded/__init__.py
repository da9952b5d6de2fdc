"""A real Redis-compatible and a real PostgreSQL server from wheels, for people without Docker."""

from pmarb.embedded.errors import EmbeddedError
from pmarb.embedded.servers import EmbeddedServers, Endpoints, ephemeral, running

__all__ = ["EmbeddedError", "EmbeddedServers", "Endpoints", "ephemeral", "running"]
