"""`.env.example`, generated from the settings themselves: `python -m tests.env_example` writes it anew."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from pmarb.settings import Settings

PATH = Path(__file__).parents[1] / ".env.example"
SERVICES = ("scanner", "risk", "executor", "alerter", "console", "recorder")
HEAD = """\
# Every setting, with its default. Nothing here is needed: without a file `.env` everything trades in the sandbox.
# Copy to `.env` and take the # from what you change. <NAME>_FILE=/path reads a value from a file instead; with compose
# that is for the wallet key: put it in infra/secrets/ and say WALLET_PRIVATE_KEY_FILE=/run/secrets/<file>.
"""
# The sandbox shares no code with what it examines, not even this; and compose has some of its own.
SANDBOX = {
    "SANDBOX_SCENARIO": ("slow_makers", "efficient: makers as good as measured; slow_makers: a correct system earns"),
    "SANDBOX_SEED": ("1", "prices, keys, markets and settlement follow from it"),
    "SANDBOX_FAMILIES": ("5m,15m", "which markets it lists, or all; see docs/sandbox.md"),
    "SANDBOX_STATE": ("", "folder it remembers its run in; empty: it forgets (set by docker-compose.yml)"),
    "SANDBOX_HOST": ("127.0.0.1", "address to listen on (set by docker-compose.yml)"),
    "SANDBOX_PORT": ("8900", "port to listen on (set by docker-compose.yml)"),
}
COMPOSE = {
    "POSTGRES_PASSWORD": ("pmarb", "password of the ledger, which no port publishes; takes effect on a new volume"),
    "SANDBOX_PUBLISHED": ("8900", "the sandbox's port on this machine's loopback"),
    "COMPOSE_PROFILES": ("", "record: run a recorder of the feeds, too; see docs/evaluation.md"),
    "CONSOLE_PUBLISHED": ("8080", "the console's port on this machine's loopback"),
}
SET_BY_COMPOSE = {
    "redis_url",
    "database_url",
    "sandbox_url",
    "heartbeat_file",
    "console_host",
    "console_port",
    "record_dir",
}


def classes_of(service: str) -> list[type[Settings]]:
    """The settings that a service reads."""
    named = vars(importlib.import_module(f"services.{service}.settings")).values()
    return [value for value in named if isinstance(value, type) and issubclass(value, Settings)]


def settings_of(service: str) -> dict[str, FieldInfo]:
    """The fields that a service adds to the common ones."""
    found: dict[str, FieldInfo] = {}
    for settings in classes_of(service):
        found |= {name: info for name, info in settings.model_fields.items() if name not in Settings.model_fields}
    return found


def rendered() -> str:
    sections = [HEAD, section("Common", map(line, *zip(*Settings.model_fields.items(), strict=True)))]
    told: set[str] = set()
    for service in SERVICES:
        fields = {name: info for name, info in settings_of(service).items() if name not in told}
        told |= fields.keys()  # One line a name, though two services may read it
        sections.append(section(service.capitalize(), (line(name, info) for name, info in fields.items())))
    for title, table in (("Sandbox", SANDBOX), ("docker-compose.yml", COMPOSE)):
        sections.append(section(title, (entry(name, value, about) for name, (value, about) in table.items())))
    return "\n".join(sections)


def section(title: str, lines: Iterator[str]) -> str:
    return f"# --- {title} {'-' * (113 - len(title))}\n\n" + "\n".join(lines)


def line(name: str, info: FieldInfo) -> str:
    about = (info.description or "") + (" (set by docker-compose.yml)" if name in SET_BY_COMPOSE else "")
    return entry(name.upper(), shown(info.default), about)


def shown(default: Any) -> str:
    if default is None or default is PydanticUndefined:
        return ""
    if isinstance(default, SecretStr):
        return default.get_secret_value()
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)


def entry(name: str, value: str, about: str) -> str:
    return f"# {about[:1].upper()}{about[1:]}\n#{name}={value}\n"


if __name__ == "__main__":
    PATH.write_text(rendered())
