"""Settings of the executor: the only service that is given a key."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from pmarb.settings import Settings
from pmarb.venue.gamma import FAMILIES


class ExecutorSettings(Settings):
    """Who trades, and which windows it keeps books of."""

    wallet_private_key: SecretStr | None = Field(
        default=None, description="the signer's key; without one the sandbox's throw-away account is used"
    )
    wallet_address: str | None = Field(
        default=None, pattern=r"^0x[0-9a-fA-F]{40}$", description="the funder: the wallet that holds the money"
    )
    signature_type: int | None = Field(
        default=None, ge=0, le=3, description="0 EOA, 1 proxy, 2 Safe, 3 deposit wallet; found from the wallet if unset"
    )
    clob_api_key: SecretStr | None = Field(default=None, description="CLOB credentials; derived from the key if unset")
    clob_api_secret: SecretStr | None = Field(default=None, description="belongs to CLOB_API_KEY")
    clob_api_passphrase: SecretStr | None = Field(default=None, description="belongs to CLOB_API_KEY")
    relayer_api_key: SecretStr | None = Field(
        default=None, description="lets the relayer redeem for the wallet; without one winnings wait for a redeemer"
    )
    kill_file: Path | None = Field(
        default=None, description="a file that kills trading while it exists; with compose infra/secrets/KILL"
    )
    assets: str = Field(default="btc,eth", pattern=r"^[a-z0-9]+(,[a-z0-9]+)*$", description="assets, comma-separated")
    families: str = Field(default="5m,15m", description=f"comma-separated: {', '.join(FAMILIES)}")
    max_leg_skew_ms: int = Field(
        default=2000,
        ge=1,
        le=600_000,
        description="no leg of a set is sent later than this after the first (venue time)",
    )
    answer_within_s: float = Field(default=10.0, gt=0, le=60, description="how long to wait for the reply to an order")

    @field_validator(
        "wallet_private_key",
        "wallet_address",
        "signature_type",
        "clob_api_key",
        "clob_api_secret",
        "clob_api_passphrase",
        "relayer_api_key",
        "kill_file",
        mode="before",
    )
    @classmethod
    def _blank_is_unset(cls, value: object) -> object:
        return None if isinstance(value, str) and not value.strip() else value

    @field_validator("families")
    @classmethod
    def _known(cls, value: str) -> str:
        if not set(value.split(",")) <= set(FAMILIES):
            raise ValueError(f"allowed: {', '.join(FAMILIES)}")
        return value

    @property
    def asset_names(self) -> Sequence[str]:
        return self.assets.split(",")

    @property
    def family_names(self) -> Sequence[str]:
        """Those whose books are followed ahead of any order."""
        return self.families.split(",")
