"""The grid of a residual motion field: control points in integers, and the levels that a change of them is written in.

A field is GRID x GRID control points, one at the middle of each cell of 16x16 pixels, bilinear between them and constant
beyond the outermost. It is held in integers of 1/UNIT px, so that a prediction from an earlier field is exact at both ends.
A change is a sum over LEVELS: n x n points, n = 1 (the whole picture moves), 4, 8, 16, each level interpolated to the grid with
weights in 1/64.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.parameters import SIZE

GRID = 16
CELL = SIZE // GRID
LEVELS = (1, 4, 8, 16)
OFFSETS = tuple(int(o) for o in np.cumsum([0] + [n * n for n in LEVELS]))
"""Where each level begins among a field's points, in order of levels, then rows; the last is their number."""

POINTS = OFFSETS[-1]
UNIT = 256
"""Control points count in 1/UNIT px."""

LIMIT = 64 * UNIT
"""Largest displacement of a control point, in 1/UNIT px."""

LARGEST = 31
"""Largest magnitude of a coded number."""

Control = NDArray[np.int32]
"""(GRID, GRID, 2) int32, x and y, 1/UNIT px."""

Numbers = NDArray[np.int32]
"""(POINTS, 2) int32: the coded numbers of a change, x and y, in steps: see ``change``."""


def weights(points: int) -> NDArray[np.int32]:
    """(points, GRID) int32 in 1/8: how much each of a level's points along one axis counts at each control point."""
    out = np.zeros((points, GRID), np.int32)
    for i in range(GRID):
        eighths = ((2 * i + 1) * points * 8) // (2 * GRID) - 4
        low, part = eighths // 8, eighths % 8
        out[min(max(low, 0), points - 1), i] += 8 - part
        out[min(max(low + 1, 0), points - 1), i] += part
    return out


WEIGHTS = tuple(weights(n) for n in LEVELS)


def change(numbers: Numbers, step: int) -> Control:
    """Coded numbers -> what they add to the control points. step: of one number, in 1/4 px."""
    out = np.zeros((GRID, GRID, 2), np.int64)
    for n, offset, w in zip(LEVELS, OFFSETS, WEIGHTS, strict=False):
        level = numbers[offset : offset + n * n].reshape(n, n, 2).astype(np.int64)
        rows = np.tensordot(w.T.astype(np.int64), level, (1, 0))
        out += np.tensordot(w.T.astype(np.int64), rows, (1, 1)).transpose(1, 0, 2)
    return (out * (step * UNIT // 256)).astype(np.int32)
