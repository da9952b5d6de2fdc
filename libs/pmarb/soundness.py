"""Whether the numbers in a value can be worked with, wherever they stand. Found by its type, once for each."""

from collections.abc import Callable, Iterable
from dataclasses import is_dataclass
from decimal import Decimal
from operator import attrgetter
from types import NoneType
from typing import Any, Final, get_args, get_origin, get_type_hints

Check = Callable[[Any], None]

LARGEST: Final = 15
SMALLEST: Final = -60
"""Powers of ten. A number beyond them is corrupt: remainders and roundings of it would raise."""


class Unsound(ValueError):
    """A number in it is none, is beyond all reason, or is longer than the database keeps any."""


def check_of(kind: Any) -> Check:
    """What raises Unsound for a value of that type in which a number is, wherever it stands."""
    return _check_of(kind) or (lambda _: None)


def _check_of(kind: Any) -> Check | None:
    """None where no number can be. Of a union one member besides None may hold numbers, of a mapping the values."""
    if kind in _NUMBERS:
        return _NUMBERS[kind]
    if is_dataclass(kind) or hasattr(kind, "_fields"):
        return _of_fields(kind)
    within = next(filter(None, map(_check_of, get_args(kind))), None)
    if within is None:
        return None
    if NoneType in get_args(kind):
        return lambda value: None if value is None else within(value)
    if get_origin(kind) is dict:
        return lambda value: _each(within, value.values())
    return lambda value: _each(within, value)


def _of_fields(kind: Any) -> Check | None:
    """Of a dataclass or a named tuple."""
    checks = {name: check for name, hint in get_type_hints(kind).items() if (check := _check_of(hint))}
    alike = [(check, [name for name in checks if checks[name] is check]) for check in dict.fromkeys(checks.values())]
    parts = [(check, attrgetter(*names, names[0])) for check, names in alike]  # Of one name alone it makes no tuple

    def check_all(value: Any) -> None:
        for check, of in parts:
            _each(check, of(value))

    return check_all if parts else None


def _each(check: Check, values: Iterable[Any]) -> None:
    for value in values:
        check(value)


def _decimal(number: Decimal) -> None:
    if not number.is_finite() or (number and not SMALLEST <= number.adjusted() <= LARGEST):
        raise Unsound(f"a number was {number}")


def _integer(number: int) -> None:
    if not -(1 << 63) <= number < 1 << 63:
        raise Unsound(f"a number was {number}")


_NUMBERS: Final[dict[Any, Check]] = {Decimal: _decimal, int: _integer}
