"""Logistic regression with cluster-robust errors, for a handful of columns. Newton's method, standard library only."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

Matrix = list[list[float]]
STEPS: Final = 60
CLOSE: Final = 1e-10
STEEPEST: Final = 50.0
"""A coefficient beyond this means separated outcomes, not a strong effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Coefficients with their standard errors and two-sided p-values (Wald, normal)."""

    coefficients: tuple[float, ...]
    errors: tuple[float, ...]
    p_values: tuple[float, ...]


def fit(rows: Sequence[Sequence[float]], outcomes: Sequence[bool], clusters: Sequence[str] | None = None) -> Fit | None:
    """Maximum likelihood. Errors are by the sandwich of the clusters' scores, each row its own cluster by default.

    None if it does not converge: too few rows, columns that repeat each other, or outcomes that are separated.
    """
    if not rows or len(set(outcomes)) < 2 or len(rows) <= len(rows[0]):
        return None
    beta = [0.0] * len(rows[0])
    for _ in range(STEPS):
        score, information = _derivatives(rows, outcomes, beta)
        inverse = inverted(information)
        if inverse is None:
            return None
        step = _times(inverse, score)
        largest = max(map(abs, step))
        if largest > 5:  # A Newton step from far away may jump past the maximum
            step = [5 * part / largest for part in step]
        beta = [b + s for b, s in zip(beta, step, strict=True)]
        if max(map(abs, beta)) > STEEPEST:
            return None
        if largest < CLOSE:
            return _with_errors(rows, outcomes, clusters, beta, inverse)
    return None


def _probability(row: Sequence[float], beta: Sequence[float]) -> float:
    z = math.fsum(x * b for x, b in zip(row, beta, strict=True))
    return 1 / (1 + math.exp(-z)) if z > -700 else 0.0


def _derivatives(
    rows: Sequence[Sequence[float]], outcomes: Sequence[bool], beta: Sequence[float]
) -> tuple[list[float], Matrix]:
    size = len(beta)
    score = [0.0] * size
    information = [[0.0] * size for _ in range(size)]
    for row, y in zip(rows, outcomes, strict=True):
        p = _probability(row, beta)
        for i in range(size):
            score[i] += (y - p) * row[i]
            weighted = p * (1 - p) * row[i]
            for j in range(i + 1):
                information[i][j] += weighted * row[j]
    for i in range(size):
        for j in range(i):
            information[j][i] = information[i][j]
    return score, information


def _with_errors(
    rows: Sequence[Sequence[float]],
    outcomes: Sequence[bool],
    clusters: Sequence[str] | None,
    beta: list[float],
    bread: Matrix,
) -> Fit | None:
    keys: Sequence[object] = range(len(rows)) if clusters is None else clusters
    size = len(beta)
    sums: dict[object, list[float]] = {}
    for row, y, key in zip(rows, outcomes, keys, strict=True):
        residual = y - _probability(row, beta)
        total = sums.setdefault(key, [0.0] * size)
        for i in range(size):
            total[i] += residual * row[i]
    groups = len(sums)
    if groups <= size:
        return None
    few = groups / (groups - 1)  # The usual correction for few clusters
    meat = [[few * math.fsum(t[i] * t[j] for t in sums.values()) for j in range(size)] for i in range(size)]
    covariance = _product(_product(bread, meat), bread)
    errors = tuple(math.sqrt(max(covariance[i][i], 0.0)) for i in range(size))
    tails = tuple(_two_sided(b, e) for b, e in zip(beta, errors, strict=True))
    return Fit(coefficients=tuple(beta), errors=errors, p_values=tails)


def _two_sided(value: float, error: float) -> float:
    return 2 * NormalDist().cdf(-abs(value) / error) if error > 0 else float("nan")


def inverted(matrix: Matrix) -> Matrix | None:
    """Gauss-Jordan with pivoting; None for a singular matrix."""
    size = len(matrix)
    work = [[*row, *(float(i == j) for j in range(size))] for i, row in enumerate(matrix)]
    scale = max((abs(x) for row in matrix for x in row), default=0.0)
    for column in range(size):
        pivot = max(range(column, size), key=lambda r: abs(work[r][column]))
        if abs(work[pivot][column]) <= 1e-13 * scale:
            return None
        work[column], work[pivot] = work[pivot], work[column]
        head = work[column][column]
        work[column] = [x / head for x in work[column]]
        for r in range(size):
            if r != column and work[r][column]:
                factor = work[r][column]
                work[r] = [x - factor * y for x, y in zip(work[r], work[column], strict=True)]
    return [row[size:] for row in work]


def _times(matrix: Matrix, vector: Sequence[float]) -> list[float]:
    return [math.fsum(x * y for x, y in zip(row, vector, strict=True)) for row in matrix]


def _product(one: Matrix, other: Matrix) -> Matrix:
    columns = list(zip(*other, strict=True))
    return [[math.fsum(x * y for x, y in zip(row, column, strict=True)) for column in columns] for row in one]
