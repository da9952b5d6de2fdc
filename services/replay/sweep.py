"""The same tapes under many parameters, across processes. Results come in the order asked for, as they are done."""

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

from services.replay.run import Parameters, replay

AXES: Final = ("min_edge", "k_se", "model_weight", "bankroll")
Changes = Mapping[str, str]


class SweepError(ValueError):
    """The sweep was asked for in words that mean nothing."""


def parsed(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """`k_se=0,1,2` and the like, by name.

    Raises:
        SweepError: naming what is wrong and what is allowed.
    """
    axes: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, _, values = text.partition("=")
        name = name.strip().replace("-", "_")
        found = tuple(value.strip() for value in values.split(",") if value.strip())
        if name not in AXES or not found:
            raise SweepError(f"sweep was {text!r}; write NAME=VALUE,VALUE with one of {', '.join(AXES)}")
        axes[name] = found
    for changes in _combinations(axes):
        changed(Parameters(), changes)
    return axes


def changed(base: Parameters, changes: Changes) -> Parameters:
    """The parameters with these changes; `min_edge` is in cents, as on the command line."""
    try:
        values: dict[str, Any] = {
            name: Decimal(text) / 100 if name == "min_edge" else Decimal(text) if name == "bankroll" else float(text)
            for name, text in changes.items()
        }
    except (InvalidOperation, ValueError):
        raise SweepError(f"not numbers: {dict(changes)}") from None
    return replace(base, **values)


class Sweep:
    """`len` is the number of combinations."""

    def __init__(
        self,
        *,
        tapes: Sequence[Path],
        base: Parameters,
        axes: Mapping[str, tuple[str, ...]],
        workers: int | None = None,
    ) -> None:
        self._tapes = list(tapes)
        self._base = base
        self._all = list(_combinations(axes))
        self._workers = max(1, min(workers or os.cpu_count() or 1, len(self._all)))

    def __len__(self) -> int:
        return len(self._all)

    def run(self) -> Iterator[tuple[Changes, dict[str, Any]]]:
        """Each combination and what came of it."""
        with ProcessPoolExecutor(self._workers) as pool:
            futures = [pool.submit(_one, self._tapes, changed(self._base, changes)) for changes in self._all]
            try:
                for changes, future in zip(self._all, futures, strict=True):
                    yield changes, future.result()
            finally:
                for future in futures:
                    future.cancel()


def _combinations(axes: Mapping[str, tuple[str, ...]]) -> Iterator[dict[str, str]]:
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _one(tapes: Sequence[Path], parameters: Parameters) -> dict[str, Any]:
    found = replay(tapes, parameters).as_dict()
    return {key: value for key, value in found.items() if key != "tapes"}
