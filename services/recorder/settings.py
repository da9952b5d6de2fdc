"""Settings of the recorder."""

from pathlib import Path

from pydantic import Field

from pmarb.venue.averages import AverageSettings


class RecorderSettings(AverageSettings):
    """What the recorder may be told."""

    record_dir: Path = Field(default=Path("tapes"), description="where `pm-arb record` puts its tapes")
    record_rotate_min: float = Field(default=60, gt=0, le=1440, description="minutes of a tape (venue time)")
    record_rotate_mb: int = Field(default=512, ge=1, le=8192, description="megabytes of a tape before compression")
