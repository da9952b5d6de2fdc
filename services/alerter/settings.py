"""What the alerter reads from the environment."""

import re
from decimal import Decimal
from typing import Final

from pydantic import Field, SecretStr

from pmarb.settings import Settings

Words = tuple[str, ...]
_BETWEEN_ADDRESSES: Final = re.compile(r"[,\s]+(?=[A-Za-z0-9]+://)")  # An address may hold commas of its own


class AlerterSettings(Settings):
    """Where alerts go and when they are worth sending."""

    apprise_urls: SecretStr = Field(
        default=SecretStr(""),
        description="where alerts go: Apprise URLs, comma separated, e.g. pover://user@token; empty: only logged",
    )
    large_loss_usd: Decimal = Field(default=Decimal(20), gt=0, description="a settled loss above this is an alert")
    silent_after_seconds: float = Field(
        default=120, gt=0, description="a service without a heartbeat for so long is silent"
    )
    watched_services: str = Field(
        default="scanner,risk,executor,console", description="services whose silence is an alert, comma separated"
    )
    alert_quiet_seconds: float = Field(
        default=600, ge=0, description="the same alert is not sent again within this time"
    )
    alert_burst: int = Field(
        default=20, ge=1, description="alerts a minute; more are counted into one (critical ones pass)"
    )

    @property
    def urls(self) -> Words:
        """Apprise's addresses: secrets."""
        return _kept(_BETWEEN_ADDRESSES.split(self.apprise_urls.get_secret_value()))

    @property
    def expected(self) -> Words:
        return _kept(self.watched_services.split(","))


def _kept(parts: list[str]) -> Words:
    return tuple(part for part in (part.strip(" ,") for part in parts) if part)
