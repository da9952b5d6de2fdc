"""Every family that can be asked for by name."""

from __future__ import annotations

from services.sandbox.families import DAILY, HOURLY, SLOW_WINDOWS, WINDOWS, Family
from services.sandbox.ladders import ABOVE, HITS, RANGES
from services.sandbox.topics import PLAIN, Augmented, Game, Position

DEFAULT_FAMILIES = ("5m", "15m")
_ALL: tuple[Family, ...] = (
    *WINDOWS,
    *SLOW_WINDOWS,
    *HOURLY,
    *DAILY,
    *ABOVE,
    *RANGES,
    *HITS,
    *PLAIN,
    Augmented(),
    Game(),
    Position(),
)
FAMILY_NAMES = tuple(dict.fromkeys(family.name for family in _ALL))
# Markets on the day's prices need a day of them before the start.
DAY_LONG = ("4h", "daily", "above", "range", "hit")


def families_named(names: tuple[str, ...]) -> tuple[Family, ...]:
    """Families of the given names. Raises KeyError for an unknown name."""
    for name in names:
        if name not in FAMILY_NAMES:
            raise KeyError(name)
    return tuple(family for family in _ALL if family.name in names)
