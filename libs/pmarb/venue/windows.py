"""Which markets a service follows: settings shared by whoever listens to the public feeds."""

from pydantic import Field, field_validator

from pmarb.settings import Settings
from pmarb.venue.gamma import FAMILIES
from pmarb.venue.rules import NAMES


class WindowSettings(Settings):
    """Underlyings and families, comma-separated, normalised and without duplicates."""

    assets: str = Field(
        default="btc,eth", description="underlyings, comma-separated: btc, eth, sol, xrp, doge, bnb, hype"
    )
    families: str = Field(default="5m,15m", description=f"comma-separated: {', '.join(FAMILIES)}")

    @field_validator("assets")
    @classmethod
    def _known_assets(cls, value: str) -> str:
        return _all_in(value, tuple(NAMES))

    @field_validator("families")
    @classmethod
    def _known_families(cls, value: str) -> str:
        return _all_in(value, FAMILIES)

    @property
    def asset_list(self) -> tuple[str, ...]:
        return tuple(self.assets.split(","))

    @property
    def family_list(self) -> tuple[str, ...]:
        return tuple(self.families.split(","))


def _all_in(value: str, known: tuple[str, ...]) -> str:
    """Normalised and without duplicates.

    Raises:
        ValueError: naming what is unknown and what is allowed.
    """
    items = list(dict.fromkeys(item.strip().lower() for item in value.split(",") if item.strip()))
    wrong = [item for item in items if item not in known]
    if wrong or not items:
        raise ValueError(f"unknown: {', '.join(wrong) or 'none given'}; allowed: {', '.join(known)}")
    return ",".join(items)
