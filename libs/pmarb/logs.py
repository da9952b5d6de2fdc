"""One line an event: past tense, ids first, no secrets, once."""

import logging
import sys
from typing import Literal

import structlog

LogFormat = Literal["console", "json"]
_FIRST = ("opportunity_id", "order_hash", "trade_id", "slug")


def configure(*, service: str, level: str = "INFO", fmt: LogFormat = "console") -> None:
    """Send every event to standard error, with the service's name on it."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _ids_first,
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if fmt == "json"
        else structlog.processors.LogfmtRenderer(
            key_order=("timestamp", "level", "service", "event"), drop_missing=True, bool_as_flag=False
        )
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),  # One write a line: whoever reads is woken once
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")


def get(name: str) -> structlog.typing.FilteringBoundLogger:
    """The logger of a module."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(module=name)
    return logger


def _ids_first(
    _logger: structlog.typing.WrappedLogger, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    ids = {key: event.pop(key) for key in _FIRST if key in event}
    return {"event": event.pop("event"), **ids, **event}
