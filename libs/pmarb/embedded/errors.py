"""What can go wrong with an embedded server, in words for the person at the terminal."""


class EmbeddedError(Exception):
    """An embedded server could not be found, started or kept alive."""


class BinariesMissing(EmbeddedError):
    """Neither the wheel nor PATH has the server."""


class AlreadyRunning(EmbeddedError):
    """Another process serves this data folder."""


class PortTaken(EmbeddedError):
    """Somebody took the port between choosing it and binding it."""
