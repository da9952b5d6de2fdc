"""Settings of the recorder."""

from pathlib import Path

from pydantic import Field, field_validator

from pmarb.settings import Settings
from pmarb.venue.gamma import NAMES, WINDOW_S


class RecorderSettings(Settings):
    """What the recorder may be told."""

    assets: str = Field(default="btc,eth", description="underlyings, comma-separated: btc, eth, sol, xrp, doge, ...")
    families: str = Field(default="5m,15m", description="windows, comma-separated: 5m, 15m, 4h")
    record_dir: Path = Field(default=Path("tapes"), description="where `pm-arb record` puts its tapes")
    record_rotate_min: float = Field(default=60, gt=0, le=1440, description="minutes of a tape (venue time)")
    record_rotate_mb: int = Field(default=512, ge=1, le=8192, description="megabytes of a tape before compression")

    @field_validator("assets")
    @classmethod
    def _known_assets(cls, value: str) -> str:
        return _all_in(value, tuple(NAMES))

    @field_validator("families")
    @classmethod
    def _known_families(cls, value: str) -> str:
        return _all_in(value, tuple(WINDOW_S))


def _all_in(value: str, known: tuple[str, ...]) -> str:
    items = list(dict.fromkeys(item.strip().lower() for item in value.split(",") if item.strip()))
    wrong = [item for item in items if item not in known]
    if wrong or not items:
        raise ValueError(f"unknown: {', '.join(wrong) or 'none given'}; allowed: {', '.join(known)}")
    return ",".join(items)
