"""What opens the venue's authenticated price socket: settings of whoever reads the oracle's averages there."""

from typing import Self

import httpx
from pydantic import Field, SecretStr, field_validator, model_validator

from pmarb.venue.polybolt import PriceKeys
from pmarb.venue.public import sandbox_keys
from pmarb.venue.windows import WindowSettings


class AverageSettings(WindowSettings):
    """Credentials that belong together: all of them or none."""

    polybolt_api_key: SecretStr | None = Field(
        default=None, description="CLOB credentials for the venue's price socket; unset: its averages are not read"
    )
    polybolt_api_secret: SecretStr | None = Field(default=None, description="belongs to POLYBOLT_API_KEY")
    polybolt_api_passphrase: SecretStr | None = Field(default=None, description="belongs to POLYBOLT_API_KEY")

    @field_validator("polybolt_api_key", "polybolt_api_secret", "polybolt_api_passphrase", mode="before")
    @classmethod
    def _blank_is_unset(cls, value: object) -> object:
        return None if isinstance(value, str) and not value.strip() else value

    @model_validator(mode="after")
    def _all_or_none(self) -> Self:
        given = (self.polybolt_api_key, self.polybolt_api_secret, self.polybolt_api_passphrase)
        if any(given) and not all(given):
            raise ValueError("POLYBOLT_API_KEY, POLYBOLT_API_SECRET and POLYBOLT_API_PASSPHRASE belong together")
        return self

    async def price_keys(self, http: httpx.AsyncClient) -> PriceKeys | None:
        """The credentials, None where there are none; a sandbox tells its own to anybody.

        Raises:
            VenueUnavailable: the sandbox does not answer.
        """
        if self.venue == "sandbox":
            return await sandbox_keys(http, self.sandbox_url)
        if not (self.polybolt_api_key and self.polybolt_api_secret and self.polybolt_api_passphrase):
            return None
        return PriceKeys(
            key=self.polybolt_api_key.get_secret_value(),
            secret=self.polybolt_api_secret.get_secret_value(),
            passphrase=self.polybolt_api_passphrase.get_secret_value(),
        )
