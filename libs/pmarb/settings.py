"""Settings that more than one service reads. Every service extends `Settings` with its own in its `settings.py`.

Values come from the environment, or from a file named by `<NAME>_FILE` (Docker secrets). A wrong value stops the
process with a line that names the variable and what it may be, and so does a name that is nearly one of ours: a limit
that was misspelt would not be in force, and nobody would know.
"""

import os
import sys
from collections.abc import Iterable
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from pmarb.clock import ScaledClock

Venue = Literal["sandbox", "polymarket"]
Execution = Literal["paper", "live"]

NEAR: Final = 0.9
"""How much of a name must be that of a setting (difflib's ratio): a letter left out, doubled, or two exchanged."""


class Settings(BaseSettings):
    """What every service needs to know."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, hide_input_in_errors=False)

    venue: Venue = Field(default="sandbox", description="where to trade: the sandbox (no real money) or Polymarket")
    execution: Execution = Field(
        default="live", description="paper fills against the book; live signs and posts orders"
    )
    redis_url: str = Field(default="redis://127.0.0.1:6379/0", description="Redis or Valkey, with AOF on")
    database_url: SecretStr = Field(
        default=SecretStr("postgresql://pmarb:pmarb@127.0.0.1:5432/pmarb"), description="PostgreSQL"
    )
    sandbox_url: str = Field(default="http://127.0.0.1:8900", description="where the sandbox listens")
    clock_speed: float = Field(default=1.0, gt=0, le=100, description="how much faster venue time runs (sandbox only)")
    clock_anchor_ns: int = Field(default=0, ge=0, description="real time at which venue time equals it (sandbox only)")
    bankroll_usd: Decimal = Field(
        default=Decimal(300), ge=1, le=100_000, description="capital the limits are computed from"
    )
    log_format: Literal["console", "json"] = Field(default="console", description="one line an event, as text or JSON")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="least level written")
    heartbeat_file: Path = Field(
        default=Path("/tmp/heartbeat"),  # noqa: S108 - a container's own
        description="touched every second while the loop turns",
    )

    @field_validator("log_level", "venue", "execution", "log_format", mode="before")
    @classmethod
    def _trimmed(cls, value: Any, info: Any) -> Any:
        if not isinstance(value, str):
            return value
        return value.strip().upper() if info.field_name == "log_level" else value.strip().lower()

    def clock(self) -> ScaledClock:
        """Venue time; only the sandbox's may run at another speed than ours."""
        if self.venue != "sandbox":
            return ScaledClock()
        return ScaledClock(speed=self.clock_speed, anchor=self.clock_anchor_ns)

    @property
    def dsn(self) -> str:
        """The database address for psycopg: never log it."""
        return self.database_url.get_secret_value()


S = TypeVar("S", bound=Settings)


class WrongSettings(SystemExit):
    """The process cannot start: the message, one line a variable, is for the operator."""


def load(cls: type[S]) -> S:
    """The settings of a service that starts.

    Raises:
        WrongSettings: exit code 2, naming each wrong variable, its value, and what is allowed; also each misspelt one.
    """
    wrong = misspelt(cls, os.environ)
    for name, meant in wrong.items():
        sys.stderr.write(f"error: {name} is no setting; did you mean {meant}? Correct it or take it away\n")
    if wrong:
        raise WrongSettings(2)
    return read(cls)


def read(cls: type[S]) -> S:
    """The settings of a command. No misspelt name keeps a person from a kill: what it might have limited does not run.

    Raises:
        WrongSettings: exit code 2, naming each wrong variable, its value, and what is allowed.
    """
    _read_secret_files(cls)
    try:
        return cls()
    except ValidationError as error:
        for line in explain(error, cls):
            sys.stderr.write(f"error: {line}\n")
        raise WrongSettings(2) from None


def misspelt(cls: type[BaseSettings], names: Iterable[str]) -> dict[str, str]:
    """Names that nobody reads, but are nearly a setting of this class: each with the one it may have meant."""
    ours = [field.upper() for field in cls.model_fields]
    ours += [f"{name}_FILE" for name in ours]
    others = {name for name in names if name.upper() not in ours}
    near = {name: get_close_matches(name.upper(), ours, n=1, cutoff=NEAR) for name in others}
    return {name: found[0] for name, found in sorted(near.items()) if found}


def explain(error: ValidationError, cls: type[BaseSettings]) -> list[str]:
    """One line for each wrong variable."""
    return [_line(item, cls) for item in error.errors()]


def _line(item: ErrorDetails, cls: type[BaseSettings]) -> str:
    field = str(item["loc"][0]) if item["loc"] else ""
    info = cls.model_fields.get(field)
    about = f" ({info.description})" if info and info.description else ""
    secret = info is not None and "Secret" in str(info.annotation)
    hidden = secret or not field or item["type"] == "missing"  # Of all settings together: they hold secrets
    value = "" if hidden else f" was {item['input']!r};"
    return f"{field.upper() or 'settings:'}{value} {item['msg'][:1].lower()}{item['msg'][1:]}{about}"


def _read_secret_files(cls: type[BaseSettings]) -> None:
    for field in cls.model_fields:
        name = field.upper()
        path = os.environ.get(f"{name}_FILE")
        if not path:
            continue
        try:
            os.environ[name] = Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            who = (
                f": this runs as user {os.getuid()}"
                if isinstance(error, PermissionError) and hasattr(os, "getuid")
                else ""
            )
            sys.stderr.write(f"error: {name}_FILE was {path!r}; {error.strerror}{who}\n")
            raise WrongSettings(2) from None
