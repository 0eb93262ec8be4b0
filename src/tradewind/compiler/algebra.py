"""The little linear algebra that the models need: the server imports no library for it."""

from __future__ import annotations

import math
from collections.abc import Sequence

Vector = list[float]
Matrix = list[Vector]


def dot(one: Sequence[float], two: Sequence[float]) -> float:
    """The sum of products."""
    return math.fsum(a * b for a, b in zip(one, two, strict=True))


def lower(matrix: Matrix) -> Matrix:
    """The lower triangle L of a symmetric positive matrix = L times its transpose (Cholesky)."""
    found: Matrix = []
    for i, row in enumerate(matrix):
        made: Vector = []
        for j in range(i):
            made.append((row[j] - dot(made, found[j][:j])) / found[j][j])
        made.append(math.sqrt(row[i] - dot(made, made)))
        found.append(made)
    return found


def forward(triangle: Matrix, values: Sequence[float]) -> Vector:
    """x of L x = values."""
    found: Vector = []
    for i, row in enumerate(triangle):
        found.append((values[i] - dot(row[:i], found)) / row[i])
    return found


def solve(triangle: Matrix, values: Sequence[float]) -> Vector:
    """x of M x = values, where `triangle` is `lower(M)`."""
    found = forward(triangle, values)
    for i in reversed(range(len(triangle))):
        below = math.fsum(triangle[j][i] * found[j] for j in range(i + 1, len(triangle)))
        found[i] = (found[i] - below) / triangle[i][i]
    return found


def spread_over(triangle: Matrix, values: Sequence[float]) -> float:
    """values · M⁻¹ · values, where `triangle` is `lower(M)`; never negative."""
    found = forward(triangle, values)
    return dot(found, found)
